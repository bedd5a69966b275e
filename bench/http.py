"""The smallest HTTP/1.1 client that keeps connections alive. Requests are prepared as bytes: sending them is cheap."""

import asyncio
from collections.abc import Mapping

import msgspec

from bench.tokens import token


class Answer(msgspec.Struct, frozen=True):
    status: int
    headers: dict[str, str]
    body: bytes

    def json(self) -> object:
        return msgspec.json.decode(self.body)


def request(
    method: str, path: str, user: str | None, body: object = None, headers: Mapping[str, str] | None = None
) -> bytes:
    """One request as it goes over the wire."""
    lines = [f"{method} {path} HTTP/1.1", "Host: 127.0.0.1"]
    if user is not None:
        lines.append(f"Authorization: Bearer {token(user)}")
    lines += [f"{name}: {value}" for name, value in (headers or {}).items()]
    content = b"" if body is None else msgspec.json.encode(body)
    if content:
        lines += ["Content-Type: application/json", f"Content-Length: {len(content)}"]
    return "\r\n".join([*lines, "", ""]).encode() + content


class Connection(asyncio.Protocol):
    """One keep-alive connection: one request at a time, answers delimited by Content-Length."""

    def __init__(self) -> None:
        self._transport: asyncio.Transport | None = None
        self._received = bytearray()
        self._waiting: asyncio.Future[Answer] | None = None

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        assert isinstance(transport, asyncio.Transport)
        self._transport = transport

    def connection_lost(self, exc: Exception | None) -> None:
        self._transport = None
        if self._waiting is not None and not self._waiting.done():
            self._waiting.set_exception(exc or ConnectionResetError("closed by the server"))

    def data_received(self, data: bytes) -> None:
        self._received += data
        end = self._received.find(b"\r\n\r\n")
        if end < 0 or self._waiting is None or self._waiting.done():
            return
        status_line, *lines = self._received[:end].decode("latin-1").split("\r\n")
        headers = {name.lower(): value.strip() for name, _, value in (line.partition(":") for line in lines)}
        stop = end + 4 + int(headers.get("content-length", 0))
        if len(self._received) < stop:
            return
        body = bytes(self._received[end + 4 : stop])
        del self._received[:stop]
        self._waiting.set_result(Answer(int(status_line.split(" ", 2)[1]), headers, body))

    async def send(self, raw: bytes) -> Answer:
        if self._transport is None:
            raise ConnectionResetError("closed by the server")
        self._waiting = asyncio.get_running_loop().create_future()
        self._transport.write(raw)
        return await self._waiting

    def close(self) -> None:
        if self._transport is not None:
            self._transport.close()


async def connect(port: int, host: str = "127.0.0.1") -> Connection:
    _, connection = await asyncio.get_running_loop().create_connection(Connection, host, port)
    return connection
