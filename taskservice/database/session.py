"""Sessions of SQLAlchemy, for what is no request: maintenance, and the general methods of advanced-alchemy."""

from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncSession, create_async_engine

from taskservice.database.server import DatabaseServer


def new_session(server: DatabaseServer) -> AsyncSession:
    """Opens a connection of its own when it is first used, with the same settings as the pool's, and closes it."""
    engine = create_async_engine("postgresql+asyncpg://", async_creator=server.connect, poolclass=NullPool)
    return AsyncSession(engine)
