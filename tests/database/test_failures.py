"""What the database's failures mean, asked of failures that really happened."""

import asyncio
import contextlib
import os
import signal
import socket
import tempfile
from collections.abc import AsyncIterator, Iterator
from functools import partial
from pathlib import Path
from typing import Any

import asyncpg
import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import create_async_engine

from taskservice.database.embedded import EmbeddedPostgres
from taskservice.database.failures import Failure, classify, describe
from taskservice.settings.database_url import read_database_url
from tests.support.tls import tls_in_front_of

pytestmark = pytest.mark.slow

Connection = Any

FOR_A_WHILE = "select sum(x) from generate_series(1, 20000000) x"


@pytest.fixture(scope="module")
def server() -> Iterator[EmbeddedPostgres]:
    """Of its own: these tests kill it and change who may connect."""
    with tempfile.TemporaryDirectory(prefix="pg-") as name:
        server = EmbeddedPostgres(Path(name), durable=False)
        server.ensure_running()
        yield server
        server.stop()


@pytest.fixture
async def connection(server: EmbeddedPostgres) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(server.url())
    yield connection
    connection.terminate()


@pytest.fixture
async def other(server: EmbeddedPostgres) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(server.url())
    yield connection
    connection.terminate()


@pytest.fixture
async def rescue(server: EmbeddedPostgres) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(server.url(superuser=True))
    yield connection
    connection.terminate()


@pytest.fixture
async def guest_url(server: EmbeddedPostgres, rescue: Connection) -> AsyncIterator[str]:
    """The URL of a role with the password 'right', without its database."""
    rules = server.cluster / "pg_hba.conf"
    before = rules.read_text()
    rules.write_text(f"local taskservice guest scram-sha-256\nlocal missing guest trust\n{before}")
    await rescue.execute("create role guest login password 'right' connection limit 1")
    await rescue.execute("select pg_reload_conf()")
    await asyncio.sleep(0.1)
    yield f"postgresql://guest:right@/taskservice?host={server.cluster}"
    rules.write_text(before)
    await rescue.execute("drop role guest")
    await rescue.execute("select pg_reload_conf()")


async def failure_of(work: Any) -> Exception:
    with pytest.raises(Exception) as caught:  # noqa: PT011 (which one it is, the tests say)
        await asyncio.wait_for(work, 30)
    return caught.value


async def kill(server: EmbeddedPostgres) -> None:
    os.kill(int((server.cluster / "postmaster.pid").read_text().splitlines()[0]), signal.SIGKILL)
    while server.is_running():
        await asyncio.sleep(0.02)


class TestGettingAConnection:
    async def test_a_wrong_password_is_said_plainly_without_it(self, guest_url: str) -> None:
        error = await failure_of(asyncpg.connect(guest_url.replace("right", "hunter2")))
        assert classify(error, connecting=True) is Failure.MISCONFIGURED
        assert describe(error) == (
            'password authentication failed for user "guest" (28P01): check the user and password in DATABASE_URL'
        )

    async def test_a_user_who_is_not_let_in_is_said_plainly(self, guest_url: str) -> None:
        error = await failure_of(asyncpg.connect(guest_url.replace("/taskservice?", "/postgres?")))
        assert classify(error, connecting=True) is Failure.MISCONFIGURED
        assert "(28000): check the user in DATABASE_URL" in describe(error)

    async def test_a_missing_database_is_said_plainly(self, guest_url: str) -> None:
        error = await failure_of(asyncpg.connect(guest_url.replace("/taskservice?", "/missing?")))
        assert classify(error, connecting=True) is Failure.MISCONFIGURED
        assert describe(error).startswith('database "missing" does not exist (3D000): check the name of the database')

    async def test_a_user_without_the_right_to_connect_is_said_plainly(
        self, guest_url: str, rescue: Connection
    ) -> None:
        await rescue.execute("revoke connect on database taskservice from public")
        try:
            error = await failure_of(asyncpg.connect(guest_url))
            assert classify(error, connecting=True) is Failure.MISCONFIGURED
            assert "grant this right to the user of DATABASE_URL" in describe(error)
        finally:
            await rescue.execute("grant connect on database taskservice to public")

    async def test_too_many_connections_is_busy(self, guest_url: str) -> None:
        first = await asyncpg.connect(guest_url)
        error = await failure_of(asyncpg.connect(guest_url))
        first.terminate()
        assert classify(error, connecting=True) is Failure.BUSY

    async def test_a_port_where_nobody_listens_is_disconnected(self) -> None:
        with socket.socket() as taken:
            taken.bind(("127.0.0.1", 0))
            error = await failure_of(asyncpg.connect(f"postgresql://u@127.0.0.1:{taken.getsockname()[1]}/d"))
        assert classify(error, connecting=True) is Failure.DISCONNECTED
        assert "ConnectionRefusedError" in describe(error)

    async def test_a_socket_that_is_not_there_is_disconnected(self, tmp_path: Path) -> None:
        error = await failure_of(asyncpg.connect(f"postgresql://u@/d?host={tmp_path}"))
        assert classify(error, connecting=True) is Failure.DISCONNECTED

    async def test_a_server_that_accepts_and_says_nothing_is_disconnected(self) -> None:
        with socket.create_server(("127.0.0.1", 0)) as silent:
            url = f"postgresql://u@127.0.0.1:{silent.getsockname()[1]}/d"
            error = await failure_of(asyncpg.connect(url, timeout=0.2))
        assert classify(error, connecting=True) is Failure.DISCONNECTED

    @pytest.mark.parametrize("says", [b"", b"HTTP/1.1 400 Bad Request\r\n\r\n"])
    async def test_a_server_that_is_no_postgresql_is_disconnected(self, says: bytes) -> None:
        async def answer(_: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            writer.write(says)
            writer.close()

        server = await asyncio.start_server(answer, "127.0.0.1", 0)
        port = server.sockets[0].getsockname()[1]
        error = await failure_of(asyncpg.connect(f"postgresql://u@127.0.0.1:{port}/d?sslmode=disable", timeout=5))
        server.close()
        assert classify(error, connecting=True) is Failure.DISCONNECTED

    async def test_while_the_server_comes_back_every_attempt_is_disconnected(self, server: EmbeddedPostgres) -> None:
        await kill(server)
        coming = asyncio.create_task(asyncio.to_thread(server.ensure_running))
        seen = set()
        while not coming.done():
            try:
                (await asyncpg.connect(server.url())).terminate()
            except Exception as error:  # noqa: BLE001 (whatever it is)
                seen.add(classify(error, connecting=True))
            await asyncio.sleep(0)
        await coming
        assert seen == {Failure.DISCONNECTED}

    async def test_a_certificate_that_cannot_be_verified_is_said_plainly(
        self, server: EmbeddedPostgres, tmp_path: Path
    ) -> None:
        async with tls_in_front_of(server.cluster / ".s.PGSQL.5432", tmp_path, names=["localhost"]) as port:
            target = read_database_url(f"postgresql://u:hunter2@localhost:{port}/d?sslmode=require")
            error = await failure_of(asyncpg.connect(**target.asyncpg_arguments()))
        assert classify(error, connecting=True) is Failure.MISCONFIGURED
        assert "certificate cannot be verified (self-signed certificate)" in describe(error)
        assert "hunter2" not in describe(error)

    async def test_a_server_without_tls_is_said_plainly(self) -> None:
        async def refuse(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
            await reader.readexactly(8)
            writer.write(b"N")
            await reader.read()
            writer.close()

        server = await asyncio.start_server(refuse, "127.0.0.1", 0)
        target = read_database_url(f"postgresql://u@127.0.0.1:{server.sockets[0].getsockname()[1]}/d?sslmode=require")
        error = await failure_of(asyncpg.connect(**target.asyncpg_arguments()))
        server.close()
        assert classify(error, connecting=True) is Failure.MISCONFIGURED
        assert "does not offer TLS" in describe(error)

    async def test_a_refusal_in_words_of_a_proxy_is_disconnected_only_while_connecting(
        self, connection: Connection
    ) -> None:
        error = await failure_of(
            connection.execute("do $$ begin raise exception 'compute' using errcode='XX000'; end $$")
        )
        assert classify(error, connecting=True) is Failure.DISCONNECTED
        assert classify(error) is None

    async def test_an_embedded_server_that_cannot_run_is_said_plainly_in_one_line(self, tmp_path: Path) -> None:
        (tmp_path / "file").write_text("")
        error = await failure_of(asyncio.to_thread(EmbeddedPostgres(tmp_path / "file").ensure_running))
        assert classify(error) is Failure.MISCONFIGURED
        assert describe(error) == str(error)
        assert "\n" not in str(error)


class TestAtAStatement:
    async def test_an_ended_backend_is_disconnected_at_once_and_afterwards(
        self, connection: Connection, other: Connection
    ) -> None:
        asking = asyncio.create_task(connection.fetch(FOR_A_WHILE))
        await asyncio.sleep(0.2)
        await other.execute(f"select pg_terminate_backend({connection.get_server_pid()})")
        assert classify(await failure_of(asking)) is Failure.DISCONNECTED
        assert classify(await failure_of(connection.fetch("select 1"))) is Failure.DISCONNECTED

    async def test_an_idle_backend_that_was_ended_is_disconnected(
        self, connection: Connection, other: Connection
    ) -> None:
        await other.execute(f"select pg_terminate_backend({connection.get_server_pid()})")
        assert classify(await failure_of(connection.fetch("select 1"))) is Failure.DISCONNECTED

    async def test_a_server_killed_in_the_middle_is_disconnected(
        self, connection: Connection, server: EmbeddedPostgres
    ) -> None:
        asking = asyncio.create_task(connection.fetch("select pg_sleep(20)"))
        await asyncio.sleep(0.2)
        await kill(server)
        error = await failure_of(asking)
        await asyncio.to_thread(server.ensure_running)
        assert classify(error) is Failure.DISCONNECTED

    async def test_a_server_shut_down_in_the_middle_is_disconnected(
        self, connection: Connection, server: EmbeddedPostgres
    ) -> None:
        asking = asyncio.create_task(connection.fetch("select pg_sleep(20)"))
        await asyncio.sleep(0.2)
        await asyncio.to_thread(server.stop)
        error = await failure_of(asking)
        await asyncio.to_thread(server.ensure_running)
        assert classify(error) is Failure.DISCONNECTED

    @pytest.mark.parametrize("setting", ["idle_in_transaction_session_timeout", "transaction_timeout"])
    async def test_a_transaction_left_alone_for_too_long_is_disconnected(
        self, connection: Connection, setting: str
    ) -> None:
        await connection.execute(f"set {setting} = 50")
        await connection.execute("begin")
        await asyncio.sleep(0.3)
        assert classify(await failure_of(connection.fetch("select 1"))) is Failure.DISCONNECTED

    async def test_a_server_that_only_reads_is_disconnected(self, connection: Connection) -> None:
        await connection.execute("set default_transaction_read_only = on")
        assert classify(await failure_of(connection.execute("create table t (x int)"))) is Failure.DISCONNECTED

    async def test_a_statement_over_its_time_is_slow(self, connection: Connection) -> None:
        await connection.execute("set statement_timeout = 50")
        assert classify(await failure_of(connection.fetch("select pg_sleep(5)"))) is Failure.SLOW

    async def test_a_lock_that_is_not_given_is_slow(self, connection: Connection, other: Connection) -> None:
        await connection.execute("select pg_advisory_lock(1)")
        await other.execute("set lock_timeout = 50")
        assert classify(await failure_of(other.execute("select pg_advisory_lock(1)"))) is Failure.SLOW

    async def test_an_answer_that_does_not_come_is_slow(self, connection: Connection) -> None:
        assert classify(await failure_of(connection.fetch("select pg_sleep(5)", timeout=0.05))) is Failure.SLOW

    async def test_a_server_out_of_room_is_busy(self, rescue: Connection) -> None:
        await rescue.execute("set temp_file_limit = '100kB'; set work_mem = '64kB'")
        error = await failure_of(rescue.fetch("select x from generate_series(1, 100000) x order by random()"))
        assert classify(error) is Failure.BUSY

    async def test_a_deadlock_is_transient(self, connection: Connection, other: Connection) -> None:
        for one, number in ((connection, 1), (other, 2)):
            await one.execute("begin")
            await one.execute(f"select pg_advisory_xact_lock({number})")
        results = await asyncio.gather(
            connection.execute("select pg_advisory_xact_lock(2)"),
            other.execute("select pg_advisory_xact_lock(1)"),
            return_exceptions=True,
        )
        [error] = [result for result in results if isinstance(result, Exception)]
        assert classify(error) is Failure.TRANSIENT

    async def test_a_serialization_failure_is_transient(self, connection: Connection, other: Connection) -> None:
        await connection.execute("create table numbers as select 1 as x")
        try:
            await connection.execute("begin isolation level serializable; select * from numbers")
            await other.execute("update numbers set x = 2")
            error = await failure_of(connection.execute("update numbers set x = 3"))
        finally:
            await connection.execute("rollback; drop table numbers")
        assert classify(error) is Failure.TRANSIENT

    async def test_a_plan_that_a_migration_made_stale_is_transient(
        self, connection: Connection, other: Connection
    ) -> None:
        await connection.execute("create table widening (x int)")
        try:
            await connection.fetch("select * from widening")
            await other.execute("alter table widening add column y int")
            await connection.execute("begin")
            error = await failure_of(connection.fetch("select * from widening"))
        finally:
            await connection.execute("rollback; drop table widening")
        assert classify(error) is Failure.TRANSIENT

    async def test_a_lost_prepared_statement_points_at_the_pooler(self, connection: Connection) -> None:
        error = await failure_of(connection.execute("execute never_prepared"))
        assert classify(error) is Failure.MISCONFIGURED
        assert "set TASKSERVICE_DATABASE_POOLER=true" in describe(error)

    @pytest.mark.parametrize(
        "statement",
        ["select 1/0", "select nonsense", "select 'x'::int", "do $$ begin assert false; end $$",
         "create temp table t (x int unique); insert into t values (1), (1)",
         "create temp table t (x int check (x > 0)); insert into t values (0)"],
    )  # fmt: skip
    async def test_what_is_wrong_with_the_statement_is_no_failure_of_the_database(
        self, connection: Connection, statement: str
    ) -> None:
        assert classify(await failure_of(connection.execute(statement))) is None

    async def test_a_wrong_use_of_the_driver_is_no_failure_of_the_database(self, connection: Connection) -> None:
        both = await asyncio.gather(connection.fetch("select 1"), connection.fetch("select 1"), return_exceptions=True)
        [error] = [result for result in both if isinstance(result, Exception)]
        assert classify(error) is None
        assert classify(ValueError("nothing to do with it")) is None
        assert classify(asyncio.CancelledError()) is None


class TestThroughSqlalchemy:
    async def test_what_asyncpg_said_decides(self, server: EmbeddedPostgres) -> None:
        target = read_database_url(server.url())
        engine = create_async_engine(
            "postgresql+asyncpg://",
            async_creator=partial(asyncpg.connect, **target.asyncpg_arguments()),
            pool_size=1,
            max_overflow=0,
            pool_timeout=0.1,
        )
        async with engine.connect() as connection:
            await connection.execute(sa.text("set statement_timeout = 50"))
            slow = await failure_of(connection.execute(sa.text("select pg_sleep(5), :it"), {"it": "hunter2"}))
            busy = await failure_of(engine.connect().start())
            with contextlib.suppress(sa.exc.DBAPIError):
                await connection.rollback()
            wrong = await failure_of(connection.execute(sa.text("select * from nothing_of_the_kind")))
            with contextlib.suppress(sa.exc.DBAPIError):
                await connection.rollback()
            await kill(server)
            gone = await failure_of(connection.execute(sa.text("select 1")))
        refused = await failure_of(engine.connect().start())
        await engine.dispose()
        await asyncio.to_thread(server.ensure_running)
        assert [classify(error) for error in (slow, busy, wrong, gone, refused)] == [
            Failure.SLOW, Failure.BUSY, None, Failure.DISCONNECTED, Failure.DISCONNECTED,
        ]  # fmt: skip
        assert "hunter2" not in describe(slow)
        assert "pg_sleep" not in describe(slow)
        assert "statement timeout" in describe(slow)
