"""The pool alone, on a real PostgreSQL behind a wire: what takes minutes outside takes seconds here."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import asyncpg
import pytest

from bench.reliability.database import KillablePostgres
from bench.reliability.wire import Wire
from taskservice.database import connections as pools
from taskservice.database.pool import Pool
from taskservice.problems import DatabaseUnavailable, Overloaded

pytestmark = pytest.mark.timing

DEADLINE = 4.0


class Connecting:
    """Connects through a wire, and counts."""

    def __init__(self, wire: Wire) -> None:
        self._wire = wire
        self.attempts = 0

    async def __call__(self, timeout: float) -> Any:
        self.attempts += 1
        return await asyncpg.connect(
            host="127.0.0.1",
            port=self._wire.port,
            user="taskservice",
            database="taskservice",
            ssl=False,
            timeout=timeout,
        )


@pytest.fixture
async def connecting(wire: Wire) -> Connecting:
    await wire.mend()
    return Connecting(wire)


@asynccontextmanager
async def serving(connecting: Connecting, deadline: float) -> AsyncIterator[Pool]:
    pool = Pool(connecting, size=4, deadline=deadline)
    pool.serving = True
    try:
        yield pool
    finally:
        await pool.close()


@pytest.fixture
async def pool(connecting: Connecting) -> AsyncIterator[Pool]:
    async with serving(connecting, DEADLINE) as pool:
        yield pool


async def fill(pool: Pool) -> None:
    await asyncio.gather(*(pool.fetch("SELECT pg_sleep(0.05)", ()) for _ in range(4)))
    assert pool.connections.idle == 4


async def test_connections_that_a_nat_has_dropped_are_found_before_a_write_goes_into_them(
    pool: Pool, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    await fill(pool)
    monkeypatch.setattr(pools, "QUIET_SECONDS", 0)
    wire.forget()
    began = time.monotonic()
    assert (await pool.fetch("SELECT 1", ()))[0][0] == 1
    assert time.monotonic() - began < DEADLINE / 2


async def test_whoever_gives_up_waiting_takes_no_connection_along(pool: Pool) -> None:
    for _ in range(20):
        asking = [asyncio.create_task(pool.fetch("SELECT pg_sleep(0.02)", ())) for _ in range(20)]
        await asyncio.sleep(0.03)
        for task in asking[::2]:
            task.cancel()
        await asyncio.gather(*asking, return_exceptions=True)
    assert pool.connections.in_use == 0
    assert pool.waiting == 0
    assert (await pool.fetch("SELECT 1", ()))[0][0] == 1


async def test_who_waits_for_a_connection_gives_up_while_there_is_time_to_use_one(pool: Pool) -> None:
    long = [asyncio.create_task(pool.fetch("SELECT pg_sleep(3)", ())) for _ in range(4)]
    await asyncio.sleep(0.1)
    began = time.monotonic()
    with pytest.raises(Overloaded):
        await pool.fetch("SELECT 1", ())
    assert DEADLINE * 0.4 < time.monotonic() - began < DEADLINE * 0.75
    await asyncio.gather(*long)


async def test_an_outage_is_one_tasks_business_and_two_lines_in_the_log(
    pool: Pool, wire: Wire, connecting: Connecting, caplog: pytest.LogCaptureFixture
) -> None:
    await fill(pool)
    caplog.set_level(logging.INFO, "taskservice.database.connections")
    wire.cut()
    await asyncio.sleep(0.1)
    before = connecting.attempts
    asking = [asyncio.create_task(pool.fetch("SELECT 1", ())) for _ in range(200)]
    await asyncio.sleep(1)
    assert connecting.attempts - before < 12
    await wire.mend()
    rows = await asyncio.gather(*asking)
    assert all(row[0][0] == 1 for row in rows)
    said = [record.getMessage() for record in caplog.records if record.name == "taskservice.database.connections"]
    assert len(said) == 2
    assert said[0].startswith("no connection to the database, trying again: ")
    assert said[1].startswith("the database is back after ")


async def test_a_long_outage_makes_nobody_wait(pool: Pool, wire: Wire) -> None:
    wire.cut()
    with pytest.raises(DatabaseUnavailable):
        await pool.fetch("SELECT 1", ())
    began = time.monotonic()
    for _ in range(100):
        with pytest.raises(DatabaseUnavailable):
            await pool.fetch("SELECT 1", ())
    assert time.monotonic() - began < DEADLINE / 2
    await wire.mend()
    await asyncio.sleep(1)
    assert (await pool.fetch("SELECT 1", ()))[0][0] == 1


@pytest.mark.parametrize("error", [asyncpg.UniqueViolationError, ZeroDivisionError])
async def test_a_transaction_that_fails_leaves_nothing_behind(
    pool: Pool, postgres: KillablePostgres, error: type[Exception]
) -> None:
    async def fail() -> None:
        async with pool.transaction() as transaction:
            await transaction.fetch("INSERT INTO kept VALUES (1)", ())
            if error is ZeroDivisionError:
                raise ZeroDivisionError
            await transaction.fetch("INSERT INTO kept VALUES (1)", ())

    await postgres.execute("CREATE TABLE IF NOT EXISTS kept (number int PRIMARY KEY)")
    with pytest.raises(error):
        await fail()
    assert await pool.fetch("SELECT FROM kept", ()) == []
    assert pool.connections.in_use == 0


async def test_a_transaction_begins_on_a_connection_that_works(pool: Pool, wire: Wire) -> None:
    await fill(pool)
    wire.reset()
    async with pool.transaction() as transaction:
        assert await transaction.fetch("SELECT 7", ()) == [(7,)]


async def test_whoever_waited_for_a_place_when_an_outage_began_may_wait_as_long_as_the_others(
    connecting: Connecting, wire: Wire
) -> None:
    """Without an outage nobody waits longer than half the deadline; this one ends after that.

    From its end on half of what is left counts, so the deadline is long enough for a slow machine.
    """
    async with serving(connecting, DEADLINE * 3) as pool:
        wire.cut()
        asking = [asyncio.create_task(pool.fetch("SELECT 1", ())) for _ in range(20)]
        await asyncio.sleep(pool.deadline * 0.52)
        await wire.mend()
        assert [rows[0][0] for rows in await asyncio.gather(*asking)] == [1] * 20
