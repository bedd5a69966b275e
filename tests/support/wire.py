"""A wire between the service and its database that a test can cut and mend."""

import asyncio
import contextlib
from pathlib import Path

from tests.support.stage import Stage


class Wire:
    """Listens on a TCP port and passes everything on to a PostgreSQL socket, while it is whole."""

    def __init__(self, stage: Stage, socket: Path) -> None:
        self._stage = stage
        self._socket = socket
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._last_word: bytes | None = None
        self._silent = False
        self.port = 0
        self.mend()

    def mend(self) -> None:
        self._stage.run(self._listen())

    def cut(self) -> None:
        """Every connection breaks and new ones are refused, as when the database is down."""
        self._stage.run(self._break())

    def cut_after(self, word: bytes) -> None:
        """The next time this is sent it still arrives, but the answer is lost and the wire is cut."""
        self._last_word = word

    async def _listen(self) -> None:
        if self._server and self._server.is_serving():
            return
        self._silent = False
        self._server = await asyncio.start_server(self._connect, "127.0.0.1", self.port)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _break(self) -> None:
        if self._server:
            self._server.close()
        for writer in list(self._open):
            writer.transport.abort()
        await asyncio.sleep(0)

    async def _connect(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        inner_reader, inner_writer = await asyncio.open_unix_connection(self._socket)
        self._open |= {writer, inner_writer}
        await asyncio.gather(self._pass_on(reader, inner_writer), self._pass_on(inner_reader, writer))
        self._open -= {writer, inner_writer}

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                if self._silent:
                    continue
                self._silent = self._last_word is not None and self._last_word in data
                writer.write(data)
                await writer.drain()
                if self._silent:
                    self._last_word = None
                    await asyncio.sleep(0.2)
                    await self._break()
        with contextlib.suppress(OSError):
            writer.close()
