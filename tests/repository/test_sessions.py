"""A session borrows one connection of the pool for one unit of work, and gives it back however the work ends."""

import asyncio

import pytest
import sqlalchemy as sa

from taskservice.database.pool import Pool
from taskservice.database.session import FlushRefused, Sessions, sessions_of
from taskservice.problems import Overloaded
from taskservice.tasks.models import users
from taskservice.tasks.repository import TaskRepository
from tests.repository.conftest import DEADLINE
from tests.repository.rows import task_of, user_of

pytestmark = pytest.mark.slow


async def user_ids(pool: Pool) -> list[str]:
    return [row["id"] for row in await pool.fetch("SELECT id FROM users ORDER BY id", (), repeatable=True)]


async def test_a_unit_of_work_is_committed_at_its_end(pool: Pool, sessions: Sessions) -> None:
    async with sessions.begin() as session:
        await session.execute(sa.insert(users).values(id="alice"))
        assert (pool.connections.in_use, pool.connections.idle) == (1, 0)
        assert await user_ids(pool) == []
    assert (pool.connections.in_use, pool.connections.idle) == (0, 2)
    assert await user_ids(pool) == ["alice"]


async def test_a_unit_that_raises_is_rolled_back_and_its_connection_is_lent_again(
    pool: Pool, sessions: Sessions
) -> None:
    async def work() -> None:
        async with sessions.begin() as session:
            await session.execute(sa.insert(users).values(id="alice"))
            raise ZeroDivisionError

    with pytest.raises(ZeroDivisionError):
        await work()
    assert pool.connections.in_use == 0
    assert await user_ids(pool) == []
    assert pool.connections.idle == 1


async def test_a_unit_that_is_cancelled_gives_its_connection_back(pool: Pool, sessions: Sessions) -> None:
    async def work() -> None:
        async with sessions.begin() as session:
            await session.execute(sa.insert(users).values(id="alice"))
            await session.execute(sa.text("SELECT pg_sleep(60)"))

    task = asyncio.create_task(work())
    await asyncio.sleep(0.3)
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    await until_none_is_in_use(pool)
    assert await user_ids(pool) == []


async def test_a_repository_works_again_after_its_session_was_forgotten_for_longer_than_the_deadline(
    pool: Pool, sessions: Sessions
) -> None:
    forgotten = sessions()
    assert await TaskRepository(session=forgotten, owner="alice").count() == 0
    assert pool.connections.in_use == 1
    await asyncio.sleep(DEADLINE + 0.5)
    # The connection has ended, with the transaction that was open on it.
    open_transactions = "SELECT count(*) AS found FROM pg_stat_activity WHERE state LIKE 'idle in transaction%'"
    assert (await pool.fetch(open_transactions, ()))[0]["found"] == 0
    with pytest.raises(sa.exc.DBAPIError, match="connection is closed"):
        await forgotten.close()
    await until_none_is_in_use(pool)
    async with sessions.begin() as session:
        assert await TaskRepository(session=session, owner="alice").count() == 0
    assert pool.connections.in_use == 0


async def test_sessions_and_statements_share_one_budget_of_connections(pool: Pool, sessions: Sessions) -> None:
    async with sessions.begin() as first, sessions.begin() as second:
        for session in (first, second):
            await session.execute(sa.text("SELECT 1"))
        with pytest.raises(Overloaded):
            await pool.fetch("SELECT 1", ())
    assert pool.connections.in_use == 0


async def test_a_statement_ends_at_the_deadline(pool: Pool, sessions: Sessions) -> None:
    async with sessions() as session:
        with pytest.raises(sa.exc.DBAPIError, match="statement timeout"):
            await session.execute(sa.text("SELECT pg_sleep(60)"))
    assert pool.connections.in_use == 0


async def test_work_that_no_request_waits_for_may_take_longer(pool: Pool) -> None:
    async with sessions_of(pool, seconds=60).begin() as session:
        await session.execute(sa.text("SET LOCAL statement_timeout = 0"))
        await session.execute(sa.text(f"SELECT pg_sleep({DEADLINE + 0.5})"))
        await session.execute(sa.insert(users).values(id="alice"))
    assert await user_ids(pool) == ["alice"]


@pytest.mark.parametrize("change", ["new", "changed", "deleted"])
async def test_no_entity_is_written_by_a_flush(sessions: Sessions, change: str) -> None:
    async with sessions.begin() as session:
        await session.execute(sa.insert(users).values(id="alice"))
        task = await TaskRepository(session=session, owner="alice").add(task_of(title="Buy milk"))
    session = sessions()
    try:
        task = await TaskRepository(session=session, owner="alice").get(task.id)
        match change:
            case "new":
                session.add(user_of(id="bob"))
            case "changed":
                task.title = "Buy oats"
            case _:
                await session.delete(task)
        with pytest.raises(FlushRefused, match="method of its repository"):
            await session.commit()
    finally:
        await session.close()
    async with sessions.begin() as session:
        assert (await TaskRepository(session=session, owner="alice").get(task.id)).title == "Buy milk"


async def until_none_is_in_use(pool: Pool) -> None:
    async with asyncio.timeout(5):
        while pool.connections.in_use:
            await asyncio.sleep(0.01)
