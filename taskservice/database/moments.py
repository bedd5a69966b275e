"""Moments as PostgreSQL sends them: whole microseconds since the year 2000.

asyncpg makes a `datetime` of each, which takes as long as all the rest of a row, and a fifth of a list of 100. On our
connections it leaves the number as it is, and `moment` makes the `datetime` of those that are shown.
"""

import datetime as dt
from typing import Any, Final

import sqlalchemy as sa

_YEAR_2000: Final = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
_MICROSECOND: Final = dt.timedelta(microseconds=1)
_INFINITIES: Final = {
    2**63 - 1: dt.datetime.max.replace(tzinfo=dt.UTC),
    -(2**63): dt.datetime.min.replace(tzinfo=dt.UTC),
}
"""The service writes none, but SQL by hand can. They are shown as the last and the first moment of the calendar."""


def moment(microseconds: int) -> dt.datetime:
    """Raises `OverflowError` for what is outside of the calendar."""
    try:
        return _YEAR_2000 + microseconds * _MICROSECOND
    except OverflowError:
        if microseconds in _INFINITIES:
            return _INFINITIES[microseconds]
        raise


def microseconds_of(at: dt.datetime) -> int:
    return (at - _YEAR_2000) // _MICROSECOND


def as_parameter(value: Any) -> Any:
    """What a statement outside SQLAlchemy's sessions takes for this value."""
    return microseconds_of(value) if isinstance(value, dt.datetime) else value


class Moment(sa.TypeDecorator[dt.datetime]):
    """`timestamptz` in SQLAlchemy's sessions. An expression without a type, such as `func.now()`, gives the number."""

    impl = sa.DateTime(timezone=True)
    cache_ok = True

    def process_bind_param(self, value: dt.datetime | None, dialect: sa.Dialect) -> Any:
        return None if value is None else microseconds_of(value)

    def coerce_compared_value(self, op: Any, value: Any) -> sa.types.TypeEngine[Any]:
        return sa.Interval() if isinstance(value, dt.timedelta) else self

    def process_result_value(self, value: Any | None, dialect: sa.Dialect) -> dt.datetime | None:
        return None if value is None else moment(value)


async def as_microseconds(connection: Any) -> None:
    """Take and give every `timestamptz` of this connection as a number. Asks the server for nothing."""
    await connection.set_builtin_type_codec("timestamptz", schema="pg_catalog", codec_name="int8", format="binary")
