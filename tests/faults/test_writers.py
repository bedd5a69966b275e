"""Writers that wait: for each other, for a lock, until the deadline."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest
from sqlalchemy import text
from sqlalchemy.ext.asyncio import AsyncSession

from bench.reliability.database import KillablePostgres
from bench.reliability.program import Program
from bench.reliability.wire import Wire
from taskservice.database.pool import Pool, server_limit
from taskservice.database.session import new_engine
from taskservice.problems import DatabaseUnavailable, Overloaded
from tests.faults.test_database_failures import every_insert, read, write

pytestmark = pytest.mark.timing

DEADLINE = 1.0


@pytest.fixture
async def pool(wire: Wire) -> AsyncIterator[Pool]:
    """Two connections, with the session settings of the service."""

    async def connect(timeout: float) -> Any:
        return await asyncpg.connect(
            host="127.0.0.1", port=wire.port, user="taskservice", database="taskservice", ssl=False, timeout=timeout,
            server_settings={"statement_timeout": str(int(server_limit(DEADLINE) * 1000))},
        )  # fmt: skip

    await wire.mend()
    pool = Pool(connect, size=2, deadline=DEADLINE)
    pool.serving = True
    yield pool
    await wire.mend()
    await pool.close()


async def test_one_users_queue_of_writers_costs_other_users_nothing(
    postgres: KillablePostgres, program: Program
) -> None:
    """The service has four connections, each write takes a tenth of a second, and sixteen clients write at once."""
    assert (await program.once(write("crowd"))).status == 201
    assert (await program.once(write("bystander"))).status == 201
    stop = asyncio.Event()

    async def keep_writing() -> None:
        while not stop.is_set():
            await program.once(write("crowd"))

    async with every_insert(postgres, "PERFORM pg_sleep(0.1)"):
        crowd = [asyncio.create_task(keep_writing()) for _ in range(16)]
        await asyncio.sleep(0.3)
        took = []
        for _ in range(20):
            began = time.monotonic()
            assert (await program.once(read("bystander"))).status == 200
            took.append(time.monotonic() - began)
        stop.set()
        await asyncio.gather(*crowd)
    assert sorted(took)[-2] < 0.1


async def test_a_writer_that_gives_up_does_not_hold_up_those_behind_it(pool: Pool) -> None:
    async def pause(seconds: float) -> None:
        await pool.fetch("SELECT pg_sleep($1)", (seconds,), writer="alice")

    writers = [asyncio.create_task(pause(0.1)) for _ in range(8)]
    await asyncio.sleep(0.05)
    for writer in writers[1::2]:  # one of them writes, the others wait for their turn
        writer.cancel()
    began = time.monotonic()
    await asyncio.gather(*writers[::2])
    assert time.monotonic() - began < 0.4
    assert pool.waiting == 0
    assert pool.connections.in_use == 0


async def test_a_writer_that_waits_for_its_turn_gives_up_while_there_is_time_to_write(pool: Pool) -> None:
    long = [asyncio.create_task(pool.fetch("SELECT pg_sleep(0.7)", (), writer="alice")) for _ in range(2)]
    await asyncio.sleep(0.05)
    began = time.monotonic()
    with pytest.raises(Overloaded):
        await pool.fetch("SELECT 1", (), writer="alice")
    assert DEADLINE * 0.4 < time.monotonic() - began < DEADLINE * 0.7
    await asyncio.gather(*long)
    assert await pool.fetch("SELECT 1", (), writer="alice")


async def test_a_write_that_was_refused_at_the_deadline_does_not_land_a_moment_later(
    pool: Pool, postgres: KillablePostgres, wire: Wire
) -> None:
    """It waits for a connection, then for a lock; when its time is up nothing reaches the server any more."""
    await postgres.execute("CREATE TABLE late (number int)")
    async with postgres.connection() as holder:
        lock = holder.transaction()
        await lock.start()
        await holder.execute("LOCK TABLE late")
        busy = [asyncio.create_task(pool.fetch("SELECT pg_sleep(0.35)", ())) for _ in range(2)]
        await asyncio.sleep(0.01)
        writing = asyncio.create_task(pool.fetch("INSERT INTO late VALUES (1)", ()))
        await asyncio.gather(*busy)
        await asyncio.sleep(0.3)
        wire.silence()
        with pytest.raises(DatabaseUnavailable):
            await writing
        await lock.rollback()
        await asyncio.sleep(0.2)
    assert await postgres.rows("SELECT FROM late") == []


async def test_a_session_of_sqlalchemy_borrows_a_connection_and_gives_it_back(pool: Pool) -> None:
    engine = new_engine(pool.lend)
    for _ in range(4):
        async with AsyncSession(engine) as session:
            assert (await session.execute(text("SELECT 1"))).scalar() == 1
            assert pool.connections.in_use == 1
        assert pool.connections.in_use == 0
    assert pool.connections.idle == 1


async def test_a_session_that_fails_within_its_transaction_leaves_nothing_behind(
    pool: Pool, postgres: KillablePostgres
) -> None:
    await postgres.execute("CREATE TABLE borrowed (number int)")

    async def fail() -> None:
        async with AsyncSession(new_engine(pool.lend)) as session:
            await session.execute(text("INSERT INTO borrowed VALUES (1)"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await fail()
    assert pool.connections.in_use == 0
    assert await pool.fetch("SELECT FROM borrowed", ()) == []


async def test_a_session_that_is_cancelled_or_takes_too_long_ends_its_connection_and_frees_its_place(
    pool: Pool,
) -> None:
    engine = new_engine(pool.lend)

    async def work(seconds: float) -> None:
        async with AsyncSession(engine) as session:
            await session.execute(text("SET LOCAL statement_timeout = 0"))
            await session.execute(text(f"SELECT pg_sleep({seconds})"))

    task = asyncio.create_task(work(30))
    await asyncio.sleep(0.1)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    began = time.monotonic()
    with pytest.raises(Exception, match="clos"):
        await work(30)
    assert time.monotonic() - began < DEADLINE + 0.5
    await asyncio.sleep(0.1)
    assert pool.connections.in_use == 0
    assert await pool.fetch("SELECT 1", ())
