"""Which number of the specifications is proved by which test, and the page that says so (`docs/conformance.md`)."""

import ast
import re
import tomllib
from collections.abc import Mapping
from pathlib import Path
from typing import NamedTuple

HERE = Path(__file__).parent
ROOT = HERE.parents[1]
PAGE = ROOT / "docs" / "conformance.md"

_TEST = re.compile(
    r"test_(?:us(?P<story>\d+)_(?P<scenario>\d+)|edge(?P<edge>\d+)|fr(?P<fr>\d{3})|sc(?P<sc>\d{3})"
    r"|nfr_(?P<quality>[a-z]+)_(?P<item>\d+))_"
)


class Specification(NamedTuple):
    """One of the five, with a few words on each of its numbers."""

    key: str
    title: str
    policies: str
    numbers: dict[str, str]
    unobservable: dict[str, str]

    @property
    def module(self) -> Path:
        [module] = HERE.glob(f"test_{self.key}_*.py")
        return module

    def proofs(self) -> dict[str, list[str]]:
        """The tests of each number, in the order of the module."""
        found: dict[str, list[str]] = {}
        for statement in ast.parse(self.module.read_text("utf-8")).body:
            if isinstance(statement, ast.FunctionDef | ast.AsyncFunctionDef) and (number := number_of(statement.name)):
                found.setdefault(number, []).append(statement.name)
        return found


def specifications() -> list[Specification]:
    listed = tomllib.loads((HERE / "numbers.toml").read_text("utf-8"))
    return [
        Specification(key, entry["title"], entry["policies"], entry["numbers"], entry.get("unobservable", {}))
        for key, entry in listed.items()
    ]


def number_of(test: str) -> str | None:
    """The number that a test's name carries: `US3.3`, `Edge 2`, `FR-016`, `SC-002`, `Security 3`."""
    found = _TEST.match(test)
    if found is None:
        return None
    if found["story"]:
        return f"US{found['story']}.{found['scenario']}"
    if found["edge"]:
        return f"Edge {found['edge']}"
    if found["quality"]:
        return f"{found['quality'].capitalize()} {found['item']}"
    return f"FR-{found['fr']}" if found["fr"] else f"SC-{found['sc']}"


def page(results: Mapping[tuple[str, str], str]) -> str:
    """The page, given what each test (specification, name) came to: `passes`, or what else."""
    listed = specifications()
    lines = [
        "# Conformance",
        "",
        "Every number of the five specifications, the test that proves it, and what that test came to. Made by",
        "`pytest tests/specs --conformance`; `tests/specs/test_conformance.py` fails when this page is not what a run",
        "would write. Unnumbered edge cases and qualities are counted in the order of the text.",
        "",
        "| specification | numbers | proved | not observable here |",
        "|---|---|---|---|",
    ]
    for one in listed:
        proved = sum(
            all(results.get((one.key, test)) == "passes" for test in tests)
            for number, tests in one.proofs().items()
            if number in one.numbers
        )
        lines.append(
            f"| [{one.key}](#{one.key}) {one.title} | {len(one.numbers)} | {proved} | {len(one.unobservable)} |"
        )
    for one in listed:
        proofs = one.proofs()
        lines += [
            "",
            f'<a id="{one.key}"></a>',
            "",
            f"## {one.key}: {one.title}",
            "",
            f"Policies: `{one.policies}`. Tests: [`tests/specs/{one.module.name}`](../tests/specs/{one.module.name}).",
            "",
            "| number | what it asks for | test | result |",
            "|---|---|---|---|",
        ]
        for number, meaning in one.numbers.items():
            if number in one.unobservable:
                lines.append(f"| {number} | {meaning} | | not observable here: {one.unobservable[number]} |")
            for test in proofs.get(number, []):
                lines.append(f"| {number} | {meaning} | `{test}` | {results.get((one.key, test), 'not run')} |")
    return "\n".join(lines) + "\n"


def results_on(text: str) -> dict[tuple[str, str], str]:
    """What a page says the tests came to."""
    found: dict[tuple[str, str], str] = {}
    key = ""
    for line in text.splitlines():
        if heading := re.match(r"## (\d{3}):", line):
            key = heading[1]
        elif row := re.match(r"\| .* \| `(test_\w+)` \| (.+) \|$", line):
            found[key, row[1]] = row[2]
    return found
