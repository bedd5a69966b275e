"""The writes on a database that is sharded by user, which routes an INSERT to a shard only as a statement of its own.

So a create takes numbers of the user's counter first and then inserts the tasks, and an erasure deletes the tasks first
and then inserts their tombstones, each in one transaction. All else is as in `store.py`.
"""

from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.sql.dml import ReturningInsert

from taskservice.database.moments import moment
from taskservice.database.pool import Pool
from taskservice.database.statements import Statement
from taskservice.principal import Principal
from taskservice.tasks.clear_statements import (
    COMPLETED_FOR_GOOD,
    EVERYTHING,
    Clearing,
    find_all,
    find_completed,
    forgotten_answers,
)
from taskservice.tasks.fields import COLUMNS
from taskservice.tasks.models import TIMESTAMPTZ, tasks, tombstones
from taskservice.tasks.records import Records, RecordStatement
from taskservice.tasks.store import Queries, Row, TaskStore
from taskservice.tasks.write_statements import (
    CREATE_COLUMNS,
    ERASE_COLUMNS,
    counted,
    created_values,
    removed,
    take_numbers,
    to_erase,
    tombstones_of,
)

_user: Final = sa.bindparam("user_id", type_=sa.Text)


# ---- statements


def _insert(
    table: sa.Table, records: Records, values_of: Callable[[Mapping[str, Any]], dict[str, sa.ColumnElement[Any]]]
) -> sa.Insert:
    """A row for each record. A single one is VALUES, whose shard is known before the statement runs."""
    if records.single is not None:
        return sa.insert(table).values(values_of(records.single))
    values = values_of(dict(records.table.c))
    return sa.insert(table).from_select(list(values), sa.select(*values.values()).select_from(records.table))


class _Owner(Struct, frozen=True):
    """What `_TAKE_NUMBERS` has returned, as parameters of the next statement."""

    id: Any = _user
    epoch: Any = sa.bindparam("epoch", type_=sa.Text)
    before: Any = sa.bindparam("before", type_=sa.BigInteger)
    # The same moment for every row, and one after the user's row was locked.
    at: Any = sa.func.statement_timestamp(type_=TIMESTAMPTZ)


_TAKE_NUMBERS: Final = Statement(take_numbers(sa.bindparam("number", type_=sa.BigInteger)))


def _create(records: Records) -> ReturningInsert[Any]:
    owner = _Owner()
    insert = _insert(tasks, records, lambda record: created_values(record, owner))
    return insert.returning(*COLUMNS, owner.epoch.label("epoch"))


_CREATE: Final = RecordStatement(_create, CREATE_COLUMNS)


def _erase(records: Records) -> sa.Select[Any]:
    found, step, answer = to_erase(records)
    tombstone = tombstones_of(step, counted(step)).subquery("tombstone")
    answer = answer.add_columns(tombstone.c.revision.label("erased_by"), tombstone.c.deleted_at.label("erased_at"))
    joined = answer.outerjoin_from(found, tombstone, tombstone.c.task_id == found.c.id)
    return joined.order_by(found.c.position).add_cte(removed(step))


_ERASE: Final = RecordStatement(_erase, ERASE_COLUMNS)


def _clear(found: sa.CTE, step: sa.CTE, *further: sa.CTE) -> Statement:
    cleared = tombstones_of(step, counted(step)).join(found, found.c.id == step.c.id)
    return Statement(cleared.add_columns(found.c.deleted_at.label("in_trash_since")).add_cte(removed(step), *further))


_CLEAR_ALL: Final = _clear(*find_all(), forgotten_answers())
_CLEAR_COMPLETED: Final = _clear(*find_completed())
_CLEAR: Final = {EVERYTHING: _CLEAR_ALL, COMPLETED_FOR_GOOD: _CLEAR_COMPLETED}
"""What leaves tombstones: the statement clears some of it and returns them."""

_LEAVE_TOMBSTONES: Final = RecordStatement(
    lambda records: _insert(tombstones, records, lambda record: {"user_id": _user, **record}),
    {"revision": sa.BigInteger(), "task_id": sa.Uuid(), "deleted_at": TIMESTAMPTZ},
)


# ---- running them


class ShardedTaskStore(TaskStore):
    """As `TaskStore`, by statements that a sharded database routes."""

    @asynccontextmanager
    async def _transaction(self, writer: str) -> AsyncIterator[Queries]:
        """The transaction that this store is in, or a new one."""
        if isinstance(self._queries, Pool):
            async with self._queries.transaction(writer=writer) as transaction:
                yield transaction
        else:
            yield self._queries

    async def _create(self, author: Principal, records: list[dict[str, Any]]) -> list[Row]:
        user = {"user_id": author.user_id, "email": author.email, "name": author.name}
        async with self._transaction(author.user_id) as queries:
            [owner] = await queries.fetch(*_TAKE_NUMBERS.call(**user, number=len(records)))
            call = _CREATE.call(records, user_id=author.user_id, epoch=owner["epoch"], before=owner["before"])
            return await queries.fetch(*call)

    async def _erase(self, owner: str, records: list[dict[str, Any]]) -> list[Row]:
        async with self._transaction(owner) as queries:
            rows = await queries.fetch(*_ERASE.call(records, user_id=owner))
            erased = [row for row in rows if row["erased_at"] is not None]
            left = [_tombstone(row["erased_by"], row["id"], row["erased_at"]) for row in erased]
            await _leave(queries, owner, left)
            return rows

    async def _clear(self, owner: str, what: Clearing, limit: int) -> tuple[int, int]:
        statement = _CLEAR.get(what)
        if statement is None:
            return await super()._clear(owner, what, limit)
        rows = await self._queries.fetch(*statement.call(user_id=owner, limit=limit))
        left = [_tombstone(row["revision"], row["task_id"], row["deleted_at"]) for row in rows]
        await _leave(self._queries, owner, left)
        live = sum(row["in_trash_since"] is None for row in rows)
        return live, len(rows) - live


def _tombstone(revision: int, task_id: Any, deleted_at: int) -> dict[str, Any]:
    return {"revision": revision, "task_id": task_id, "deleted_at": moment(deleted_at)}


async def _leave(queries: Queries, owner: str, left: list[dict[str, Any]]) -> None:
    if left:
        await queries.fetch(*_LEAVE_TOMBSTONES.call(left, user_id=owner))
