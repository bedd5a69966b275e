"""The service as an operator starts it: `litestar run` in a directory of its own, watched from outside."""

import asyncio
import contextlib
import os
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Mapping
from pathlib import Path

import psutil

from bench.http import Answer, Connection, connect, request
from bench.processes import free_port
from bench.tokens import SECRET

REPOSITORY = Path(__file__).parents[2]


class Program:
    def __init__(self, directory: Path, environment: Mapping[str, str], *options: str, files: int | None) -> None:
        self.port = free_port()
        self.directory = directory
        self._log = directory / "log"
        inherited = {name: os.environ[name] for name in ("PATH", "HOME", "LANG", "TMPDIR") if name in os.environ}
        own = {
            "LITESTAR_APP": "taskservice.app:create_app",
            "BETTER_AUTH_SECRET": SECRET,
            "TASKSERVICE_DATA_DIR": str(directory / "data"),
            "PYTHONPATH": str(REPOSITORY),
        }
        command = [sys.executable, "-m", "litestar", "run", "--port", str(self.port), *options]
        if files is not None:
            command = ["prlimit", f"--nofile={files}:{files}", *command]
        self.started = time.monotonic()
        with self._log.open("wb") as log:
            self.process = subprocess.Popen(
                command, cwd=directory, env={**inherited, **own, **environment}, stdout=log, stderr=log
            )

    @property
    def log(self) -> str:
        return self._log.read_text(errors="replace")

    def workers(self) -> list[psutil.Process]:
        """The processes that serve; the one itself if there are no others."""
        own = psutil.Process(self.process.pid)
        return [child for child in own.children() if "litestar" in " ".join(child.cmdline())] or [own]

    def resident_bytes(self) -> int:
        own = psutil.Process(self.process.pid)
        return sum(int(process.memory_info().rss) for process in [own, *own.children(recursive=True)])

    async def ready(self, seconds: float = 120, *, path: str = "/health/ready") -> float:
        """Wait for it; the seconds it took from now on."""
        began = time.monotonic()
        while time.monotonic() - began < seconds:
            if self.process.poll() is not None:
                break
            with contextlib.suppress(OSError, TimeoutError):
                if (await self.once(request("GET", path, None), seconds=3)).status == 200:
                    return time.monotonic() - began
            await asyncio.sleep(0.02)
        raise AssertionError(f"not ready after {seconds} s:\n{self.log[-3000:]}")

    async def once(self, raw: bytes, seconds: float = 30) -> Answer:
        """One request on a connection of its own."""
        async with asyncio.timeout(seconds):
            connection = await self.connect()
            try:
                return await connection.send(raw)
            finally:
                connection.close()

    async def connect(self) -> Connection:
        return await connect(self.port)

    def terminate(self) -> None:
        self.process.send_signal(signal.SIGTERM)

    async def ended(self, seconds: float = 40) -> int:
        """Its exit code."""
        return await asyncio.to_thread(self.process.wait, seconds)


@contextlib.asynccontextmanager
async def running_program(
    *options: str, ready: bool = True, files: int | None = None, **environment: str
) -> AsyncIterator[Program]:
    """Settings by their variables, in any case: `database_url=…` is `DATABASE_URL`; `files` may be open, no more."""
    with tempfile.TemporaryDirectory(prefix="program-") as home:
        program = Program(
            Path(home), {name.upper(): value for name, value in environment.items()}, *options, files=files
        )
        try:
            if ready:
                await program.ready()
            yield program
        finally:
            if program.process.poll() is None:
                program.terminate()
                try:
                    await program.ended()
                except subprocess.TimeoutExpired:
                    for process in psutil.Process(program.process.pid).children(recursive=True):
                        process.kill()
                    program.process.kill()
                    raise
