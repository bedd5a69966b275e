"""What lists filter and sort by, and the SQL of a page.

The SQL of a list depends on its `Shape` alone (which conditions, which sorts), so that it is compiled once for all
lists of a kind.
"""

import datetime as dt
from collections.abc import Callable, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects import postgresql

from taskservice.tasks.models import NEVER, TIMESTAMPTZ, alphabetical, by_priority, by_status, none_last, tasks

# ---- sorts: each is a function of a column and of the cursor's value alike, never NULL, and has its own index


class Sort(Struct, frozen=True):
    column: str
    key: Callable[[Any], sa.ColumnElement[Any]]
    type: sa.types.TypeEngine[Any]


def _itself(value: Any) -> sa.ColumnElement[Any]:
    return sa.type_coerce(value, value.type)


SORTS: Final[dict[str, Sort]] = {
    "created": Sort("created_at", _itself, TIMESTAMPTZ),
    "updated": Sort("updated_at", _itself, TIMESTAMPTZ),
    "completed": Sort("completed_at", none_last, TIMESTAMPTZ),
    "title": Sort("title", alphabetical, sa.Text()),
    "due": Sort("due_date", none_last, TIMESTAMPTZ),
    "priority": Sort("priority", by_priority, sa.Text()),
    "status": Sort("status", by_status, sa.Text()),
}
DELETED: Final = Sort("deleted_at", _itself, TIMESTAMPTZ)


class Order(Struct, frozen=True):
    sort: str
    descending: bool = False

    @property
    def definition(self) -> Sort:
        return SORTS.get(self.sort, DELETED)


# ---- conditions

_status = tasks.c.status
# Compared as the indexes have them: NULL sorts last.
_due, _completed_at = none_last(tasks.c.due_date), none_last(tasks.c.completed_at)


def _any_of(column: sa.ColumnElement[str], name: str) -> sa.ColumnElement[bool]:
    return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(sa.Text)))


def _moment(name: str) -> sa.BindParameter[dt.datetime]:
    return sa.bindparam(name, type_=TIMESTAMPTZ)


def _contains(column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    return sa.func.strpos(sa.func.lower(column), sa.func.lower(sa.bindparam("q", type_=sa.Text))) > 0


CONDITIONS: Final[dict[str, sa.ColumnElement[bool]]] = {
    "live": tasks.c.deleted_at.is_(None),
    "trashed": tasks.c.deleted_at.is_not(None),
    "status": _any_of(_status, "status"),
    "open": tasks.c.completed.is_(False),
    "completed": tasks.c.completed.is_(True),
    "priority": _any_of(tasks.c.priority, "priority"),
    "ids": tasks.c.id == sa.any_(sa.bindparam("ids", type_=postgresql.ARRAY(sa.Uuid))),
    "due_none": _due == NEVER,
    "due_any": _due < NEVER,
    # A plain date is compared as a day of the asked zone, an instant as a moment.
    "due_overdue": sa.and_(
        tasks.c.completed.is_(False),
        sa.or_(
            sa.and_(tasks.c.due_all_day, _due < _moment("today")),
            sa.and_(~tasks.c.due_all_day, _due < _moment("now")),
        ),
    ),
    "due_today": sa.or_(
        sa.and_(tasks.c.due_all_day, _due == _moment("today")),
        sa.and_(~tasks.c.due_all_day, _due >= _moment("day_start"), _due < _moment("day_end")),
    ),
    "due_before": _due < _moment("due_before"),
    "due_after": sa.and_(_due > _moment("due_after"), _due < NEVER),
    "completed_before": _completed_at < _moment("completed_before"),
    "completed_after": sa.and_(_completed_at > _moment("completed_after"), _completed_at < NEVER),
    "created_before": tasks.c.created_at < _moment("created_before"),
    "created_after": tasks.c.created_at > _moment("created_after"),
    "updated_before": tasks.c.updated_at < _moment("updated_before"),
    "updated_after": tasks.c.updated_at > _moment("updated_after"),
    "q": sa.or_(_contains(tasks.c.title), _contains(tasks.c.description)),
}


EITHER: Final = "|"
"""Separates the names of alternative conditions: `due_none|due_today`."""


def _condition(name: str) -> sa.ColumnElement[bool]:
    return sa.or_(*(CONDITIONS[one] for one in name.split(EITHER)))


class Shape(Struct, frozen=True):
    """What a list's SQL depends on."""

    conditions: tuple[str, ...] = ("live",)
    orders: tuple[Order, ...] = (Order("created"),)
    after_cursor: bool = False
    counts: bool = False
    """Whether each row says how many there are on all pages together."""

    @property
    def is_plain(self) -> bool:
        """Whether an index has just these rows in this order, so that one plan is right for every user and cursor."""
        return len(self.orders) == 1 and self.conditions in {("live",), ("trashed",)}

    @property
    def after(self) -> "Shape":
        """The shape of the pages that follow."""
        return msgspec.structs.replace(self, after_cursor=True)


# ---- the SQL of a page


def page(shape: Shape, columns: Sequence[sa.ColumnElement[Any]], rows: int | None = None) -> sa.Select[Any]:
    """The SQL for a page of so many rows; by default their number is a parameter."""
    keys = [order.definition.key(tasks.c[order.definition.column]) for order in shape.orders]
    downward = [order.descending for order in shape.orders]
    keys.append(tasks.c.id)
    # Ties follow the first sort's direction: reversing a sort reverses the list exactly, and one index serves both.
    downward.append(downward[0])
    query = (
        sa.select(*columns)
        .where(*_filters(shape))
        .order_by(*(key.desc() if down else key.asc() for key, down in zip(keys, downward, strict=True)))
        .limit(sa.bindparam("rows", type_=sa.Integer) if rows is None else sa.literal_column(str(rows)))
    )
    return query.where(_beyond_cursor(shape, keys, downward)) if shape.after_cursor else query


def total(shape: Shape) -> sa.ScalarSelect[int]:
    """How many tasks the filters match, on all pages."""
    return sa.select(sa.func.count()).select_from(tasks).where(*_filters(shape)).correlate(None).scalar_subquery()


def _filters(shape: Shape) -> list[sa.ColumnElement[bool]]:
    owned = tasks.c.user_id == sa.bindparam("user_id", type_=sa.Text)
    return [owned, *(_condition(name) for name in shape.conditions)]


def _beyond_cursor(shape: Shape, keys: list[sa.ColumnElement[Any]], downward: list[bool]) -> sa.ColumnElement[bool]:
    given = [order.definition.key(_after(order)) for order in shape.orders]
    given.append(sa.bindparam("after_id", type_=sa.Uuid))
    if len(set(downward)) == 1:  # a row comparison is a range of the index
        left, right = sa.tuple_(*keys), sa.tuple_(*given)
        return left < right if downward[0] else left > right
    return sa.or_(
        *(
            sa.and_(
                *(keys[before] == given[before] for before in range(place)),
                keys[place] < given[place] if downward[place] else keys[place] > given[place],
            )
            for place in range(len(keys))
        )
    )


def _after(order: Order) -> sa.ColumnElement[Any]:
    return sa.bindparam(f"after_{order.sort}", type_=order.definition.type)
