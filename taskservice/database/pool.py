"""The worker's one pool of PostgreSQL connections, and the one way in for every statement.

asyncpg's own pool resets a connection at each return, which costs a round trip a request; nothing here leaves session
state behind, so a connection goes back as it is.
"""

import asyncio
import contextlib
from collections import deque
from collections.abc import AsyncIterator, Awaitable, Callable, Sequence
from time import perf_counter
from typing import Any, Final

import asyncpg

from taskservice.database.failures import Failure, classify
from taskservice.database.spent import spent_on_database
from taskservice.problems import DatabaseUnavailable, Overloaded, Problem

Record = Any
Connection = Any
"""An `asyncpg.Connection`; the library ships no types."""

Connect = Callable[[float], Awaitable[Connection]]
"""Opens a connection within so many seconds."""

QUIET_SECONDS: Final = 30.0
"""A connection idle for longer is asked for a sign of life: what stands in between may have dropped it unheard."""
SIGN_OF_LIFE_SECONDS: Final = 1.0
ATTEMPTS: Final = 3

_ANSWERS: Final = (Problem, asyncpg.PostgresError)
"""Errors after which the connection is still in step with the server."""


class Pool:
    """Connections, lent to one user at a time, last in first out."""

    def __init__(self, connect: Connect, *, size: int, deadline: float) -> None:
        self._connect = connect
        self._size = size
        self.deadline: Final = deadline
        self._idle: list[tuple[Connection, float]] = []
        self._open = 0
        self._waiting: deque[asyncio.Future[Connection | None]] = deque()
        self._closed = False
        self.serving = False
        """Set once the schema is known to be there; until then requests are turned away at once."""
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
        try:
            for attempt in range(ATTEMPTS):
                connection = await self._checkout(until)
                try:
                    rows: list[Record] = await connection.fetch(sql, *args, timeout=max(until - perf_counter(), 0.001))
                except BaseException as error:
                    self._discard_or_return(connection, error)
                    failure = classify(error)
                    if failure is None:
                        raise
                    again = failure is Failure.TRANSIENT or (repeatable and failure is Failure.DISCONNECTED)
                    if again and attempt + 1 < ATTEMPTS and perf_counter() < until:
                        continue
                    raise self._unavailable(failure) from error
                self._return(connection)
                return rows
            raise AssertionError("unreachable")
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
        connection = await self._checkout(until)
        transaction = Transaction(connection, until)
        try:
            await transaction.run("BEGIN")
            yield transaction
            await transaction.run("COMMIT")
        except BaseException as error:
            if isinstance(error, _ANSWERS) and not connection.is_closed():
                with contextlib.suppress(Exception):
                    await connection.execute("ROLLBACK", timeout=max(until - perf_counter(), 0.001))
            if connection.is_closed() or connection.is_in_transaction() or not isinstance(error, _ANSWERS):
                connection.terminate()
            self._return(connection)
            failure = classify(error)
            if failure is None:
                raise
            raise self._unavailable(failure) from error
        else:
            self._return(connection)
        finally:
            if spent is not None:
                spent.database_seconds += perf_counter() - started

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
            if self._open < self._size:
                return await self._open_one(until)
            given = await self._wait_for_one(until)
            if given is not None:
                return given

    async def _shows_life(self, connection: Connection) -> bool:
        try:
            await connection.fetch("SELECT 1", timeout=SIGN_OF_LIFE_SECONDS)
        except BaseException as error:
            connection.terminate()
            self._open -= 1
            if not isinstance(error, Exception):
                raise
            return False
        return True

    async def _open_one(self, until: float) -> Connection:
        self._open += 1
        try:
            async with asyncio.timeout(max(until - perf_counter(), 0.001)):
                return await self._connect(max(until - perf_counter(), 0.001))
        except BaseException as error:
            self._open -= 1
            self._wake_one()
            if not isinstance(error, Exception):
                raise
            raise self._unavailable(classify(error, connecting=True) or Failure.DISCONNECTED) from error

    async def _wait_for_one(self, until: float) -> Connection | None:
        waiter: asyncio.Future[Connection | None] = asyncio.get_running_loop().create_future()
        self._waiting.append(waiter)
        try:
            async with asyncio.timeout(max(until - perf_counter(), 0.001)):
                return await waiter
        except BaseException as error:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                given = waiter.result()
                if given is not None:
                    self._return(given)
                else:
                    self._wake_one()
            if isinstance(error, TimeoutError):
                self._count("pool_exhausted")
                raise Overloaded from None
            raise

    def _return(self, connection: Connection) -> None:
        if connection.is_closed() or self._closed:
            connection.terminate()
            self._open -= 1
            self._wake_one()
            return
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(connection)
                return
        self._idle.append((connection, perf_counter()))

    def _wake_one(self) -> None:
        """A place became free: somebody who waits may open a connection."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(None)
                return

    def _discard_or_return(self, connection: Connection, error: BaseException) -> None:
        # An answer of the server leaves the connection in order; anything else (a time-out, a cancellation, a broken
        # line) may leave half an answer in it.
        if not isinstance(error, _ANSWERS):
            connection.terminate()
        self._return(connection)

    def _unavailable(self, failure: Failure) -> DatabaseUnavailable:
        self._count(failure.value)
        return DatabaseUnavailable()

    def _count(self, kind: str) -> None:
        self.errors[kind] = self.errors.get(kind, 0) + 1

    async def close(self) -> None:
        """Idle connections end now, lent ones when they come back."""
        self._closed = True
        while self._idle:
            connection, _ = self._idle.pop()
            self._open -= 1
            with contextlib.suppress(Exception):
                await connection.close(timeout=1.0)


class Transaction:
    """Runs statements one after the other on one connection, under the deadline of the whole."""

    __slots__ = ("_connection", "_until")

    def __init__(self, connection: Connection, until: float) -> None:
        self._connection = connection
        self._until = until

    async def fetch(self, sql: str, args: Sequence[Any], *, repeatable: bool = False) -> list[Record]:
        rows: list[Record] = await self._connection.fetch(sql, *args, timeout=max(self._until - perf_counter(), 0.001))
        return rows

    async def fetchrow(self, sql: str, args: Sequence[Any], *, repeatable: bool = False) -> Record | None:
        rows = await self.fetch(sql, args)
        return rows[0] if rows else None

    async def run(self, command: str) -> None:
        await self._connection.execute(command, timeout=max(self._until - perf_counter(), 0.001))
