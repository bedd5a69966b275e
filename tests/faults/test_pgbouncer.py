"""PgBouncer 1.18 in transaction mode, announced or not, with a database behind it that comes and goes."""

import asyncio
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

import pytest

from bench.http import request
from bench.processes import free_port
from bench.reliability.database import KillablePostgres, running_pgbouncer, url_through, wired
from bench.reliability.program import Program, running_program
from bench.reliability.wire import Wire
from bench.tokens import SECRET
from tests.support.commands import Operator

pytestmark = [pytest.mark.usefixtures("pgbouncer"), pytest.mark.timing]

IGNORED = "ignore_startup_parameters = statement_timeout, lock_timeout, idle_in_transaction_session_timeout"


@asynccontextmanager
async def behind_announced_pooler(wire: Wire, port: int) -> AsyncIterator[Program]:
    """The service behind a pooler that its settings tell of, and of the way around it."""
    async with (
        running_pgbouncer(wire.port, port),
        running_program(
            database_url=url_through(port),
            database_direct_url=url_through(wire.port),
            taskservice_database_pooler="true",
        ) as program,
    ):
        yield program


@pytest.mark.parametrize("further", ["", IGNORED], ids=["refuses session settings", "drops session settings"])
async def test_a_pooler_that_nobody_announced_is_noticed(postgres: KillablePostgres, further: str) -> None:
    port = free_port()
    async with (
        wired(postgres) as wire,
        running_pgbouncer(wire.port, port, further=further),
        running_program(database_url=url_through(wire.port)),
        running_program(database_url=url_through(port)) as program,
    ):
        assert "connections seem to go through a transaction-mode pooler" in program.log

        async def ask(user: str) -> None:
            for number in range(20):
                await program.once(request("POST", "/api/tasks", user, {"title": f"{user} {number}"}))
                answer = await program.once(request("GET", "/api/tasks?limit=1&sort=-created", user))
                assert answer.status == 200
                assert f"{user} {number}".encode() in answer.body

        await asyncio.gather(*(ask(f"{port}-{number}") for number in range(20)))


async def test_migrations_go_around_the_pooler(postgres: KillablePostgres) -> None:
    port = free_port()
    await postgres.execute("CREATE DATABASE fresh OWNER taskservice", superuser=True)
    async with (
        wired(postgres) as wire,
        running_pgbouncer(wire.port, port),
        running_program(
            database_url=url_through(port).replace("/taskservice?", "/fresh?"),
            database_direct_url=url_through(wire.port).replace("/taskservice?", "/fresh?"),
            taskservice_database_pooler="true",
        ) as program,
    ):
        assert (await program.once(request("POST", "/api/tasks", "fresh", {"title": "x"}))).status == 201


async def test_a_pooler_without_a_known_way_around_it_says_what_to_set(postgres: KillablePostgres) -> None:
    port = free_port()
    await postgres.execute("CREATE DATABASE unmigrated OWNER taskservice", superuser=True)
    async with (
        wired(postgres) as wire,
        running_pgbouncer(wire.port, port),
        running_program(
            ready=False,
            database_url=url_through(port).replace("/taskservice?", "/unmigrated?"),
            taskservice_database_pooler="true",
        ) as program,
    ):
        await program.ready(path="/health/live")
        await asyncio.sleep(1.5)
        assert program.log.count("DATABASE_DIRECT_URL: set it; migrations cannot run") == 1


async def test_a_database_that_goes_away_behind_the_pooler_is_503_and_heals(postgres: KillablePostgres) -> None:
    port = free_port()
    read = request("GET", "/api/tasks", "behind")
    async with wired(postgres) as wire, behind_announced_pooler(wire, port) as program:
        assert (await program.once(read)).status == 200
        wire.cut()
        began = time.monotonic()
        answers = await asyncio.gather(*(program.once(read) for _ in range(20)))
        assert {answer.status for answer in answers} == {503}
        assert time.monotonic() - began < 6
        await wire.mend()
        began = time.monotonic()
        while (await program.once(read)).status != 200:
            # PgBouncer itself tries again only every second (`server_login_retry`).
            assert time.monotonic() - began < 3
            await asyncio.sleep(0.02)


async def test_purges_go_through_the_pooler_side_by_side_with_requests(
    postgres: KillablePostgres, tmp_path: Path
) -> None:
    port = free_port()
    operator = Operator(tmp_path, DATABASE_URL=url_through(port), BETTER_AUTH_SECRET=SECRET)
    operator.environment["TASKSERVICE_DATABASE_POOLER"] = "true"
    async with wired(postgres) as wire, behind_announced_pooler(wire, port) as program:
        await program.once(request("POST", "/api/tasks", "hoarder", {"title": "live"}))
        await postgres.execute(
            "INSERT INTO tasks (id, user_id, title, revision, deleted_at) SELECT gen_random_uuid(), 'hoarder', 'x', n, "
            "now() - interval '40 days' FROM generate_series(2, 20001) n",
            "UPDATE users SET revision = 20001 WHERE id = 'hoarder'",
        )
        purges = [asyncio.to_thread(operator.litestar, "purge") for _ in range(3)]
        waiting = asyncio.gather(*purges)
        while not waiting.done():
            reads = [program.once(request("GET", "/api/tasks", f"reader-{number}")) for number in range(20)]
            assert {answer.status for answer in await asyncio.gather(*reads)} == {200}
        outcomes = await waiting
        assert {(outcome.code, outcome.err) for outcome in outcomes} == {(0, "")}
        assert sum(int(outcome.out.split()[1].replace(",", "")) for outcome in outcomes) == 20_000


async def test_a_write_that_was_refused_at_the_deadline_does_not_land_later(postgres: KillablePostgres) -> None:
    """It waits for its user's row; then nothing reaches the pooler any more, neither a COMMIT nor a cancellation."""
    port = free_port()
    async with wired(postgres) as wire, running_pgbouncer(wire.port, port), Wire(("127.0.0.1", port)) as outer:
        async with (
            running_program(
                database_url=url_through(outer.port),
                database_direct_url=url_through(wire.port),
                taskservice_database_pooler="true",
                taskservice_database_deadline="1",
            ) as program,
            postgres.connection() as holder,
        ):
            assert (await program.once(request("POST", "/api/tasks", "late", {"title": "in time"}))).status == 201
            lock = holder.transaction()
            await lock.start()
            await holder.execute("SELECT FROM users WHERE id = 'late' FOR UPDATE")
            writing = asyncio.create_task(program.once(request("POST", "/api/tasks", "late", {"title": "late"})))
            await asyncio.sleep(0.3)
            outer.silence()
            assert (await writing).status == 503
            # The server itself has ended what nobody waits for, so that it holds up nobody else.
            assert await holder.fetch("SELECT FROM pg_stat_activity WHERE wait_event_type = 'Lock'") == []
            await lock.rollback()
            await asyncio.sleep(0.3)
            await outer.mend()
        titles = await postgres.rows("SELECT title FROM tasks WHERE user_id = 'late'")
        assert [row["title"] for row in titles] == ["in time"]
