"""What the application and the log learn of a client that leaves."""

import asyncio
import logging
from typing import Any

import pytest
from litestar import Litestar, get
from litestar.response import Stream

from taskservice.observability.access_log import RequestLog
from taskservice.observability.logging_setup import configure_logging
from tests.support.talk import serving, talking
from tests.web.small_app import settings_of

pytestmark = pytest.mark.slow

PAGE = b"x" * 50_000


class Export:
    """A stream without end, as an export of many pages is."""

    def __init__(self) -> None:
        self.pages = 0
        self.log = configure_logging(settings_of())

        async def send_pages(scope: Any, receive: Any, send: Any) -> None:
            await send({"type": "http.response.start", "status": 200, "headers": []})
            while True:
                self.pages += 1
                await send({"type": "http.response.body", "body": PAGE, "more_body": True})
                await asyncio.sleep(0.01)

        inner = RequestLog(send_pages, self.log)

        async def app(scope: Any, receive: Any, send: Any) -> None:
            if scope["type"] == "http":
                await inner(scope, receive, send)
                return
            for _ in range(2):
                await send({"type": (await receive())["type"] + ".complete"})

        self.app = app


async def test_an_export_stops_at_the_next_page_when_its_client_has_gone(capsys: pytest.CaptureFixture[str]) -> None:
    export = Export()
    async with serving(export.app) as port:
        async with talking(port) as talk:
            talk.say(b"GET /export HTTP/1.1\r\nhost: a\r\n\r\n")
            await talk.reader.readexactly(100)
        await asyncio.sleep(0.5)
        pages = export.pages
        await asyncio.sleep(0.3)
        assert export.pages == pages
    export.log.flush()
    out = capsys.readouterr().out
    assert '"status":499' in out
    assert "not answered" not in out
    assert "Traceback" not in out


async def test_a_stream_of_litestar_stops_too() -> None:
    pages = 0

    async def endless() -> Any:
        nonlocal pages
        while True:
            pages += 1
            yield PAGE
            await asyncio.sleep(0.01)

    @get("/export")
    async def export() -> Stream:
        return Stream(endless())

    logging.getLogger("uvicorn.error").setLevel(logging.WARNING)
    async with serving(Litestar([export], logging_config=None, openapi_config=None)) as port:
        async with talking(port) as talk:
            talk.say(b"GET /export HTTP/1.1\r\nhost: a\r\n\r\n")
            await talk.reader.readexactly(100)
        await asyncio.sleep(0.5)
        before = pages
        await asyncio.sleep(0.3)
        assert pages == before
