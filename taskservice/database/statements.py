"""SQLAlchemy Core statements, compiled once to what asyncpg takes: `$1` SQL and positional arguments."""

from typing import Any, Final

from sqlalchemy.dialects.postgresql import asyncpg
from sqlalchemy.sql import ClauseElement

DIALECT: Final = asyncpg.dialect()  # type: ignore[no-untyped-call]


class Statement:
    """One statement. Build it at import or behind a cache.

    rows = await pool.fetch(*GET.call(id=task_id, user_id=owner))
    """

    __slots__ = ("_fixed", "names", "sql")

    def __init__(self, clause: ClauseElement) -> None:
        compiled: Any = clause.compile(dialect=DIALECT)
        self.sql: Final[str] = compiled.string
        self.names: Final[tuple[str, ...]] = tuple(compiled.positiontup or ())
        self._fixed: dict[str, Any] = {
            name: value
            for name, value in compiled.params.items()
            if name in self.names and not compiled.binds[name].required
        }

    def call(self, **values: Any) -> tuple[str, list[Any]]:
        """The SQL and its arguments. Values that it does not take are left out."""
        if self._fixed:
            values = self._fixed | values
        return self.sql, [values[name] for name in self.names]
