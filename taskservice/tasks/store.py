"""Reads and writes the tasks of one user at a time. The user is the first argument of every method."""

import uuid
from collections.abc import Sequence
from typing import Any, Protocol, Self

from msgspec import Struct

from taskservice.principal import Principal
from taskservice.tasks import read_statements as read
from taskservice.tasks import write_statements as write
from taskservice.tasks.clear_statements import Clearing
from taskservice.tasks.list_query import ListQuery
from taskservice.tasks.schemas import TaskCreate
from taskservice.tasks.tags import entity_tag, epoch_before_first_write
from taskservice.tasks.write_statements import Edit

Row = Any
"""An `asyncpg.Record`: one task, its columns by name (`fields.ROW`)."""


class Queries(Protocol):
    """Where statements run: the pool, or a transaction on one of its connections."""

    async def fetch(
        self, sql: str, args: Sequence[Any], *, repeatable: bool = False, writer: str | None = None
    ) -> list[Row]: ...


class Reads(Protocol):
    """The methods of `TaskStore` that may read from a replica."""

    async def get_owned(self, owner: str, task_id: uuid.UUID) -> Row | None: ...
    async def page(self, owner: str, query: ListQuery) -> "Page": ...
    async def changes(self, owner: str, since: int, *, limit: int, deletions_after: int) -> "Changes": ...


class Edited(Struct, frozen=True):
    """The result of an edit. Not `matched`: the task is at another revision, and nothing was changed."""

    matched: bool
    row: Row


class Placed(Struct, frozen=True):
    """One live task, or None, and the tag of the user's list in the same snapshot."""

    row: Row | None
    tag: str


class Page(Struct, frozen=True):
    """Rows of a list, the list's tag in the same snapshot, and where the next page starts. `total`: if asked for."""

    rows: list[Row]
    tag: str
    next_cursor: str | None
    total: int | None = None


class Changes(Struct, frozen=True):
    """A page of the change feed, with the user's counter and epoch in the same snapshot.

    A row with `deleted_at` is of a task that is gone; the others are tasks as they are.
    """

    rows: list[Row]
    has_more: bool
    revision: int
    forgotten: int
    epoch: str

    @property
    def tag(self) -> str:
        return entity_tag(self.revision, self.epoch)


class ClearedSome(Struct, frozen=True):
    """How many tasks were cleared, and how many are left to clear."""

    deleted: int
    deleted_from_trash: int
    remaining: int


class TaskStore:
    """Runs the statements of a request, each compiled once, straight on the driver's connection."""

    def __init__(self, queries: Queries) -> None:
        self._queries = queries

    def within(self, transaction: Queries) -> Self:
        """The same, with every statement in this transaction."""
        return type(self)(transaction)

    # ---- reading

    async def get_owned(self, owner: str, task_id: uuid.UUID) -> Row | None:
        rows = await self._queries.fetch(*read.GET.call(id=task_id, user_id=owner), repeatable=True)
        return rows[0] if rows else None

    async def get_placed(self, owner: str, task_id: uuid.UUID) -> Placed:
        """As `get_owned`, with the list tag by which a replica's answer is compared with the primary."""
        rows = await self._queries.fetch(*read.GET_PLACED.call(id=task_id, user_id=owner), repeatable=True)
        if not rows:
            return Placed(None, entity_tag(0, epoch_before_first_write(owner)))
        [row] = rows
        return Placed(row if row["id"] is not None else None, entity_tag(row["counter"], row["epoch"]))

    async def belongs_to_another(self, owner: str, task_id: uuid.UUID) -> bool:
        """Whether this task exists, alive, and is another user's."""
        return bool(await self._queries.fetch(*read.FOREIGN.call(id=task_id, user_id=owner), repeatable=True))

    async def existing(self, owner: str, task_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, bool]:
        """Which of these ids the user has already, and whether they are in the trash."""
        rows = await self._queries.fetch(*read.WHICH_EXIST.call(ids=list(task_ids), user_id=owner))
        return {row["id"]: row["in_trash"] for row in rows}

    async def page(self, owner: str, query: ListQuery) -> Page:
        rows_with_next = query.limit + 1
        values = {"user_id": owner, "rows": rows_with_next, **query.values}
        call = read.list_page(query.shape, rows_with_next).call(**values)
        rows = await self._queries.fetch(*call, repeatable=True)
        while not rows:
            # No row carries the counter: it is asked for together with whether the list is still empty.
            filled = read.list_is_filled(query.shape)
            [found] = await self._queries.fetch(*filled.call(**values), repeatable=True)
            if not found["filled"]:
                return Page([], _list_tag(owner, found), None, found["total"] if query.shape.counts else None)
            rows = await self._queries.fetch(*call, repeatable=True)
        tag, total = _list_tag(owner, rows[0]), rows[0]["total"] if query.shape.counts else None
        if len(rows) <= query.limit:
            return Page(rows, tag, None, total)
        rows.pop()
        return Page(rows, tag, query.next_cursor(rows[-1]), total)

    async def changes(self, owner: str, since: int, *, limit: int, deletions_after: int) -> Changes:
        """Up to `limit` changes after `since`, deletions only if they are after `deletions_after` too."""
        call = read.CHANGES.call(user_id=owner, since=since, rows=limit + 1, deletions_after=deletions_after)
        rows = await self._queries.fetch(*call, repeatable=True)
        if not rows:
            return Changes([], has_more=False, revision=0, forgotten=0, epoch=epoch_before_first_write(owner))
        user = rows[0]
        if user["id"] is None:  # no change: the one row holds the counter alone
            rows = []
        return Changes(rows[:limit], len(rows) > limit, user["counter"], user["forgotten"], user["epoch"])

    # ---- writing

    async def take_turn(self, author: Principal) -> None:
        """Lock the user's row: until the end of the transaction no other one writes this user's tasks."""
        await self._queries.fetch(*write.TAKE_TURN.call(user_id=author.user_id, email=author.email, name=author.name))

    async def create(
        self, author: Principal, creates: Sequence[TaskCreate], *, task_id: uuid.UUID | None = None
    ) -> list[Row]:
        """New tasks, in the order given. `task_id`: the id of a single one, where the client has made it."""
        records = [write.create_record(position, create, task_id) for position, create in enumerate(creates, start=1)]
        written = await self._create(author, records)
        return written if len(written) == 1 else sorted(written, key=lambda row: row["revision"])

    async def _create(self, author: Principal, records: list[dict[str, Any]]) -> list[Row]:
        call = write.CREATE.call(records, user_id=author.user_id, email=author.email, name=author.name)
        return await self._queries.fetch(*call, writer=author.user_id)

    async def edit(self, owner: str, edits: Sequence[Edit]) -> dict[int, Edited]:
        """Change tasks, move them to the trash or out of it; the answers by the position of their edit.

        A task that is not there has no answer. The ids must differ. What is already as wanted keeps its revision and
        its `updated_at`.
        """
        records = [write.edit_record(position, edit) for position, edit in enumerate(edits)]
        return _decided(await self._queries.fetch(*write.EDIT.call(records, user_id=owner), writer=owner))

    async def erase(self, owner: str, edits: Sequence[Edit]) -> dict[int, Edited]:
        """Remove tasks for good; with `from_trash` also what lies there."""
        records = [write.edit_record(position, edit) for position, edit in enumerate(edits)]
        return _decided(await self._erase(owner, records))

    async def _erase(self, owner: str, records: list[dict[str, Any]]) -> list[Row]:
        return await self._queries.fetch(*write.ERASE.call(records, user_id=owner), writer=owner)

    async def clear_some(self, author: Principal, what: Clearing, limit: int) -> ClearedSome:
        """Within a transaction: clear up to so many tasks of a user, and say how many are left."""
        # First: otherwise a task that another request creates while this one waits for its turn would stay.
        await self.take_turn(author)
        deleted, deleted_from_trash = await self._clear(author.user_id, what, limit)
        if deleted + deleted_from_trash < limit:
            return ClearedSome(deleted, deleted_from_trash, 0)
        [left] = await self._queries.fetch(*what.left.call(user_id=author.user_id))
        return ClearedSome(deleted, deleted_from_trash, left["count"])

    async def _clear(self, owner: str, what: Clearing, limit: int) -> tuple[int, int]:
        """How many live tasks were cleared, and how many of the trash."""
        [done] = await self._queries.fetch(*what.some.call(user_id=owner, limit=limit))
        return done["deleted"], done["deleted_from_trash"]


def _decided(rows: list[Row]) -> dict[int, Edited]:
    return {row["position"]: Edited(row["matched"], row) for row in rows}


def _list_tag(owner: str, row: Any) -> str:
    """The tag of the user's list; the row has the user's counter and epoch, or NULL where the user has no row."""
    if row["epoch"] is None:
        return entity_tag(0, epoch_before_first_write(owner))
    return entity_tag(row["counter"], row["epoch"])
