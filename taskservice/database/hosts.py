"""Connects to the one of several hosts that takes writes, also while another one is frozen.

asyncpg tries hosts one after the other under one time limit, so with a frozen first host it never reaches the others.
"""

import asyncio
import contextlib
from collections.abc import Awaitable, Callable, Mapping
from typing import Final

import asyncpg

from taskservice.database.failures import Failure, classify, describe
from taskservice.database.reconnect import Connection

STRAGGLER_SECONDS: Final = 2.0
"""How long to wait for the silent hosts once another one has refused.

Soon afterwards there is a new attempt, which sees whether that one has become the primary by then.
"""


class NoHostTakesWrites(ConnectionError):
    """Every host is unreachable or read-only."""


async def connect_to_any(attempts: Mapping[str, Callable[[], Awaitable[Connection]]]) -> Connection:
    """Try all addresses at once and return the first connection; the others are closed."""
    pending = {asyncio.ensure_future(attempt()): address for address, attempt in attempts.items()}
    refusals: dict[str, Exception] = {}
    try:
        while pending:
            patience = STRAGGLER_SECONDS if refusals else None
            done, _ = await asyncio.wait(pending, timeout=patience, return_when=asyncio.FIRST_COMPLETED)
            if not done:
                refusals |= dict.fromkeys(pending.values(), TimeoutError("does not answer"))
                break
            for task in done:
                address = pending[task]
                error = task.exception()
                if error is None:
                    del pending[task]
                    return task.result()
                if not isinstance(error, Exception):
                    raise error
                refusals[address] = error
                del pending[task]
    finally:
        for task in pending:
            task.add_done_callback(_close)
            task.cancel()
    raise _reason(refusals)


def _reason(refusals: Mapping[str, Exception]) -> Exception:
    """A failure that the operator has to mend, such as a wrong password, comes before one that passes by itself."""
    for error in refusals.values():
        if classify(error, connecting=True) is Failure.MISCONFIGURED:
            return error
    said = "; ".join(f"{address}: {_in_words(error)}" for address, error in refusals.items())
    return NoHostTakesWrites(f"no host takes writes ({said})")


def _in_words(error: Exception) -> str:
    return "read-only" if isinstance(error, asyncpg.TargetServerAttributeNotMatched) else describe(error)


def _close(task: "asyncio.Future[Connection]") -> None:
    """A host may have answered at the moment that another one was chosen."""
    if not task.cancelled():
        with contextlib.suppress(Exception):
            task.result().terminate()
