"""An answer's head and body in one write: uvicorn makes two, and each is a system call that may wake the client."""

from asyncio import Transport, get_running_loop
from typing import Any


class SingleWrite:
    """A transport that keeps a write back until the next one, or until the event loop goes on."""

    __slots__ = ("_call_soon", "_held", "_transport")

    def __init__(self, transport: Transport) -> None:
        self._transport = transport
        self._held = b""
        self._call_soon = get_running_loop().call_soon

    def write(self, data: bytes) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held + data if data else held)
        elif data:
            self._held = data
            self._call_soon(self._flush)

    def close(self) -> None:
        self._flush()
        self._transport.close()

    def write_eof(self) -> None:
        self._flush()
        self._transport.write_eof()

    def get_write_buffer_size(self) -> int:
        return len(self._held) + self._transport.get_write_buffer_size()

    def _flush(self) -> None:
        if self._held:
            held, self._held = self._held, b""
            self._transport.write(held)

    def __getattr__(self, name: str) -> Any:
        return getattr(self._transport, name)
