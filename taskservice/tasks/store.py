"""All SQL about tasks. Whose tasks is the first argument of every method, and part of every statement.

Each write is one statement for one task or a hundred: it locks the user's row, takes the next numbers of that user's
change counter there, and writes the tasks. The lock makes a user's writers take turns, in the order of the numbers; so
whoever reads the counter as N has seen, in the same snapshot, every change up to N.
"""

import datetime as dt
import uuid
from collections.abc import Sequence
from copy import copy
from enum import Enum
from functools import lru_cache
from typing import Any, Final, Protocol

import msgspec
import sqlalchemy as sa
import uuid_utils
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from msgspec import UNSET, Struct, UnsetType
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession
from sqlalchemy.sql.selectable import LateralFromClause

from taskservice import rules
from taskservice.auth.tokens import Principal
from taskservice.database.statements import Statement
from taskservice.tasks import listing
from taskservice.tasks.listing import Question, Shape
from taskservice.tasks.models import Instant, Task, idempotency_keys, tasks, tombstones, users
from taskservice.tasks.schemas import TaskChange, TaskCreate, TaskImport

COLUMNS: Final = (
    tasks.c.id, tasks.c.title, tasks.c.description, tasks.c.status, tasks.c.priority, tasks.c.due_date,
    tasks.c.due_all_day, tasks.c.created_at, tasks.c.updated_at, tasks.c.completed_at, tasks.c.deleted_at,
    tasks.c.revision,
)  # fmt: skip
"""What a row of every statement here begins with, in this order."""
ID, DELETED_AT, REVISION = 0, 10, 11

Row = Any
"""An `asyncpg.Record`."""


class Queries(Protocol):
    """Where statements run: the pool, or a transaction on one of its connections."""

    async def fetch(self, sql: str, args: Sequence[Any], *, repeatable: bool = False) -> list[Row]: ...
    async def fetchrow(self, sql: str, args: Sequence[Any], *, repeatable: bool = False) -> Row | None: ...


class Edit(Struct, frozen=True, kw_only=True):
    """What to do to one task that exists. `if_match`: only at one of these revisions."""

    id: uuid.UUID
    change: TaskChange | None = None
    toggle: bool = False
    from_trash: bool = False
    to_trash: bool = False
    if_match: tuple[int, ...] | None = None


class Edited(Struct, frozen=True):
    """What became of an edit. Not `matched`: the task stands at another revision, and nothing was done."""

    matched: bool
    row: Row


class Standing(Enum):
    """Where an id stands for a user."""

    LIVE = "live"
    TRASHED = "trashed"
    FOREIGN = "foreign"


class Change(Struct, frozen=True):
    """One entry of the change feed: a task as it is, or `deleted_at` of one that is gone."""

    row: Row
    task_id: uuid.UUID
    deleted_at: dt.datetime | None
    revision: int


class Changes(Struct, frozen=True):
    changes: list[Change]
    has_more: bool
    revision: int
    forgotten: int


# ---- the statements

_user: Final = sa.bindparam("user_id", type_=sa.Text)
_email: Final = sa.bindparam("email", type_=sa.Text)
_name: Final = sa.bindparam("name", type_=sa.Text)
_one: Final = sa.literal_column("1", sa.BigInteger)
_at: Final = sa.func.clock_timestamp()
_json: Final = sa.bindparam("rows", type_=sa.JSON)


def _rows_of_json(name: str, **columns: sa.types.TypeEngine[Any]) -> sa.CTE:
    """The JSON parameter `rows` as a table: one parameter for any number of rows, and absent fields are NULL."""
    table = sa.func.json_to_recordset(_json).table_valued(
        *(sa.column(column, kind) for column, kind in columns.items()), name=f"{name}_json"
    )
    return sa.select(table.render_derived(with_types=True)).cte(name)


def _creation() -> Statement:
    incoming = _rows_of_json(
        "incoming", position=sa.Integer(), id=sa.Uuid(), title=sa.Text(), description=sa.Text(), status=sa.Text(),
        priority=sa.Text(), due_date=Instant, due_all_day=sa.Boolean(), created_at=Instant, completed_at=Instant,
    )  # fmt: skip
    count = sa.select(sa.func.count()).select_from(incoming).scalar_subquery()
    insert = postgresql.insert(users).from_select(
        ["id", "email", "name", "revision"], sa.select(_user, _email, _name, count)
    )
    owner = (
        insert.on_conflict_do_update(
            index_elements=[users.c.id],
            set_={
                "revision": users.c.revision + insert.excluded.revision,
                "email": sa.func.coalesce(insert.excluded.email, users.c.email),
                "name": sa.func.coalesce(insert.excluded.name, users.c.name),
            },
        )
        .returning(users.c.id, (users.c.revision - count).label("before"), _at.label("at"))
        .cte("owner")
    )
    created_at = sa.func.coalesce(incoming.c.created_at, owner.c.at)
    completed_at = sa.case(
        (incoming.c.status == rules.COMPLETED, sa.func.coalesce(incoming.c.completed_at, owner.c.at))
    )
    fields = {
        "id": incoming.c.id,
        "user_id": owner.c.id,
        "title": incoming.c.title,
        "description": incoming.c.description,
        "status": incoming.c.status,
        "priority": incoming.c.priority,
        "due_date": incoming.c.due_date,
        "due_all_day": incoming.c.due_all_day,
        "created_at": created_at,
        "updated_at": sa.func.greatest(owner.c.at, created_at),
        "completed_at": completed_at,
        "revision": owner.c.before + incoming.c.position,
    }
    source = sa.select(*fields.values()).select_from(incoming.join(owner, sa.true()))
    return Statement(postgresql.insert(tasks).from_select(list(fields), source).returning(*COLUMNS))


def _locked_owner() -> sa.CTE:
    # NO KEY UPDATE: a purge that inserts tombstones checks its foreign key without waiting for us.
    return sa.select(users.c.id).where(users.c.id == _user).with_for_update(key_share=True).cte("owner")


def _locked_tasks(owner: sa.CTE, asked: sa.CTE, *conditions: sa.ColumnElement[bool]) -> LateralFromClause:
    """Each asked task in its newest version, read after the owner was locked, and locked too.

    A subquery of its own, so that it is found by its id: a planner that thinks users have ten tasks would otherwise
    read all of a user who has a hundred thousand.
    """
    query = sa.select(*COLUMNS, tasks.c.user_id).where(
        tasks.c.id == asked.c.id, tasks.c.user_id == owner.c.id, *conditions
    )
    return query.correlate(owner, asked).with_for_update().lateral("task")


def _counted(step: sa.CTE) -> sa.CTE:
    """Takes as many numbers of the user's counter as there are steps; `before` is the last one taken so far."""
    count = sa.select(sa.func.count()).select_from(step).scalar_subquery()
    return (
        sa.update(users)
        .values(revision=users.c.revision + count)
        .where(users.c.id == _user, count > 0)
        .returning((users.c.revision - count).label("before"), _at.label("at"))
        .cte("counter")
    )


def _removed(step: sa.CTE, counter: sa.CTE) -> tuple[sa.CTE, sa.CTE]:
    """Deletes the rows for good and leaves a tombstone with the next number for each."""
    gone = (
        sa.delete(tasks)
        .where(tasks.c.id == step.c.id, tasks.c.user_id == step.c.user_id)
        .returning(tasks.c.id)
        .cte("gone")
    )
    told = (
        postgresql.insert(tombstones)
        .from_select(
            ["user_id", "revision", "task_id", "deleted_at"],
            sa.select(step.c.user_id, counter.c.before + step.c.number, step.c.id, counter.c.at).select_from(
                step.join(counter, sa.true())
            ),
        )
        .returning(tombstones.c.revision)
        .cte("told")
    )
    return gone, told


def _edition() -> Statement:
    edit = _rows_of_json(
        "edit", position=sa.Integer(), id=sa.Uuid(), title=sa.Text(), sets_description=sa.Boolean(),
        description=sa.Text(), status=sa.Text(), reopen=sa.Boolean(), toggle=sa.Boolean(), priority=sa.Text(),
        sets_due=sa.Boolean(), due_date=Instant, due_all_day=sa.Boolean(), from_trash=sa.Boolean(),
        to_trash=sa.Boolean(), if_match=postgresql.ARRAY(sa.BigInteger),
    )  # fmt: skip
    owner = _locked_owner()
    old = _locked_tasks(owner, edit, tasks.c.deleted_at.is_not(None) == edit.c.from_trash)
    status = sa.case(
        (
            edit.c.toggle,
            sa.case((old.c.status == rules.COMPLETED, rules.DEFAULT_STATUS), else_=rules.COMPLETED),
        ),
        (sa.and_(edit.c.reopen, old.c.status == rules.COMPLETED), rules.DEFAULT_STATUS),
        else_=sa.func.coalesce(edit.c.status, old.c.status),
    )
    new = {
        "title": sa.func.coalesce(edit.c.title, old.c.title),
        "description": sa.case((edit.c.sets_description, edit.c.description), else_=old.c.description),
        "status": status,
        "priority": sa.func.coalesce(edit.c.priority, old.c.priority),
        "due_date": sa.case((edit.c.sets_due, edit.c.due_date), else_=old.c.due_date),
        "due_all_day": sa.case((edit.c.sets_due, edit.c.due_all_day), else_=old.c.due_all_day),
    }
    wanted = (
        sa.select(
            edit.c.position,
            edit.c.to_trash,
            old.c.user_id,
            *(old.c[column.name].label(f"old_{column.name}") for column in COLUMNS),
            *(value.label(f"new_{name}") for name, value in new.items()),
            sa.or_(edit.c.if_match.is_(None), old.c.revision == sa.any_(edit.c.if_match)).label("matched"),
        )
        .select_from(edit.join(owner, sa.true()).join(old, sa.true()))
        .cte("wanted")
    )
    differs = sa.or_(
        wanted.c.to_trash.is_distinct_from(wanted.c.old_deleted_at.is_not(None)),
        *(wanted.c[f"new_{name}"].is_distinct_from(wanted.c[f"old_{name}"]) for name in new),
    )
    step = (
        sa.select(wanted.c.position, sa.func.row_number().over(order_by=wanted.c.position).label("number"))
        .where(wanted.c.matched, differs)
        .cte("step")
    )
    counter = _counted(step)
    changed = step.c.number.is_not(None)
    still_completed = sa.and_(wanted.c.new_status == rules.COMPLETED, wanted.c.old_completed_at.is_not(None))
    values = {
        "id": wanted.c.old_id,
        **{name: wanted.c[f"new_{name}"] for name in new},
        "created_at": wanted.c.old_created_at,
        "updated_at": sa.case(
            (changed, sa.func.greatest(counter.c.at, wanted.c.old_updated_at + sa.text("interval '1 microsecond'"))),
            else_=wanted.c.old_updated_at,
        ),
        "completed_at": sa.case(
            (still_completed, wanted.c.old_completed_at), (wanted.c.new_status == rules.COMPLETED, counter.c.at)
        ),
        "deleted_at": sa.case(
            (~wanted.c.to_trash, None), else_=sa.func.coalesce(wanted.c.old_deleted_at, counter.c.at)
        ),
        "revision": sa.case((changed, counter.c.before + step.c.number), else_=wanted.c.old_revision),
    }
    decided = (
        sa.select(
            *(values[column.name].label(column.name) for column in COLUMNS),
            wanted.c.user_id,
            wanted.c.position,
            wanted.c.matched,
            changed.label("changed"),
        )
        .select_from(wanted.outerjoin(step, step.c.position == wanted.c.position).outerjoin(counter, sa.true()))
        .cte("decided")
    )
    written = (
        sa.update(tasks)
        .values({name: decided.c[name] for name in (*new, "updated_at", "completed_at", "deleted_at", "revision")})
        .where(tasks.c.id == decided.c.id, tasks.c.user_id == decided.c.user_id, decided.c.changed)
        .returning(tasks.c.id)
        .cte("written")
    )
    answer = sa.select(*(decided.c[column.name] for column in COLUMNS), decided.c.matched, decided.c.position).order_by(
        decided.c.position
    )
    return Statement(answer.add_cte(written))


def _erasure() -> Statement:
    """Rows gone for good, from the list or the trash."""
    erase = _rows_of_json(
        "erase", position=sa.Integer(), id=sa.Uuid(), from_trash=sa.Boolean(), if_match=postgresql.ARRAY(sa.BigInteger)
    )
    owner = _locked_owner()
    old = _locked_tasks(owner, erase, sa.or_(erase.c.from_trash, tasks.c.deleted_at.is_(None)))
    found = (
        sa.select(
            *(old.c[column.name] for column in COLUMNS),
            old.c.user_id,
            sa.or_(erase.c.if_match.is_(None), old.c.revision == sa.any_(erase.c.if_match)).label("matched"),
            erase.c.position,
        )
        .select_from(erase.join(owner, sa.true()).join(old, sa.true()))
        .cte("found")
    )
    number = sa.func.row_number().over(order_by=found.c.position).label("number")
    step = sa.select(found.c.id, found.c.user_id, number).where(found.c.matched).cte("step")
    answer = sa.select(*(found.c[column.name] for column in COLUMNS), found.c.matched, found.c.position).order_by(
        found.c.position
    )
    return Statement(answer.add_cte(*_removed(step, _counted(step))))


def _clearance() -> Statement:
    """Everything of a user, for good; also the answers kept for their retries, which quote tasks."""
    owner = _locked_owner()
    found = (
        sa.select(tasks.c.id, tasks.c.user_id, tasks.c.deleted_at)
        .select_from(tasks.join(owner, owner.c.id == tasks.c.user_id))
        .with_for_update(of=tasks)
        .cte("found")
    )
    number = sa.func.row_number().over(order_by=found.c.id).label("number")
    step = sa.select(found.c.id, found.c.user_id, number).cte("step")
    live = sa.func.count().filter(found.c.deleted_at.is_(None))
    kept = sa.delete(idempotency_keys).where(idempotency_keys.c.user_id == _user).cte("kept")
    answer = sa.select(live, sa.func.count() - live).select_from(found)
    return Statement(answer.add_cte(*_removed(step, _counted(step)), kept))


def _feed() -> Statement:
    """Changes after a number, tasks and tombstones together, with the counter of the same snapshot beside each."""
    since, rows = sa.bindparam("since", type_=sa.BigInteger), sa.bindparam("rows", type_=sa.Integer)
    deletions_after = sa.bindparam("deletions_after", type_=sa.BigInteger)
    changed = (
        sa.select(*COLUMNS)
        .where(tasks.c.user_id == _user, tasks.c.revision > since)
        .where(sa.or_(tasks.c.deleted_at.is_(None), tasks.c.revision > deletions_after))
        .order_by(tasks.c.revision)
        .limit(rows)
    )
    nothing: dict[str, Any] = {
        "id": tombstones.c.task_id, "revision": tombstones.c.revision, "deleted_at": tombstones.c.deleted_at,
    }  # fmt: skip
    gone = (
        sa.select(*(nothing.get(column.name, sa.cast(sa.null(), column.type)).label(column.name) for column in COLUMNS))
        .where(tombstones.c.user_id == _user, tombstones.c.revision > sa.func.greatest(since, deletions_after))
        .order_by(tombstones.c.revision)
        .limit(rows)
    )
    both = sa.union_all(sa.select(changed.subquery()), sa.select(gone.subquery())).subquery("change")
    page = sa.select(both).order_by(both.c.revision).limit(rows).subquery("page")
    return Statement(
        sa.select(*(page.c[column.name] for column in COLUMNS), users.c.revision, users.c.forgotten)
        .select_from(users.outerjoin(page, sa.true()))
        .where(users.c.id == _user)
        .order_by(page.c.revision)
    )


_CREATE: Final = _creation()
_EDIT: Final = _edition()
_ERASE: Final = _erasure()
_CLEAR: Final = _clearance()
_FEED: Final = _feed()
_GET: Final = Statement(
    sa.select(*COLUMNS).where(
        tasks.c.id == sa.bindparam("id", type_=sa.Uuid), tasks.c.user_id == _user, tasks.c.deleted_at.is_(None)
    )
)
_FOREIGN: Final = Statement(
    sa.select(_one).where(
        tasks.c.id == sa.bindparam("id", type_=sa.Uuid),
        tasks.c.user_id != _user,
        tasks.c.deleted_at.is_(None),
    )
)
_STANDING: Final = Statement(
    sa.select(
        tasks.c.id,
        sa.case(
            (tasks.c.user_id != _user, Standing.FOREIGN.value),
            (tasks.c.deleted_at.is_(None), Standing.LIVE.value),
            else_=Standing.TRASHED.value,
        ),
    ).where(tasks.c.id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid))))
)
_TAKE_TURN: Final = Statement(
    postgresql.insert(users)
    .values(id=_user, email=_email, name=_name)
    .on_conflict_do_update(index_elements=[users.c.id], set_={"revision": users.c.revision})
)


@lru_cache(512)
def _page(shape: Shape) -> Statement:
    revision = sa.select(users.c.revision).where(users.c.id == sa.bindparam("owner", type_=sa.Text)).scalar_subquery()
    return Statement(listing.page(shape, (*COLUMNS, revision)))


@lru_cache(512)
def _emptiness(shape: Shape) -> Statement:
    revision = sa.select(users.c.revision).where(users.c.id == sa.bindparam("owner", type_=sa.Text)).scalar_subquery()
    return Statement(sa.select(sa.func.coalesce(revision, 0), sa.exists(listing.page(shape, (_one,)))))


class Page(Struct, frozen=True):
    """Rows of a list, the user's counter in the same snapshot, and where the next page starts."""

    rows: list[Row]
    revision: int
    next_cursor: str | None


_encode: Final = msgspec.json.Encoder().encode


class TaskStore(SQLAlchemyAsyncRepository[Task]):  # type: ignore[type-var] # SQLModel, which it supports at runtime
    """The tasks of all users, one user at a time.

    The general methods of advanced-alchemy's repository work through its session, which opens a connection of its own
    once one of them is called; no request does. Requests take the methods below: single statements, compiled at import,
    straight on the driver's connection, without an entity in between.
    """

    model_type = Task

    def __init__(self, queries: Queries, session: AsyncSession) -> None:
        super().__init__(session=session, auto_expunge=False, auto_refresh=False, wrap_exceptions=False)
        self._queries = queries

    def within(self, transaction: Queries) -> "TaskStore":
        """The same, with every statement in this transaction."""
        inside = copy(self)
        inside._queries = transaction  # noqa: SLF001 (a copy of oneself)
        return inside

    # ---- reading

    async def get_owned(self, owner: str, task_id: uuid.UUID) -> Row | None:
        return await self._queries.fetchrow(_GET.sql, _GET.args(id=task_id, user_id=owner), repeatable=True)

    async def belongs_to_another(self, owner: str, task_id: uuid.UUID) -> bool:
        """Whether this task exists, alive, and is somebody else's."""
        args = _FOREIGN.args(id=task_id, user_id=owner)
        return await self._queries.fetchrow(_FOREIGN.sql, args, repeatable=True) is not None

    async def standing(self, owner: str, task_ids: Sequence[uuid.UUID]) -> dict[uuid.UUID, Standing]:
        """Which of these ids exist already, and as what."""
        rows = await self._queries.fetch(_STANDING.sql, _STANDING.args(ids=list(task_ids), user_id=owner))
        return {row[0]: Standing(row[1]) for row in rows}

    async def page(self, owner: str, question: Question) -> Page:
        statement = _page(question.shape)
        named = {"owner": owner, "rows": question.limit + 1, **question.values}
        args = statement.args(**named)
        rows = await self._queries.fetch(statement.sql, args, repeatable=True)
        while not rows:
            # No row carries the counter: it is asked for together with whether the list is still empty.
            emptiness = _emptiness(question.shape)
            [(revision, filled)] = await self._queries.fetch(emptiness.sql, emptiness.args(**named), repeatable=True)
            if not filled:
                return Page([], revision, None)
            rows = await self._queries.fetch(statement.sql, args, repeatable=True)
        revision = rows[0][-1]
        if len(rows) <= question.limit:
            return Page(rows, revision, None)
        rows.pop()
        last = rows[-1]
        keys = [last[order.definition.column] for order in question.shape.orders]
        return Page(rows, revision, question.next_cursor([*keys, last["id"]]))

    async def changes(self, owner: str, since: int, *, limit: int, deletions_after: int) -> Changes:
        """Up to `limit` changes after `since`, deletions only if they are after `deletions_after` too."""
        args = _FEED.args(user_id=owner, since=since, rows=limit + 1, deletions_after=deletions_after)
        rows = await self._queries.fetch(_FEED.sql, args, repeatable=True)
        if not rows:
            return Changes([], has_more=False, revision=0, forgotten=0)
        revision, forgotten = rows[0][-2:]
        changes = [Change(row, row[ID], row[DELETED_AT], row[REVISION]) for row in rows if row[ID] is not None]
        return Changes(changes[:limit], len(changes) > limit, revision, forgotten)

    # ---- writing

    async def take_turn(self, author: Principal) -> None:
        """Within a transaction: from here to its end nobody else writes this user's tasks."""
        await self._queries.fetch(
            _TAKE_TURN.sql, _TAKE_TURN.args(user_id=author.user_id, email=author.email, name=author.name)
        )

    async def create(self, author: Principal, creates: Sequence[TaskCreate]) -> list[Row]:
        """New tasks, in the order given."""
        rows = [_creation_row(position, create) for position, create in enumerate(creates, start=1)]
        args = _CREATE.args(rows=_encode(rows).decode(), user_id=author.user_id, email=author.email, name=author.name)
        written = await self._queries.fetch(_CREATE.sql, args)
        return written if len(written) == 1 else sorted(written, key=lambda row: row[REVISION])

    async def edit(self, owner: str, edits: Sequence[Edit]) -> dict[int, Edited]:
        """Change, move to the trash or out of it. A task that is not there is missing from the answer.

        The ids must differ. What is already as wanted keeps its revision and its `updated_at`.
        """
        rows = [_edit_row(position, edit) for position, edit in enumerate(edits)]
        return await self._decide(_EDIT, owner, rows)

    async def erase(self, owner: str, edits: Sequence[Edit]) -> dict[int, Edited]:
        """Remove for good; with `from_trash` also what lies there."""
        rows = [
            {"position": position, "id": edit.id, "from_trash": edit.from_trash, "if_match": edit.if_match}
            for position, edit in enumerate(edits)
        ]
        return await self._decide(_ERASE, owner, rows)

    async def _decide(self, statement: Statement, owner: str, rows: list[dict[str, Any]]) -> dict[int, Edited]:
        args = statement.args(rows=_encode(rows).decode(), user_id=owner)
        answers = await self._queries.fetch(statement.sql, args)
        return {answer[-1]: Edited(answer[-2], answer) for answer in answers}

    async def clear(self, author: Principal) -> tuple[int, int]:
        """Within a transaction: remove everything of a user for good; how much was live, and how much in the trash."""
        # First, or a task that somebody creates while this waits for its turn would not be seen, and stay.
        await self.take_turn(author)
        row = await self._queries.fetchrow(_CLEAR.sql, _CLEAR.args(user_id=author.user_id))
        return (row[0], row[1]) if row else (0, 0)


def _creation_row(position: int, create: TaskCreate) -> dict[str, Any]:
    row: dict[str, Any] = {
        "position": position,
        "title": create.title,
        "description": create.description,
        "status": create.status,
        "priority": create.priority,
        **_due_columns(create.due_date),
    }
    if isinstance(create, TaskImport):
        return row | {"id": create.id, "created_at": create.created_at, "completed_at": create.completed_at}
    row["id"] = str(uuid_utils.uuid7())
    return row


def _edit_row(position: int, edit: Edit) -> dict[str, Any]:
    row: dict[str, Any] = {
        "position": position,
        "id": edit.id,
        "toggle": edit.toggle,
        "from_trash": edit.from_trash,
        "to_trash": edit.to_trash,
        "if_match": edit.if_match,
    }
    change = edit.change
    if change is not None:
        row["title"] = change.title
        row["priority"] = change.priority
        row["status"] = rules.COMPLETED if change.completed is True else change.status
        row["reopen"] = change.completed is False
        if change.description is not UNSET:
            row["sets_description"], row["description"] = True, change.description
        if change.due_date is not UNSET:
            row["sets_due"] = True
            row |= _due_columns(change.due_date)
    return {name: value for name, value in row.items() if value is not UNSET}


def _due_columns(due: dt.date | dt.datetime | UnsetType | None) -> dict[str, Any]:
    if isinstance(due, dt.date) and not isinstance(due, dt.datetime):
        return {"due_date": listing.midnight(due), "due_all_day": True}
    return {"due_date": due, "due_all_day": False}
