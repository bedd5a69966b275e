"""Finds at start what would fail later: another schema, foreign tables, too few connections."""

import logging
import mmap
from typing import Final

from taskservice.database.migrations import VERSION_TABLE
from taskservice.database.reconnect import Connection
from taskservice.database.tables import Table

_IN_THE_WAY: Final = """
SELECT current_schema() AS schema, array_agg(relname::text ORDER BY relname) AS tables
FROM pg_class
WHERE relnamespace = current_schema()::regnamespace AND relname = ANY($1)
HAVING count(*) > 0
"""
_LIMITS: Final = """
SELECT current_setting('max_connections')::int
         - current_setting('superuser_reserved_connections')::int
         - coalesce(current_setting('reserved_connections', true)::int, 0) AS server,
       nullif((SELECT rolconnlimit FROM pg_roles WHERE rolname = current_user), -1) AS role,
       nullif((SELECT datconnlimit FROM pg_database WHERE datname = current_database()), -1) AS database
"""

log: Final = logging.getLogger(__name__)


async def wrong_schema(connection: Connection, wanted: str) -> str | None:
    """One line with the SQL to run if the tables would not be in the configured schema.

    A pooler in transaction mode does not pass `search_path` on, so behind one it is set on the database's user.
    """
    user, database, found = await connection.fetchrow("SELECT current_user, current_database(), current_schema()")
    if found == wanted:
        return None
    return (
        f'TASKSERVICE_DATABASE_SCHEMA: connections use the schema "{found}"; the pooler does not pass "{wanted}" on. '
        f'Run once: CREATE SCHEMA IF NOT EXISTS "{wanted}"; '
        f'ALTER ROLE "{user}" IN DATABASE "{database}" SET search_path = "{wanted}", public'
    )


async def tables_in_the_way(connection: Connection) -> str | None:
    """One line about tables of another application under our names; only for a database without our schema."""
    found = await connection.fetchrow(_IN_THE_WAY, sorted(Table.metadata.tables))
    if found is None:
        return None
    names = ", ".join(f'"{name}"' for name in found["tables"])
    return (
        f'the schema "{found["schema"]}" already has {names}, but no "{VERSION_TABLE}": these tables belong to another '
        "application. Set TASKSERVICE_DATABASE_SCHEMA to a name such as taskservice, or use another database"
    )


async def allowed_connections(connection: Connection) -> tuple[int, str]:
    """The smallest limit on our connections, and what sets it: the `server`, the `role` or the `database`."""
    limits = await connection.fetchrow(_LIMITS)
    return min((limits[name], name) for name in ("server", "role", "database") if limits[name] is not None)


async def too_few_connections(connection: Connection, *, workers: int, each: int, pooled: bool) -> str | None:
    """One line with what to change if the workers may open more connections than the database allows."""
    allowed, whose = await allowed_connections(connection)
    wanted = workers * each
    if wanted <= allowed:
        return None
    said = f"{workers} workers with {each} connections each are {wanted}, and the {whose} allows {allowed}"
    fitting = max(allowed // workers, 1)
    if pooled:
        return (
            f"{said} behind the pooler, where the others wait: set TASKSERVICE_DATABASE_CONNECTIONS={fitting}, or give "
            "the database more (a larger compute, max_connections) and the pooler a larger default_pool_size"
        )
    what = {"server": "max_connections", "role": "CONNECTION LIMIT of the role", "database": "CONNECTION LIMIT"}[whose]
    return f"{said}: set TASKSERVICE_DATABASE_CONNECTIONS={fitting}, raise {what}, or put a pooler in between"


class ConnectionCheck:
    """Logs once if all workers together may open more connections than a server allows."""

    def __init__(self, name: str = "") -> None:
        """`name`: which server, where there are several."""
        self._line = f"{name}: %s" if name else "%s"
        self._begun = mmap.mmap(-1, 1)
        """Shared by the workers, which are forked later: one of them checks for all."""

    async def run(self, connection: Connection, *, workers: int, each: int, pooled: bool) -> None:
        if self._begun[0]:
            return  # one of the workers checks, or has checked
        self._begun[0] = 1
        try:
            warning = await too_few_connections(connection, workers=workers, each=each, pooled=pooled)
        except BaseException:  # so that another connection is asked
            self._begun[0] = 0
            raise
        if warning:
            log.warning(self._line, warning)
