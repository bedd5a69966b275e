"""The tables. Their CHECK constraints say in the database what `rules.py` says to clients.

The requests read and write rows by `read_statements.py` and `write_statements.py`, without an instance of these models.
"""

import datetime as dt
import uuid
from typing import Any

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql
from sqlmodel import Field

from taskservice import rules
from taskservice.database.moments import Moment
from taskservice.database.tables import Table

TIMESTAMPTZ = Moment()


def one_of(column: str, values: tuple[str, ...]) -> sa.CheckConstraint:
    listed = ", ".join(f"'{value}'" for value in values)
    return sa.CheckConstraint(f"{column} IN ({listed})", name=column)


def rank(column: Any, values: tuple[str, ...]) -> sa.ColumnElement[int]:
    """Where a word stands in its list, so that `low` sorts before `medium`."""
    return sa.func.array_position(
        sa.cast(postgresql.array([sa.literal_column(f"'{value}'") for value in values]), postgresql.ARRAY(sa.Text)),
        column,
        type_=sa.Integer,
    )


# What lists sort by: each the same function of a column and of a cursor's value, never NULL, and with an index below.


def alphabetical(value: Any) -> sa.ColumnElement[str]:
    """By the letters of the database's own locale."""
    return sa.func.lower(value, type_=sa.Text)


NEVER = sa.literal_column("'infinity'::timestamptz", TIMESTAMPTZ)


def none_last(value: Any) -> sa.ColumnElement[dt.datetime]:
    return sa.func.coalesce(value, NEVER)


def by_priority(value: Any) -> sa.ColumnElement[int]:
    return rank(value, rules.PRIORITIES)


def by_status(value: Any) -> sa.ColumnElement[int]:
    return rank(value, rules.STATUSES)


NEW_EPOCH = (
    "lower(translate(encode(substr(uuid_send(gen_random_uuid()), 1, 6), 'base64'::text), '+/'::text, '09'::text))"
)
"""Eight random characters of [a-z0-9]: the first six bytes of a UUID of version 4 are random throughout.

Written as PostgreSQL gives it back, because Alembic can compare a random default only as text."""


class UserModel(Table, table=True):
    """A reference to a user whom Better Auth manages, and the counter that orders the user's changes."""

    __tablename__ = "users"
    __table_args__ = (sa.CheckConstraint("revision >= forgotten", name="revision"),)

    id: str = Field(sa_type=sa.Text, primary_key=True)
    email: str | None = Field(sa_type=sa.Text)
    name: str | None = Field(sa_type=sa.Text)
    revision: int = Field(sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    # Tombstones up to this revision were purged: a feed token below it has to resync.
    forgotten: int = Field(sa_type=sa.BigInteger, sa_column_kwargs={"server_default": "0"})
    # Part of every tag and token, see `tags.py`.
    epoch: str = Field(sa_type=sa.Text, sa_column_kwargs={"server_default": sa.text(NEW_EPOCH)})
    created_at: dt.datetime = Field(sa_type=TIMESTAMPTZ, sa_column_kwargs={"server_default": sa.func.now()})


class TaskModel(Table, table=True):
    __tablename__ = "tasks"

    # An id belongs to its user: two users may have the same one.
    user_id: str = Field(sa_type=sa.Text, foreign_key="users.id", primary_key=True)
    id: uuid.UUID = Field(sa_type=sa.Uuid, primary_key=True)
    title: str = Field(sa_type=sa.Text)
    description: str | None = Field(sa_type=sa.Text)
    status: str = Field(sa_type=sa.Text, sa_column_kwargs={"server_default": rules.DEFAULT_STATUS})
    completed: bool = Field(
        sa_column=sa.Column(sa.Boolean, sa.Computed(f"status = '{rules.COMPLETED}'", persisted=True), nullable=False)
    )
    priority: str = Field(sa_type=sa.Text, sa_column_kwargs={"server_default": rules.DEFAULT_PRIORITY})
    # A plain date is kept as midnight UTC with the flag beside it, so that dates and instants sort together.
    due_date: dt.datetime | None = Field(sa_type=TIMESTAMPTZ)
    due_all_day: bool = Field(sa_type=sa.Boolean, sa_column_kwargs={"server_default": sa.false()})
    created_at: dt.datetime = Field(sa_type=TIMESTAMPTZ, sa_column_kwargs={"server_default": sa.func.now()})
    updated_at: dt.datetime = Field(sa_type=TIMESTAMPTZ, sa_column_kwargs={"server_default": sa.func.now()})
    completed_at: dt.datetime | None = Field(sa_type=TIMESTAMPTZ)
    deleted_at: dt.datetime | None = Field(sa_type=TIMESTAMPTZ)
    revision: int = Field(sa_type=sa.BigInteger)

    __table_args__ = (
        sa.CheckConstraint(rf"char_length(title) BETWEEN 1 AND {rules.TITLE_MAX} AND title ~ '\S'", name="title"),
        sa.CheckConstraint(f"char_length(description) <= {rules.DESCRIPTION_CEILING}", name="description"),
        one_of("status", rules.STATUSES),
        one_of("priority", rules.PRIORITIES),
        sa.CheckConstraint(
            "NOT due_all_day OR (due_date IS NOT NULL AND due_date = date_trunc('day', due_date, 'UTC'))",
            name="due_all_day",
        ),
        sa.CheckConstraint(f"(status = '{rules.COMPLETED}') = (completed_at IS NOT NULL)", name="completed_at"),
        sa.CheckConstraint("updated_at >= created_at", name="updated_at"),
    )


class TombstoneModel(Table, table=True):
    """The record of a task that was erased, kept for a while so that the change feed can report it."""

    __tablename__ = "tombstones"

    user_id: str = Field(sa_type=sa.Text, foreign_key="users.id", primary_key=True)
    revision: int = Field(sa_type=sa.BigInteger, primary_key=True)
    task_id: uuid.UUID = Field(sa_type=sa.Uuid)
    deleted_at: dt.datetime = Field(sa_type=TIMESTAMPTZ, index=True)


class IdempotencyKeyModel(Table, table=True):
    """The first answer to a write with a key, kept in the transaction of its write."""

    __tablename__ = "idempotency_keys"

    user_id: str = Field(sa_type=sa.Text, primary_key=True)
    route: str = Field(sa_type=sa.Text, primary_key=True)
    key: str = Field(sa_type=sa.Text, primary_key=True)
    fingerprint: bytes = Field(sa_type=sa.LargeBinary)
    status: int = Field(sa_type=sa.SmallInteger)
    headers: str = Field(sa_type=sa.Text)
    body: bytes = Field(sa_type=sa.LargeBinary)
    created_at: dt.datetime = Field(sa_type=TIMESTAMPTZ, index=True, sa_column_kwargs={"server_default": sa.func.now()})


users = UserModel.__table__  # type: ignore[attr-defined]
tasks = TaskModel.__table__  # type: ignore[attr-defined]
tombstones = TombstoneModel.__table__  # type: ignore[attr-defined]
idempotency_keys = IdempotencyKeyModel.__table__  # type: ignore[attr-defined]


def _serves_list(name: str, key: Any) -> None:
    sa.Index(f"ix_tasks_list_{name}", tasks.c.user_id, key, tasks.c.id, postgresql_where=tasks.c.deleted_at.is_(None))


sa.Index("ix_tasks_id", tasks.c.id)
sa.Index("ix_tasks_user_id_completed", tasks.c.user_id, tasks.c.completed)
sa.Index("ix_tasks_feed", tasks.c.user_id, tasks.c.revision)
sa.Index(
    "ix_tasks_trash", tasks.c.user_id, tasks.c.deleted_at, tasks.c.id, postgresql_where=tasks.c.deleted_at.is_not(None)
)
_serves_list("created", tasks.c.created_at)
_serves_list("updated", tasks.c.updated_at)
_serves_list("completed", none_last(tasks.c.completed_at))
_serves_list("title", alphabetical(tasks.c.title))
_serves_list("due", none_last(tasks.c.due_date))
_serves_list("priority", by_priority(tasks.c.priority))
_serves_list("status", by_status(tasks.c.status))
