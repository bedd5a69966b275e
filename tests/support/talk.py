"""A conversation with a server in bytes, a request at a time or several, whole or in pieces."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from taskservice.server.server import Server, uvicorn_config
from tests.web.small_app import settings_of


class Talk:
    def __init__(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self.reader = reader
        self.writer = writer

    def say(self, raw: bytes) -> None:
        self.writer.write(raw)

    async def head(self) -> tuple[int, dict[str, str]]:
        status, *lines = (await self.reader.readuntil(b"\r\n\r\n")).decode().split("\r\n")[:-2]
        return int(status.split()[1]), dict(line.lower().split(": ", 1) for line in lines)

    async def answer(self) -> tuple[int, dict[str, str], bytes]:
        status, headers = await self.head()
        return status, headers, await self.reader.readexactly(int(headers["content-length"]))

    async def rest(self, seconds: float = 5) -> bytes:
        """All that still comes, until the server hangs up."""
        async with asyncio.timeout(seconds):
            return await self.reader.read()

    async def is_over(self, seconds: float = 5) -> bool:
        """Whether the server hangs up, and says nothing more before that."""
        try:
            return await self.rest(seconds) == b""
        except ConnectionError:
            return True


@asynccontextmanager
async def talking(port: int) -> AsyncIterator[Talk]:
    reader, writer = await asyncio.open_connection("127.0.0.1", port)
    try:
        yield Talk(reader, writer)
    finally:
        writer.close()


@asynccontextmanager
async def serving(app: Any, **changed: Any) -> AsyncIterator[int]:
    """The product's server around another application, in this process: its port. `changed`: of uvicorn's settings."""
    config = uvicorn_config(app, port=0)
    for name, value in changed.items():
        setattr(config, name, value)
    server = Server(config, settings_of())
    running = asyncio.create_task(server.serve())
    while not server.started:
        await asyncio.sleep(0.01)
    yield server.servers[0].sockets[0].getsockname()[1]
    server.should_exit = True
    await running
