"""The SQL that reads tasks, compiled once.

Every statement restricts every table to one user, so that a database that is sharded or partitioned by user runs it in
one place; all but `FOREIGN`, which asks for another user's task.
"""

from functools import lru_cache
from typing import Any, Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from taskservice.database.statements import Statement
from taskservice.tasks import filters
from taskservice.tasks.fields import COLUMNS
from taskservice.tasks.filters import Shape
from taskservice.tasks.models import tasks, tombstones, users

_user: Final = sa.bindparam("user_id", type_=sa.Text)
_id: Final = sa.bindparam("id", type_=sa.Uuid)
_one: Final = sa.literal_column("1", sa.BigInteger)


def _of_user(column: sa.ColumnElement[Any]) -> sa.ScalarSelect[Any]:
    """A column of the user's row, read once a statement."""
    return sa.select(column).where(users.c.id == _user).scalar_subquery()


_epoch: Final = _of_user(users.c.epoch).label("epoch")

GET: Final = Statement(
    sa.select(*COLUMNS, _epoch).where(tasks.c.id == _id, tasks.c.user_id == _user, tasks.c.deleted_at.is_(None))
)
"""One live task."""

GET_PLACED: Final = Statement(
    sa.select(*COLUMNS, users.c.epoch, users.c.revision.label("counter"))
    .select_from(
        users.outerjoin(tasks, sa.and_(tasks.c.user_id == _user, tasks.c.id == _id, tasks.c.deleted_at.is_(None)))
    )
    .where(users.c.id == _user)
)
"""The same, with the user's counter in the same snapshot; NULLs where there is no such task."""

FOREIGN: Final = Statement(
    sa.select(_one).where(tasks.c.id == _id, tasks.c.user_id != _user, tasks.c.deleted_at.is_(None))
)
"""Whether a live task with this id is another user's."""

WHICH_EXIST: Final = Statement(
    sa.select(tasks.c.id, tasks.c.deleted_at.is_not(None).label("in_trash")).where(
        tasks.c.user_id == _user, tasks.c.id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid)))
    )
)
"""Which of some ids the user has, and whether they are in the trash."""


def list_page(shape: Shape, rows: int) -> Statement:
    """A page of a list; each row carries the user's counter, and the total if asked for, in the same snapshot.

    A plain list has the number of rows in its SQL. Where PostgreSQL does not know the limit, it takes it for a tenth of
    all rows; where that looks expensive, it plans each page anew, which can cost more than the page itself.
    """
    return _list_page(shape, rows if shape.is_plain else None)


@lru_cache(512)
def _list_page(shape: Shape, rows: int | None) -> Statement:
    extra = (_epoch, _of_user(users.c.revision).label("counter"), *_total(shape))
    return Statement(filters.page(shape, (*COLUMNS, *extra), rows))


@lru_cache(512)
def list_is_filled(shape: Shape) -> Statement:
    """Whether a page has any row, the user's counter and the total in the same snapshot."""
    filled = sa.exists(filters.page(shape, (_one,), rows=1))
    extra = (filled.label("filled"), *_total(shape))
    return Statement(sa.select(_of_user(users.c.revision).label("counter"), _epoch, *extra))


def _total(shape: Shape) -> tuple[sa.Label[int], ...]:
    return (filters.total(shape).label("total"),) if shape.counts else ()


def _changes() -> Statement:
    since, rows = sa.bindparam("since", type_=sa.BigInteger), sa.bindparam("rows", type_=sa.Integer)
    deletions_after = sa.bindparam("deletions_after", type_=sa.BigInteger)
    changed = (
        sa.select(*COLUMNS)
        .where(tasks.c.user_id == _user, tasks.c.revision > since)
        .where(sa.or_(tasks.c.deleted_at.is_(None), tasks.c.revision > deletions_after))
        .order_by(tasks.c.revision)
        .limit(rows)
    )
    known: dict[str, Any] = {
        "id": tombstones.c.task_id, "revision": tombstones.c.revision, "deleted_at": tombstones.c.deleted_at,
    }  # fmt: skip
    gone = (
        sa.select(*(known.get(column.name, sa.cast(sa.null(), column.type)).label(column.name) for column in COLUMNS))
        .where(tombstones.c.user_id == _user, tombstones.c.revision > sa.func.greatest(since, deletions_after))
        .order_by(tombstones.c.revision)
        .limit(rows)
    )
    both = sa.union_all(sa.select(changed.subquery()), sa.select(gone.subquery())).subquery("change")
    page = sa.select(both).order_by(both.c.revision).limit(rows).subquery("page")
    return Statement(
        sa.select(
            *(page.c[column.name] for column in COLUMNS),
            users.c.epoch,
            users.c.revision.label("counter"),
            users.c.forgotten,
        )
        .select_from(users.outerjoin(page, sa.true()))
        .where(users.c.id == _user)
        .order_by(page.c.revision)
    )


CHANGES: Final = _changes()
"""Changes after a number, tasks and tombstones together, with the user's counter in the same snapshot."""

TAGS: Final = Statement(
    sa.select(users.c.id, users.c.revision, users.c.epoch).where(
        users.c.id == sa.any_(sa.bindparam("user_ids", type_=postgresql.ARRAY(sa.Text)))
    )
)
"""The current counters of some users."""
