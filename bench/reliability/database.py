"""A PostgreSQL that may be killed, behind a wire that may be cut."""

import asyncio
import contextlib
import os
import shutil
import signal
import tempfile
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, unquote, urlsplit

import asyncpg
import psutil

from bench.reliability.wire import Wire
from taskservice.database.embedded import EmbeddedPostgres


class KillablePostgres:
    def __init__(self, directory: Path) -> None:
        # Durable as an operator's: what is acknowledged is on the disk.
        self._server = EmbeddedPostgres(directory)
        self._server.ensure_running()

    @property
    def socket(self) -> Path:
        return Path(unquote(parse_qs(urlsplit(self.url).query)["host"][0])) / ".s.PGSQL.5432"

    @property
    def url(self) -> str:
        """Of the service's database."""
        return self._server.url()

    def postmaster(self) -> psutil.Process:
        return psutil.Process(int((self._server.cluster / "postmaster.pid").read_text().split()[0]))

    def kill(self) -> None:
        """kill -9, the postmaster and all its children."""
        postmaster = self.postmaster()
        for process in [postmaster, *postmaster.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.send_signal(signal.SIGKILL)

    async def start(self) -> None:
        await asyncio.to_thread(self._server.ensure_running)

    async def stop(self) -> None:
        await asyncio.to_thread(self._server.stop)

    @contextlib.asynccontextmanager
    async def connection(self, database: str = "taskservice", *, superuser: bool = False) -> AsyncIterator[Any]:
        """Straight to it, past the wire."""
        connection = await asyncpg.connect(self._server.url(database, superuser=superuser))
        try:
            yield connection
        finally:
            await connection.close()

    async def execute(self, *statements: str, superuser: bool = False) -> None:
        async with self.connection(superuser=superuser) as connection:
            for statement in statements:
                await connection.execute(statement)

    async def rows(self, statement: str, *arguments: Any) -> list[Any]:
        async with self.connection() as connection:
            rows: list[Any] = await connection.fetch(statement, *arguments)
            return rows


@contextlib.asynccontextmanager
async def running_postgres() -> AsyncIterator[KillablePostgres]:
    # Not below a longer path: a socket's may have 107 characters only.
    home = Path(tempfile.mkdtemp(prefix="faults-"))
    postgres = await asyncio.to_thread(KillablePostgres, home)
    try:
        yield postgres
    finally:
        await postgres.stop()
        await asyncio.to_thread(shutil.rmtree, home, ignore_errors=True)


@contextlib.asynccontextmanager
async def wired(postgres: KillablePostgres) -> AsyncIterator[Wire]:
    async with Wire(postgres.socket) as wire:
        yield wire


def url_through(port: int, options: str = "sslmode=disable") -> str:
    return f"postgresql://taskservice@127.0.0.1:{port}/taskservice?{options}"


POOL_MODE_TRANSACTION = """
[databases]
* = host=127.0.0.1 port={server_port} user=taskservice
[pgbouncer]
listen_addr = 127.0.0.1
listen_port = {port}
unix_socket_dir =
auth_type = any
pool_mode = transaction
default_pool_size = {size}
max_client_conn = 500
query_wait_timeout = 3
server_login_retry = 1
logfile = {home}/log
{further}
"""


@contextlib.asynccontextmanager
async def running_pgbouncer(server_port: int, port: int, *, size: int = 5, further: str = "") -> AsyncIterator[None]:
    """Debian's, in transaction mode: few server connections that are handed to many clients in turn."""
    home = Path(tempfile.mkdtemp(prefix="bouncer-"))
    settings = home / "pgbouncer.ini"
    settings.write_text(
        POOL_MODE_TRANSACTION.format(server_port=server_port, port=port, size=size, home=home, further=further)
    )
    run_as: dict[str, Any] = {}
    if os.geteuid() == 0:  # which it refuses
        shutil.chown(home, "nobody")
        shutil.chown(settings, "nobody")
        run_as = {"user": "nobody", "extra_groups": []}
    program = shutil.which("pgbouncer", path=f"{os.environ.get('PATH', '')}:/usr/sbin")
    assert program is not None, "pgbouncer is not installed"
    process: asyncio.subprocess.Process | None = None
    try:
        async with asyncio.timeout(30):
            # Another connection may have the port for a moment.
            while (process := await _started(program, settings, port, run_as)) is None:
                await asyncio.sleep(0.2)
        yield
        assert process.returncode is None, (home / "log").read_text()
        process.terminate()
        await process.wait()
    finally:
        if process is not None and process.returncode is None:
            process.kill()
            await process.wait()
        shutil.rmtree(home, ignore_errors=True)


async def _started(
    program: str, settings: Path, port: int, run_as: dict[str, Any]
) -> asyncio.subprocess.Process | None:
    """Once it listens; None if it ended instead."""
    process = await asyncio.create_subprocess_exec(
        program, "-q", str(settings), cwd="/", stderr=asyncio.subprocess.DEVNULL, **run_as
    )
    while process.returncode is None:
        with contextlib.suppress(OSError):
            _, writer = await asyncio.open_connection("127.0.0.1", port)
            writer.close()
            await asyncio.sleep(0.05)  # else it may be another's that listens there
            return process if process.returncode is None else None
        await asyncio.sleep(0.02)
    return None
