"""The worker's connections to PostgreSQL: opened on demand, lent for one unit of work, replaced after an outage.

asyncpg's own pool resets a connection at each return, which costs a round trip a request; nothing here leaves session
state behind, so a connection goes back as it is.
"""

import asyncio
import contextlib
import logging
from collections import Counter
from collections.abc import Coroutine
from contextvars import Context
from time import perf_counter
from types import TracebackType
from typing import Any, Final

import asyncpg

from taskservice.database.failures import Failure, classify, describe
from taskservice.database.line import Line
from taskservice.database.reconnect import Connect, Connection, reach
from taskservice.problems import DatabaseUnavailable, Overloaded, Problem

QUIET_SECONDS: Final = 30.0
"""A connection that was idle for longer is tested before use: a firewall or a NAT may have dropped it silently."""
SIGN_OF_LIFE_SECONDS: Final = 1.0

_ANSWERS: Final = (Problem, asyncpg.PostgresError)
"""Errors after which the connection is still usable."""
_LASTING: Final = frozenset({Failure.DISCONNECTED, Failure.MISCONFIGURED})
"""Errors after which the connection fails the next statement, too."""
SCHEMA_GONE: Final = (asyncpg.UndefinedTableError, asyncpg.UndefinedColumnError, asyncpg.UndefinedFunctionError)
"""Our statements are fixed, so these errors show that the schema has changed since the check at start."""

log: Final = logging.getLogger(__name__)


class Outage:
    """Lasts from the first connection that cannot be opened until the next one that can."""

    def __init__(self) -> None:
        self.since: Final = perf_counter()
        self.failure = Failure.DISCONNECTED
        self.said: str | None = None


class Connections:
    """At most `size` connections. The most recently returned one is lent first."""

    def __init__(self, connect: Connect, *, size: int, deadline: float, name: str = "the database") -> None:
        self._connect = connect
        self._name = name
        self._size = size
        self._deadline = deadline
        self._idle: list[tuple[Connection, float]] = []
        """Each with the time it came back."""
        self._open = 0
        """Those that are being opened count."""
        self._opening = 0
        self._line: Final[Line[Connection | None]] = Line()
        """Each waiting request gets a connection, or None: a place is free, or an outage has begun or ended."""
        self._outage: Outage | None = None
        self._tasks: set[asyncio.Task[None]] = set()
        self._closed = False
        self.errors: Counter[str] = Counter()
        """How often the database failed, by kind."""

    @property
    def in_use(self) -> int:
        return self._open - len(self._idle)

    @property
    def idle(self) -> int:
        return len(self._idle)

    @property
    def waiting(self) -> int:
        return len(self._line)

    @property
    def in_outage(self) -> bool:
        return self._outage is not None

    @property
    def is_connected(self) -> bool:
        """Whether a connection is open, as far as can be seen without a query."""
        return self.in_use > self._opening or any(not connection.is_closed() for connection, _ in self._idle)

    # ---- lending

    def lent(self, until: float) -> "Loan":
        """For `async with`: a connection for one unit of work, returned however the work ends."""
        return Loan(self, until)

    async def lend(self, until: float) -> Connection:
        """A connection, to be given to `take_back`. Raises `DatabaseUnavailable` or `Overloaded`."""
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

    def take_back(self, connection: Connection, error: BaseException | None = None) -> None:
        """Take a lent connection back. `error` is the exception that ended the work, if any."""
        is_ready = not connection.is_closed() and not connection.is_in_transaction()
        if is_ready and (error is None or _in_step_after(error)):
            self._pass_on(connection)
            return
        if error is not None and classify(error) is not None:
            # The same may have happened to every connection: the idle ones are tested before use.
            self._idle = [(idle, 0.0) for idle, _ in self._idle]
        if isinstance(error, TimeoutError):
            self._in_background(self._dismiss(connection))
        else:
            self._end(connection)

    def _pass_on(self, connection: Connection) -> None:
        """Give it to the first waiting request, else keep it idle."""
        if self._closed:
            self._end(connection)
        elif not self._line.give(connection):
            self._idle.append((connection, perf_counter()))

    def _serve_next(self, given: Connection | None) -> None:
        """Pass on what was given to a request that ended in that moment."""
        if given is None:
            self._line.give(None)
        else:
            self._pass_on(given)

    def _end(self, connection: Connection) -> None:
        connection.terminate()
        self._free_place()

    async def _dismiss(self, connection: Connection) -> None:
        """Close it cleanly: asyncpg asks the server to cancel the abandoned statement."""
        try:
            with contextlib.suppress(Exception):
                await connection.close(timeout=SIGN_OF_LIFE_SECONDS)
        finally:
            self._end(connection)

    def _free_place(self) -> None:
        self._open -= 1
        self._line.give(None)

    def _wake_all(self) -> None:
        while self._line.give(None):
            pass

    # ---- getting one

    async def _shows_life(self, connection: Connection) -> bool:
        try:
            await connection.fetch("SELECT 1", timeout=min(SIGN_OF_LIFE_SECONDS, self._deadline / 4))
        except BaseException as error:
            self._end(connection)
            if not isinstance(error, Exception):
                raise
            # To test each of those that were idle for as long would take as long again.
            now = perf_counter()
            quiet = [idle for idle, since in self._idle if now - since >= QUIET_SECONDS]
            self._idle = [(idle, since) for idle, since in self._idle if now - since < QUIET_SECONDS]
            for idle in quiet:
                self._end(idle)
            return False
        return True

    async def _open_one(self, until: float) -> Connection | None:
        """None: it could not be opened, and an outage has begun."""
        self._open += 1
        self._opening += 1
        try:
            async with asyncio.timeout(left(until)):
                return await self._connect(left(until))
        except Exception as error:  # noqa: BLE001 (every error is logged, and the attempt repeated)
            self._open -= 1
            if self._outage is None:
                self._outage = Outage()
                self._in_background(self._heal(self._outage))
                self._wake_all()  # in an outage they may wait for as long as they have
            self._say(self._outage, error)
            return None
        except BaseException:
            self._free_place()
            raise
        finally:
            self._opening -= 1

    async def _wait_for_one(self, until: float) -> Connection | None:
        """A returned connection; None: something has changed, so look again."""
        if self._outage is not None and perf_counter() - self._outage.since > self._deadline * 0.9:
            raise self._unavailable(self._outage)  # the first request has waited in vain; the others do not repeat that
        # A request that gets a connection at the last moment cannot use it; under load, none would be served any more.
        patience = left(until) if self._outage is not None else left(until) / 2
        try:
            return await self._line.wait(patience, self._serve_next)
        except TimeoutError:
            if self._outage is not None:
                raise self._unavailable(self._outage) from None
            self.errors["pool_exhausted"] += 1
            raise Overloaded from None

    # ---- outages

    async def _heal(self, outage: Outage) -> None:
        connection = await reach(self._connect, lambda error: self._say(outage, error))
        log.warning("%s is back after %.1f seconds", self._name, perf_counter() - outage.since)
        self._outage = None
        if self._open < self._size:
            self._open += 1
            self._pass_on(connection)
        else:
            connection.terminate()
        self._wake_all()

    def _say(self, outage: Outage, error: Exception) -> None:
        """Log each problem once in an outage, however many requests meet it."""
        outage.failure = classify(error, connecting=True) or Failure.DISCONNECTED
        self.errors[outage.failure.value] += 1
        said = describe(error)
        if said != outage.said:
            outage.said = said
            level = logging.ERROR if outage.failure is Failure.MISCONFIGURED else logging.WARNING
            log.log(level, "no connection to %s, trying again: %s", self._name, said)

    def _unavailable(self, outage: Outage) -> DatabaseUnavailable:
        self.errors[outage.failure.value] += 1
        return DatabaseUnavailable()

    def _in_background(self, work: Coroutine[Any, Any, None]) -> None:
        # In a context of its own: what it logs and waits for does not belong to the request that began it.
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
            await self._dismiss(connection)


class Loan:
    """One connection, lent at the beginning of a block and taken back at its end."""

    __slots__ = ("_connection", "_connections", "_until")

    def __init__(self, connections: Connections, until: float) -> None:
        self._connections = connections
        self._until = until

    async def __aenter__(self) -> Connection:
        self._connection = await self._connections.lend(self._until)
        return self._connection

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._connections.take_back(self._connection, error)


def _in_step_after(error: BaseException) -> bool:
    """Whether the connection that raised it can run the next statement."""
    return isinstance(error, _ANSWERS) and not isinstance(error, SCHEMA_GONE) and classify(error) not in _LASTING


def left(until: float) -> float:
    return max(until - perf_counter(), 0.001)
