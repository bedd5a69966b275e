"""Runs every statement of the service, within its deadline, on one of the worker's connections."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from time import perf_counter
from types import TracebackType
from typing import Any, Final

import asyncpg

from taskservice.database.connections import SCHEMA_GONE, Connections, left
from taskservice.database.database_time import spent_on_database
from taskservice.database.failures import Failure, classify
from taskservice.database.reconnect import Connect, Connection
from taskservice.database.turns import AT_ONCE, Turns
from taskservice.problems import DatabaseUnavailable, Overloaded

Record = Any
"""An `asyncpg.Record`."""

ATTEMPTS: Final = 3


def margin(deadline: float) -> float:
    """The part of the deadline that is reserved for the answer to a write."""
    return min(0.5, deadline / 5)


def server_limit(deadline: float) -> float:
    """The server's limit for one statement, in seconds. It ends before the deadline.

    If both ended together, a write that was answered 503 could still be committed a moment later.
    """
    return deadline - margin(deadline)


class Pool:
    """Where statements run. Raises `DatabaseUnavailable` or `Overloaded` within the deadline if they cannot.

    `writer` is the user whose tasks are written: one user's writers take turns before they take a connection.
    """

    def __init__(
        self,
        connect: Connect,
        *,
        size: int,
        deadline: float,
        name: str = "the database",
        local_settings: Callable[[], Mapping[str, str]] = dict,
    ) -> None:
        """`local_settings`: what each transaction has to set by itself, because its connection does not."""
        self.connections: Final = Connections(connect, size=size, deadline=deadline, name=name)
        self._local_settings = local_settings
        self._turns = Turns(AT_ONCE)
        self._margin = margin(deadline)
        self._late = server_limit(deadline) + self._margin / 2
        self.size: Final = size
        self.deadline: Final = deadline
        self.serving = False
        """Set once the schema has been checked; until then requests are refused at once."""
        self.on_schema_gone: Callable[[], None] = lambda: None
        self.answered_at = self.failed_at = perf_counter()
        """When a statement succeeded last, and when the database failed last."""

    @property
    def waiting(self) -> int:
        """How many requests wait for a connection, or for their turn to write."""
        return self.connections.waiting + self._turns.waiting

    async def fetch(
        self, sql: str, args: Sequence[Any], *, repeatable: bool = False, writer: str | None = None
    ) -> list[Record]:
        """Run one statement on its own, in one round trip.

        Only a `repeatable` one (a read) is sent again after a connection broke under it: whether a write took effect
        is unknown then.
        """
        attempts = ATTEMPTS
        async with _Unit(self, writer) as until:
            while True:
                attempts -= 1
                try:
                    async with self.connections.lent(until) as connection:
                        if repeatable or (left(until) >= self._late and not self._local_settings()):
                            rows: list[Record] = await connection.fetch(sql, *args, timeout=left(until))
                            self.answered_at = perf_counter()
                            return rows
                        # This write has waited so long that the server's limit would end after the deadline, or
                        # the server has no limit for it. In a transaction it cannot take effect without its COMMIT.
                        await connection.execute(self._beginning(), timeout=left(until))
                        async with self._committing(connection, until) as transaction:
                            return await transaction.fetch(sql, args)
                except Exception as error:
                    failure = classify(error)
                    again = failure is Failure.TRANSIENT or (repeatable and failure is Failure.DISCONNECTED)
                    if not again or not attempts or perf_counter() >= until:
                        raise

    @contextlib.asynccontextmanager
    async def transaction(self, *, writer: str | None = None) -> AsyncIterator["Transaction"]:
        """Several statements, all or nothing: committed at the end of the block, rolled back when it raises.

        Never repeated: whether a COMMIT took effect cannot be known when its answer is lost.
        """
        async with _Unit(self, writer) as until:
            connection = await self._begin(until)
            try:
                async with self._committing(connection, until) as transaction:
                    yield transaction
            except BaseException as error:
                self.connections.take_back(connection, error)
                raise
            self.connections.take_back(connection)

    @contextlib.asynccontextmanager
    async def _committing(self, connection: Connection, until: float) -> AsyncIterator["Transaction"]:
        """Within an open transaction: commit at the end of the block, roll back when it raises."""
        transaction = Transaction(connection, until)
        try:
            yield transaction
            await self._commit(connection, until)
        except Exception as error:
            if not isinstance(error, TimeoutError) and not connection.is_closed():
                # The first error counts; if this fails too, the connection ends and the server rolls back.
                with contextlib.suppress(Exception):
                    await connection.execute("ROLLBACK", timeout=left(until))
            raise

    async def _commit(self, connection: Connection, until: float) -> None:
        remaining = left(until)
        if remaining < self._margin / 2:
            raise TimeoutError("too late to commit: no time would remain to hear whether it took effect")
        await connection.execute("COMMIT", timeout=remaining)
        self.answered_at = perf_counter()

    async def _begin(self, until: float) -> Connection:
        """A connection with an open transaction. One that breaks before anything was done is replaced."""
        attempts = ATTEMPTS
        while True:
            attempts -= 1
            connection = await self.connections.lend(until)
            try:
                await connection.execute(self._beginning(), timeout=left(until))
            except BaseException as error:
                self.connections.take_back(connection, error)
                broken = isinstance(error, Exception) and classify(error) is Failure.DISCONNECTED
                if not broken or not attempts or perf_counter() >= until:
                    raise
            else:
                return connection

    def _beginning(self) -> str:
        """Begins a transaction, in one round trip with what it has to set by itself."""
        settings = (f"SET LOCAL {name} = '{value}'" for name, value in self._local_settings().items())
        return "; ".join(("BEGIN", *settings))

    async def lend(self, deadline: float | None = None) -> "LentConnection":
        """A connection for one unit of work of SQLAlchemy (`async_creator`): to close it is to give it back.

        It is terminated after `deadline` seconds, by default the pool's.
        """
        self.check_serving()
        seconds = deadline or self.deadline
        connection = await self.connections.lend(perf_counter() + min(seconds, self.deadline))
        return LentConnection(connection, self.connections, seconds)

    def check_serving(self) -> None:
        if not self.serving:
            raise DatabaseUnavailable("The database is not ready yet")

    async def take_turn(self, writer: str, until: float) -> None:
        try:
            # As for a connection: a request that gets a turn at the last moment cannot use it.
            await self._turns.take(writer, left(until) / 2)
        except TimeoutError:
            self.connections.errors["turn_timeout"] += 1
            raise Overloaded from None

    def leave_turn(self, writer: str) -> None:
        self._turns.leave(writer)

    def raise_if_unavailable(self, error: Exception) -> None:
        """Raises `DatabaseUnavailable` if the error is a failure of the database."""
        failure = classify(error)
        if isinstance(error, SCHEMA_GONE):
            self.on_schema_gone()
            failure = Failure.MISCONFIGURED
        if failure is not None:
            self.connections.errors[failure.value] += 1
            self.failed_at = perf_counter()
            raise DatabaseUnavailable from error

    async def close(self) -> None:
        """Idle connections end now, lent ones when they come back."""
        await self.connections.close()


class _Unit:
    """The frame of one unit of work: its deadline, its writer's turn, the time that the request waits for it, and what
    its failure means for the request.
    """

    __slots__ = ("_pool", "_started", "_writer")

    def __init__(self, pool: Pool, writer: str | None) -> None:
        self._pool = pool
        self._writer = writer

    async def __aenter__(self) -> float:
        self._started = perf_counter()
        self._pool.check_serving()
        until = self._started + self._pool.deadline
        if self._writer is not None:
            await self._pool.take_turn(self._writer, until)
        return until

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self._writer is not None:
            self._pool.leave_turn(self._writer)
        spent = spent_on_database.get()
        if spent is not None:
            spent.database_seconds += perf_counter() - self._started
        if isinstance(error, Exception):
            self._pool.raise_if_unavailable(error)


class Transaction:
    """Runs statements one after the other on one connection, under the deadline of the whole if it has one."""

    __slots__ = ("_connection", "_until")

    def __init__(self, connection: Connection, until: float | None = None) -> None:
        self._connection = connection
        self._until = until

    async def fetch(
        self, sql: str, args: Sequence[Any], *, repeatable: bool = False, writer: str | None = None
    ) -> list[Record]:
        """As the pool's method. Repeating and turns apply to the transaction as a whole."""
        timeout = None if self._until is None else left(self._until)
        rows: list[Record] = await self._connection.fetch(sql, *args, timeout=timeout)
        return rows


class LentConnection:
    """An `asyncpg.Connection` that goes back to the pool when SQLAlchemy closes it, and ends at its deadline."""

    def __init__(self, connection: Connection, connections: Connections, seconds: float) -> None:
        self._connection: Connection | None = connection
        self._connections = connections
        self._expiry = asyncio.get_running_loop().call_later(seconds, connection.terminate)

    def __getattr__(self, name: str) -> Any:
        if self._connection is None:
            raise asyncpg.InterfaceError("connection is closed: it has gone back to the pool")
        return getattr(self._connection, name)

    async def set_type_codec(self, *_: Any, **__: Any) -> None:
        """SQLAlchemy wants JSON as text, which is what the connection does already.

        A codec of its own would make the connection forget the prepared statements of requests.
        """

    def is_closed(self) -> bool:
        return self._connection is None or self._connection.is_closed()

    async def close(self, *, timeout: float | None = None) -> None:  # noqa: ASYNC109 (asyncpg's own)
        """SQLAlchemy passes a timeout when it abandons the connection, and none when the work has succeeded."""
        self._give_back(None if timeout is None else TimeoutError())

    def terminate(self) -> None:
        self._give_back(asyncpg.InterfaceError("terminated"))

    def _give_back(self, error: Exception | None) -> None:
        connection, self._connection = self._connection, None
        if connection is not None:
            self._expiry.cancel()
            self._connections.take_back(connection, error)
