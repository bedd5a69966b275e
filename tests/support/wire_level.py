"""Requests byte by byte, for what no decent client library sends."""

import asyncio

import httpx

from tests.support.services import Service


async def exchange(service: Service, request: bytes) -> httpx.Response:
    """Send these bytes, and read one answer."""
    host, _, port = service.url.removeprefix("http://").partition(":")
    reader, writer = await asyncio.open_connection(host, int(port))
    try:
        writer.write(request)
        await writer.drain()
        head = await asyncio.wait_for(reader.readuntil(b"\r\n\r\n"), 10)
        lines = head.decode("latin-1").split("\r\n")
        headers = [tuple(line.split(": ", 1)) for line in lines[1:] if line]
        response = httpx.Response(
            int(lines[0].split()[1]),
            headers=[(name, value) for name, value in headers],
            request=httpx.Request(request.split()[0].decode("latin-1"), service.url),
        )
        length = int(response.headers.get("content-length", 0))
        body = await asyncio.wait_for(reader.readexactly(length), 10) if length else b""
        return httpx.Response(response.status_code, headers=response.headers, content=body, request=response.request)
    finally:
        writer.close()


def head(method: bytes, target: bytes, *headers: bytes) -> bytes:
    """The first line and the headers of a request; `Host` is among them."""
    return b"\r\n".join([method + b" " + target + b" HTTP/1.1", b"Host: localhost", *headers, b"", b""])
