"""Two PostgreSQL servers, one of which follows the other by streaming replication."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
import tempfile
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from bench.postgres import INITDB, binaries, rows_of
from bench.processes import free_port
from bench.reliability.wire import Wire


class Server:
    """One of the two. Listens on loopback and lets everybody in."""

    def __init__(self, home: Path, run_as: dict[str, Any]) -> None:
        self.port = free_port()
        self.data = home / f"data-{self.port}"
        self._log = home / f"log-{self.port}"
        self._run_as = run_as
        self._process: subprocess.Popen[bytes] | None = None

    def run(self, program: str, *arguments: str | Path) -> None:
        subprocess.run(
            [binaries() / program, *arguments],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd=self.data.parent,
            **self._run_as,
        )

    def make_cluster(self) -> None:
        self.run("initdb", "-D", self.data, *INITDB, "--auth=trust")

    async def start(self, *settings: str) -> None:
        if self._process is not None:
            self._process.wait(10)  # it was killed
        options = ["-p", str(self.port), "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories="]
        for setting in settings:
            options += ["-c", setting]
        with self._log.open("ab") as log:
            self._process = subprocess.Popen(
                [binaries() / "postgres", "-D", self.data, *options],
                stdout=log,
                stderr=log,
                cwd="/",
                **self._run_as,
            )
        while True:
            assert self._process.poll() is None, self._log.read_text()
            with contextlib.suppress(OSError, asyncpg.PostgresError):
                await self.value("SELECT 1")
                return
            await asyncio.sleep(0.02)

    async def value(self, statement: str) -> Any:
        rows = await self.rows(statement)
        return rows[0][0] if rows else None

    async def rows(self, statement: str) -> list[Any]:
        return await rows_of(self.url, statement)

    @property
    def url(self) -> str:
        return f"postgresql://postgres@127.0.0.1:{self.port}/postgres?sslmode=disable"

    @property
    def pid(self) -> int:
        """Of its postmaster."""
        assert self._process is not None
        return self._process.pid

    def signal(self, number: signal.Signals) -> None:
        """To the postmaster and all its children."""
        postmaster = psutil.Process(self.pid)
        for process in [postmaster, *postmaster.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(number)

    def stop(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self.signal(signal.SIGCONT)
            self._process.send_signal(signal.SIGQUIT)
            self._process.wait(20)


class Replicated:
    """A primary and its standby. What the standby hears of the primary comes over the wire."""

    def __init__(self, primary: Server, standby: Server, wire: Wire) -> None:
        self.primary = primary
        self.standby = standby
        self.wire = wire

    @property
    def url(self) -> str:
        """With both hosts. The standby stands first, so that whoever takes the first host cannot write."""
        hosts = f"127.0.0.1:{self.standby.port},127.0.0.1:{self.primary.port}"
        return f"postgresql://postgres@{hosts}/postgres?sslmode=disable"

    async def promote_standby(self) -> None:
        await self.standby.value("SELECT pg_promote()")


@contextlib.contextmanager
def new_servers() -> Iterator[tuple[Server, Server]]:
    """Two servers to be started, the first with a cluster in it. Stopped and removed at the end."""
    home = Path(tempfile.mkdtemp(prefix="replicated-"))
    run_as: dict[str, Any] = {}
    if os.geteuid() == 0:
        shutil.chown(home, "nobody")
        run_as = {"user": "nobody", "extra_groups": []}
    first, second = Server(home, run_as), Server(home, run_as)
    try:
        first.make_cluster()
        yield first, second
    finally:
        second.stop()
        first.stop()
        shutil.rmtree(home, ignore_errors=True)


@contextlib.asynccontextmanager
async def replicated(*, synchronous: bool = True) -> AsyncIterator[Replicated]:
    """`synchronous`: the primary acknowledges only what the standby has, too."""
    with new_servers() as (primary, standby):
        await primary.start("wal_level=replica", "max_wal_senders=4")
        async with Wire(("127.0.0.1", primary.port)) as wire:
            await asyncio.to_thread(
                standby.run,
                "pg_basebackup", "-h", "127.0.0.1", "-p", str(wire.port), "-U", "postgres", "-D", standby.data,
                "-R", "-X", "stream", "-c", "fast",
            )  # fmt: skip
            await standby.start()
            if synchronous:
                await primary.value("ALTER SYSTEM SET synchronous_standby_names = '*'")
                await primary.value("SELECT pg_reload_conf()")
            wanted = "sync" if synchronous else "async"
            while await primary.value("SELECT sync_state FROM pg_stat_replication") != wanted:
                await asyncio.sleep(0.02)
            yield Replicated(primary, standby, wire)
