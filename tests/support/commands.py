"""The real commands, as an operator runs them: in a directory of their own, with an environment of their own."""

import os
import shutil
import subprocess
import sys
from pathlib import Path
from typing import NamedTuple

ROOT = Path(__file__).parents[2]
BIN = Path(sys.executable).parent


class Outcome(NamedTuple):
    code: int
    out: str
    err: str

    @property
    def said(self) -> str:
        return self.out + self.err

    def refused(self) -> list[str]:
        """The lines with which it declined, after making sure that it did so readably."""
        assert self.code in {1, 2}, self
        assert "Traceback" not in self.said
        assert "site-packages" not in self.said
        return self.said.splitlines()


class Operator:
    """Somebody with a shell in a directory that holds the repository's `litestar.toml` and no `.env`."""

    def __init__(self, directory: Path, **environment: str) -> None:
        self.directory = directory
        self.environment = environment
        shutil.copy(ROOT / "litestar.toml", directory)

    def environ(self, **environment: str) -> dict[str, str]:
        own = {name: os.environ[name] for name in ("HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        return own | {"PATH": f"{BIN}:{os.defpath}", "COLUMNS": "200"} | self.environment | environment

    def run(self, *command: str, **environment: str) -> Outcome:
        """One command, from its start to its end."""
        done = subprocess.run(
            command,
            cwd=self.directory,
            env=self.environ(**environment),
            capture_output=True,
            text=True,
            timeout=180,
            check=False,
            stdin=subprocess.DEVNULL,
        )
        return Outcome(done.returncode, done.stdout, done.stderr)

    def litestar(self, *arguments: str, **environment: str) -> Outcome:
        return self.run("litestar", *arguments, **environment)

    def dotenv(self, *lines: str) -> None:
        (self.directory / ".env").write_text("\n".join(lines) + "\n")

    def toml(self, text: str) -> None:
        (self.directory / "litestar.toml").write_text(text)
