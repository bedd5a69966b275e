"""From a process that starts to one that can serve: wait for the database, create or migrate the schema, go on.

Runs beside the service, for as long as it takes: a database that is away at start does not stop anybody.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from typing import Any, Final

from advanced_alchemy.config.asyncio import AlembicAsyncConfig, SQLAlchemyAsyncConfig
from sqlalchemy import NullPool
from sqlalchemy.ext.asyncio import AsyncEngine, create_async_engine

from taskservice.database.failures import Failure, classify, describe
from taskservice.database.migrations import DIRECTORY, HEAD, VERSION_TABLE
from taskservice.database.pool import Pool
from taskservice.database.server import DatabaseServer

FIRST_PAUSE: Final = 0.1
LONGEST_PAUSE: Final = 1.0
"""The service heals within a second of the database being back."""

log: Final = logging.getLogger(__name__)


class SchemaMissing(Exception):
    """The schema is not there, and this process cannot make it, or was told not to."""


class BringUp:
    """Opens the pool for requests once the schema is right."""

    def __init__(
        self,
        server: DatabaseServer,
        pool: Pool,
        migrations: SQLAlchemyAsyncConfig,
        *,
        migrate: bool,
        check: Callable[[Any], Awaitable[None]] | None = None,
    ) -> None:
        """`check` gets a connection and raises `SchemaMissing` if something that is not ours to make is not there."""
        self._server = server
        self._pool = pool
        self._migrations = migrations
        self._migrate = migrate
        self._check = check
        self._said: str | None = None
        self.trouble: str | None = "starting"
        """Why requests are not served yet; None once they are."""

    async def run(self) -> None:
        pause = FIRST_PAUSE
        while True:
            try:
                await self._attempt()
            except Exception as error:  # noqa: BLE001 (whatever keeps the database away, it is said and tried again)
                self._say(error)
                await asyncio.sleep(pause)
                pause = min(pause * 2, LONGEST_PAUSE)
            else:
                self.trouble = None
                self._pool.serving = True
                return

    async def _attempt(self) -> None:
        await self._migrated()
        if self._check is not None:
            connection = await self._server.connect()
            try:
                await self._check(connection)
            finally:
                connection.terminate()

    async def _migrated(self) -> None:
        found = await schema_version(self._server)
        if found == HEAD:
            return
        if found is not None and found > HEAD:
            log.warning("the schema (%s) is newer than this program (%s); serving it all the same", found, HEAD)
            return
        if not self._migrate:
            raise SchemaMissing(
                f"the schema is at {found or 'nothing'}, wanted is {HEAD}: run `litestar database upgrade` "
                "(TASKSERVICE_MIGRATE is false)"
            )
        log.info("migrating the schema from %s to %s", found or "nothing", HEAD)
        await asyncio.to_thread(upgrade, self._migrations)

    def _say(self, error: Exception) -> None:
        """Each trouble once, not once a second."""
        said = str(error) if isinstance(error, SchemaMissing) else describe(error)
        self.trouble = said
        if said != self._said:
            self._said = said
            wrong = isinstance(error, SchemaMissing) or classify(error, connecting=True) is Failure.MISCONFIGURED
            log.log(
                logging.ERROR if wrong else logging.WARNING,
                "the database is not usable yet, trying again every second: %s",
                said,
            )


async def schema_version(server: DatabaseServer) -> str | None:
    """The revision that the database is at; None for an empty one. Raises what asyncpg raises."""
    connection = await server.connect()
    try:
        if await connection.fetchval("SELECT to_regclass($1)", VERSION_TABLE) is None:
            return None
        version: str | None = await connection.fetchval(f"SELECT max(version_num) FROM {VERSION_TABLE}")  # noqa: S608
        return version
    finally:
        connection.terminate()


def migrations_config(server: DatabaseServer) -> SQLAlchemyAsyncConfig:
    """What `litestar database …` works with. Only when it asks for the engine, the embedded server starts."""

    def create_engine(_url: str, **_options: Any) -> AsyncEngine:
        target = server.start()
        if target.direct is None:
            raise SchemaMissing(
                "DATABASE_DIRECT_URL: set it; migrations cannot run through a transaction-mode pooler, and the "
                "database behind this one is not known"
            )
        return create_async_engine(
            target.direct.sqlalchemy_url, poolclass=NullPool, connect_args=target.direct.sqlalchemy_connect_args()
        )

    return SQLAlchemyAsyncConfig(
        connection_string="postgresql+asyncpg://",
        create_engine_callable=create_engine,
        alembic_config=AlembicAsyncConfig(
            script_location=str(DIRECTORY), version_table_name=VERSION_TABLE, compare_type=True, render_as_batch=False
        ),
    )


def upgrade(config: SQLAlchemyAsyncConfig) -> None:
    """Migrate to the newest schema. Blocking; needs no event loop, must not run inside one."""
    from advanced_alchemy.alembic.commands import AlembicCommands  # noqa: PLC0415 (slow to load, rarely needed)

    AlembicCommands(config).upgrade("head")
