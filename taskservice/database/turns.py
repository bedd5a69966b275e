"""Lets the requests of one user take turns in the process: its writers, before they take a connection.

PostgreSQL makes them wait for each other anyway: each write locks the user's row. A write that waits there holds a
connection; one that waits here holds none, so one user's queue takes no connections from other users.
"""

import asyncio
from typing import Final

AT_ONCE: Final = 2
"""One writes, and the next one waits for the row in PostgreSQL, so that no time passes between the two."""


class Turns:
    """First come, first served, for each user."""

    def __init__(self, at_once: int) -> None:
        self._at_once = at_once
        self._queues: dict[str, _Queue] = {}

    async def take(self, user: str, patience: float) -> None:
        """Wait for a turn, which `leave` ends. Raises `TimeoutError` after `patience` seconds."""
        queue = self._queues.get(user)
        if queue is None:
            queue = self._queues[user] = _Queue(self._at_once)
        queue.members += 1
        try:
            if queue.turn.locked():
                async with asyncio.timeout(patience):
                    await queue.turn.acquire()
            else:
                await queue.turn.acquire()
        except BaseException:
            self._forget(user, queue)
            raise

    def leave(self, user: str) -> None:
        queue = self._queues[user]
        queue.turn.release()
        self._forget(user, queue)

    @property
    def waiting(self) -> int:
        return sum(max(queue.members - self._at_once, 0) for queue in self._queues.values())

    def _forget(self, user: str, queue: "_Queue") -> None:
        queue.members -= 1
        if not queue.members:
            del self._queues[user]


class _Queue:
    """The requests of one user that have their turn or wait for it."""

    __slots__ = ("members", "turn")

    def __init__(self, at_once: int) -> None:
        self.turn: Final = asyncio.Semaphore(at_once)
        self.members = 0
