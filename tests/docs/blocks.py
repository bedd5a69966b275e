"""The fenced blocks of the documentation, and whether an answer is the one that a block shows."""

import json
import re
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any, NamedTuple

ROOT = Path(__file__).parents[2]
PAGES = ["README.md", *sorted(path.relative_to(ROOT).as_posix() for path in (ROOT / "docs").rglob("*.md"))]

FENCED = re.compile(r"^```(?P<language>[^\n]*)\n(?P<text>.*?)^```$", re.MULTILINE | re.DOTALL)
VARYING = {
    "id": re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b"),
    "time": re.compile(r"\b\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z"),
    "tag": re.compile(r"\b\d+-[a-z0-9]{8}(?=\\?\")"),
    "version": re.compile(r"\b\d+(?:\.\d+)+\b(?!:)"),
}
"""What differs from run to run. The same one at two places must be the same one in the answer as well."""


class Block(NamedTuple):
    page: str
    line: int
    language: str
    text: str

    def __str__(self) -> str:
        return f"{self.page}:{self.line}"


def blocks_of(page: str) -> list[Block]:
    text = (ROOT / page).read_text("utf-8")
    fences = re.findall(r"^\s*(?:```|~~~)", text, re.MULTILINE)
    assert len(fences) == 2 * len(FENCED.findall(text)), f"{page}: one block is fenced in another way"
    return [
        Block(page, text.count("\n", 0, found.start()) + 1, found["language"].strip(), found["text"])
        for found in FENCED.finditer(text)
    ]


def assert_shown(block: Block, output: str) -> None:
    """`output` is what the block shows, but for ids, moments, tags and versions."""
    compare = {"json": _documents, "http": _response, "text": _lines}[block.language]
    shown, got = compare(block.text, output)
    assert _settled(got) == _settled(shown), f"{block} shows something else than\n{output}"


def _documents(shown: str, output: str) -> tuple[Any, Any]:
    """JSON documents, laid out as it pleases the reader. Lines that are none are not what the block is about."""
    return list(_json_in(shown)), list(_json_in(output))


def _json_in(text: str) -> Iterator[Any]:
    at = 0
    while found := re.compile(r"^[{\[]", re.MULTILINE).search(text, at):
        document, at = json.JSONDecoder().raw_decode(text, found.start())
        yield document


def _response(shown: str, output: str) -> tuple[Any, Any]:
    """Status line, body, and the headers that are shown."""
    heads, bodies = zip(*(text.replace("\r\n", "\n").partition("\n\n")[::2] for text in (shown, output)), strict=True)
    (status, wanted), (got_status, headers) = map(_head, heads)
    chosen = {name: headers.get(name) for name in wanted}
    return (status, wanted, list(_json_in(bodies[0]))), (got_status, chosen, list(_json_in(bodies[1])))


def _head(text: str) -> tuple[str, dict[str, str]]:
    status, *lines = text.splitlines()
    pairs = (line.split(": ", 1) for line in lines)
    return status.strip(), {name.lower(): value for name, value in pairs}


def _lines(shown: str, output: str) -> tuple[Any, Any]:
    """The lines that are shown; others may stand around them, except in the report of `litestar doctor`."""
    wanted = shown.splitlines()
    if shown.startswith("✓ "):
        return wanted, output.strip().splitlines()
    normal = _settled(wanted)
    return wanted, [line for line in output.splitlines() if _settled([line])[0] in normal]


def _settled(answer: Any) -> Any:
    """The answer with everything that varies replaced by its kind and a number, in order of appearance."""
    text = json.dumps(answer, ensure_ascii=False, sort_keys=True)
    for kind, pattern in VARYING.items():
        text = pattern.sub(_numbered(kind), text)
    return json.loads(text)


def _numbered(kind: str) -> Callable[[re.Match[str]], str]:
    seen: dict[str, int] = {}
    return lambda found: f"<{kind} {seen.setdefault(found[0], len(seen) + 1)}>"
