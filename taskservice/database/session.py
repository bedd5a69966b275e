"""SQLAlchemy sessions on the pool's connections, for commands and maintenance."""

from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any

import sqlalchemy as sa
from sqlalchemy import CursorResult, Executable, NullPool, event
from sqlalchemy.ext.asyncio import (
    AsyncEngine,
    AsyncSession,
    async_scoped_session,
    async_sessionmaker,
    create_async_engine,
)
from sqlalchemy.orm import Session

from taskservice.database.pool import Pool, Transaction

Sessions = async_sessionmaker[AsyncSession]
AnySession = AsyncSession | async_scoped_session[AsyncSession]
"""What advanced-alchemy's repositories work with."""


class FlushRefused(Exception):
    """A session was about to flush changed entities."""


class CountedSession(Session):
    """Reads entities and runs statements, and refuses to flush changed entities.

    A flush would skip the user's change counter: tags would not change, and readers of the change feed would miss it.
    """


@event.listens_for(CountedSession, "before_flush")
def _refuse(session: Session, _context: Any, _instances: Any) -> None:
    changed = [entity for entity in session.dirty if session.is_modified(entity)]
    for entity in (*session.new, *session.deleted, *changed):
        raise FlushRefused(
            f"{type(entity).__name__}: a flush would write it past the change counter; "
            "give it to a method of its repository"
        )


def sessions_of(pool: Pool, *, seconds: float | None = None) -> Sessions:
    """Makes sessions, each with a connection of the pool for as long as it works.

        async with sessions_of(pool).begin() as session: ...

    is one unit of work: it commits at the end of the block and rolls back when the block raises, and the connection
    goes back in any case, after `seconds` (by default the pool's deadline) at the latest.
    """
    engine = new_engine(partial(pool.lend, seconds))
    return async_sessionmaker(engine, sync_session_class=CountedSession, expire_on_commit=False)


def new_engine(connect: Callable[[], Awaitable[Any]]) -> AsyncEngine:
    """SQLAlchemy on connections of asyncpg, one from `connect` for each use; `Pool.lend` lends one of the pool's."""
    engine = create_async_engine("postgresql+asyncpg://", poolclass=NullPool)

    # Statements without names: those of another client's session would clash behind a transaction-mode pooler.
    @event.listens_for(engine.sync_engine, "do_connect")
    def _connect(dialect: Any, _record: Any, _args: Any, _parameters: Any) -> Any:
        return dialect.dbapi.connect(
            async_creator_fn=connect, prepared_statement_cache_size=0, prepared_statement_name_func=str
        )

    return engine


async def row_count(session: AnySession, statement: Executable) -> int:
    """Runs a statement that writes; how many rows it wrote."""
    result = await session.execute(statement)
    assert isinstance(result, CursorResult)  # noqa: S101 (for the type checker: what a writing statement gives)
    return result.rowcount


async def queries_of(session: AnySession) -> Transaction:
    """Runs statements of `statements.py` in the session's transaction."""
    connection = await session.connection()
    driver: Any = (await connection.get_raw_connection()).driver_connection
    if not driver.is_in_transaction():
        # SQLAlchemy begins the transaction with its own first statement.
        await session.execute(sa.text("SELECT 1"))
    return Transaction(driver)
