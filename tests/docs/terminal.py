"""A reader's two terminals: in one the service runs, in the other the blocks of a page are pasted one by one."""

import os
import shutil
import signal
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.docs.blocks import ROOT

START = "make run"
PORT = "8000"
SECONDS = 60
END = "that was all of it"
MADE_FROM = ("Makefile", ".ci/make-venv", "requirements.lock", "pyproject.toml", "litestar.toml", ".env.example")


class Terminal:
    """A shell in a directory that looks like a clone which has been set up. Ports are this run's own."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory
        with socket.create_server(("127.0.0.1", 0)) as free:
            self.port = str(free.getsockname()[1])
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        self.environ = kept | {"PATH": os.defpath, "LITESTAR_PORT": self.port}
        for name in MADE_FROM:
            (directory / name).parent.mkdir(exist_ok=True)
            shutil.copy(ROOT / name, directory / name)
        (directory / ".venv").mkdir()
        (directory / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        # Last, so that make has nothing to set up.
        (directory / ".venv" / ".ready").touch()
        self._shell: subprocess.Popen[str] | None = None

    @contextmanager
    def serving(self) -> Iterator[None]:
        """The first terminal."""
        with (self.directory / "log").open("wb") as log:
            service = subprocess.Popen(
                START.split(),
                cwd=self.directory,
                env=self.environ,
                stdout=log,
                stderr=subprocess.STDOUT,
                start_new_session=True,
            )
        try:
            self._wait_until_ready(service)
            yield
        finally:
            if service.poll() is None:
                os.killpg(service.pid, signal.SIGINT)
                service.wait(30)

    @property
    def log(self) -> str:
        """What the service has said."""
        return self._as_documented((self.directory / "log").read_text("utf-8"))

    @contextmanager
    def opened(self) -> Iterator[None]:
        """The second terminal. Variables live as long as it does."""
        with subprocess.Popen(
            ["bash"],
            cwd=self.directory,
            env=self.environ,
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
        ) as self._shell:
            self._send("set -o errtrace -o pipefail; trap 'echo \"failed: $BASH_COMMAND\"' ERR")
            yield
            self._send("exit")

    def paste(self, text: str) -> str:
        """What the block prints, on either stream. No command of it may fail."""
        assert self._shell
        assert self._shell.stdout
        block = self.directory / "block"
        block.write_text(text.replace(f":{PORT}", f":{self.port}"), "utf-8")
        self._send(f"source {block} </dev/null; printf '\\n%s\\n' '{END}'")
        said: list[str] = []
        while (line := self._shell.stdout.readline()) != f"{END}\n":
            assert line, f"the shell ended\n{''.join(said)}"
            said.append(line)
        output = self._as_documented("".join(said))
        assert "failed: " not in output, output
        return output

    def _send(self, line: str) -> None:
        assert self._shell
        assert self._shell.stdin
        self._shell.stdin.write(f"{line}\n")
        self._shell.stdin.flush()

    def _as_documented(self, output: str) -> str:
        return output.replace(f":{self.port}", f":{PORT}")

    def _wait_until_ready(self, service: "subprocess.Popen[bytes]") -> None:
        deadline = time.monotonic() + SECONDS
        while True:
            try:
                if httpx.get(f"http://127.0.0.1:{self.port}/health/ready", trust_env=False).status_code == 200:
                    return
            except httpx.TransportError:
                pass
            assert service.poll() is None, self.log
            assert time.monotonic() < deadline, self.log
            time.sleep(0.05)
