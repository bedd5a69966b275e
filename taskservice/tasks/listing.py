"""Lists: what may be asked, how it becomes SQL, and where the next page starts.

A question has a `Shape` (which conditions, which sorts) and values. The SQL depends on the shape alone, so that it is
compiled once for all questions of a kind.
"""

import base64
import binascii
import datetime as dt
import hashlib
import uuid
from collections.abc import Callable, Sequence
from functools import lru_cache
from typing import Any, Final
from urllib.parse import unquote_to_bytes
from zoneinfo import ZoneInfo, available_timezones

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects import postgresql

from taskservice import rules
from taskservice.problems import FieldError, ValidationFailed
from taskservice.tasks import validation
from taskservice.tasks.models import Instant, alphabetical, by_priority, by_status, none_last, tasks
from taskservice.tasks.validation import Invalid

# ---- sorts: each is a function of a column and of the cursor's value alike, never NULL, and has its own index


class Sort(Struct, frozen=True):
    column: str
    key: Callable[[Any], sa.ColumnElement[Any]]
    type: sa.types.TypeEngine[Any]


def _itself(value: Any) -> sa.ColumnElement[Any]:
    return sa.type_coerce(value, value.type)


SORTS: Final[dict[str, Sort]] = {
    "created": Sort("created_at", _itself, Instant),
    "updated": Sort("updated_at", _itself, Instant),
    "title": Sort("title", alphabetical, sa.Text()),
    "due": Sort("due_date", none_last, Instant),
    "priority": Sort("priority", by_priority, sa.Text()),
    "status": Sort("status", by_status, sa.Text()),
}
DELETED: Final = Sort("deleted_at", _itself, Instant)


class Order(Struct, frozen=True):
    sort: str
    descending: bool = False

    @property
    def definition(self) -> Sort:
        return SORTS.get(self.sort, DELETED)


# ---- conditions

_due, _status = tasks.c.due_date, tasks.c.status


def _any_of(column: sa.ColumnElement[str], name: str) -> sa.ColumnElement[bool]:
    return column == sa.any_(sa.bindparam(name, type_=postgresql.ARRAY(sa.Text)))


def _at(name: str) -> sa.Cast[dt.datetime]:
    # As text: the driver would take the first and the last moment of the calendar for minus and plus infinity.
    return sa.cast(sa.bindparam(name, type_=sa.Text), Instant)


def _contains(column: sa.ColumnElement[str]) -> sa.ColumnElement[bool]:
    return sa.func.strpos(sa.func.lower(column), sa.func.lower(sa.bindparam("q", type_=sa.Text))) > 0


CONDITIONS: Final[dict[str, sa.ColumnElement[bool]]] = {
    "live": tasks.c.deleted_at.is_(None),
    "trashed": tasks.c.deleted_at.is_not(None),
    "status": _any_of(_status, "status"),
    "open": tasks.c.completed.is_(False),
    "completed": tasks.c.completed.is_(True),
    "priority": _any_of(tasks.c.priority, "priority"),
    "due_none": _due.is_(None),
    "due_any": _due.is_not(None),
    # A plain date is compared as a day of the asked zone, an instant as a moment.
    "due_overdue": sa.and_(
        tasks.c.completed.is_(False),
        _due < sa.case((tasks.c.due_all_day, _at("today")), else_=_at("now")),
    ),
    "due_today": sa.or_(
        sa.and_(tasks.c.due_all_day, _due == _at("today")),
        sa.and_(~tasks.c.due_all_day, _due >= _at("day_start"), _due < _at("day_end")),
    ),
    "due_before": _due < _at("due_before"),
    "due_after": _due > _at("due_after"),
    "created_before": tasks.c.created_at < _at("created_before"),
    "created_after": tasks.c.created_at > _at("created_after"),
    "updated_before": tasks.c.updated_at < _at("updated_before"),
    "updated_after": tasks.c.updated_at > _at("updated_after"),
    "q": sa.or_(_contains(tasks.c.title), _contains(tasks.c.description)),
}


class Shape(Struct, frozen=True):
    """What a list's SQL depends on."""

    conditions: tuple[str, ...] = ("live",)
    orders: tuple[Order, ...] = (Order("created"),)
    after_cursor: bool = False


class Question(Struct, frozen=True):
    """One request for a page of tasks."""

    shape: Shape
    values: dict[str, Any]
    limit: int
    fingerprint: bytes
    asked: tuple[tuple[str, str], ...] = ()
    follows_clock: bool = False

    def next_cursor(self, last: Sequence[Any]) -> str:
        """Where the page after the one that ends with this row starts; `last` holds the sort columns and the id."""
        return _write_cursor(last, self.fingerprint)


# ---- the statement


def page(shape: Shape, columns: Sequence[sa.ColumnElement[Any]]) -> sa.Select[Any]:
    """The SQL for a page: one row more than the limit, so that `limit` is known to be followed by more."""
    keys = [order.definition.key(tasks.c[order.definition.column]) for order in shape.orders]
    downward = [order.descending for order in shape.orders]
    keys.append(tasks.c.id)
    # Ties follow the first sort's direction: reversing a sort reverses the list exactly, and one index serves both.
    downward.append(downward[0])
    query = (
        sa.select(*columns)
        .where(tasks.c.user_id == sa.bindparam("owner", type_=sa.Text))
        .where(*(CONDITIONS[name] for name in shape.conditions))
        .order_by(*(key.desc() if down else key.asc() for key, down in zip(keys, downward, strict=True)))
        .limit(sa.bindparam("rows", type_=sa.Integer))
    )
    return query.where(_beyond_cursor(shape, keys, downward)) if shape.after_cursor else query


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
    name = f"after_{order.sort}"
    return _at(name) if order.definition.type is Instant else sa.bindparam(name, type_=order.definition.type)


# ---- reading the query string


class Surface(Struct, frozen=True):
    """What the two surfaces understand differently."""

    statuses: tuple[str, ...]
    pending_is_open: bool


_OPEN: Final = frozenset(rules.STATUSES) - {rules.COMPLETED}

TOKEN_SURFACE: Final = Surface((*rules.STATUSES, "all"), pending_is_open=False)
PATH_SURFACE: Final = Surface(("pending", "completed", "all"), pending_is_open=True)

MOMENTS: Final = (
    "due_before", "due_after", "created_before", "created_after", "updated_before", "updated_after",
)  # fmt: skip
DUE: Final = ("none", "any", "overdue", "today")
PARAMETERS: Final = ("status", "completed", "priority", "due", "tz", *MOMENTS, "q", "sort", "limit", "cursor")
REMEMBERED_MAX: Final = 256
PARAMETERS_MAX: Final = 100
_REPEATABLE: Final = frozenset({"status", "priority"})


def read_question(query: bytes, surface: Surface, errors: Sequence[FieldError] = ()) -> Question:
    """The question in a query string. Raises `ValidationFailed` with everything that is wrong with it, and `errors`."""
    try:
        question = None if len(query) > REMEMBERED_MAX or b"cursor=" in query else _remembered(query, surface)
        if question is None or question.follows_clock:
            question = _Reading(query, surface).question()
    except ValidationFailed as failed:
        raise ValidationFailed([*errors, *failed.errors]) from None
    if errors:
        raise ValidationFailed(errors)
    return question


@lru_cache(1024)
def _remembered(query: bytes, surface: Surface) -> Question:
    """Front ends ask the same few questions over and over; only cursors are new each time."""
    return _Reading(query, surface).question()


def read_parameters(
    query: bytes, allowed: Sequence[str], repeatable: frozenset[str] = frozenset()
) -> tuple[dict[str, list[str]], list[FieldError]]:
    """The query's parameters by name, and what is wrong with their names."""
    errors: list[FieldError] = []
    found: dict[str, list[str]] = {}
    pairs = [pair for pair in query.split(b"&") if pair]
    if len(pairs) > PARAMETERS_MAX:
        errors.append(
            Invalid("length", f"must have at most {PARAMETERS_MAX} parameters", limit=PARAMETERS_MAX).at("", "query")
        )
        return found, errors
    for raw_name, _, raw_value in (pair.partition(b"=") for pair in pairs):
        name, value = _decoded(raw_name), _decoded(raw_value)
        if name is None or name not in allowed:
            shown = raw_name.decode("latin-1") if name is None else name
            errors.append(Invalid("unknown_parameter", "is not a parameter here", allowed=allowed).at(shown, "query"))
        elif value is None:
            errors.append(Invalid("encoding", "must be percent-encoded UTF-8").at(name, "query"))
        elif "\x00" in value:
            errors.append(Invalid("characters", "must not contain the character NUL").at(name, "query"))
        elif name in found and name not in repeatable:
            errors.append(Invalid("repeated", "must be given once").at(name, "query"))
        else:
            found.setdefault(name, []).append(value)
    return found, errors


def _decoded(text: bytes) -> str | None:
    """None if it is no UTF-8."""
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        return None


def read_limit(found: dict[str, list[str]], errors: list[FieldError]) -> int:
    if "limit" not in found:
        return rules.LIST_LIMIT
    text = found["limit"][0]
    if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= rules.LIST_LIMIT:
        return int(text)
    message = f"must be a whole number from 1 to {rules.LIST_LIMIT}"
    errors.append(Invalid("range", message, limit=rules.LIST_LIMIT).at("limit", "query"))
    return rules.LIST_LIMIT


def read_trash(query: bytes) -> Question:
    """A page of the trash, newest first."""
    found, errors = read_parameters(query, ("limit", "cursor"))
    limit = read_limit(found, errors)
    shape = Shape(("trashed",), (Order("deleted", descending=True),))
    return _finish(shape, {}, limit, found, errors, follows_clock=False)


class _Reading:
    """One query string on its way to a question."""

    def __init__(self, query: bytes, surface: Surface) -> None:
        self._surface = surface
        self._found, self._errors = read_parameters(query, PARAMETERS, _REPEATABLE)
        self._conditions = ["live"]
        self._values: dict[str, Any] = {}

    def question(self) -> Question:
        limit = read_limit(self._found, self._errors)
        if len(self._found) > ("limit" in self._found):
            self._read_states()
            self._read_due()
            self._read_moments()
            self._read_search()
        shape = Shape(tuple(sorted(set(self._conditions))), self._orders())
        follows_clock = "now" in self._values or "day_start" in self._values
        return _finish(shape, self._values, limit, self._found, self._errors, follows_clock=follows_clock)

    def _wrong(self, name: str, invalid: Invalid) -> None:
        self._errors.append(invalid.at(name, "query"))

    def _choices(self, name: str, allowed: tuple[str, ...]) -> list[str]:
        chosen = [word for text in self._found.get(name, ()) for word in text.split(",")]
        for word in chosen:
            if word not in allowed:
                self._wrong(name, Invalid("one_of", f"must be one of {', '.join(allowed)}", allowed=allowed))
                return []
        return chosen

    def _read_states(self) -> None:
        statuses = set(self._choices("status", self._surface.statuses))
        if statuses and "all" not in statuses:
            # These two have an index; on the path surface `pending` is another word for the second.
            if statuses == {rules.COMPLETED}:
                self._conditions.append("completed")
            elif statuses == _OPEN or (self._surface.pending_is_open and statuses == {rules.DEFAULT_STATUS}):
                self._conditions.append("open")
            elif not self._surface.pending_is_open:
                self._conditions.append("status")
                self._values["status"] = sorted(statuses)
        completed = self._choices("completed", ("true", "false"))
        if len(completed) == 1:
            self._conditions.append("completed" if completed == ["true"] else "open")
        elif completed:
            self._wrong("completed", Invalid("repeated", "must be given once"))
        priorities = sorted(set(self._choices("priority", rules.PRIORITIES)))
        if priorities:
            self._conditions.append("priority")
            self._values["priority"] = priorities

    def _read_due(self) -> None:
        due = self._found.get("due", [None])[0]
        if due is not None and due not in DUE:
            self._wrong("due", Invalid("one_of", f"must be one of {', '.join(DUE)}", allowed=DUE))
            due = None
        name = self._found.get("tz", [None])[0]
        if name is not None and due not in {"overdue", "today"}:
            self._wrong("tz", Invalid("combination", "goes with due=overdue or due=today only"))
        elif name is not None and name not in _zones():
            self._wrong("tz", Invalid("time_zone", "must be an IANA time zone such as Europe/Berlin"))
            name = None
        if due is not None:
            self._conditions.append(f"due_{due}")
        if due in {"overdue", "today"}:
            self._values |= clock_values(due, ZoneInfo(name) if name in _zones() else dt.UTC)

    def _read_moments(self) -> None:
        for name in MOMENTS:
            if name in self._found:
                try:
                    found = validation.moment(self._found[name][0])
                except Invalid as invalid:
                    self._wrong(name, invalid)
                else:
                    self._conditions.append(name)
                    self._values[name] = midnight(found) if not isinstance(found, dt.datetime) else found

    def _read_search(self) -> None:
        if "q" in self._found:
            text = self._found["q"][0]
            if not 1 <= len(text) <= rules.SEARCH_MAX:
                limit = rules.SEARCH_MAX
                self._wrong("q", Invalid("length", f"must have 1 to {limit} characters", limit=limit))
            else:
                self._conditions.append("q")
                self._values["q"] = text

    def _orders(self) -> tuple[Order, ...]:
        if "sort" not in self._found:
            return (Order("created"),)
        orders = [Order(word.removeprefix("-"), word.startswith("-")) for word in self._found["sort"][0].split(",")]
        names = [order.sort for order in orders]
        allowed = (*SORTS, *(f"-{name}" for name in SORTS))
        if not set(names) <= set(SORTS):
            self._wrong("sort", Invalid("one_of", f"must be among {', '.join(allowed)}, by comma", allowed=allowed))
        elif len(set(names)) < len(names):
            self._wrong("sort", Invalid("repeated", "must name each sort once"))
        else:
            return tuple(orders)
        return (Order("created"),)


def _zones() -> set[str]:
    if not _known_zones:
        # Some systems have a file of that name: their own zone, wherever that is.
        _known_zones.update(available_timezones() - {"localtime"})
    return _known_zones


_known_zones: Final[set[str]] = set()


def midnight(day: dt.date) -> dt.datetime:
    """How a plain date is stored and compared."""
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def clock_values(due: str, zone: dt.tzinfo) -> dict[str, dt.datetime]:
    """The moments that `today` and `overdue` mean right now, in a zone."""
    now = dt.datetime.now(dt.UTC)
    today = now.astimezone(zone).date()
    if due == "overdue":
        return {"today": midnight(today), "now": now}
    start, end = (
        dt.datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(dt.UTC)
        for day in (today, today + dt.timedelta(days=1))
    )
    return {"today": midnight(today), "day_start": start, "day_end": end}


# ---- cursors: the last row's sort values and id, with a digest that binds them to the filters and sorts


def _finish(
    shape: Shape,
    values: dict[str, Any],
    limit: int,
    found: dict[str, list[str]],
    errors: list[FieldError],
    *,
    follows_clock: bool,
) -> Question:
    asked = tuple((name, ",".join(found[name])) for name in sorted(found) if name not in {"limit", "cursor"})
    fingerprint = hashlib.blake2b(repr((shape.conditions, asked)).encode(), digest_size=16).digest()
    if "cursor" in found:
        read = _read_cursor(found["cursor"][0], shape.orders, fingerprint)
        if read is None:
            message = "is not a cursor of this list: take it from the Link of a page with the same filters and sort"
            errors.append(Invalid("cursor", message).at("cursor", "query"))
        else:
            values = values | read
            shape = Shape(shape.conditions, shape.orders, after_cursor=True)
    if errors:
        raise ValidationFailed(errors)
    plain = {name: value.isoformat() if isinstance(value, dt.datetime) else value for name, value in values.items()}
    return Question(shape, plain, limit, fingerprint, asked, follows_clock)


_EPOCH: Final = dt.datetime(1970, 1, 1, tzinfo=dt.UTC)
_encoder: Final = msgspec.msgpack.Encoder()


def _write_cursor(last: Sequence[Any], fingerprint: bytes) -> str:
    plain = [
        (value - _EPOCH) // dt.timedelta(microseconds=1) if isinstance(value, dt.datetime)
        else value.bytes if isinstance(value, uuid.UUID)
        else value
        for value in last
    ]  # fmt: skip
    payload = _encoder.encode(plain)
    return _base64(_digest(payload, fingerprint) + payload)


def _read_cursor(text: str, orders: tuple[Order, ...], fingerprint: bytes) -> dict[str, Any] | None:
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
        payload = raw[8:]
        if raw[:8] != _digest(payload, fingerprint) or _base64(raw) != text:
            return None
        plain = msgspec.msgpack.decode(payload)
        values: dict[str, Any] = {"after_id": uuid.UUID(bytes=plain.pop())}
        for order, value in zip(orders, plain, strict=True):
            if isinstance(order.definition.type, sa.DateTime):
                value = None if value is None else _EPOCH + dt.timedelta(microseconds=value)  # noqa: PLW2901
            elif not isinstance(value, str) or "\x00" in value:
                return None
            values[f"after_{order.sort}"] = value
    except (ValueError, TypeError, AttributeError, OverflowError, IndexError, binascii.Error):
        return None
    return values


def _digest(payload: bytes, fingerprint: bytes) -> bytes:
    return hashlib.blake2b(payload, key=fingerprint, digest_size=8).digest()


def _base64(raw: bytes) -> str:
    return base64.urlsafe_b64encode(raw).rstrip(b"=").decode()
