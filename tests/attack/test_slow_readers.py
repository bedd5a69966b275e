"""A connection whose client does not read: how far the application gets with what was asked for on it."""

import asyncio
from typing import Any

import pytest

from bench.http import request
from taskservice.server.protocol import PIPELINE_MAX
from taskservice.server.unsent import PIECE_BYTES
from tests.attack.test_unread_answers import idle_readers
from tests.support.talk import serving, talking

pytestmark = pytest.mark.slow

LARGE = 32 << 20


class Answering:
    """An application whose answers have one size, and that counts what it has begun and what it has got rid of."""

    def __init__(self, size: int) -> None:
        self._size = size
        self.begun = self.sent = 0

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] != "http":
            return
        self.begun += 1
        length = (b"content-length", b"%d" % self._size)
        await send({"type": "http.response.start", "status": 200, "headers": [length]})
        await send({"type": "http.response.body", "body": bytes(self._size)})
        self.sent += 1


async def test_a_large_answer_and_the_requests_behind_it_wait_for_the_client() -> None:
    app = Answering(LARGE)
    async with serving(app) as port, talking(port) as talk:
        talk.say(request("GET", "/", None) * 3)
        await asyncio.sleep(0.5)
        assert (app.begun, app.sent) == (1, 0)
        for _ in range(3):
            assert len((await talk.answer())[2]) == LARGE
        assert (app.begun, app.sent) == (3, 3)


async def test_no_request_is_begun_while_the_last_answer_lies_unread() -> None:
    app = Answering(PIECE_BYTES)
    async with serving(app) as port, idle_readers(port, request("GET", "/", None) * PIPELINE_MAX, 1):
        await asyncio.sleep(0.5)
        assert 0 < app.begun < PIPELINE_MAX
        assert app.begun == app.sent
