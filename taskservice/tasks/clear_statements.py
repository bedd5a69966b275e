"""The SQL that clears many tasks of a user, a limited number with each statement.

Run it after `TAKE_TURN` in the same transaction: a task that is written while the statement waits for the user's row
would not be seen.
"""

from collections.abc import Sequence
from typing import Any, Final

import sqlalchemy as sa
from msgspec import Struct

from taskservice.database.statements import Statement
from taskservice.tasks.models import NEVER, idempotency_keys, none_last, tasks
from taskservice.tasks.write_statements import counted, erased, locked_owner

_user: Final = sa.bindparam("user_id", type_=sa.Text)
_completed_at: Final = none_last(tasks.c.completed_at)
_COMPLETED: Final = (tasks.c.deleted_at.is_(None), _completed_at < NEVER)


class Clearing(Struct, frozen=True):
    """What to clear: a statement that clears some of it, and one that says how much is left."""

    some: Statement
    left: Statement


def find_all() -> tuple[sa.CTE, sa.CTE]:
    """Some of the user's tasks, those in the trash too, locked; and their ids with a number for each."""
    return _found((), tasks.c.id)


def find_completed() -> tuple[sa.CTE, sa.CTE]:
    return _found(_COMPLETED, _completed_at)


def _found(conditions: Sequence[sa.ColumnElement[bool]], order: sa.ColumnElement[Any]) -> tuple[sa.CTE, sa.CTE]:
    owner = locked_owner()
    found = (
        sa.select(tasks.c.id, tasks.c.deleted_at, order.label("place"))
        .where(tasks.c.user_id == _user, sa.exists(sa.select(owner.c.id)), *conditions)
        .order_by(order, tasks.c.id)
        .limit(sa.bindparam("limit", type_=sa.Integer))
        .with_for_update(of=tasks)
        .cte("found")
    )
    number = sa.func.row_number().over(order_by=(found.c.place, found.c.id)).label("number")
    return found, sa.select(found.c.id, number).cte("step")


def _answer(found: sa.CTE) -> sa.Select[int, int]:
    live = sa.func.count().filter(found.c.deleted_at.is_(None))
    return sa.select(live.label("deleted"), (sa.func.count() - live).label("deleted_from_trash")).select_from(found)


def _count(*conditions: sa.ColumnElement[bool]) -> Statement:
    return Statement(sa.select(sa.func.count().label("count")).where(tasks.c.user_id == _user, *conditions))


def forgotten_answers() -> sa.CTE:
    """Deletes the answers kept for retries."""
    return sa.delete(idempotency_keys).where(idempotency_keys.c.user_id == _user).cte("kept")


def _erase_all() -> Statement:
    found, step = find_all()
    return Statement(_answer(found).add_cte(*erased(step, counted(step)), forgotten_answers()))


def _erase_completed() -> Statement:
    found, step = find_completed()
    return Statement(_answer(found).add_cte(*erased(step, counted(step))))


def _trash_completed() -> Statement:
    found, step = find_completed()
    counter = counted(step)
    moved = (
        sa.update(tasks)
        .values(
            deleted_at=counter.c.at,
            updated_at=sa.func.greatest(counter.c.at, tasks.c.updated_at + sa.text("interval '1 microsecond'")),
            revision=counter.c.before + step.c.number,
        )
        .where(tasks.c.id == step.c.id, tasks.c.user_id == _user)
        .returning(tasks.c.id)
        .cte("moved")
    )
    return Statement(_answer(found).add_cte(moved))


EVERYTHING: Final = Clearing(_erase_all(), _count())
"""Those in the trash too, and the answers kept for retries, which quote tasks."""
COMPLETED_FOR_GOOD: Final = Clearing(_erase_completed(), _count(*_COMPLETED))
COMPLETED_TO_TRASH: Final = Clearing(_trash_completed(), _count(*_COMPLETED))
