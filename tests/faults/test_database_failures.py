"""Every way in which PostgreSQL fails a statement or a connection, and what a client sees of it."""

import asyncio
import time
from collections import Counter
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import pytest

from bench.http import Answer, request
from bench.reliability.database import KillablePostgres, url_through
from bench.reliability.program import Program, running_program
from bench.reliability.wire import Wire
from tests.faults.conftest import QUICK_DEADLINE

pytestmark = pytest.mark.timing

ANSWERED_WITHIN = QUICK_DEADLINE + 1


def write(user: str, title: str = "task", **headers: str) -> bytes:
    return request("POST", "/api/tasks", user, {"title": title}, headers)


def read(user: str) -> bytes:
    return request("GET", "/api/tasks", user)


async def healed(program: Program, raw: bytes, status: int) -> float:
    began = time.monotonic()
    while (await program.once(raw)).status != status:
        assert time.monotonic() - began < 10
        await asyncio.sleep(0.02)
    return time.monotonic() - began


def is_unavailable(answer: Answer) -> bool:
    return (
        answer.status == 503
        and int(answer.headers["retry-after"]) > 0
        and answer.headers["content-type"] == "application/problem+json"
        and b"SQL" not in answer.body
    )


async def end_connections(postgres: KillablePostgres) -> None:
    await postgres.execute(
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE usename = 'taskservice' AND "
        "pid <> pg_backend_pid()",
        superuser=True,
    )


@asynccontextmanager
async def every_insert(postgres: KillablePostgres, does: str) -> AsyncIterator[None]:
    """While inside, inserting a task does this in PL/pgSQL first."""
    await postgres.execute(
        f"CREATE FUNCTION trouble() RETURNS trigger LANGUAGE plpgsql AS $$ BEGIN {does}; RETURN NEW; END $$",
        "CREATE TRIGGER trouble BEFORE INSERT ON tasks FOR EACH ROW EXECUTE FUNCTION trouble()",
    )
    try:
        yield
    finally:
        await postgres.execute("DROP TRIGGER trouble ON tasks", "DROP FUNCTION trouble")


@pytest.mark.parametrize(
    "sqlstate",
    ["53100", "53200", "57014", "55P03", "25006", "40001", "40P01", "58030", "57P01", "08006"],
    ids=[
        "disk full", "out of memory", "statement timeout", "lock timeout", "read-only", "serialization failure",
        "deadlock", "input/output error", "admin shutdown", "connection failure",
    ],
)  # fmt: skip
async def test_a_statement_that_the_server_cannot_carry_out_is_503(
    postgres: KillablePostgres, program: Program, sqlstate: str
) -> None:
    async with every_insert(postgres, f"RAISE EXCEPTION 'trouble' USING ERRCODE = '{sqlstate}'"):
        answer = await program.once(write("failing"))
    assert is_unavailable(answer)
    assert (await program.once(write("failing"))).status == 201


async def test_a_transaction_that_was_undone_for_another_one_is_tried_again(
    postgres: KillablePostgres, program: Program
) -> None:
    await postgres.execute("CREATE SEQUENCE attempts")
    twice = "IF nextval('attempts') <= 2 THEN RAISE EXCEPTION 'again' USING ERRCODE = '40001'; END IF"
    async with every_insert(postgres, twice):
        answer = await program.once(write("tried-again"))
    assert answer.status == 201
    assert len(await postgres.rows("SELECT FROM tasks WHERE user_id = 'tried-again'")) == 1


async def test_a_statement_that_takes_too_long_is_given_up_and_stopped_on_the_server(
    postgres: KillablePostgres, program: Program
) -> None:
    async with every_insert(postgres, "PERFORM pg_sleep(30)"):
        began = time.monotonic()
        answer = await program.once(write("slow"))
        took = time.monotonic() - began
        await asyncio.sleep(0.2)
        running = await postgres.rows("SELECT FROM pg_stat_activity WHERE wait_event = 'PgSleep'")
    assert is_unavailable(answer)
    assert took < ANSWERED_WITHIN
    assert not running


async def test_a_lock_that_somebody_holds_is_not_waited_for_for_ever(
    postgres: KillablePostgres, program: Program
) -> None:
    assert (await program.once(write("locked"))).status == 201
    async with postgres.connection() as holder, holder.transaction():
        await holder.execute("SELECT FROM users WHERE id = 'locked' FOR UPDATE")
        began = time.monotonic()
        answer = await program.once(write("locked"))
        took = time.monotonic() - began
        others = await program.once(write("not-locked"))
    assert is_unavailable(answer)
    assert took < ANSWERED_WITHIN
    assert others.status == 201


async def test_connections_that_ended_while_idle_are_replaced_without_an_error(
    postgres: KillablePostgres, program: Program
) -> None:
    for _ in range(5):
        await asyncio.gather(*(program.once(read("idle")) for _ in range(8)))
        await end_connections(postgres)
        await asyncio.sleep(0.2)  # a write that is under way when its connection ends is another matter
        answers = [
            await program.once(raw) for raw in (write("idle"), read("idle"), write("idle", **{"Idempotency-Key": "k"}))
        ]
        assert all(answer.status in (200, 201) for answer in answers)


async def test_connections_that_broke_unheard_while_idle_are_found_before_they_are_used(
    program: Program, wire: Wire
) -> None:
    """What a NAT or a proxy in between does to a connection that is quiet for minutes."""
    await asyncio.gather(*(program.once(read("quiet")) for _ in range(8)))
    wire.reset()
    answers = await asyncio.gather(*(program.once(write(f"quiet-{number}")) for number in range(8)))
    assert all(answer.status == 201 for answer in answers)


async def test_too_many_connections_are_503_and_soon_over(postgres: KillablePostgres, program: Program) -> None:
    try:
        await postgres.execute("ALTER ROLE taskservice CONNECTION LIMIT 0", superuser=True)
        await end_connections(postgres)
        answers = await asyncio.gather(*(program.once(read("crowded")) for _ in range(8)))
    finally:
        await postgres.execute("ALTER ROLE taskservice CONNECTION LIMIT -1", superuser=True)
    assert all(is_unavailable(answer) for answer in answers)
    assert await healed(program, write("crowded"), 201) < 1


async def test_a_role_that_may_not_log_in_is_said_once_and_plainly(
    postgres: KillablePostgres, program: Program
) -> None:
    before = program.log.count("ERROR   no connection")
    try:
        await postgres.execute("ALTER ROLE taskservice NOLOGIN", superuser=True)
        await end_connections(postgres)
        answers = await asyncio.gather(*(program.once(read("locked-out")) for _ in range(20)))
        await asyncio.sleep(1.2)
    finally:
        await postgres.execute("ALTER ROLE taskservice LOGIN", superuser=True)
    assert all(is_unavailable(answer) for answer in answers)
    assert program.log.count("ERROR   no connection") == before + 1
    assert "(28000): check the user in DATABASE_URL" in program.log
    assert await healed(program, write("locked-out"), 201) < 1


async def test_a_standby_that_takes_over_read_only_answers_reads(postgres: KillablePostgres, program: Program) -> None:
    try:
        await postgres.execute("ALTER ROLE taskservice SET default_transaction_read_only = on", superuser=True)
        await end_connections(postgres)
        reading, writing = await program.once(read("standby")), await program.once(write("standby"))
    finally:
        await postgres.execute("ALTER ROLE taskservice RESET default_transaction_read_only", superuser=True)
        await end_connections(postgres)
    assert reading.status == 200
    assert is_unavailable(writing)
    assert await healed(program, write("standby"), 201) < 1


async def test_a_full_pool_sheds_load_and_goes_on_serving(postgres: KillablePostgres, program: Program) -> None:
    slow = "IF NEW.title = 'slow' THEN PERFORM pg_sleep(0.2); END IF"
    async with every_insert(postgres, slow):
        began = time.monotonic()
        crowd = asyncio.gather(*(program.once(write(f"slow-{number}", "slow")) for number in range(100)))
        answers = Counter(answer.status for answer in await crowd)
        took = time.monotonic() - began
    assert set(answers) == {201, 503}
    assert answers[201] >= 8
    assert took < ANSWERED_WITHIN + 1
    assert (await program.once(write("after-the-crowd"))).status == 201


async def test_no_more_connections_are_opened_than_the_setting_allows(
    postgres: KillablePostgres, program: Program
) -> None:
    most = 0

    async def watch() -> None:
        nonlocal most
        while True:
            rows = await postgres.rows(
                "SELECT count(*) FROM pg_stat_activity WHERE usename = 'taskservice' AND pid <> pg_backend_pid()"
            )
            most = max(most, rows[0][0])
            await asyncio.sleep(0.01)

    watching = asyncio.create_task(watch())
    for _ in range(5):
        await asyncio.gather(*(program.once(read(f"budget-{number}")) for number in range(50)))
    watching.cancel()
    assert 1 <= most <= 4


async def test_a_database_that_comes_back_empty_is_migrated_and_served(
    postgres: KillablePostgres, program: Program
) -> None:
    await postgres.execute(
        "DROP SCHEMA public CASCADE", "CREATE SCHEMA public", "GRANT ALL ON SCHEMA public TO taskservice",
        superuser=True,
    )  # fmt: skip
    assert is_unavailable(await program.once(read("empty")))
    assert await healed(program, write("empty"), 201) < 3


async def test_a_missing_database_is_said_once_and_served_as_soon_as_it_is_there(
    postgres: KillablePostgres, wire: Wire
) -> None:
    url = url_through(wire.port).replace("/taskservice?", "/later?")
    async with running_program(ready=False, database_url=url) as program:
        await program.ready(path="/health/live")
        answers = [await program.once(raw) for raw in (request("GET", "/health/ready", None), read("later"))]
        await asyncio.sleep(1.2)
        assert all(is_unavailable(answer) for answer in answers)
        assert program.log.count("ERROR   the database is not usable yet") == 1
        assert "(3D000): check the name of the database in DATABASE_URL, or create it" in program.log
        await postgres.execute("CREATE DATABASE later OWNER taskservice", superuser=True)
        assert await healed(program, request("GET", "/health/ready", None), 200) < 3
