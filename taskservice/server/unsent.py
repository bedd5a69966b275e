"""Bounds the memory of answers that clients do not read.

A large answer goes to the transport in pieces, each after the client has taken most of the one before. What remains,
the body and the bytes in the transport, counts towards one limit per worker. Beyond it, the connections whose clients
have taken nothing for the longest time are dropped.
"""

from collections import Counter
from collections.abc import Awaitable, Callable
from typing import Any, Final, Protocol

PIECE_BYTES: Final = 64 * 1024
UNSENT_MAX: Final = 64 * 1024 * 1024


class Reader(Protocol):
    """The connection of a client that has answers to read."""

    transport: Any


class Unsent:
    """What the clients of one worker have asked for and not read yet."""

    def __init__(self) -> None:
        self.bytes = 0
        self._stalled: dict[Reader, int] = {}
        """Bytes in the transport of each client that lets us wait, in the order in which they began to."""
        self._bodies: dict[Reader, bytes] = {}
        self._readers: Counter[int] = Counter()
        """How many clients each body goes to. A file that is sent from memory to many counts once."""

    def stalled(self, reader: Reader) -> None:
        self._stalled[reader] = size = reader.transport.get_write_buffer_size()
        self.bytes += size
        self._drop_slowest()

    def moved(self, reader: Reader) -> None:
        self.bytes -= self._stalled.pop(reader, 0)

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
            slowest = next(iter(self._stalled))
            self.forget(slowest)
            slowest.transport.abort()
