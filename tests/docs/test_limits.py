"""`docs/operations/limits.md` has every limit of the code."""

import ast
import re
import tomllib
from importlib import import_module

from docs.generate import ROOT
from taskservice.problems import catalogue

PACKAGE = ROOT / "taskservice"

SAID = tomllib.loads((ROOT / "docs/limits.toml").read_text("utf-8"))
LISTED = [limit for group in SAID["group"] for limit in group["limits"]]
NO_LIMITS = SAID["no_limit"]


def numbers_of_the_code() -> set[str]:
    """Every constant of a module that is a number, as `server.protocol.PIPELINE_MAX`."""
    found = set()
    for path in PACKAGE.rglob("*.py"):
        module = ".".join(path.relative_to(PACKAGE).with_suffix("").parts)
        if module.startswith("database.migrations.") and module != "database.migrations.online":
            continue  # Alembic loads them, with a database
        for statement in ast.parse(path.read_text("utf-8")).body:
            if isinstance(statement, ast.AnnAssign):
                targets: list[ast.expr] = [statement.target]
            else:
                targets = statement.targets if isinstance(statement, ast.Assign) else []
            for name in (target.id for target in targets if isinstance(target, ast.Name) and target.id.isupper()):
                value = getattr(import_module(f"taskservice.{module}"), name, None)
                if isinstance(value, int | float) and not isinstance(value, bool):
                    found.add(f"{module}.{name}")
    return found


def test_every_number_of_the_code_is_on_the_page_or_no_limit() -> None:
    known = {limit["constant"] for limit in LISTED} | NO_LIMITS.keys()
    assert numbers_of_the_code() == known


def test_a_limit_stands_once() -> None:
    constants = [limit["constant"] for limit in LISTED]
    assert len(set(constants)) == len(constants)
    assert not NO_LIMITS.keys() & set(constants)


def test_the_codes_beyond_the_limits_are_real() -> None:
    real = {f"{kind.status} `{kind.code}`" for kind in catalogue()}
    for limit in LISTED:
        assert set(re.findall(r"[45][0-9]{2} `[a-z-]+`", limit["beyond"])) <= real, limit
