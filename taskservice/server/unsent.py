"""Bounds the memory of answers that clients do not read.

A large answer goes to the transport in pieces, each after the client has taken most of the one before. What remains,
the body and the bytes in the transport, counts towards one limit per worker. Beyond it, connections are dropped: first
those whose clients have read nothing for the longest time, and if every client has read something within the last
second, the newest one, so that many new clients do not displace one that reads steadily.
"""

import time
from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

PIECE_BYTES: Final = 64 * 1024
UNSENT_MAX: Final = 64 * 1024 * 1024
STALLED_SECONDS: Final = 1.0
"""A client that has read nothing for this long is dropped before any other."""


class Reader(Protocol):
    """The connection of a client that has answers to read."""

    transport: Any


class Unsent:
    """What the clients of one worker have asked for and not read yet."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stalled: dict[Reader, tuple[float, int]] = {}
        """Clients whose transport is full: since when, and how many bytes it holds. Ordered by time."""
        self._bodies: dict[Reader, bytes] = {}
        """Large bodies that are being sent, the latest last."""
        self._readers: Counter[int] = Counter()
        """How many clients each body goes to. A file that is sent from memory to many counts once."""

    def stalled(self, reader: Reader) -> None:
        size = reader.transport.get_write_buffer_size()
        self._stalled[reader] = (time.monotonic(), size)
        self.bytes += size
        self._drop_slowest()

    def moved(self, reader: Reader) -> None:
        _, size = self._stalled.pop(reader, (0, 0))
        self.bytes -= size

    def forget(self, reader: Reader) -> None:
        self.moved(reader)
        self._release(reader)

    async def send(self, reader: Reader, message: Any, send: Callable[[Any], Awaitable[None]]) -> None:
        """Send a large body in pieces; `send` waits while the transport holds too much."""
        body: bytes = message["body"]
        more = message.get("more_body", False)
        self._hold(reader, body)
        try:
            for start in range(0, len(body), PIECE_BYTES):
                end = start + PIECE_BYTES
                await send(
                    {"type": "http.response.body", "body": body[start:end], "more_body": more or end < len(body)}
                )
        finally:
            self._release(reader)

    def _hold(self, reader: Reader, body: bytes) -> None:
        self._bodies[reader] = body
        self._readers[id(body)] += 1
        if self._readers[id(body)] == 1:
            self.bytes += len(body)
            self._drop_slowest()

    def _release(self, reader: Reader) -> None:
        body = self._bodies.pop(reader, None)
        if body is not None:
            self._readers[id(body)] -= 1
            if not self._readers[id(body)]:
                del self._readers[id(body)]
                self.bytes -= len(body)

    def _drop_slowest(self) -> None:
        while self.bytes > UNSENT_MAX and self._stalled:
            slowest, (since, _) = next(iter(self._stalled.items()))
            if time.monotonic() - since < STALLED_SECONDS:
                slowest = next((reader for reader in reversed(self._bodies) if reader in self._stalled), slowest)
            self.forget(slowest)
            slowest.transport.abort()
