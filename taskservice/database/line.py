"""A line of requests that wait for the same thing: first come, first served, each for a limited time."""

import asyncio
from collections import deque
from collections.abc import Callable
from typing import Any, Final, Generic, TypeVar

T = TypeVar("T")


class Line(Generic[T]):
    def __init__(self) -> None:
        self._waiting: Final[deque[asyncio.Future[T]]] = deque()

    def __len__(self) -> int:
        return sum(not waiter.done() for waiter in self._waiting)

    async def wait(self, patience: float, pass_on: Callable[[T], object]) -> T:
        """What `give` gives. Raises `TimeoutError` after `patience` seconds.

        `pass_on` takes what was given in the moment in which the request ended.
        """
        loop = asyncio.get_running_loop()
        waiter: asyncio.Future[T] = loop.create_future()
        self._waiting.append(waiter)
        # Under load nearly every request comes here, and `asyncio.timeout` would cost it a twentieth of its time.
        expiry = loop.call_later(patience, _expire, waiter)
        try:
            return await waiter
        except asyncio.CancelledError:
            if waiter.done() and not waiter.cancelled() and waiter.exception() is None:
                pass_on(waiter.result())
            raise
        finally:
            expiry.cancel()

    def give(self, what: T) -> bool:
        """Give it to the first who waits. False: nobody does."""
        while self._waiting:
            waiter = self._waiting.popleft()
            if not waiter.done():
                waiter.set_result(what)
                return True
        return False


def _expire(waiter: "asyncio.Future[Any]") -> None:
    if not waiter.done():
        waiter.set_exception(TimeoutError())
