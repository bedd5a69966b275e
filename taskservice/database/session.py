"""Sessions of SQLAlchemy, for what is no request: maintenance, and the general methods of advanced-alchemy."""

from collections.abc import Awaitable, Callable
from typing import Any

from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncEngine, AsyncSession, create_async_engine

from taskservice.database.server import DatabaseServer


def new_session(server: DatabaseServer) -> AsyncSession:
    """Opens a connection of its own when it is first used, with the same settings as the pool's, and closes it."""
    return AsyncSession(new_engine(server.connect))


def new_engine(connect: Callable[[], Awaitable[Any]]) -> AsyncEngine:
    """SQLAlchemy on connections of asyncpg that `connect` opens, one for each use."""
    return create_async_engine("postgresql+asyncpg://", async_creator=connect, poolclass=NullPool)
