"""The worker's one pool of PostgreSQL connections, and the one way in for every statement.

asyncpg's own pool resets a connection at each return, which costs a round trip a request; nothing here leaves session
state behind, so a connection goes back as it is.
"""

import asyncio
import contextlib
import logging
from collections import deque
from collections.abc import AsyncIterator, Callable, Sequence
from contextvars import Context
from time import perf_counter
from typing import Any, Final

import asyncpg

from taskservice.database.database_time import spent_on_database
from taskservice.database.failures import Failure, classify, describe
from taskservice.database.reconnect import Connect, Connection, reach
from taskservice.problems import DatabaseUnavailable, Overloaded, Problem

Record = Any

QUIET_SECONDS: Final = 30.0
"""A connection idle for longer is asked for a sign of life: what stands in between may have dropped it unheard."""
SIGN_OF_LIFE_SECONDS: Final = 1.0
ATTEMPTS: Final = 3

_ANSWERS: Final = (Problem, asyncpg.PostgresError)
"""Errors after which the connection is still in step with the server."""
_LASTING: Final = frozenset({Failure.DISCONNECTED, Failure.MISCONFIGURED})
"""After these the connection will fail the next statement, too."""
_SCHEMA_GONE: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
"""Our statements are fixed, so these say that the database is not the one that was looked at when we started."""

log: Final = logging.getLogger(__name__)


class Outage:
    """From the first connection that could not be made to the next one that could."""

    def __init__(self) -> None:
        self.since: Final = perf_counter()
        self.failure = Failure.DISCONNECTED
        self.said: str | None = None


class Pool:
    """Connections, lent to one user at a time, last in first out."""

    def __init__(self, connect: Connect, *, size: int, deadline: float) -> None:
        self._connect = connect
        self._size = size
        self.deadline: Final = deadline
        self._idle: list[tuple[Connection, float]] = []
        self._open = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._outage: Outage | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.serving = False
        """Set once the schema is known to be there; until then requests are turned away at once."""
        self.on_schema_gone: Callable[[], None] = lambda: None
        self.errors: dict[str, int] = {}
        """How often the database failed, by kind; read by the metrics."""

    @property
    def in_use(self) -> int:
        return self._open - len(self._idle)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return sum(not waiter.done() for waiter in self._waiting)

    # ---- statements

    async def fetch(self, sql: str, args: Sequence[Any], *, repeatable: bool = False) -> list[Record]:
        """Run one statement on its own, in one round trip.

        Raises `DatabaseUnavailable` or `Overloaded` within the deadline when the database cannot answer. Only a
        `repeatable` one (a read) is sent again after a connection broke under it: what became of a write is unknown.
        """
        spent = spent_on_database.get()
        started = perf_counter()
        until = started + self.deadline
        attempts = ATTEMPTS
        try:
            while True:
                attempts -= 1
                connection = await self._checkout(until)
                try:
                    rows: list[Record] = await connection.fetch(sql, *args, timeout=_left(until))
                except BaseException as error:
                    failure = self._take_back(connection, error)
                    if failure is None:
                        raise
                    again = failure is Failure.TRANSIENT or (repeatable and failure is Failure.DISCONNECTED)
                    if again and attempts and perf_counter() < until:
                        continue
                    raise self._unavailable(failure) from error
                self._return(connection)
                return rows
        finally:
            if spent is not None:
                spent.database_seconds += perf_counter() - started

    async def fetchrow(self, sql: str, args: Sequence[Any], *, repeatable: bool = False) -> Record | None:
        rows = await self.fetch(sql, args, repeatable=repeatable)
        return rows[0] if rows else None

    @contextlib.asynccontextmanager
    async def transaction(self) -> AsyncIterator["Transaction"]:
        """Several statements, all or nothing: committed at the end of the block, rolled back when it raises.

        Retried by nobody: whether a COMMIT arrived cannot be known when its answer is lost.
        """
        spent = spent_on_database.get()
        started = perf_counter()
        until = started + self.deadline
        connection = await self._begin(until)
        transaction = Transaction(connection, until)
        try:
            yield transaction
            await transaction.run("COMMIT")
        except BaseException as error:
            if isinstance(error, _ANSWERS) and not connection.is_closed():
                try:
                    await connection.execute("ROLLBACK", timeout=_left(until))
                except Exception:  # noqa: BLE001 (the first error counts; the server rolls back what is not committed)
                    connection.terminate()
            failure = self._take_back(connection, error)
            if failure is None:
                raise
            raise self._unavailable(failure) from error
        else:
            self._return(connection)
        finally:
            if spent is not None:
                spent.database_seconds += perf_counter() - started

    async def _begin(self, until: float) -> Connection:
        """A connection with an open transaction. One that breaks before anything was done is replaced."""
        attempts = ATTEMPTS
        while True:
            attempts -= 1
            connection = await self._checkout(until)
            try:
                await connection.execute("BEGIN", timeout=_left(until))
            except BaseException as error:
                failure = self._take_back(connection, error)
                if failure is None:
                    raise
                if failure is Failure.DISCONNECTED and attempts and perf_counter() < until:
                    continue
                raise self._unavailable(failure) from error
            return connection

    def _take_back(self, connection: Connection, error: BaseException) -> Failure | None:
        """The connection returns, or ends if it is of no more use; what the error means for the request."""
        failure = classify(error)
        if isinstance(error, _SCHEMA_GONE):
            self.on_schema_gone()
            failure = Failure.MISCONFIGURED
        in_order = isinstance(error, _ANSWERS) and failure not in _LASTING and not connection.is_closed()
        if in_order and not connection.is_in_transaction():
            self._return(connection)
            return failure
        if failure is not None:
            # Whatever happened to this connection may have happened to all.
            self._idle = [(idle, 0.0) for idle, _ in self._idle]
        if isinstance(error, TimeoutError):
            self._in_background(self._dismiss(connection))
        else:
            self._drop(connection)
        return failure

    # ---- connections

    async def _checkout(self, until: float) -> Connection:
        if not self.serving:
            raise DatabaseUnavailable("The database is not ready yet")
        while True:
            while self._idle:
                connection, since = self._idle.pop()
                if connection.is_closed():
                    self._open -= 1
                elif perf_counter() - since < QUIET_SECONDS or await self._shows_life(connection):
                    return connection
            if self._open < self._size and self._outage is None:
                made = await self._open_one(until)
            else:
                made = await self._wait_for_one(until)
            if made is not None:
                return made

    async def _shows_life(self, connection: Connection) -> bool:
        try:
            await connection.fetch("SELECT 1", timeout=min(SIGN_OF_LIFE_SECONDS, self.deadline / 4))
        except BaseException as error:
            self._drop(connection)
            if not isinstance(error, Exception):
                raise
            # Those that have been quiet for longer would each take as long to find out about.
            now = perf_counter()
            quiet = [idle for idle, since in self._idle if now - since >= QUIET_SECONDS]
            self._idle = [(idle, since) for idle, since in self._idle if now - since < QUIET_SECONDS]
            for idle in quiet:
                self._drop(idle)
            return False
        return True

    async def _open_one(self, until: float) -> Connection | None:
        """None: it could not be had, and an outage has begun."""
        self._open += 1
        try:
            async with asyncio.timeout(_left(until)):
                return await self._connect(_left(until))
        except BaseException as error:
            self._open -= 1
            if not isinstance(error, Exception):
                self._wake_one()
                raise
            if self._outage is None:
                self._outage = Outage()
                self._in_background(self._heal(self._outage))
                self._wake_all()  # in an outage they may wait for as long as they have
            self._say(self._outage, error)
            return None

    async def _wait_for_one(self, until: float) -> Connection | None:
        """A connection that somebody returned; None: look again, something has changed."""
        if self._outage is not None and perf_counter() - self._outage.since > self.deadline:
            raise self._unavailable(self._outage.failure)  # that long nobody else needs to wait
        # Whoever gets a connection at the last moment could do nothing with it, and then nobody is served any more.
        patience = _left(until) if self._outage is not None else _left(until) / 2
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(patience):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled():
                given = waiter.result()
                if given is not None:
                    self._return(given)
                else:
                    self._wake_one()
            if not isinstance(error, TimeoutError):
                raise
            if self._outage is not None:
                raise self._unavailable(self._outage.failure) from None
            self._count("pool_exhausted")
            raise Overloaded from None

    def _return(self, connection: Connection) -> None:
        if self._closed or connection.is_closed():
            self._drop(connection)
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append((connection, perf_counter()))

    def _drop(self, connection: Connection) -> None:
        connection.terminate()
        self._open -= 1
        self._wake_one()

    async def _dismiss(self, connection: Connection) -> None:
        """End it in good order: asyncpg tells the server to stop working on what nobody waits for any more."""
        try:
            await connection.close(timeout=SIGN_OF_LIFE_SECONDS)
        except Exception:  # noqa: BLE001, S110 (it ends in any case)
            pass
        finally:
            self._drop(connection)

    def _wake_one(self) -> None:
        """A place became free: somebody who waits may open a connection."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _wake_all(self) -> None:
        for _ in range(len(self._waiting)):
            self._wake_one()

    # ---- outages

    async def _heal(self, outage: Outage) -> None:
        connection = await reach(self._connect, lambda error: self._say(outage, error))
        log.warning("the database is back after %.1f seconds", perf_counter() - outage.since)
        self._outage = None
        if self._open < self._size:
            self._open += 1
            self._return(connection)
        else:
            connection.terminate()
        self._wake_all()

    def _say(self, outage: Outage, error: Exception) -> None:
        """Each trouble once in an outage, however many requests meet it."""
        outage.failure = classify(error, connecting=True) or Failure.DISCONNECTED
        self._count(outage.failure.value)
        said = describe(error)
        if said != outage.said:
            outage.said = said
            level = logging.ERROR if outage.failure is Failure.MISCONFIGURED else logging.WARNING
            log.log(level, "no connection to the database, trying again: %s", said)

    def _unavailable(self, failure: Failure) -> DatabaseUnavailable:
        self._count(failure.value)
        return DatabaseUnavailable()

    def _count(self, kind: str) -> None:
        self.errors[kind] = self.errors.get(kind, 0) + 1

    def _in_background(self, work: Any) -> None:
        # In a context of its own: what it says and waits for is not the doing of the request that began it.
        task = asyncio.get_running_loop().create_task(work, context=Context())
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)

    async def close(self) -> None:
        """Idle connections end now, lent ones when they come back."""
        self._closed = True
        for task in list(self._tasks):
            task.cancel()
        while self._idle:
            connection, _ = self._idle.pop()
            with contextlib.suppress(Exception):
                await connection.close(timeout=SIGN_OF_LIFE_SECONDS)
            self._drop(connection)


class Transaction:
    """Runs statements one after the other on one connection, under the deadline of the whole."""

    __slots__ = ("_connection", "_until")

    def __init__(self, connection: Connection, until: float) -> None:
        self._connection = connection
        self._until = until

    async def fetch(self, sql: str, args: Sequence[Any], *, repeatable: bool = False) -> list[Record]:
        rows: list[Record] = await self._connection.fetch(sql, *args, timeout=_left(self._until))
        return rows

    async def fetchrow(self, sql: str, args: Sequence[Any], *, repeatable: bool = False) -> Record | None:
        rows = await self.fetch(sql, args)
        return rows[0] if rows else None

    async def run(self, command: str) -> None:
        await self._connection.execute(command, timeout=_left(self._until))


def _left(until: float) -> float:
    return max(until - perf_counter(), 0.001)
