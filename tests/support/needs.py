"""What some tests need besides Python. Where it is missing they are skipped, with the command that brings it."""

import os
import shutil
import subprocess
from pathlib import Path
from typing import NoReturn

import pytest

ROOT = Path(__file__).parents[2]
ADMINISTRATORS = ("/usr/local/sbin", "/usr/sbin", "/sbin")
"""Where Debian puts servers, which an ordinary user's PATH leaves out."""


NODE_FROM = 20


def skip_for_lack_of(what: str, command: str) -> NoReturn:
    """Skip the test. The summary at the end groups what was skipped by `command`: tests/plugins/skipped.py."""
    pytest.skip(f"needs {what}: {command}")


def program(name: str, *, package: str | None = None) -> str:
    """The path of a program; the Debian `package` that brings it has the same name if none is given."""
    found = shutil.which(name, path=os.pathsep.join([os.environ.get("PATH", os.defpath), *ADMINISTRATORS]))
    if found is None:
        skip_for_lack_of(name, f"apt-get install {package or name}")
    return found


def node() -> str:
    """The path of a Node.js that runs what the tests drive with it."""
    found = shutil.which("node")
    said = subprocess.run([found, "--version"], capture_output=True, text=True, check=False).stdout if found else ""
    if not said or int(said.removeprefix("v").partition(".")[0]) < NODE_FROM:
        skip_for_lack_of(f"Node.js {NODE_FROM} or newer", "see https://nodejs.org/en/download")
    assert found
    return found


def npm_project(directory: str) -> Path:
    """The `node_modules` of a project of the repository, after its `npm install`."""
    node()
    modules = ROOT / directory / "node_modules"
    if not modules.is_dir():
        skip_for_lack_of("npm packages", f"npm install --prefix {directory}")
    return modules


def debian_postgresql() -> Path:
    """The directory of the newest PostgreSQL that Debian installed. The embedded one is built without TLS."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin"))
    if not found:
        skip_for_lack_of("a PostgreSQL with TLS", "apt-get install postgresql")
    return found[-1]


def root() -> None:
    if os.geteuid() != 0:
        skip_for_lack_of("root", "sudo make test")
