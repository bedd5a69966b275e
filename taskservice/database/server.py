"""Where the database is, and how to get a connection to it. Starts the embedded one where no URL is given."""

import asyncio
import contextlib
import logging
from collections.abc import Mapping
from dataclasses import replace
from functools import partial
from typing import Any, Final

import asyncpg

from taskservice.database.failures import blame
from taskservice.database.hosts import connect_to_any
from taskservice.database.moments import as_microseconds
from taskservice.database.pool import server_limit
from taskservice.database.reconnect import CONNECT_SECONDS
from taskservice.settings import Settings
from taskservice.settings.database_url import ConnectionTarget, read_database_url

log: Final = logging.getLogger(__name__)


async def open_connection(
    target: ConnectionTarget,
    session: Mapping[str, str] | None = None,
    timeout: float = CONNECT_SECONDS,  # noqa: ASYNC109 (the driver's own)
) -> Any:
    """A connection of asyncpg, to the host that takes writes if there are several. Its moments are `as_microseconds`.

    Raises what asyncpg raises, marked with the variable that named the target.
    """

    async def connect(host: ConnectionTarget) -> Any:
        connection = await asyncpg.connect(**{**host.asyncpg_arguments(session), "timeout": timeout})
        await as_microseconds(connection)
        return connection

    try:
        if target.other_hosts:
            return await connect_to_any({host.address: partial(connect, host) for host in target.hosts})
        return await connect(target)
    except Exception as error:
        blame(error, target.variable)
        raise


class DatabaseServer:
    """The server of one `Settings`. Cheap to make: nothing is started or reached before it is asked for."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._given = settings.database
        self._embedded: Any = None
        self._starting = asyncio.Lock()
        self.workers = 1
        """How many processes serve; each has a pool of its own."""

    @property
    def is_embedded(self) -> bool:
        return self._given is None

    @property
    def is_pooled(self) -> bool:
        return self._given is not None and self._given.pooled

    @property
    def sleeps(self) -> bool:
        """Whether the provider suspends the database when no query comes."""
        return self._given is not None and self._given.sleeps

    @property
    def description(self) -> str:
        """For messages; without the password."""
        if self._given is None:
            return f"embedded PostgreSQL in {self._settings.data_dir / 'postgresql'}"
        kind = ", through a transaction-mode pooler" if self._given.pooled else ""
        return self._given.redacted + kind

    @property
    def embedded_url(self) -> str:
        """Where other programs of this machine reach the embedded server. It has no password."""
        return str(self._embedded_server().url())

    def start(self) -> ConnectionTarget:
        """The target, with the embedded server running. Blocking."""
        if self._given is not None:
            return self._given
        return read_database_url(self._embedded_server().ensure_running())

    def stop(self) -> None:
        """Stop using the embedded server, which ends when no other process uses it. Blocking."""
        if self._embedded is not None:
            self._embedded.stop()

    async def connect(self, timeout: float = CONNECT_SECONDS) -> Any:  # noqa: ASYNC109 (the driver's own)
        """A connection with the service's session settings. Raises what asyncpg raises."""
        try:
            return await self._open(self._given or self._embedded_target(), timeout)
        except asyncpg.ProtocolViolationError as error:
            if not self._may_turn_out_pooled or "unsupported startup parameter" not in str(error):
                raise
            return await self._open(self._take_for_pooled("it refuses session settings"), timeout)
        except OSError:
            if self._given is not None:
                raise
            # It was never started, or was killed: in both cases start it.
            async with self._starting:
                with contextlib.suppress(OSError):
                    return await self._open(self._embedded_target(), timeout)
                target = await asyncio.to_thread(self.start)
            return await self._open(target, timeout)

    async def is_behind_unknown_pooler(self, connection: Any) -> bool:
        """Whether a pooler drops session settings. It may then also mix up prepared statements and return wrong rows.

        If so, do not use `connection` any more; new connections take the pooler into account.
        """
        if not self._may_turn_out_pooled:
            return False
        found = await connection.fetchval("SELECT setting FROM pg_settings WHERE name = 'statement_timeout'")
        if found == self.session()["statement_timeout"]:
            return False
        self._take_for_pooled("session settings do not arrive")
        return True

    @property
    def _may_turn_out_pooled(self) -> bool:
        return self._settings.database_pooler == "auto" and self._given is not None and not self._given.pooled

    def _take_for_pooled(self, why: str) -> ConnectionTarget:
        log.warning(
            "connections seem to go through a transaction-mode pooler (%s): continuing without prepared statements; "
            "set TASKSERVICE_DATABASE_POOLER=true to confirm it, and DATABASE_DIRECT_URL for migrations",
            why,
        )
        assert self._given is not None  # noqa: S101 (for the type checker)
        self._given = replace(self._given, pooled=True)
        return self._given

    def session(self, deadline: float | None = None) -> dict[str, str]:
        """Server settings that end abandoned statements and transactions on the server."""
        return {
            **self._time_limits(deadline or self._settings.database_deadline),
            "timezone": "UTC",
            # Better Auth's users table is in `public`.
            **({"search_path": f'"{self.schema}", public'} if self.schema else {}),
        }

    def local_settings(self) -> dict[str, str]:
        """What a transaction has to set by itself: behind a transaction-mode pooler a session has no time limits."""
        return self._time_limits(self._settings.database_deadline) if self.is_pooled else {}

    @staticmethod
    def _time_limits(deadline: float) -> dict[str, str]:
        milliseconds = str(int(server_limit(deadline) * 1000))
        return {
            "statement_timeout": milliseconds,
            "lock_timeout": milliseconds,
            "idle_in_transaction_session_timeout": str(int(deadline * 2000)),
        }

    @property
    def schema(self) -> str | None:
        """The schema that the tables are in, if a setting names one."""
        return self._settings.database_schema

    async def _open(self, target: ConnectionTarget, timeout: float) -> Any:  # noqa: ASYNC109
        return await open_connection(target, self.session(), timeout)

    def _embedded_server(self) -> Any:
        if self._embedded is None:
            # Not part of the production installation, so it is not imported before it is needed.
            from taskservice.database.embedded import EmbeddedPostgres  # noqa: PLC0415

            self._embedded = EmbeddedPostgres(self._settings.data_dir)
        return self._embedded

    def _embedded_target(self) -> ConnectionTarget:
        return read_database_url(self._embedded_server().url())
