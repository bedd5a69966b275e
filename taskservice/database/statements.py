"""SQLAlchemy Core statements, compiled when used first to what asyncpg takes: `$1` SQL and positional arguments."""

from typing import Any, Final

from msgspec import Struct
from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.sql import ClauseElement

DIALECT: Final = asyncpg.dialect()  # type: ignore[no-untyped-call]


class Compiled(Struct, frozen=True):
    """The SQL, the names of its arguments in their order, and the values of those that the statement itself has."""

    sql: str
    names: tuple[str, ...]
    fixed: dict[str, Any]


class Statement:
    """One statement, compiled when it is used first. Build it at import or behind a cache.

    rows = await pool.fetch(*GET.call(id=task_id, user_id=owner))
    """

    __slots__ = ("_source",)

    def __init__(self, clause: ClauseElement) -> None:
        self._source: ClauseElement | Compiled = clause

    @property
    def compiled(self) -> Compiled:
        source = self._source
        if not isinstance(source, Compiled):
            source = self._source = _compile(source)
        return source

    def call(self, **values: Any) -> tuple[str, list[Any]]:
        """The SQL and its arguments. Values that it does not take are left out."""
        compiled = self.compiled
        if compiled.fixed:
            values = compiled.fixed | values
        return compiled.sql, [values[name] for name in compiled.names]


def _compile(clause: ClauseElement) -> Compiled:
    compiled: Any = clause.compile(dialect=DIALECT)
    names = tuple(compiled.positiontup or ())
    given = {name: value for name, value in compiled.params.items() if not compiled.binds[name].required}
    return Compiled(compiled.string, names, {name: value for name, value in given.items() if name in names})
