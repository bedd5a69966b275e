"""A TCP port for a server that listens on a Unix socket only, as a container has to be told a host and a port."""

import asyncio
import socket
from pathlib import Path


async def _pump(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    try:
        while data := await reader.read(65536):
            writer.write(data)
            await writer.drain()
    except ConnectionError:
        pass
    finally:
        writer.close()


async def listen(path: Path) -> asyncio.Server:
    """Serve on a free port of 127.0.0.1 what stands at the socket."""

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        there_reader, there_writer = await asyncio.open_unix_connection(path)
        await asyncio.gather(_pump(reader, there_writer), _pump(there_reader, writer))

    return await asyncio.start_server(connected, "127.0.0.1", 0)


def free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port: int = listener.getsockname()[1]
        return port
