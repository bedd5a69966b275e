"""Runs migrations: each in a transaction, one process at a time, never waiting long for a lock that requests hold."""

import asyncio
import time
from typing import Any, Literal, cast

from alembic import context
from sqlalchemy import text
from sqlalchemy.engine import Connection
from sqlalchemy.ext.asyncio import AsyncEngine

from taskservice.database.moments import Moment
from taskservice.database.tables import Table

LOCK_KEY = 7_305_120_118
"""An arbitrary number, the same in every process of this service."""

WAIT_SECONDS = 60
"""How long a process waits for another one that migrates."""

config: Any = context.config


def run(connection: Connection) -> None:
    context.configure(
        connection=connection,
        target_metadata=Table.metadata,
        version_table=config.version_table_name,
        compare_type=True,
        compare_server_default=True,
        transaction_per_migration=True,
        include_object=_is_ours,
        render_item=_render,
    )
    _wait_for_other_starters(connection)
    connection.execute(text("SET lock_timeout = '4s'"))
    connection.execute(text("SET statement_timeout = '300s'"))
    connection.commit()
    try:
        with context.begin_transaction():
            context.run_migrations()
    finally:
        # A connection that broke has lost the lock with it.
        if not connection.invalidated:
            connection.rollback()
            connection.execute(text("SELECT pg_advisory_unlock(:key)"), {"key": LOCK_KEY})
            connection.commit()


def _wait_for_other_starters(connection: Connection) -> None:
    """Take a lock of the session, because the migrations are several transactions.

    Polls for it: a transaction that waits for the lock would block an index that another process builds
    concurrently, and neither would ever end.
    """
    deadline = time.monotonic() + WAIT_SECONDS
    while not connection.execute(text("SELECT pg_try_advisory_lock(:key)"), {"key": LOCK_KEY}).scalar():
        connection.rollback()
        if time.monotonic() > deadline:
            raise TimeoutError("another process has been migrating the schema for a minute")
        time.sleep(0.1)


def _is_ours(_object: Any, name: str | None, kind: str, reflected: bool, _compare_to: Any) -> bool:
    """Leave out tables of other applications, such as Better Auth's in the same database."""
    return not (kind == "table" and reflected and name not in Table.metadata.tables)


def _render(kind: str, item: Any, _context: Any) -> str | Literal[False]:
    """How a new migration writes this. False: as Alembic does. A migration does not depend on code that changes."""
    return "sa.DateTime(timezone=True)" if kind == "type" and isinstance(item, Moment) else False


async def run_online() -> None:
    engine = cast("AsyncEngine", config.engine)
    async with engine.connect() as connection:
        await connection.run_sync(run)
    await engine.dispose()


if context.is_offline_mode():
    context.configure(
        dialect_name="postgresql",
        target_metadata=Table.metadata,
        version_table=config.version_table_name,
        literal_binds=True,
    )
    with context.begin_transaction():
        context.run_migrations()
else:
    asyncio.run(run_online())
