"""A wire between two programs that can be cut, silenced, and made to lose exactly one answer."""

import asyncio
import contextlib
import socket
import struct
from pathlib import Path
from types import TracebackType
from typing import Self

Target = Path | tuple[str, int]


class Wire:
    """Listens on a port of loopback and passes everything on, while it is whole."""

    def __init__(self, target: Target) -> None:
        self._target = target
        self._server: asyncio.Server | None = None
        self._open: set[asyncio.StreamWriter] = set()
        self._tasks: set[asyncio.Task[None]] = set()
        self._flowing = asyncio.Event()
        self._flowing.set()
        self._lose_after: bytes | None = None
        self.lost = asyncio.Event()
        """The answer has been lost."""
        self.port = 0

    async def __aenter__(self) -> Self:
        await self.mend()
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, traceback: TracebackType | None
    ) -> None:
        self.cut()
        for task in list(self._tasks):
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)

    async def mend(self) -> None:
        """Everything flows again, on connections that survived as well."""
        self._flowing.set()
        if self._server is None:
            self._server = await asyncio.start_server(self._connected, "127.0.0.1", self.port)
            self.port = self._server.sockets[0].getsockname()[1]

    def reset(self) -> None:
        """Every connection breaks at once. New ones are made."""
        for writer in list(self._open):
            raw = writer.get_extra_info("socket")
            if raw is not None and raw.family == socket.AF_INET:
                with contextlib.suppress(OSError):
                    raw.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
            writer.transport.abort()

    def cut(self) -> None:
        """Every connection breaks, and new ones are refused."""
        if self._server is not None:
            self._server.close()
            self._server = None
        self.reset()

    def silence(self) -> None:
        """Connections stay, new ones are made, and nothing gets through: packets are lost."""
        self._flowing.clear()

    def forget(self) -> None:
        """Connections stay open and silent for ever, as behind a NAT that has dropped them. New ones work."""
        self._flowing.clear()
        self._flowing = asyncio.Event()
        self._flowing.set()

    def lose_answer_after(self, what: bytes) -> None:
        """Once, let a request with these bytes through, throw its answer away and break the connection."""
        self.lost.clear()
        self._lose_after = what

    async def _connected(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        task = asyncio.current_task()
        assert task is not None
        self._tasks.add(task)
        task.add_done_callback(self._tasks.discard)
        self._open.add(writer)
        flowing = self._flowing
        try:
            await flowing.wait()
            if isinstance(self._target, Path):
                there, back = await asyncio.open_unix_connection(self._target)
            else:
                there, back = await asyncio.open_connection(*self._target)
        except OSError:
            writer.transport.abort()
            self._open.discard(writer)
            return
        self._open.add(back)
        losing = asyncio.Event()
        ends = [
            asyncio.ensure_future(self._pass(reader, back, flowing, losing, to_server=True)),
            asyncio.ensure_future(self._pass(there, writer, flowing, losing, to_server=False)),
        ]
        try:
            await asyncio.wait(ends, return_when=asyncio.FIRST_COMPLETED)
        except asyncio.CancelledError:
            pass  # the end of the wire; asyncio would make noise about it
        finally:
            for end in ends:
                end.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await asyncio.gather(*ends, return_exceptions=True)
            for stream in (writer, back):
                stream.transport.abort() if losing.is_set() else stream.close()
                self._open.discard(stream)

    async def _pass(
        self,
        reader: asyncio.StreamReader,
        writer: asyncio.StreamWriter,
        flowing: asyncio.Event,
        losing: asyncio.Event,
        *,
        to_server: bool,
    ) -> None:
        with contextlib.suppress(OSError):
            while data := await reader.read(65536):
                await flowing.wait()
                if to_server and self._lose_after is not None and self._lose_after in data:
                    self._lose_after = None
                    losing.set()
                elif not to_server and losing.is_set():
                    self.lost.set()
                    return
                writer.write(data)
                await writer.drain()
