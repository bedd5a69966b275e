"""Steps of a migration that runs while requests are served.

Each step commits on its own and may run again: a migration that broke off goes on at its next start. Use them within
`steps()`.
"""

import time
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Any, Final

from alembic import context, op
from sqlalchemy import text
from sqlalchemy.exc import DBAPIError, PendingRollbackError

LOCK_MILLISECONDS: Final = 200
"""How long requests may queue behind a step that waits for its lock."""
PAUSE_SECONDS: Final = 0.3
ATTEMPTS: Final = 200

_LOCK_NOT_AVAILABLE: Final = "55P03"


@contextmanager
def steps() -> Iterator[None]:
    """Every statement within commits on its own."""
    broken: DBAPIError | None = None
    try:
        with op.get_context().autocommit_block():
            try:
                yield
            except DBAPIError as error:
                broken = error
                raise
    except PendingRollbackError:
        # Alembic cannot tidy up a connection that broke, and its own error would hide why.
        if broken is None:
            raise
        raise broken from None


def briefly(statement: str, **values: Any) -> Any:
    """Run a statement that needs a lock only for a moment. It gives way to requests and tries again."""
    if context.is_offline_mode():
        op.execute(statement)
        return None
    connection = op.get_bind()
    connection.execute(text(f"SET lock_timeout = {LOCK_MILLISECONDS}"))
    for attempt in range(1, ATTEMPTS + 1):
        try:
            return connection.execute(text(statement), values)
        except DBAPIError as error:
            if getattr(error.orig, "sqlstate", None) != _LOCK_NOT_AVAILABLE or attempt == ATTEMPTS:
                raise
        time.sleep(PAUSE_SECONDS)
    raise AssertionError


def in_the_background(statement: str) -> None:
    """Run a statement that takes long and blocks no request."""
    if not context.is_offline_mode():
        connection = op.get_bind()
        connection.execute(text("SET lock_timeout = 0"))
        connection.execute(text("SET statement_timeout = 0"))
    op.execute(statement)


def create_index(name: str, definition: str, *, unique: bool = False) -> None:
    """Build an index concurrently; one that an earlier attempt left unfinished is dropped first."""
    if not context.is_offline_mode() and _is_unfinished(name):
        in_the_background(f"DROP INDEX CONCURRENTLY IF EXISTS {name}")
    kind = "UNIQUE INDEX" if unique else "INDEX"
    in_the_background(f"CREATE {kind} CONCURRENTLY IF NOT EXISTS {name} ON {definition}")


def _is_unfinished(name: str) -> bool:
    query = text("SELECT NOT indisvalid FROM pg_index WHERE indexrelid = to_regclass(:name)")
    return bool(op.get_bind().execute(query, {"name": name}).scalar())


def primary_key(table: str) -> str | None:
    """The definition of a table's primary key. None in a script, which cannot ask."""
    if context.is_offline_mode():
        return None
    query = text(
        "SELECT pg_get_constraintdef(oid) FROM pg_constraint WHERE contype = 'p' AND conrelid = to_regclass(:table)"
    )
    found: str | None = op.get_bind().execute(query, {"table": table}).scalar()
    return found
