"""A standby of the fleet's PostgreSQL, from which two of its processes read."""

import asyncio
import contextlib
import os
import shutil
import signal
import subprocess
from pathlib import Path
from typing import Any, Final

import asyncpg
import psutil

from bench.processes import free_port
from taskservice.database.embedded import SERVICE_ROLE, SUPERUSER

PRIMARY_SETTINGS: Final = ("-c", "wal_level=replica", "-c", "max_wal_senders=4")
_STANDBY_SETTINGS: Final = (*PRIMARY_SETTINGS, "-c", "listen_addresses=127.0.0.1", "-c", "unix_socket_directories=",
                            "-c", "wal_retrieve_retry_interval=500ms")  # fmt: skip


def let_standbys_in(cluster: Path) -> None:
    """The embedded server has no use for them."""
    with (cluster / "pg_hba.conf").open("a") as rules:
        rules.write("local replication all trust\nhost all all 127.0.0.1/32 trust\n")


class Standby:
    """Made of a running primary, whose programs, account and clock it takes."""

    def __init__(self, directory: Path, primary: psutil.Process, primary_port: int, run_as: dict[str, Any]) -> None:
        self.port = free_port()
        self._data = directory / "standby"
        self._programs = Path(primary.exe()).parent
        self._environment = primary.environ()
        self._primary_port = str(primary_port)
        self._run_as = run_as
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        return f"postgresql://{SERVICE_ROLE}@127.0.0.1:{self.port}/taskservice?sslmode=disable"

    async def copy(self) -> None:
        self._data.mkdir(mode=0o700)
        if os.geteuid() == 0:
            os.chown(self._data, self._run_as["user"], self._run_as["group"])
        backup = await asyncio.create_subprocess_exec(
            self._programs / "pg_basebackup", "-h", "127.0.0.1", "-p", self._primary_port, "-U", SUPERUSER,
            "-D", self._data, "-R", "-X", "stream", "-c", "fast", cwd="/", env=self._environment,
            stderr=asyncio.subprocess.DEVNULL, **self._run_as,
        )  # fmt: skip
        assert await backup.wait() == 0

    async def start(self) -> None:
        with (self._data.parent / "standby.log").open("ab") as log:
            self._process = subprocess.Popen(
                [self._programs / "postgres", "-D", self._data, "-p", str(self.port), *_STANDBY_SETTINGS],
                cwd="/", env=self._environment, stdout=log, stderr=log, **self._run_as,
            )  # fmt: skip
        async with asyncio.timeout(60):
            while True:
                with contextlib.suppress(OSError, asyncpg.PostgresError):
                    return await self.execute("SELECT 1")
                await asyncio.sleep(0.05)

    async def execute(self, statement: str) -> None:
        connection = await asyncpg.connect(self.url.replace(f"//{SERVICE_ROLE}@", f"//{SUPERUSER}@"), timeout=10)
        try:
            await connection.execute(statement)
        finally:
            await connection.close()

    def kill(self) -> None:
        """kill -9, the postmaster and all its children."""
        assert self._process is not None
        postmaster = psutil.Process(self._process.pid)
        for process in [postmaster, *postmaster.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        self._process.wait(10)

    async def close(self) -> None:
        if self._process is not None and self._process.poll() is None:
            self._process.send_signal(signal.SIGQUIT)
            await asyncio.to_thread(self._process.wait, 20)
        shutil.rmtree(self._data, ignore_errors=True)
