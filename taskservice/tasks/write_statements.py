"""The SQL that writes tasks, compiled once, and the records that it takes.

Each write is one statement for one task or a hundred. It locks the user's row, takes the next numbers of that user's
change counter there, and writes the tasks. Because of the lock, a user's writers take turns in the order of the
numbers: a reader that sees the counter at N sees, in the same snapshot, every change up to N.
"""

import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec
import sqlalchemy as sa
import uuid_utils
from msgspec import UNSET, Struct
from sqlalchemy.dialects import postgresql
from sqlalchemy.sql.dml import ReturningInsert
from sqlalchemy.sql.selectable import LateralFromClause

from taskservice import rules
from taskservice.database.statements import Statement
from taskservice.tasks.fields import COLUMNS, FIELDS, ROW, WRITABLE_COLUMNS
from taskservice.tasks.models import TIMESTAMPTZ, tasks, tombstones, users
from taskservice.tasks.records import Columns, Records, RecordStatement
from taskservice.tasks.schemas import TaskChange, TaskCreate, TaskImport

_user: Final = sa.bindparam("user_id", type_=sa.Text)
_email: Final = sa.bindparam("email", type_=sa.Text)
_name: Final = sa.bindparam("name", type_=sa.Text)
_at: Final = sa.func.clock_timestamp()


class Edit(Struct, frozen=True, kw_only=True):
    """What to do to one task that exists. `if_match`: only if it has one of these tags."""

    id: uuid.UUID
    change: TaskChange | None = None
    toggle: bool = False
    from_trash: bool = False
    to_trash: bool = False
    if_match: tuple[str, ...] | None = None


_WRITABLE_TYPES: Final = {column.name: column.type for column in WRITABLE_COLUMNS}


# ---- creating


def take_numbers(number: sa.ColumnElement[int]) -> ReturningInsert[Any]:
    """Locks the user's row, which is made if need be, and takes so many numbers of the counter there."""
    insert = postgresql.insert(users).values(id=_user, email=_email, name=_name, revision=number)
    return insert.on_conflict_do_update(
        index_elements=[users.c.id],
        set_={
            "revision": users.c.revision + insert.excluded.revision,
            "email": sa.func.coalesce(insert.excluded.email, users.c.email),
            "name": sa.func.coalesce(insert.excluded.name, users.c.name),
        },
    ).returning(users.c.id, users.c.epoch, (users.c.revision - number).label("before"))


def created_values(record: Mapping[str, Any], owner: Any) -> dict[str, sa.ColumnElement[Any]]:
    """What each column of a new task is to hold. `owner`: the user's `id`, the last number taken `before`, and `at`."""
    created_at = sa.func.coalesce(record["created_at"], owner.at)
    return {
        "id": record["id"],
        "user_id": owner.id,
        **{name: record[name] for name in _WRITABLE_TYPES},
        "created_at": created_at,
        "updated_at": sa.func.greatest(owner.at, created_at),
        "completed_at": sa.case(
            (record["status"] == rules.COMPLETED, sa.func.coalesce(record["completed_at"], owner.at))
        ),
        "revision": owner.before + record["position"],
    }


def _create(records: Records) -> sa.Insert:
    counter = take_numbers(records.count).cte("counter")
    owner = sa.select(counter, _at.label("at")).cte("owner")
    values = created_values(dict(records.table.c), owner.c)
    source = sa.select(*values.values()).select_from(records.table.join(owner, sa.true()))
    epoch = sa.select(owner.c.epoch).scalar_subquery().label("epoch")
    return postgresql.insert(tasks).from_select(list(values), source).returning(*COLUMNS, epoch)


CREATE_COLUMNS: Final[Columns] = {
    "position": sa.Integer(), "id": sa.Uuid(), **_WRITABLE_TYPES,
    "created_at": TIMESTAMPTZ, "completed_at": TIMESTAMPTZ,
}  # fmt: skip
CREATE: Final = RecordStatement(_create, CREATE_COLUMNS)


def create_record(position: int, create: TaskCreate, task_id: uuid.UUID | None = None) -> dict[str, Any]:
    """What `CREATE` takes for one task. Positions start at 1."""
    record: dict[str, Any] = {"position": position}
    for field in FIELDS:
        record.update(field.values(getattr(create, field.name)))
    if isinstance(create, TaskImport):
        record.update(id=create.id, created_at=create.created_at, completed_at=create.completed_at)
    else:
        record["id"] = task_id or str(uuid_utils.uuid7())
    return record


# ---- steps that changing and erasing share


def locked_owner() -> sa.CTE:
    # NO KEY UPDATE: a purge that inserts tombstones checks its foreign key without waiting for us.
    return sa.select(users.c.id, users.c.epoch).where(users.c.id == _user).with_for_update(key_share=True).cte("owner")


def _locked_tasks(owner: sa.CTE, asked: sa.CTE, *conditions: sa.ColumnElement[bool]) -> LateralFromClause:
    """Each asked task in its newest version, read after the owner was locked, and locked too.

    A subquery of its own, so that PostgreSQL finds the task by its id: a planner that expects ten tasks per user would
    otherwise read all tasks of a user who has a hundred thousand.
    """
    query = sa.select(*COLUMNS).where(
        tasks.c.id == asked.c.id, tasks.c.user_id == owner.c.id, tasks.c.user_id == _user, *conditions
    )
    return query.correlate(owner, asked).with_for_update().lateral("task")


def _matches(asked: sa.CTE, owner: sa.CTE, task: LateralFromClause) -> sa.Label[bool]:
    """Whether the task has one of the tags that the client named, if it named any."""
    tag = sa.func.format(sa.literal_column("'\"%s-%s\"'", sa.Text), task.c.revision, owner.c.epoch, type_=sa.Text)
    return sa.or_(asked.c.if_match.is_(None), tag == sa.any_(asked.c.if_match)).label("matched")


def counted(step: sa.CTE) -> sa.CTE:
    """Takes as many numbers of the user's counter as there are steps; `before` is the last one taken so far."""
    count = sa.select(sa.func.count()).select_from(step).scalar_subquery()
    counter = (
        sa.update(users)
        .values(revision=users.c.revision + count)
        .where(users.c.id == _user, count > 0)
        .returning((users.c.revision - count).label("before"))
        .cte("counter")
    )
    # The clock is read in a step of its own: a sharded database takes no volatile function in RETURNING.
    return sa.select(counter.c.before, _at.label("at")).cte("moment")


def removed(step: sa.CTE) -> sa.CTE:
    """Deletes the rows for good."""
    return sa.delete(tasks).where(tasks.c.id == step.c.id, tasks.c.user_id == _user).returning(tasks.c.id).cte("gone")


def tombstones_of(step: sa.CTE, counter: sa.CTE) -> sa.Select[Any]:
    """What is left of the rows, each with the next number of the counter."""
    return sa.select(
        _user.label("user_id"),
        (counter.c.before + step.c.number).label("revision"),
        step.c.id.label("task_id"),
        counter.c.at.label("deleted_at"),
    ).select_from(step.join(counter, sa.true()))


def erased(step: sa.CTE, counter: sa.CTE) -> tuple[sa.CTE, sa.CTE]:
    """Deletes the rows for good and leaves a tombstone for each."""
    names = ["user_id", "revision", "task_id", "deleted_at"]
    told = postgresql.insert(tombstones).from_select(names, tombstones_of(step, counter))
    return removed(step), told.returning(tombstones.c.revision).cte("told")


# ---- changing, deleting, restoring


def _new_values(edit: sa.CTE, old: LateralFromClause) -> dict[str, sa.ColumnElement[Any]]:
    """What each writable column is to hold after the edit."""
    values: dict[str, sa.ColumnElement[Any]] = {}
    for field in FIELDS:
        for name in field.columns:
            if field.nullable:
                values[name] = sa.case((edit.c[f"sets_{field.name}"], edit.c[name]), else_=old.c[name])
            else:
                values[name] = sa.func.coalesce(edit.c[name], old.c[name])
    values["status"] = sa.case(
        (edit.c.toggle, sa.case((old.c.status == rules.COMPLETED, rules.DEFAULT_STATUS), else_=rules.COMPLETED)),
        (sa.and_(edit.c.reopen, old.c.status == rules.COMPLETED), rules.DEFAULT_STATUS),
        else_=values["status"],
    )
    return values


def _edit(records: Records) -> sa.Select[Any]:
    edit = records.table
    owner = locked_owner()
    old = _locked_tasks(owner, edit, tasks.c.deleted_at.is_not(None) == edit.c.from_trash)
    new = _new_values(edit, old)
    wanted = (
        sa.select(
            edit.c.position,
            edit.c.to_trash,
            owner.c.epoch,
            *(old.c[column.name].label(f"old_{column.name}") for column in COLUMNS),
            *(value.label(f"new_{name}") for name, value in new.items()),
            _matches(edit, owner, old),
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
    counter = counted(step)
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
            wanted.c.epoch,
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
        .where(
            tasks.c.id == decided.c.id,
            tasks.c.user_id == _user,
            decided.c.changed,
        )
        .returning(tasks.c.id)
        .cte("written")
    )
    answer = sa.select(*(decided.c[name] for name in ROW), decided.c.matched, decided.c.position)
    return answer.order_by(decided.c.position).add_cte(written)


EDIT: Final = RecordStatement(
    _edit,
    {
        "position": sa.Integer(), "id": sa.Uuid(), **_WRITABLE_TYPES,
        **{f"sets_{field.name}": sa.Boolean() for field in FIELDS if field.nullable},
        "reopen": sa.Boolean(), "toggle": sa.Boolean(), "from_trash": sa.Boolean(), "to_trash": sa.Boolean(),
        "if_match": postgresql.ARRAY(sa.Text),
    },
)  # fmt: skip


def edit_record(position: int, edit: Edit) -> dict[str, Any]:
    """What `EDIT` and `ERASE` take for one task."""
    record = {"position": position, **msgspec.structs.asdict(edit)}
    change: TaskChange | None = record.pop("change")
    if change is None:
        return record
    for field in FIELDS:
        value = getattr(change, field.name)
        if value is not UNSET:
            record.update(field.values(value))
            if field.nullable:
                record[f"sets_{field.name}"] = True
    if change.completed is True:
        record["status"] = rules.COMPLETED
    elif change.completed is False:
        record["reopen"] = True
    return record


# ---- erasing for good


def _erase(records: Records) -> sa.Select[Any]:
    found, step, answer = to_erase(records)
    return answer.order_by(found.c.position).add_cte(*erased(step, counted(step)))


def to_erase(records: Records) -> tuple[sa.CTE, sa.CTE, sa.Select[Any]]:
    """The tasks asked for, those of them that match, and the answer about all of them."""
    erase = records.table
    owner = locked_owner()
    old = _locked_tasks(owner, erase, sa.or_(erase.c.from_trash, tasks.c.deleted_at.is_(None)))
    found = (
        sa.select(
            *(old.c[column.name] for column in COLUMNS),
            owner.c.epoch,
            _matches(erase, owner, old),
            erase.c.position,
        )
        .select_from(erase.join(owner, sa.true()).join(old, sa.true()))
        .cte("found")
    )
    number = sa.func.row_number().over(order_by=found.c.position).label("number")
    step = sa.select(found.c.id, number).where(found.c.matched).cte("step")
    return found, step, sa.select(*(found.c[name] for name in ROW), found.c.matched, found.c.position)


ERASE_COLUMNS: Final[Columns] = {
    "position": sa.Integer(), "id": sa.Uuid(), "from_trash": sa.Boolean(), "if_match": postgresql.ARRAY(sa.Text),
}  # fmt: skip
ERASE: Final = RecordStatement(_erase, ERASE_COLUMNS)
"""Rows gone for good, from the list or the trash."""


# ---- taking turns

TAKE_TURN: Final = Statement(
    postgresql.insert(users)
    .values(id=_user, email=_email, name=_name)
    .on_conflict_do_update(index_elements=[users.c.id], set_={"revision": users.c.revision})
)
"""Locks the user's row, which is made if need be."""
