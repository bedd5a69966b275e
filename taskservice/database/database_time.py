"""How long the current request has waited for the database.

What waits adds to it, the access log reads it; neither knows the other.
"""

from collections.abc import Awaitable
from contextvars import ContextVar
from time import perf_counter
from typing import Final, TypeVar

T = TypeVar("T")


class Spent:
    """Seconds that one request spent waiting for a connection and for answers."""

    __slots__ = ("database_seconds",)

    def __init__(self) -> None:
        self.database_seconds = 0.0


spent_on_database: Final[ContextVar[Spent | None]] = ContextVar("spent_on_database", default=None)


async def counted(awaited: Awaitable[T]) -> T:
    """The result of something that runs elsewhere, with the wait for it counted as the current request's."""
    spent, started = spent_on_database.get(), perf_counter()
    try:
        return await awaited
    finally:
        if spent is not None:
            spent.database_seconds += perf_counter() - started
