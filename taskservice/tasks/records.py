"""Statements that take records: compiled twice from one definition, for a single record and for any number.

A single record comes as parameters, because reading it out of JSON costs PostgreSQL a tenth of a write. Several come as
one JSON parameter, so that the SQL is the same however many there are.
"""

from collections.abc import Callable, Mapping, Sequence
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.sql import ClauseElement

from taskservice.database.moments import as_parameter
from taskservice.database.statements import Statement

Columns = Mapping[str, sa.types.TypeEngine[Any]]

_encode: Final = msgspec.json.Encoder().encode


class Records(Struct, frozen=True):
    """The records of a statement, as a table in it, and their number. `single`: the values of a single one, by name."""

    table: sa.CTE
    count: sa.ColumnElement[int]
    single: Mapping[str, sa.ColumnElement[Any]] | None = None


class RecordStatement:
    """A record is a mapping by the names of `columns`; what it does not have is NULL, and other names are ignored."""

    def __init__(self, define: Callable[[Records], ClauseElement], columns: Columns) -> None:
        self.single: Final = Statement(define(_parameters(columns)))
        self.any_number: Final = Statement(define(_json(columns)))
        self._absent: Final = dict.fromkeys(columns)

    def call(self, records: Sequence[Mapping[str, Any]], **others: Any) -> tuple[str, list[Any]]:
        """The SQL for so many records, and its arguments."""
        if len(records) == 1:
            given = {name: as_parameter(value) for name, value in records[0].items()}
            return self.single.call(**self._absent | given, **others)
        return self.any_number.call(rows=_encode(records).decode(), **others)


def _parameters(columns: Columns) -> Records:
    single = {name: sa.bindparam(name, type_=kind) for name, kind in columns.items()}
    row = sa.select(*(value.label(name) for name, value in single.items()))
    return Records(row.cte("record"), sa.literal_column("1", sa.BigInteger), single)


def _json(columns: Columns) -> Records:
    rows = sa.func.json_to_recordset(sa.bindparam("rows", type_=sa.JSON)).table_valued(
        *(sa.column(name, kind) for name, kind in columns.items()), name="json"
    )
    table = sa.select(rows.render_derived(with_types=True)).cte("record")
    return Records(table, sa.select(sa.func.count()).select_from(table).scalar_subquery())
