"""Lets the requests of one user take turns in the process: its writers, before they take a connection.

PostgreSQL makes them wait for each other anyway: each write locks the user's row. A write that waits there holds a
connection; one that waits here holds none, so one user's queue takes no connections from other users.
"""

from typing import Final

from taskservice.database.line import Line

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
        if queue.free:
            queue.free -= 1
            return
        try:
            await queue.line.wait(patience, lambda _: queue.release())
        except BaseException:
            self._forget(user, queue)
            raise

    def leave(self, user: str) -> None:
        queue = self._queues[user]
        queue.release()
        self._forget(user, queue)

    @property
    def waiting(self) -> int:
        return sum(max(queue.members - self._at_once, 0) for queue in self._queues.values())

    def _forget(self, user: str, queue: "_Queue") -> None:
        queue.members -= 1
        if not queue.members:
            del self._queues[user]


class _Queue:
    """The requests of one user that have their turn or wait for it, and the turns that nobody has."""

    __slots__ = ("free", "line", "members")

    def __init__(self, free: int) -> None:
        self.free = free
        self.line: Final[Line[None]] = Line()
        self.members = 0

    def release(self) -> None:
        """Give a turn to the next one. Those that have just given up count as members, and take none."""
        if not self.line.give(None):
            self.free += 1
