"""One throw-away PostgreSQL for a measurement: the wheel's binaries, a temporary directory, a free port of loopback."""

import asyncio
import os
import pwd
import shutil
import signal
import subprocess
import tempfile
import time
from collections.abc import AsyncIterator, Iterator, Sequence
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any

import asyncpg
import psutil

from bench.processes import free_port
from taskservice.database.account import Account
from taskservice.database.embedded import NEW_CLUSTERS_ARE
from taskservice.database.programs import binaries_of

PASSWORD = "bench"

# Durable as shipped (fsync and synchronous_commit stay on). Autovacuum is off because it would run in the middle of
# one candidate's turn and not of another's; the tables are vacuumed between turns instead.
INITDB = ("-U", "postgres", "-A", "scram-sha-256", "--locale", "C", "--encoding", "UTF8", "--no-sync")
SETTINGS = {
    "listen_addresses": "127.0.0.1",
    "unix_socket_directories": "",
    "max_connections": "150",
    "shared_buffers": "512MB",
    "max_wal_size": "8GB",
    "checkpoint_timeout": "30min",
    "maintenance_work_mem": "512MB",
    "autovacuum": "off",
    "timezone": "UTC",
}


class Postgres:
    """A running server. `url` is for programs, `execute` and `connection` are for the bench itself."""

    def __init__(self, port: int, process: psutil.Process, version: str) -> None:
        self.port = port
        self.process = process
        self.version = version

    def url(self, database: str) -> str:
        return f"postgresql://postgres:{PASSWORD}@127.0.0.1:{self.port}/{database}?sslmode=disable"

    @asynccontextmanager
    async def connection(self, database: str = "postgres") -> AsyncIterator[Any]:
        connection = await asyncpg.connect(self.url(database), command_timeout=1800)
        try:
            yield connection
        finally:
            await connection.close()

    def execute(self, database: str, statements: Sequence[str]) -> None:
        """Run statements one after the other, each on its own: some, like VACUUM, refuse a transaction."""

        async def run() -> None:
            async with self.connection(database) as connection:
                for statement in statements:
                    await connection.execute(statement)

        asyncio.run(run())

    def fetch(self, database: str, statement: str, *arguments: object) -> list[Any]:
        async def run() -> list[Any]:
            async with self.connection(database) as connection:
                rows: list[Any] = await connection.fetch(statement, *arguments)
                return rows

        return asyncio.run(run())

    def backend_seconds(self) -> float:
        """CPU time so far of the server's processes, and of those that have ended: some pools let connections go."""
        ended = self.process.cpu_times()
        total: float = ended.children_user + ended.children_system
        for child in self.process.children():
            try:
                times = child.cpu_times()
            except psutil.NoSuchProcess:
                continue
            total += times.user + times.system
        return total


def binaries() -> Path:
    """The wheel's programs. `nobody` runs them under root: a copy, if only root can enter their directory."""
    account = Account(os.geteuid(), os.getegid())
    if os.geteuid() == 0:
        nobody = pwd.getpwnam("nobody")
        account = Account(nobody.pw_uid, nobody.pw_gid)
    return account.programs(binaries_of(NEW_CLUSTERS_ARE))


@contextmanager
def running_postgres() -> Iterator[Postgres]:
    """Start a server, and take it and its files away at the end, also after an error."""
    home = Path(tempfile.mkdtemp(prefix="bench-pg-"))
    data = home / "data"
    data.mkdir()
    # PostgreSQL refuses to run as root, and bench machines in containers usually are.
    run_as: dict[str, Any] = {}
    if os.geteuid() == 0:
        home.chmod(0o711)
        shutil.chown(data, "nobody")
        run_as = {"user": "nobody", "extra_groups": []}
    password = home / "password"
    password.write_text(PASSWORD)
    password.chmod(0o644)
    programs = binaries()
    server: subprocess.Popen[bytes] | None = None
    try:
        subprocess.run(
            [programs / "initdb", "-D", data, *INITDB, "--pwfile", password],
            check=True,
            stdout=subprocess.DEVNULL,
            cwd="/",
            **run_as,
        )
        port = free_port()
        options = [part for name, value in SETTINGS.items() for part in ("-c", f"{name}={value}")]
        with (home / "server.log").open("wb") as log:
            server = subprocess.Popen(
                [programs / "postgres", "-D", data, "-p", str(port), *options],
                stdout=log,
                stderr=log,
                cwd="/",
                **run_as,
            )
        version = asyncio.run(_wait_until_it_answers(port))
        yield Postgres(port, psutil.Process(server.pid), version)
    finally:
        if server is not None:
            server.terminate()
            try:
                server.wait(5)
            except subprocess.TimeoutExpired:
                server.send_signal(signal.SIGQUIT)  # at once, with all backends: the data is thrown away
                server.wait(10)
        shutil.rmtree(home, ignore_errors=True)


async def _wait_until_it_answers(port: int) -> str:
    deadline = time.monotonic() + 30
    while True:
        try:
            connection = await asyncpg.connect(
                host="127.0.0.1", port=port, user="postgres", password=PASSWORD, database="postgres", ssl=False
            )
        except (OSError, asyncpg.PostgresError):
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.05)
            continue
        try:
            return str(await connection.fetchval("SHOW server_version"))
        finally:
            await connection.close()


async def rows_of(url: str, statement: str) -> list[Any]:
    """What one statement finds, through a connection of its own."""
    connection = await asyncpg.connect(url, timeout=5)
    try:
        rows: list[Any] = await connection.fetch(statement)
        return rows
    finally:
        await connection.close()
