"""Whether the statements themselves keep users apart: run as they are, straight on the database."""

import datetime as dt
from collections.abc import Sequence
from typing import Any
from uuid import UUID

import asyncpg
import pytest

from taskservice.database.moments import as_microseconds
from taskservice.database.statements import Statement
from taskservice.principal import Principal
from taskservice.tasks import clear_statements, read_statements, sharded_store, write_statements
from taskservice.tasks.clear_statements import COMPLETED_FOR_GOOD, COMPLETED_TO_TRASH, EVERYTHING, Clearing
from taskservice.tasks.filters import CONDITIONS, EITHER
from taskservice.tasks.list_query import TOKEN_SURFACE, ListQuery, read_list_query, read_trash_query
from taskservice.tasks.list_tags import ListTags
from taskservice.tasks.records import RecordStatement
from taskservice.tasks.schemas import TaskChange, TaskCreate, TaskImport
from taskservice.tasks.sharded_store import ShardedTaskStore
from taskservice.tasks.store import ClearedSome, TaskStore
from taskservice.tasks.write_statements import Edit
from tests.support.services import Caller

QUERIES = (
    "", "status=completed", "completed=false", "status=pending", "priority=low,medium,high", "due=none", "due=any",
    "due=overdue", "due=today", "due_before=9999-01-01", "due_after=0001-01-01", "created_before=9999-01-01",
    "created_after=0001-01-01", "updated_before=9999-01-01", "updated_after=0001-01-01", "q=his", "q=his&sort=-title",
    "sort=-due,priority", "due=none,any,overdue,today", "completed_before=9999-01-01", "completed_after=0001-01-01",
    "sort=completed&count=true", "ids=01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e",
)  # fmt: skip


class Recorder:
    """Runs statements, and remembers which."""

    def __init__(self, connection: Any) -> None:
        self._connection = connection
        self.ran: set[str] = set()

    async def fetch(
        self, sql: str, args: Sequence[Any], *, repeatable: bool = False, writer: str | None = None
    ) -> list[Any]:
        self.ran.add(sql)
        found: list[Any] = await self._connection.fetch(sql, *args)
        return found


async def assert_statements_keep_users_apart(alice: Caller, bob: Caller) -> None:
    """Every statement of the repository, given Alice's id and the ids of Bob's tasks, finds and changes nothing."""
    await alice.service.execute("INSERT INTO users (id) VALUES ($1) ON CONFLICT DO NOTHING", alice.user)
    for fields in ({}, {"completed": True}, {"due_date": "2020-01-01"}, {"due_date": "2020-01-01T10:00:00Z"}):
        await bob.create("his", **fields)
    trashed = await bob.create("his, in the trash")
    await bob.service.execute("UPDATE tasks SET deleted_at = now() WHERE id = $1", trashed["id"])
    async with alice.service.connection() as connection:
        await as_microseconds(connection)
        recorder = Recorder(connection)
        before = await stored(connection, bob)
        ids = [UUID(str(row["id"])) for row in before["tasks"]]
        await _reading(TaskStore(recorder), alice.user, bob.user, ids)
        assert await ListTags(recorder).of(alice.user) != await ListTags(recorder).of(bob.user)
        for store in (TaskStore(recorder), ShardedTaskStore(recorder)):
            await _writing(store, connection, Principal(alice.user, None, None), ids)
            assert await stored(connection, bob) == before
    assert every_statement() <= recorder.ran, "a statement that nobody tried"


def every_statement() -> set[str]:
    """The SQL of every compiled statement about tasks, in both forms where it takes records."""
    found: set[str] = set()
    for module in (read_statements, write_statements, clear_statements, sharded_store):
        for value in vars(module).values():
            if isinstance(value, RecordStatement):
                found |= {value.single.compiled.sql, value.any_number.compiled.sql}
            elif isinstance(value, Clearing):
                found |= {value.some.compiled.sql, value.left.compiled.sql}
            elif isinstance(value, Statement):
                found.add(value.compiled.sql)
    return found


async def stored(connection: Any, bob: Caller) -> dict[str, list[Any]]:
    """All that the database has of this user."""
    return {
        table: await connection.fetch(f"SELECT * FROM {table} WHERE {column} = $1 ORDER BY 1, 2", bob.user)
        for table, column in (("tasks", "user_id"), ("tombstones", "user_id"), ("users", "id"))
    }


async def _reading(tasks: TaskStore, alice: str, bob: str, ids: list[UUID]) -> None:
    queries = [read_list_query(query.encode(), TOKEN_SURFACE, b"") for query in QUERIES] + [read_trash_query(b"", b"")]
    assert {name for query in queries for names in query.shape.conditions for name in names.split(EITHER)} == {
        *CONDITIONS
    }
    for query in queries:
        assert (await tasks.page(alice, query)).rows == [], query
    assert (await tasks.page(alice, await _second_page(tasks, bob))).rows == []
    assert (await tasks.changes(alice, 0, limit=100, deletions_after=0)).rows == []
    for task_id in ids:
        assert await tasks.get_owned(alice, task_id) is None
        assert (await tasks.get_placed(alice, task_id)).row is None
    # This one answers whether an id is taken: nothing of the task but that it is not hers.
    assert await tasks.belongs_to_another(alice, ids[0])
    assert await tasks.existing(alice, ids) == {}


async def _second_page(tasks: TaskStore, bob: str) -> ListQuery:
    """What follows a page of Bob's own."""
    page = await tasks.page(bob, read_list_query(b"limit=1", TOKEN_SURFACE, b""))
    query = read_list_query(f"limit=1&cursor={page.next_cursor}".encode(), TOKEN_SURFACE, b"")
    assert (await tasks.page(bob, query)).rows
    return query


async def _writing(tasks: TaskStore, connection: Any, alice: Principal, ids: list[UUID]) -> None:
    change = TaskChange(title="mine")
    for from_trash in (False, True):
        for edits in (
            [Edit(id=task_id, change=change, from_trash=from_trash) for task_id in ids],
            [Edit(id=task_id, toggle=True, from_trash=from_trash) for task_id in ids],
            [Edit(id=task_id, to_trash=not from_trash, from_trash=from_trash) for task_id in ids],
        ):
            assert await tasks.edit(alice.user_id, edits) == {}
            for edit in edits:
                assert await tasks.edit(alice.user_id, [edit]) == {}
        erasures = [Edit(id=task_id, from_trash=from_trash) for task_id in ids]
        assert await tasks.erase(alice.user_id, erasures) == {}
        for erasure in erasures:
            assert await tasks.erase(alice.user_id, [erasure]) == {}
    planted = TaskImport(id=ids[0], title="mine", created_at=dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    [hers] = await tasks.create(alice, [planted])
    assert (hers["id"], hers["title"]) == (ids[0], "mine")
    with pytest.raises(asyncpg.UniqueViolationError):
        await tasks.create(alice, [planted])
    created, *others = await tasks.create(alice, [TaskCreate(title=f"hers, {number}") for number in range(3)])
    owner = await connection.fetchval("SELECT user_id FROM tasks WHERE id = $1", created["id"])
    assert owner == alice.user_id
    await tasks.erase(alice.user_id, [Edit(id=other["id"]) for other in others])
    await connection.execute("UPDATE tasks SET status = 'completed', completed_at = now() WHERE id = $1", created["id"])
    for what in (COMPLETED_TO_TRASH, COMPLETED_FOR_GOOD):
        await tasks.clear_some(alice, what, 1)
    assert await tasks.clear_some(alice, EVERYTHING, 1) == ClearedSome(1, 0, 1)
    assert (await tasks.clear_some(alice, EVERYTHING, 2)).remaining == 0
