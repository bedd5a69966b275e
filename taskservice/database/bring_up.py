"""Prepares a starting process to serve: waits for the database, creates or migrates the schema, opens the pool.

Runs in the background for as long as it takes: the service also starts while the database is unavailable.
"""

import asyncio
import logging
from collections.abc import Awaitable, Callable
from functools import partial
from typing import Any, Final

from advanced_alchemy.config.asyncio import AlembicAsyncConfig, SQLAlchemyAsyncConfig
from sqlalchemy.ext.asyncio import AsyncEngine

from taskservice.database.checks import ConnectionCheck, tables_in_the_way, wrong_schema
from taskservice.database.failures import Failure, Unusable, classify, describe
from taskservice.database.migrations import DIRECTORY, HEAD, VERSION_TABLE
from taskservice.database.pool import Pool
from taskservice.database.reconnect import Connection, reach
from taskservice.database.server import DatabaseServer, open_connection
from taskservice.database.session import new_engine
from taskservice.database.tables import Table

PAUSE: Final = 0.5
"""The service recovers within a second after the database is usable again."""

log: Final = logging.getLogger(__name__)


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
        """`check` gets a connection and raises `Unusable` if something that others have to create is missing."""
        self._server = server
        self._pool = pool
        self._migrations = migrations
        self._migrate = migrate
        self._check = check
        self._said: set[str] = set()
        """What has been logged since the database was usable last: each attempt meets the same, twice a second."""
        self._connection_check = ConnectionCheck()
        self._wanted = asyncio.Event()
        pool.on_schema_gone = self._wanted.set
        self.done: Final = asyncio.Event()
        """Requests have been served at least once."""

    async def run(self) -> None:
        """Until it is cancelled: a database may be replaced by an empty or an older one while we serve."""
        while True:
            self._wanted.clear()
            await self._bring_up()
            self.done.set()
            await asyncio.sleep(PAUSE)
            await self._wanted.wait()

    async def _bring_up(self) -> None:
        while True:
            connection = await reach(self._server.connect, self._failed)
            try:
                if await self._server.is_behind_unknown_pooler(connection):
                    continue
                await self._look(connection)
                await self._connection_check.run(
                    connection, workers=self._server.workers, each=self._pool.size, pooled=self._server.is_pooled
                )
            except Exception as error:  # noqa: BLE001 (every error is logged, and the attempt repeated)
                self._failed(error)
            else:
                self._said.clear()
                self._pool.serving = True
                return
            finally:
                connection.terminate()
            await asyncio.sleep(PAUSE)

    async def _look(self, connection: Connection) -> None:
        if self._server.schema is not None:
            await self._enter_schema(connection, self._server.schema)
        found = await schema_version(connection)
        if found is not None and found > HEAD:
            newer = f"the schema ({found}) is newer than this program ({HEAD}), which serves it nevertheless"
            self._say(logging.WARNING, newer)
        elif found != HEAD:
            if not self._migrate:
                raise Unusable(
                    f"the schema is at {found or 'nothing'}, wanted is {HEAD}: run `litestar database upgrade` "
                    "(TASKSERVICE_MIGRATE is false)"
                )
            if found is None and (clash := await tables_in_the_way(connection)):
                raise Unusable(clash)
            self._say(logging.INFO, f"migrating the schema from {found or 'nothing'} to {HEAD}")
            await asyncio.to_thread(upgrade, self._migrations)
        if self._check is not None:
            await self._check(connection)

    async def _enter_schema(self, connection: Connection, wanted: str) -> None:
        if self._migrate and not self._server.is_pooled:
            await connection.execute(f'CREATE SCHEMA IF NOT EXISTS "{wanted}"')
        if wrong := await wrong_schema(connection, wanted):
            raise Unusable(wrong)

    def _failed(self, error: Exception) -> None:
        self._pool.serving = False
        wrong = classify(error, connecting=True) is Failure.MISCONFIGURED
        level = logging.ERROR if wrong else logging.WARNING
        self._say(level, f"the database is not usable yet, trying again: {describe(error)}")

    def _say(self, level: int, text: str) -> None:
        if text not in self._said:
            self._said.add(text)
            log.log(level, "%s", text)


async def schema_version(connection: Connection) -> str | None:
    """The revision that the database is at; None for an empty one. Raises what asyncpg raises."""
    # In the first schema of the search path: a table of the same name in another one belongs to another installation.
    name = await connection.fetchval("SELECT to_regclass(quote_ident(current_schema()) || '.' || $1)", VERSION_TABLE)
    if name is None:
        return None
    version: str | None = await connection.fetchval(f"SELECT max(version_num) FROM {VERSION_TABLE}")  # noqa: S608
    return version


def migrations_config(server: DatabaseServer) -> SQLAlchemyAsyncConfig:
    """What `litestar database …` works with. Only when it asks for the engine, the embedded server starts."""

    def create_engine(_url: str, **_options: Any) -> AsyncEngine:
        direct = server.start().direct
        if direct is None:
            raise Unusable(
                "DATABASE_DIRECT_URL: set it; migrations cannot run through a transaction-mode pooler, and the "
                "database behind this one is not known"
            )
        # Not `public` as well: the tables of another installation there would pass for those of this one.
        session = {"search_path": f'"{server.schema}"'} if server.schema else {}
        return new_engine(partial(open_connection, direct, session))

    return SQLAlchemyAsyncConfig(
        connection_string="postgresql+asyncpg://",
        create_engine_callable=create_engine,
        metadata=Table.metadata,
        alembic_config=AlembicAsyncConfig(
            script_location=str(DIRECTORY), version_table_name=VERSION_TABLE, compare_type=True, render_as_batch=False
        ),
    )


def upgrade(config: SQLAlchemyAsyncConfig) -> None:
    """Migrate to the newest schema. Blocking; needs no event loop, must not run inside one."""
    from advanced_alchemy.alembic.commands import AlembicCommands  # noqa: PLC0415 (slow to load, rarely needed)

    AlembicCommands(config).upgrade("head")
