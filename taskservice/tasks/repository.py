"""The tasks of one user as an advanced-alchemy repository, for commands, maintenance and scripts.

    async with sessions_of(pool).begin() as session:
        tasks = TaskRepository(session=session, owner="alice")
        for task in await tasks.get_many(status="pending"):
            await tasks.update(TaskModel(id=task.id, priority="high"))

Its writing methods run the statements of `store.py` in the session's transaction: they lock the user's row, take the
next numbers of the change counter, and leave tombstones, as requests do.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
import uuid_utils
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from taskservice.database.session import queries_of, row_count
from taskservice.principal import Principal
from taskservice.tasks.fields import WRITABLE_COLUMNS
from taskservice.tasks.models import TIMESTAMPTZ, TaskModel, tasks, tombstones
from taskservice.tasks.reading_repository import ReadingRepository, WriteRefused
from taskservice.tasks.schemas import TaskChange, TaskImport
from taskservice.tasks.store import Edited, TaskStore
from taskservice.tasks.write_statements import Edit

_DUE: Final = frozenset({"due_date", "due_all_day"})
_CHANGEABLE: Final = frozenset(column.name for column in WRITABLE_COLUMNS)
_IDENTITY: Final = frozenset({"id", "user_id"})
_HISTORY: Final = frozenset({"created_at", "completed_at"})


class TaskRepository(ReadingRepository[TaskModel]):
    """One user's live tasks; with `trash`, the deleted ones.

    `delete` moves to the trash, `erase` removes for good.
    """

    model_type = TaskModel
    instead = "call add, update, delete, restore or erase"

    def __init__(self, *, session: AsyncSession, owner: str, trash: bool = False) -> None:
        self.owner: Final = owner
        deleted = tasks.c.deleted_at.is_not(None) if trash else tasks.c.deleted_at.is_(None)
        statement = sa.select(TaskModel).where(tasks.c.user_id == owner, deleted)
        super().__init__(session=session, statement=statement)

    async def get(self, item_id: Any, **options: Any) -> TaskModel:
        # By the id alone, as the owner is given.
        return await super().get(item_id, **({"id_attribute": "id"} | options))

    # ---- writing

    async def add(self, data: TaskModel) -> TaskModel:  # type: ignore[override] # the options of a flush mean nothing here
        """Store a new task. Without an id it gets one."""
        return (await self.add_many([data]))[0]

    async def add_many(self, data: Sequence[TaskModel]) -> list[TaskModel]:  # type: ignore[override] # as for `add`
        now = (await self.session.execute(sa.select(sa.func.clock_timestamp(type_=TIMESTAMPTZ)))).scalar_one()
        creates = [self._creation(task, now) for task in data]
        store = await self._store()
        await store.create(Principal(self.owner, None, None), creates)
        return await self._read([create.id for create in creates])

    async def update(self, data: TaskModel) -> TaskModel:  # type: ignore[override] # as for `add`
        """Change a task: the attributes that were set on `data` are written, the others stay.

        `data` may be a new `TaskModel` with the id, or one that was read and then changed.
        """
        return (await self.update_many([data]))[0]

    async def update_many(self, data: Sequence[TaskModel]) -> list[TaskModel]:  # type: ignore[override] # as for `add`
        edits = [Edit(id=task.id, change=self._change(task)) for task in data]
        for task in data:
            if task in self.session:
                self.session.expire(task)  # or the next flush would write it past the counter
        return await self._edit(edits)

    async def delete(self, item_id: uuid.UUID) -> TaskModel:  # type: ignore[override] # as for `add`
        """Move a live task to the trash."""
        return (await self.delete_many([item_id]))[0]

    async def delete_many(self, item_ids: Sequence[uuid.UUID]) -> list[TaskModel]:  # type: ignore[override] # as for `add`
        """Move live tasks to the trash. Raises `NotFoundError` if one of them is not there, and moves none then."""
        return await self._edit([Edit(id=item_id, to_trash=True) for item_id in item_ids])

    async def delete_where(self, *filters: Any, **named: Any) -> list[TaskModel]:
        """Move the live tasks that the filters match to the trash."""
        return await self.delete_many([task.id for task in await self.get_many(*filters, **named)])

    async def restore(self, item_id: uuid.UUID) -> TaskModel:
        """Take a task out of the trash."""
        return (await self._edit([Edit(id=item_id, from_trash=True)]))[0]

    async def erase(self, item_ids: Sequence[uuid.UUID]) -> int:
        """Remove tasks for good, from the list or the trash; how many of them were there."""
        store = await self._store()
        edits = [Edit(id=item_id, from_trash=True) for item_id in dict.fromkeys(item_ids)]
        return len(await store.erase(self.owner, edits))

    async def purge(self, *, before: dt.datetime, limit: int) -> int:
        """Remove up to `limit` tasks that were deleted before then, for good; how many there were.

        Each deletion keeps its number, so that readers of the change feed hear of it once, in its place.
        """
        doomed = (
            sa.select(tasks.c.id)
            .where(tasks.c.user_id == self.owner, tasks.c.deleted_at < before)
            .order_by(tasks.c.deleted_at)
            .limit(limit)
        )
        gone = (
            sa.delete(tasks)
            .where(tasks.c.user_id == self.owner, tasks.c.id.in_(doomed))
            .returning(tasks.c.user_id, tasks.c.revision, tasks.c.id, tasks.c.deleted_at)
            .cte("gone")
        )
        names = ["user_id", "revision", "task_id", "deleted_at"]
        return await row_count(self.session, postgresql.insert(tombstones).from_select(names, sa.select(*gone.c)))

    async def forget(self, *, limit: int) -> int:
        """Remove up to `limit` tasks of a user who is gone, without a trace; how many there were."""
        some = sa.select(tasks.c.id).where(tasks.c.user_id == self.owner).limit(limit)
        forgotten = sa.delete(tasks).where(tasks.c.user_id == self.owner, tasks.c.id.in_(some))
        return await row_count(self.session, forgotten)

    # ---- steps

    async def _store(self) -> TaskStore:
        return TaskStore(await queries_of(self.session))

    async def _edit(self, edits: Sequence[Edit]) -> list[TaskModel]:
        ids = [edit.id for edit in edits]
        if len(set(ids)) != len(ids):
            raise WriteRefused("one task stands there twice: the ids must differ")
        async with self.session.begin_nested():
            store = await self._store()
            done: dict[int, Edited] = await store.edit(self.owner, edits)
            if len(done) != len(edits):
                self.check_not_found(None)
        return await self._read(ids)

    async def _read(self, ids: Sequence[uuid.UUID]) -> list[TaskModel]:
        """As they are now, in this order, whether they are live or deleted."""
        statement = sa.select(TaskModel).where(tasks.c.user_id == self.owner, tasks.c.id.in_(ids))
        found = await self.session.scalars(statement, execution_options={"populate_existing": True})
        by_id = {task.id: task for task in found}
        return [by_id[task_id] for task_id in ids]

    def _creation(self, task: TaskModel, now: dt.datetime) -> TaskImport:
        given = self._given(task, _CHANGEABLE | _IDENTITY | _HISTORY)
        if given.pop("user_id", self.owner) != self.owner:
            raise WriteRefused(f"this repository holds the tasks of {self.owner} alone")
        created_at = given.pop("created_at", None) or now
        task_id = given.pop("id", None) or uuid.UUID(bytes=uuid_utils.uuid7().bytes)
        return TaskImport(id=task_id, created_at=created_at, **given)

    def _change(self, task: TaskModel) -> TaskChange:
        return TaskChange(**self._given(task, _CHANGEABLE, but=_IDENTITY))

    def _given(self, task: TaskModel, names: frozenset[str], *, but: frozenset[str] = frozenset()) -> dict[str, Any]:
        """The attributes that were set on the instance, or changed since it was read."""
        given = {name: value.value for name, value in sa.inspect(task).attrs.items() if value.history.added}
        foreign = given.keys() - names - but
        if foreign:
            raise WriteRefused(f"{', '.join(sorted(foreign))}: written by the service alone; {self.instead}")
        values = {name: value for name, value in given.items() if name in names - _DUE}
        if given.keys() & _DUE:
            if task not in self.session and "due_date" not in given:
                raise WriteRefused("due_all_day: says how due_date is meant, so give both")
            # The two columns together are the one value that clients know.
            due = task.due_date
            values["due_date"] = due.astimezone(dt.UTC).date() if due is not None and task.due_all_day else due
        return values
