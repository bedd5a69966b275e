"""A probe asks the database only when requests have not just shown whether it answers."""

import asyncio
import time
from collections.abc import AsyncIterator
from typing import Any

import asyncpg
import pytest

from bench.reliability.database import KillablePostgres
from bench.reliability.wire import Wire
from taskservice.database import readiness
from taskservice.database.pool import Pool
from taskservice.database.readiness import answers
from taskservice.problems import DatabaseUnavailable
from taskservice.settings.database_url import read_database_url

pytestmark = pytest.mark.timing


@pytest.fixture
async def pool(wire: Wire) -> AsyncIterator[Pool]:
    async def connect(timeout: float) -> Any:
        return await asyncpg.connect(
            host="127.0.0.1", port=wire.port, user="taskservice", database="taskservice", ssl=False, timeout=timeout,
            server_settings={"application_name": "probed"},
        )  # fmt: skip

    await wire.mend()
    pool = Pool(connect, size=2, deadline=1)
    pool.serving = True
    await pool.fetch("SELECT 'a request'", ())
    yield pool
    await wire.mend()
    await pool.close()


async def queries(postgres: KillablePostgres) -> list[str]:
    """The last one of each connection."""
    rows = await postgres.rows("SELECT query FROM pg_stat_activity WHERE application_name = 'probed'")
    return [row[0] for row in rows]


@pytest.mark.parametrize("sleeps", [True, False])
async def test_a_request_that_succeeded_is_proof_enough(pool: Pool, postgres: KillablePostgres, sleeps: bool) -> None:
    for _ in range(5):
        assert await answers(pool, sleeps=sleeps)
    assert await queries(postgres) == ["SELECT 'a request'"]


async def test_an_idle_service_lets_a_database_sleep_and_notices_another_one_that_hangs(
    pool: Pool, postgres: KillablePostgres, wire: Wire, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(readiness, "IDLE_PROOF_SECONDS", 0)
    assert await answers(pool, sleeps=True)
    assert await queries(postgres) == ["SELECT 'a request'"]
    assert await answers(pool, sleeps=False)
    assert await queries(postgres) == ["SELECT 1"]
    wire.silence()
    began = time.monotonic()
    assert not await answers(pool, sleeps=False)
    assert time.monotonic() - began < 2.5


async def test_connections_that_the_database_closed_are_no_proof_unless_it_sleeps(pool: Pool, wire: Wire) -> None:
    wire.cut()
    while pool.connections.is_connected:
        await asyncio.sleep(0.02)
    assert await answers(pool, sleeps=True)
    assert not await answers(pool, sleeps=False)


async def test_a_connection_that_another_probe_is_opening_is_no_proof(pool: Pool, wire: Wire) -> None:
    wire.cut()
    while pool.connections.is_connected:
        await asyncio.sleep(0.02)
    assert set(await asyncio.gather(answers(pool, sleeps=False), answers(pool, sleeps=False))) == {False}


async def test_after_a_failure_nothing_is_taken_for_granted(pool: Pool, wire: Wire) -> None:
    wire.cut()
    with pytest.raises(DatabaseUnavailable):
        await pool.fetch("SELECT 1", (), repeatable=True)
    assert not await answers(pool, sleeps=True)
    await wire.mend()
    until = time.monotonic() + 3
    while not await answers(pool, sleeps=True):
        assert time.monotonic() < until
        await asyncio.sleep(0.02)


def test_the_host_says_whether_a_database_sleeps() -> None:
    assert read_database_url("postgres://u@ep-a-b-1-pooler.eu-central-1.aws.neon.tech/d").sleeps
    assert not read_database_url("postgres://u@db.example/d").sleeps
