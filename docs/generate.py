"""Writes the documentation that follows from the code: `make docs`, or the files that it is told.

Each entry of `PAGES` gives the whole text of one file. `tests/docs` fails when a file says something else.
"""

import ast
import json
import re
import sys
import tomllib
from collections.abc import Callable, Iterable, Iterator
from importlib import import_module
from pathlib import Path
from typing import Any, Final

from taskservice.app import create_app
from taskservice.problems import catalogue
from taskservice.settings import SETTINGS, Setting, load_settings

ROOT: Final = Path(__file__).parent.parent

ASKED_FOR_BY: Final = {
    "TASKSERVICE_TITLE": "000, 001 / 004",
    "TASKSERVICE_DESCRIPTION_MAX": "001 / 004 (500)",
    "TASKSERVICE_DELETE": "004 / 000, 001, 002",
    "TASKSERVICE_RETENTION_DAYS": "004",
    "TASKSERVICE_USERS": "001 to 004 / 000",
    "TASKSERVICE_USERS_TABLE": "000, 001",
    "TASKSERVICE_FOREIGN_TASK": "000, 003, 004 / none, it is stricter",
    "TASKSERVICE_CORS_ORIGINS": "001",
    "TASKSERVICE_CORS_ORIGIN_REGEX": "001",
}
"""The policies, and which specification wants which value, in the order of the values."""

POLICIES: Final = tuple(setting for setting in SETTINGS if setting.variable in ASKED_FOR_BY)
OTHERS: Final = tuple(setting for setting in SETTINGS if setting.variable not in ASKED_FOR_BY)


def _row(*cells: str) -> str:
    return "| " + " | ".join(cell.replace("|", "\\|") for cell in cells) + " |"


def _table(*heads: str, rows: Iterable[tuple[str, ...]]) -> str:
    return "\n".join([_row(*heads), "|" + "---|" * len(heads), *(_row(*row) for row in rows)])


def _default(setting: Setting) -> str:
    return "" if setting.default is None else f"`{setting.default}`"


def _settings_table() -> str:
    return _table(
        "variable", "default", "values", "meaning",
        rows=((f"`{each.variable}`", _default(each), each.values, each.meaning) for each in OTHERS),
    )  # fmt: skip


def _policies_table() -> str:
    return _table(
        "policy", "default", "values", "meaning", "serves",
        rows=(
            (f"`{each.key}`", _default(each), each.values, each.meaning, ASKED_FOR_BY[each.variable])
            for each in POLICIES
        ),
    )  # fmt: skip


def _specifications_table() -> str:
    specifications = tomllib.loads((ROOT / "tests/specs/numbers.toml").read_text("utf-8"))
    return _table(
        "", "specification", "policies", "numbers", "proved in",
        rows=(
            (number, said["title"], said["policies"], str(len(said["numbers"])), _module(number))
            for number, said in specifications.items()
        ),
    )  # fmt: skip


def _module(number: str) -> str:
    (module,) = (ROOT / "tests/specs").glob(f"test_{number}_*.py")
    path = module.relative_to(ROOT).as_posix()
    return f"[`{path}`]({path})"


def between(text: str, name: str, content: str) -> str:
    """`text` with `content` in the place that `<!-- name -->` and `<!-- /name -->` mark."""
    head, opening, rest = text.partition(f"<!-- {name} -->\n")
    _, closing, tail = rest.partition(f"<!-- /{name} -->")
    if not opening or not closing:
        raise ValueError(f"no place is marked {name}")
    return f"{head}{opening}\n{content}\n\n{closing}{tail}"


def readme() -> str:
    text = (ROOT / "README.md").read_text("utf-8")
    text = between(between(text, "settings", _settings_table()), "policies", _policies_table())
    return between(text, "specifications", _specifications_table())


def configuration() -> str:
    text = (ROOT / "docs/configuration.md").read_text("utf-8")
    return between(between(text, "settings", _settings_table()), "policies", _policies_table())


def architecture() -> str:
    text = (ROOT / "docs/architecture.md").read_text("utf-8")
    return between(text, "modules", _table("module", "what it answers for", rows=_modules()))


def _modules() -> Iterator[tuple[str, str]]:
    package = ROOT / "taskservice"
    for path in sorted(package.rglob("*.py"), key=lambda path: (len(path.relative_to(package).parts) > 1, path)):
        said = ast.get_docstring(ast.parse(path.read_text("utf-8")))
        if said and "versions" not in path.parts:
            sentence = " ".join(said.partition("\n\n")[0].split())
            yield f"`{path.relative_to(package).as_posix()}`", sentence


def errors() -> str:
    text = (ROOT / "docs/errors.md").read_text("utf-8")
    rows = ((str(kind.status), f"`{kind.code}`", kind.title, kind.remedy) for kind in catalogue())
    return between(text, "problems", _table("status", "code", "title", "what to do", rows=rows))


def limits() -> str:
    text = (ROOT / "docs/operations/limits.md").read_text("utf-8")
    groups = tomllib.loads((ROOT / "docs/limits.toml").read_text("utf-8"))["group"]
    parts = [part for group in groups for part in (f"## {group['title']}", group["protects"], _limits_table(group))]
    chosen = _table(
        "default", "what",
        rows=(
            (each.default or "", f"`{each.variable}` ({each.values}): {each.meaning}")
            for each in SETTINGS
            if re.fullmatch(r"[0-9.]+\.\.[0-9]+", each.values)
        ),
    )  # fmt: skip
    return between(between(text, "limits", "\n\n".join(parts)), "settings", chosen)


def _limits_table(group: dict[str, Any]) -> str:
    rows = ((_amount(limit["constant"], limit["unit"]), limit["what"], limit["beyond"]) for limit in group["limits"])
    return _table("limit", "what", "beyond it", rows=rows)


def _amount(constant: str, unit: str) -> str:
    """The value of a constant of the package, such as `rules.BODY_MAX`, with its unit."""
    module, _, name = constant.rpartition(".")
    number = getattr(import_module(f"taskservice.{module}"), name)
    if unit == "bytes" and number % 1024 == 0:
        return f"{number / 1024**2:g} MiB" if number % 1024**2 == 0 else f"{number / 1024:g} KiB"
    return f"{number:,} {unit}".rstrip()


def env_example() -> str:
    """A file that changes nothing when it is copied to `.env` as it is."""
    lines = [
        "# Copy to .env and take the # from what you set. The environment wins over this file, this file over",
        "# litestar.toml. docs/configuration.md says more.",
    ]
    for setting in SETTINGS:
        values = f" ({setting.values})" if setting.values else ""
        comment = f"{setting.meaning}{values}".replace("`", "")
        lines += ["", f"# {comment}", f"# {setting.variable}={setting.default or ''}"]
    return "\n".join(lines) + "\n"


def openapi() -> str:
    """The API's description under the default policies."""
    said = {
        "DATABASE_URL": "postgresql://localhost/nowhere",
        "BETTER_AUTH_SECRET": "never used, and longer than 32 bytes",
    }
    app = create_app(load_settings(said))
    return json.dumps(app.openapi_schema.to_schema(), indent=2, ensure_ascii=False) + "\n"


PAGES: Final[dict[str, Callable[[], str]]] = {
    "README.md": readme,
    "docs/configuration.md": configuration,
    "docs/architecture.md": architecture,
    "docs/errors.md": errors,
    "docs/operations/limits.md": limits,
    ".env.example": env_example,
    "docs/openapi.json": openapi,
}


def main() -> None:
    for path in sys.argv[1:] or PAGES:
        (ROOT / path).write_text(PAGES[path](), "utf-8")


if __name__ == "__main__":
    main()
