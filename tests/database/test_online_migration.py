"""Migration 0002 runs while the previous release serves requests, and goes on where it broke off."""

import asyncio
import json
import os
import time
import uuid
from collections.abc import Callable
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy.exc import DBAPIError

from tests.database.test_migrations import commands, schema

pytestmark = pytest.mark.slow

Connection = Any

STATEMENTS: Final = {
    path.stem: path.read_text("utf-8") for path in (Path(__file__).parent / "before_0002").glob("*.sql")
}
"""What the release before sent, with its arguments in the same order as below."""

ROWS: Final = int(os.environ.get("MIGRATION_ROWS", "60000"))
"""More of them make it a measurement: `MIGRATION_ROWS=1000000`, with `--measured`."""

FILL: Final = f"""
INSERT INTO users (id, revision) SELECT 'user ' || n, 100000 FROM generate_series(1, 3000) n;
INSERT INTO tasks (id, user_id, title, revision)
SELECT gen_random_uuid(), 'user ' || 1 + n % 3000, 'task ' || n, n FROM generate_series(1, {ROWS}) n;
ANALYZE;
"""

EARLIER_INDEXES: Final = (
    "ix_tasks_id ON tasks (id)",
    "ix_tasks_list_completed ON tasks (user_id, coalesce(completed_at, 'infinity'::timestamptz), id) "
    "WHERE deleted_at IS NULL",
)
"""What the migration builds before its unique index, and also waits for."""


class Writer:
    """One user of the previous release: creates, changes and reads tasks until it is told to stop."""

    def __init__(self, name: str) -> None:
        self.name = name
        self.acknowledged: dict[uuid.UUID, str] = {}
        self.slowest = 0.0
        self.stopping = False

    async def run(self, url: str) -> None:
        connection = await asyncpg.connect(url)
        while not self.stopping:
            started = time.perf_counter()
            task_id = uuid.uuid4()
            await connection.fetch(STATEMENTS["create"], *self._create_arguments(task_id))
            self.acknowledged[task_id] = "created"
            [edited] = await connection.fetch(STATEMENTS["edit"], *self._edit_arguments(task_id))
            assert edited["matched"]
            self.acknowledged[task_id] = "changed"
            [found] = await connection.fetch(STATEMENTS["get"], task_id, self.name)
            assert found["title"] == "changed"
            self.slowest = max(self.slowest, time.perf_counter() - started)
        await connection.close()

    def _create_arguments(self, task_id: uuid.UUID) -> list[Any]:
        row = {"position": 1, "id": str(task_id), "title": "created", "status": "pending", "priority": "low",
               "due_all_day": False}  # fmt: skip
        return ["completed", json.dumps([row]), self.name, None, None]

    def _edit_arguments(self, task_id: uuid.UUID) -> list[Any]:
        row = {"position": 0, "id": str(task_id), "title": "changed", "toggle": False, "from_trash": False,
               "to_trash": False}  # fmt: skip
        words = ["completed", "completed", "completed", "pending", "completed", "completed", "pending"]
        return [*words, json.dumps([row]), self.name, 0]


async def at_0001(url: str) -> Connection:
    """A database of the previous release, filled."""
    await asyncio.to_thread(commands(url).upgrade, "0001")
    connection = await asyncpg.connect(url)
    await connection.execute(FILL)
    return connection


async def test_no_request_fails_while_it_runs(
    empty_database_url: str, database_url: str, record_property: Callable[[str, object], None]
) -> None:
    connection = await at_0001(empty_database_url)
    writers = [Writer(f"user {number}") for number in range(1, 5)] + [Writer("new")]
    running = [asyncio.create_task(writer.run(empty_database_url)) for writer in writers]
    await asyncio.sleep(0.5)
    began = time.perf_counter()
    await asyncio.to_thread(commands(empty_database_url).upgrade, "head")
    record_property("rows", f"{ROWS:,} in {time.perf_counter() - began:.1f} s")
    await asyncio.sleep(0.5)
    for writer in writers:
        writer.stopping = True
    await asyncio.gather(*running)
    slowest = max(writer.slowest for writer in writers)
    record_property("turns of writers", f"{sum(len(writer.acknowledged) for writer in writers):,}")
    record_property("the longest turn", f"{slowest * 1000:.0f} ms")
    assert slowest < 3
    for writer in writers:
        rows = await connection.fetch("SELECT id, title FROM tasks WHERE user_id = $1", writer.name)
        kept = {row["id"]: row["title"] for row in rows}
        assert len(writer.acknowledged) > 20
        assert {task_id: kept.get(task_id) for task_id in writer.acknowledged} == writer.acknowledged
    assert sorted(await schema(empty_database_url)) == sorted(await schema(database_url))
    epochs = [row["epoch"] for row in await connection.fetch("SELECT epoch FROM users")]
    assert len(set(epochs)) == len(epochs) == 3001
    await connection.close()


@pytest.mark.parametrize("step", ["CREATE INDEX CONCURRENTLY", "CREATE UNIQUE INDEX CONCURRENTLY"])
async def test_it_goes_on_where_it_broke_off(empty_database_url: str, database_url: str, step: str) -> None:
    connection = await at_0001(empty_database_url)
    if step == "CREATE UNIQUE INDEX CONCURRENTLY":
        for earlier in EARLIER_INDEXES:
            await connection.execute(f"CREATE INDEX CONCURRENTLY {earlier}")
    blocker = await asyncpg.connect(empty_database_url)
    transaction = blocker.transaction()
    await transaction.start()
    await blocker.execute("UPDATE tasks SET title = 'held' WHERE user_id = 'user 1'")
    upgrading = asyncio.create_task(asyncio.to_thread(commands(empty_database_url).upgrade, "head"))
    await break_off(connection, step)
    with pytest.raises(DBAPIError):
        await upgrading
    assert await connection.fetchval("SELECT count(*) FROM pg_index WHERE NOT indisvalid") == 1
    await transaction.rollback()
    await blocker.close()
    await connection.close()
    await asyncio.to_thread(commands(empty_database_url).upgrade, "head")
    assert sorted(await schema(empty_database_url)) == sorted(await schema(database_url))


async def break_off(connection: Connection, step: str) -> None:
    """End the migration's connection while it waits in this step."""
    deadline = time.monotonic() + 30
    while time.monotonic() < deadline:
        ended = await connection.fetch(
            "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
            "WHERE query LIKE $1 AND wait_event_type = 'Lock' AND datname = current_database()",
            f"{step}%",
        )
        if ended:
            return
        await asyncio.sleep(0.05)
    raise AssertionError("the migration never waited there")
