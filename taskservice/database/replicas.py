"""Chooses the read replica for a request, and decides when to use one again that was left out."""

import asyncio
import contextlib
import logging
from collections.abc import AsyncIterator, Sequence
from functools import partial
from time import perf_counter
from typing import Final

import asyncpg

from taskservice.database.checks import ConnectionCheck
from taskservice.database.pool import Pool
from taskservice.database.server import DatabaseServer, open_connection
from taskservice.problems import Problem
from taskservice.settings import Settings
from taskservice.settings.database_url import ConnectionTarget

PATIENCE_SECONDS: Final = 1.0
"""How long a request waits for a replica before it asks the primary."""
MISSES: Final = 16
"""After this many answers in a row that differ from the primary's, a replica is left out."""
FIRST_PAUSE: Final = 1.0
LONGEST_PAUSE: Final = 10.0

log: Final = logging.getLogger(__name__)


class Replica:
    """One replica and this worker's connections to it. It is asked from when it first answers."""

    def __init__(self, target: ConnectionTarget, pool: Pool, server: DatabaseServer) -> None:
        self.address: Final = target.address
        self.pool: Final = pool
        self._pooled = target.pooled
        self._server = server
        self._connection_check = ConnectionCheck(f"the replica {target.address}")
        self.pool.serving = True  # the primary's schema has been checked, and a replica has the same
        self._asked = False
        self._left_out = asyncio.Event()
        self._pause = FIRST_PAUSE
        self._misses = 0
        self._said: str | None = None

    @property
    def may_be_asked(self) -> bool:
        """Whether a request can get its answer there without waiting for a connection to come back."""
        return self._asked and not self.pool.connections.in_outage and self.pool.connections.in_use < self.pool.size

    def agreed(self) -> None:
        """Its answer was the primary's."""
        self._misses = 0
        if self._said is not None:
            log.warning("the replica %s is used again", self.address)
            self._said = None
        self._pause = FIRST_PAUSE

    def disagreed(self) -> None:
        """Its answer was not the primary's. That is usual right after a write; only many in a row mean that it lags."""
        self._misses += 1
        if self._misses >= MISSES:
            self._misses = MISSES - 1  # after its return the first such answer leaves it out again
            self.leave_out("it is behind the primary")

    def leave_out(self, reason: str) -> None:
        if self._asked:
            self._asked = False
            self._left_out.set()
            if reason != self._said:
                log.warning("the replica %s is left out: %s", self.address, reason)
                self._said = reason

    async def watch(self) -> None:
        """Use it as soon as it answers. No request waits for a replica that was left out."""
        while True:
            self._left_out.clear()
            if await self._answers():
                self._asked = True
                await self._check_connections()
                await self._left_out.wait()
            await asyncio.sleep(self._pause)
            self._pause = min(self._pause * 2, LONGEST_PAUSE)

    async def _answers(self) -> bool:
        try:
            await self.pool.fetch("SELECT 1", (), repeatable=True)
        except Problem:
            return False
        return True

    async def _check_connections(self) -> None:
        # If it has gone away again, this is repeated once it is back.
        with contextlib.suppress(Problem, OSError, asyncpg.PostgresError, asyncpg.InterfaceError):
            async with (
                asyncio.timeout(PATIENCE_SECONDS),
                self.pool.connections.lent(perf_counter() + PATIENCE_SECONDS) as connection,
            ):
                await self._connection_check.run(
                    connection, workers=self._server.workers, each=self.pool.size, pooled=self._pooled
                )


class Replicas:
    """All replicas of this worker."""

    def __init__(self, replicas: Sequence[Replica]) -> None:
        self._replicas: Final = replicas

    def choose(self) -> Replica | None:
        """The one with the fewest requests; None where none may be asked."""
        candidates = [replica for replica in self._replicas if replica.may_be_asked]
        return min(candidates, key=lambda replica: replica.pool.connections.in_use, default=None)

    @contextlib.asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        watching = [asyncio.create_task(replica.watch()) for replica in self._replicas]
        try:
            yield
        finally:
            for task in watching:
                task.cancel()
            await asyncio.gather(*watching, return_exceptions=True)
            for replica in self._replicas:
                await replica.pool.close()


def replicas_of(settings: Settings, server: DatabaseServer) -> Replicas:
    """The replicas that the settings name, each with a pool as large as the primary's."""
    session = server.session(PATIENCE_SECONDS)
    return Replicas(
        [
            Replica(
                target,
                Pool(
                    partial(open_connection, target, session),
                    size=settings.database_connections,
                    deadline=PATIENCE_SECONDS,
                    name=f"the replica {target.address}",
                ),
                server,
            )
            for target in settings.database_replicas
        ]
    )
