"""Clients that send the file of an import slowly: whom they keep from importing."""

import asyncio
from collections.abc import AsyncIterator, Callable
from contextlib import AsyncExitStack, asynccontextmanager
from urllib.parse import urlsplit

import httpx
import pytest

from taskservice import rules
from taskservice.api.import_slots import IMPORT_HURRY_SECONDS, IMPORT_WAIT_SECONDS, IMPORTS_AT_ONCE
from tests.support.problems import assert_problem
from tests.support.services import Caller, SurfaceName
from tests.support.talk import Talk, talking

pytestmark = pytest.mark.slow

FILE = b"title\nBuy milk\n"
CSV = {"Content-Type": "text/csv"}


@pytest.fixture
def surface() -> SurfaceName:
    return "token"


@asynccontextmanager
async def trickling(caller: Caller) -> AsyncIterator[Talk]:
    """Sends the head of the largest import, and a byte of it now and then."""
    port = urlsplit(caller.service.url).port
    assert port is not None
    async with talking(port) as talk:
        head = [
            f"POST {caller.root}/import HTTP/1.1",
            f"Host: 127.0.0.1:{port}",
            f"Authorization: {caller.headers['Authorization']}",
            "Content-Type: application/json",
            f"Content-Length: {rules.IMPORT_BODY_MAX}",
        ]
        talk.say("\r\n".join([*head, "", "["]).encode())

        async def go_on() -> None:
            while True:
                await asyncio.sleep(0.2)
                talk.say(b" ")

        sending = asyncio.create_task(go_on())
        try:
            yield talk
        finally:
            sending.cancel()


async def import_beside(caller: Caller, tricklers: list[Caller]) -> httpx.Response:
    """The answer to an import that comes while these send theirs."""
    async with AsyncExitStack() as stack:
        for trickler in tricklers:
            await stack.enter_async_context(trickling(trickler))
        await asyncio.sleep(0.3)
        return await caller.post("/import", content=FILE, headers=CSV)


async def test_a_user_who_sends_imports_slowly_keeps_nobody_else_waiting(alice: Caller, bob: Caller) -> None:
    began = asyncio.get_running_loop().time()
    answer = await import_beside(bob, [alice] * 4)
    assert answer.status_code == 200, answer.text
    assert asyncio.get_running_loop().time() - began < IMPORT_HURRY_SECONDS


async def test_users_who_send_imports_slowly_give_way_when_others_wait(
    alice: Caller, someone: Callable[[str], str]
) -> None:
    tricklers = [alice.service.user(someone(f"mallory {number}")) for number in range(IMPORTS_AT_ONCE)]
    answer = await import_beside(alice, tricklers)
    assert answer.status_code == 200, answer.text


async def test_an_import_that_gave_way_is_told_to_come_again(
    alice: Caller, bob: Caller, someone: Callable[[str], str]
) -> None:
    async with trickling(bob) as talk, trickling(alice.service.user(someone("mallory"))):
        await asyncio.sleep(0.3)
        assert (await alice.post("/import", content=FILE, headers=CSV)).status_code == 200
        status, headers, body = await talk.answer()
        assert (status, b'"overloaded"' in body) == (503, True)
        assert int(headers["retry-after"]) > 0


async def test_a_slow_import_that_keeps_nobody_waiting_is_taken(alice: Caller) -> None:
    async def file() -> AsyncIterator[bytes]:
        yield FILE[:10]
        await asyncio.sleep(IMPORT_HURRY_SECONDS + 0.5)
        yield FILE[10:]

    answer = await alice.post("/import", content=file(), headers=CSV)
    assert answer.json()["created"] == 1


async def test_an_import_that_waits_too_long_is_refused(alice: Caller, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("taskservice.api.import_slots.IMPORT_WAIT_SECONDS", IMPORT_HURRY_SECONDS / 4)
    assert IMPORT_WAIT_SECONDS > IMPORT_HURRY_SECONDS
    answer = await import_beside(alice, [alice])
    assert_problem(answer, 503, "overloaded")
    assert answer.headers["retry-after"]
