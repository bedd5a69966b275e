"""List queries: what the query string of a list asks for."""

import datetime as dt
from collections.abc import Mapping, Sequence
from functools import cache
from typing import Any, Final
from zoneinfo import ZoneInfo, available_timezones

import msgspec
from msgspec import Struct

from taskservice import rules
from taskservice.database.moments import as_parameter
from taskservice.problems import FieldError, ValidationFailed
from taskservice.tasks import validation
from taskservice.tasks.cursors import list_key, position_after, read_cursor, write_cursor
from taskservice.tasks.fields import midnight
from taskservice.tasks.filters import EITHER, SORTS, Order, Shape
from taskservice.tasks.query_string import read_limit, read_parameters
from taskservice.tasks.validation import Invalid


class ListQuery(Struct, frozen=True):
    """One request for a page of tasks: the shape of its SQL, and the values for it."""

    shape: Shape
    values: dict[str, Any]
    limit: int
    key: bytes = b""
    """Signs the cursors of this list."""
    asked: tuple[tuple[str, str], ...] = ()
    """The filters and sorts as the client wrote them, for the link to the next page."""
    follows_clock: bool = False
    """Whether the answer changes as time goes by, without any write."""

    def next_cursor(self, last: Mapping[str, Any]) -> str:
        """Where the page after the one that ends with this row starts."""
        return write_cursor(last, self.shape.orders, self.key)

    def after(self, last: Mapping[str, Any]) -> "ListQuery":
        """The query for the page after the one that ends with this row."""
        position = position_after(last, self.shape.orders)
        return msgspec.structs.replace(self, shape=self.shape.after, values=self.values | position)


class Surface(Struct, frozen=True):
    """The differences between the two surfaces."""

    statuses: tuple[str, ...]
    pending_is_open: bool


_OPEN: Final = frozenset(rules.STATUSES) - {rules.COMPLETED}

TOKEN_SURFACE: Final = Surface((*rules.STATUSES, "all"), pending_is_open=False)
PATH_SURFACE: Final = Surface(("pending", "completed", "all"), pending_is_open=True)

MOMENTS: Final = (
    "due_before", "due_after", "created_before", "created_after", "updated_before", "updated_after",
    "completed_before", "completed_after",
)  # fmt: skip
DUE: Final = ("none", "any", "overdue", "today")
PARAMETERS: Final = (
    "status", "completed", "priority", "due", "tz", *MOMENTS, "ids", "q", "sort", "limit", "cursor", "count",
)  # fmt: skip
TRASH_PARAMETERS: Final = ("limit", "cursor")
_REPEATABLE: Final = frozenset({"status", "priority", "due"})
_NO_FILTERS: Final = frozenset({"limit", "cursor", "count"})


def read_list_query(query: bytes, surface: Surface, cursor_key: bytes, errors: Sequence[FieldError] = ()) -> ListQuery:
    """What a query string asks for. Raises `ValidationFailed` with everything that is wrong with it, and `errors`."""
    reader = _Reader(query, surface)
    reader.errors[:0] = errors
    return reader.list_query(cursor_key)


def read_trash_query(query: bytes, cursor_key: bytes) -> ListQuery:
    """A page of the trash, newest first. Raises `ValidationFailed`."""
    found, errors = read_parameters(query, TRASH_PARAMETERS)
    limit = read_limit(found, errors)
    shape = Shape(("trashed",), (Order("deleted", descending=True),))
    return _finish(shape, {}, limit, found, errors, cursor_key)


class _Reader:
    """Reads one query string; what is wrong with it goes to `errors`."""

    def __init__(self, query: bytes, surface: Surface) -> None:
        self._surface = surface
        self._found, self.errors = read_parameters(query, PARAMETERS, _REPEATABLE)
        self._conditions = ["live"]
        self._values: dict[str, Any] = {}

    def list_query(self, cursor_key: bytes) -> ListQuery:
        limit = read_limit(self._found, self.errors)
        if len(self._found) > ("limit" in self._found):
            self._read_states()
            self._read_due()
            self._read_moments()
            self._read_ids()
            self._read_search()
        counts = self._boolean("count") is True
        shape = Shape(tuple(sorted(set(self._conditions))), self._orders(), counts=counts)
        return _finish(shape, self._values, limit, self._found, self.errors, cursor_key)

    def _wrong(self, name: str, invalid: Invalid) -> None:
        self.errors.append(invalid.at(name, "query"))

    def _choices(self, name: str, allowed: tuple[str, ...]) -> list[str]:
        chosen = [word for text in self._found.get(name, ()) for word in text.split(",")]
        for word in chosen:
            if word not in allowed:
                self._wrong(name, Invalid("one_of", f"must be one of {', '.join(allowed)}", allowed=allowed))
                return []
        return chosen

    def _boolean(self, name: str) -> bool | None:
        words = self._choices(name, ("true", "false"))
        if len(words) > 1:
            self._wrong(name, Invalid("repeated", "must be given once"))
        return words[0] == "true" if len(words) == 1 else None

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
        completed = self._boolean("completed")
        if completed is not None:
            self._conditions.append("completed" if completed else "open")
        priorities = sorted(set(self._choices("priority", rules.PRIORITIES)))
        if priorities:
            self._conditions.append("priority")
            self._values["priority"] = priorities

    def _read_due(self) -> None:
        dues = sorted(set(self._choices("due", DUE)))
        follows_clock = not {"overdue", "today"}.isdisjoint(dues)
        name = self._found.get("tz", [None])[0]
        if name is not None and not follows_clock:
            self._wrong("tz", Invalid("combination", "goes with due=overdue or due=today only"))
        elif name is not None and name not in _zones():
            self._wrong("tz", Invalid("time_zone", "must be an IANA time zone such as Europe/Berlin"))
            name = None
        if dues:
            self._conditions.append(EITHER.join(f"due_{due}" for due in dues))
        if follows_clock:
            self._values |= clock_values(ZoneInfo(name) if name in _zones() else dt.UTC)

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

    def _read_ids(self) -> None:
        if "ids" in self._found:
            texts = self._found["ids"][0].split(",")
            try:
                self._values["ids"] = [validation.identifier(text) for text in texts]
            except Invalid as invalid:
                self._wrong("ids", Invalid(invalid.rule, f"{invalid.message}, or several by comma"))
            if len(texts) > rules.IDS_MAX:
                limit = rules.IDS_MAX
                self._wrong("ids", Invalid("length", f"must be at most {limit} ids", limit=limit))
            self._conditions.append("ids")

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


@cache
def _zones() -> set[str]:
    # Some systems have a file of that name: the machine's own zone.
    return available_timezones() - {"localtime"}


def clock_values(zone: dt.tzinfo) -> dict[str, dt.datetime]:
    """The moments that `today` and `overdue` mean right now, in a zone."""
    now = dt.datetime.now(dt.UTC)
    today = now.astimezone(zone).date()
    start, end = (
        dt.datetime(day.year, day.month, day.day, tzinfo=zone).astimezone(dt.UTC)
        for day in (today, today + dt.timedelta(days=1))
    )
    return {"now": now, "today": midnight(today), "day_start": start, "day_end": end}


def _finish(
    shape: Shape,
    values: dict[str, Any],
    limit: int,
    found: dict[str, list[str]],
    errors: list[FieldError],
    cursor_key: bytes,
) -> ListQuery:
    asked = tuple((name, ",".join(found[name])) for name in sorted(found) if name not in _NO_FILTERS)
    follows_clock = "now" in values
    key = list_key(cursor_key, repr((shape.conditions, asked)))
    values = {name: as_parameter(value) for name, value in values.items()}
    if "cursor" in found:
        position = read_cursor(found["cursor"][0], shape.orders, key)
        if position is None:
            message = "is not a cursor of this list: take it from the Link of a page with the same filters and sort"
            errors.append(Invalid("cursor", message).at("cursor", "query"))
        else:
            values |= position
            shape = shape.after
    if errors:
        raise ValidationFailed(errors)
    return ListQuery(shape, values, limit, key, asked, follows_clock)
