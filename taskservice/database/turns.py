"""Lets the writers of one user take turns in the process, before they take a connection.

PostgreSQL makes them wait for each other anyway: each write locks the user's row. A write that waits there holds a
connection; one that waits here holds none, so one user's queue takes no connections from other users.
"""

import asyncio
from typing import Final

AT_ONCE: Final = 2
"""One writes, and the next one waits for the row in PostgreSQL, so that no time passes between the two."""


class Turns:
    """First come, first served, for each user."""

    def __init__(self) -> None:
        self._queues: dict[str, _Queue] = {}

    async def take(self, user: str, patience: float) -> None:
        """Wait for a turn, which `leave` ends. Raises `TimeoutError` after `patience` seconds."""
        queue = self._queues.get(user)
        if queue is None:
            queue = self._queues[user] = _Queue()
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
        return sum(max(queue.members - AT_ONCE, 0) for queue in self._queues.values())

    def _forget(self, user: str, queue: "_Queue") -> None:
        queue.members -= 1
        if not queue.members:
            del self._queues[user]


class _Queue:
    """The requests that write one user's tasks or wait to."""

    __slots__ = ("members", "turn")

    def __init__(self) -> None:
        self.turn: Final = asyncio.Semaphore(AT_ONCE)
        self.members = 0
