"""The service as an operator starts it: a command in a directory of its own, in production."""

import os
import socket
import subprocess
import sys
import time
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

import httpx

from tests.support.services import SECRET

ROOT = Path(__file__).parents[2]


class Launched:
    """A running command, and what it has said so far."""

    def __init__(self, url: str, directory: Path) -> None:
        self.url = url
        self._directory = directory

    @property
    def out(self) -> str:
        return (self._directory / "out").read_text("utf-8")

    @property
    def err(self) -> str:
        return (self._directory / "err").read_text("utf-8")


@contextmanager
def launched(command: list[str], directory: Path, database_url: str, **environ: str) -> Iterator[Launched]:
    """Ready when it is given, ended by SIGTERM."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    (directory / "litestar.toml").write_text((ROOT / "litestar.toml").read_text("utf-8"), "utf-8")
    said = Launched(f"http://127.0.0.1:{port}", directory)
    inherited = {
        name: value for name, value in os.environ.items() if not name.startswith(("TASKSERVICE_", "LITESTAR_"))
    }
    with (directory / "out").open("wb") as out, (directory / "err").open("wb") as err:
        service = subprocess.Popen(
            [*command, "--port", str(port)],
            stdout=out,
            stderr=err,
            cwd=directory,
            env=inherited
            | {
                "PATH": f"{Path(sys.executable).parent}:{os.environ['PATH']}",
                "TASKSERVICE_ENV": "production",
                "BETTER_AUTH_SECRET": SECRET,
                "DATABASE_URL": database_url,
            }
            | environ,
        )
        try:
            until = time.monotonic() + 120
            while not _is_ready(said.url):
                assert service.poll() is None, said.err
                assert time.monotonic() < until, said.out + said.err
                time.sleep(0.1)
            yield said
        finally:
            service.terminate()
            service.wait(30)


def _is_ready(url: str) -> bool:
    try:
        return httpx.get(f"{url}/health/ready", trust_env=False).status_code == 200
    except httpx.TransportError:
        return False
