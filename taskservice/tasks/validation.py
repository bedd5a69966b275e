"""How each field of a request is checked: a check takes what JSON gave and returns the value, or raises `Invalid`."""

import datetime as dt
import re
import uuid
from collections.abc import Callable, Collection, Iterable, Mapping
from functools import partial
from typing import Any, Final

from taskservice import rules
from taskservice.problems import ERRORS_LISTED, FieldError, Location

Check = Callable[[Any], Any]

READ_ONLY: Final = frozenset({"id", "user_id", "created_at", "updated_at", "completed_at", "etag"})
"""Read-only fields: the service sets them. They are ignored, so that a client may send back what it read."""

_UUID = re.compile(r"[0-9a-f]{8}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{4}-[0-9a-f]{12}", re.IGNORECASE)
_DATE = re.compile(r"[0-9]{4}-[0-9]{2}-[0-9]{2}", re.ASCII)
_INSTANT = re.compile(
    r"([0-9]{4}-[0-9]{2}-[0-9]{2})[Tt ]((?:[01][0-9]|2[0-3]):[0-5][0-9]:(?:[0-5][0-9]|60)(?:\.[0-9]+)?)"
    r"([Zz]|[+-](?:[01][0-9]|2[0-3]):[0-5][0-9])?",
    re.ASCII,
)


class Invalid(ValueError):
    """A value breaks a rule."""

    def __init__(
        self, rule: str, message: str, *, limit: int | None = None, allowed: Iterable[str] | None = None
    ) -> None:
        super().__init__(message)
        self.rule = rule
        self.message = message
        self.limit = limit
        self.allowed = allowed

    def at(self, field: str, location: Location, index: int | None = None) -> FieldError:
        extra: dict[str, Any] = {}
        if self.limit is not None:
            extra["limit"] = self.limit
        if self.allowed is not None:
            extra["allowed"] = tuple(self.allowed)
        if index is not None:
            extra["index"] = index
        return FieldError(field=field, location=location, rule=self.rule, message=self.message, **extra)


def text(value: Any, *, longest: int) -> str:
    if not isinstance(value, str):
        raise Invalid("type", "must be a string")
    if len(value) > longest:
        raise Invalid("max_length", f"must have at most {longest} characters", limit=longest)
    if "\x00" in value:
        raise Invalid("characters", "must not contain the character NUL")
    return value


def title(value: Any) -> str:
    trimmed = text(value.strip() if isinstance(value, str) else value, longest=rules.TITLE_MAX)
    if not trimmed:
        raise Invalid("min_length", "must not be blank", limit=1)
    return trimmed


def optional(check: Check) -> Check:
    """The same check for a field that may be null."""
    return lambda value: None if value is None else check(value)


def description(longest: int) -> Check:
    return optional(partial(text, longest=longest))


def one_of(*allowed: str) -> Check:
    def check(value: Any) -> str:
        if not isinstance(value, str) or value not in allowed:
            raise Invalid("one_of", f"must be one of {', '.join(allowed)}", allowed=allowed)
        return value

    return check


def boolean(value: Any) -> bool:
    if not isinstance(value, bool):
        raise Invalid("type", "must be true or false")
    return value


def identifier(value: Any) -> uuid.UUID:
    if not isinstance(value, str) or not _UUID.fullmatch(value):
        raise Invalid("uuid", "must be a UUID such as 01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e")
    return uuid.UUID(value)


def moment(value: Any) -> dt.date | dt.datetime:
    """A date stays a date; an instant comes back in UTC, to the microsecond."""
    if isinstance(value, str):
        try:
            if _DATE.fullmatch(value):
                return dt.date.fromisoformat(value)
            if found := _INSTANT.fullmatch(value):
                return _in_utc(*found.groups(default="Z"))
        except (ValueError, OverflowError):
            pass
    raise Invalid("date", "must be a date (2026-12-01) or an RFC 3339 instant (2026-12-01T09:30:00Z)")


def _in_utc(date: str, time: str, offset: str) -> dt.datetime:
    to_the_microsecond = time.replace(":60", ":59")[:15]
    at = dt.datetime.fromisoformat(f"{date}T{to_the_microsecond}{offset.upper()}").astimezone(dt.UTC)
    if ":60" in time:
        # A leap second ends a day of UTC. Python has no such second, so it becomes the first one of the next day.
        at += dt.timedelta(seconds=1)
        if (at.hour, at.minute, at.second) != (0, 0, 0):
            raise ValueError("no leap second")
    return at


def instant(value: Any) -> dt.datetime:
    found = moment(value)
    if not isinstance(found, dt.datetime):
        raise Invalid("instant", "must be an RFC 3339 instant (2026-12-01T09:30:00Z)")
    return found


def past(value: Any) -> dt.datetime:
    """A moment in the past. It may be a day ahead, in case the clock that wrote it was wrong."""
    found = instant(value)
    if found > dt.datetime.now(dt.UTC) + dt.timedelta(days=1):
        raise Invalid("past", "must not be in the future")
    return found


status: Final = one_of(*rules.STATUSES)
priority: Final = one_of(*rules.PRIORITIES)
due_date: Final = optional(moment)
optional_past: Final = optional(past)


_UNLISTED: Final = FieldError(field="", location="body", rule="unlisted", message="counted, not listed")
"""Stands for each unknown field after those that are listed: a megabyte of names is read in milliseconds."""


class Fields:
    """The fields that one kind of object may have."""

    def __init__(
        self, checks: Mapping[str, Check], *, required: Collection[str] = (), ignored: Collection[str] = ()
    ) -> None:
        self._checks = checks
        self._required = tuple(required)
        self._ignored = frozenset(ignored)

    def read(
        self, document: Any, errors: list[FieldError], *, at: str = "", index: int | None = None
    ) -> dict[str, Any]:
        """The sound values of a JSON object; everything that is wrong with it goes to `errors`."""
        values: dict[str, Any] = {}
        if not isinstance(document, dict):
            errors.append(Invalid("type", "must be a JSON object").at(at.rstrip("."), "body", index))
            return values
        for name, value in document.items():
            check = self._checks.get(name)
            try:
                if check is not None:
                    values[name] = check(value)
                elif name not in self._ignored:
                    errors.append(self._unknown(at + name, index) if len(errors) < ERRORS_LISTED else _UNLISTED)
            except Invalid as invalid:
                errors.append(invalid.at(at + name, "body", index))
        missing = [name for name in self._required if name not in document]
        errors += [Invalid("required", "is required").at(at + name, "body", index) for name in missing]
        return values

    def _unknown(self, field: str, index: int | None) -> FieldError:
        return Invalid("unknown_field", "is not a field of this object", allowed=self._checks).at(field, "body", index)
