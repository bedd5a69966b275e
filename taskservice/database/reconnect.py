"""Connects to an unavailable database as soon as it is back."""

import asyncio
from collections.abc import Awaitable, Callable
from typing import Any, Final

Connection = Any
"""An `asyncpg.Connection`; the library ships no types."""

Connect = Callable[[float], Awaitable[Connection]]
"""Opens a connection within a number of seconds."""

CONNECT_SECONDS: Final = 10.0
"""A Neon database that sleeps needs some seconds to wake up."""
FIRST_PAUSE: Final = 0.05
LONGEST_PAUSE: Final = 0.5
ATTEMPTS_AT_ONCE: Final = 8


async def reach(connect: Connect, failed: Callable[[Exception], None]) -> Connection:
    """Try until there is a connection; calls `failed` with the error of each failed attempt.

    A new attempt begins every half second, also while earlier ones hang: an attempt that began while packets were lost
    may hang long after the network works again, and an attempt to a database that wakes up takes its time.
    """
    first: asyncio.Future[Connection] = asyncio.get_running_loop().create_future()

    async def attempt() -> None:
        try:
            connection = await connect(CONNECT_SECONDS)
        except Exception as error:  # noqa: BLE001 (every error is passed on, and the attempt repeated)
            failed(error)
        else:
            if first.done():
                connection.terminate()
            else:
                first.set_result(connection)

    attempts: set[asyncio.Task[None]] = set()
    pause = FIRST_PAUSE
    try:
        while not first.done():
            if len(attempts) < ATTEMPTS_AT_ONCE:
                task = asyncio.create_task(attempt())
                attempts.add(task)
                task.add_done_callback(attempts.discard)
            await asyncio.wait({first}, timeout=pause)
            pause = min(pause * 2, LONGEST_PAUSE)
        return first.result()
    except BaseException:
        if first.done():
            first.result().terminate()
        raise
    finally:
        for task in attempts:
            task.cancel()
