"""Sessions of SQLAlchemy, for what is no request: maintenance, and the general methods of advanced-alchemy."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import NullPool, event
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from taskservice.database.server import DatabaseServer


def new_session(server: DatabaseServer) -> AsyncSession:
    """Opens a connection of its own when it is first used, with the same settings as the pool's, and closes it."""
    return AsyncSession(new_engine(server.connect))


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
