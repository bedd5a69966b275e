"""Limits on the wire: sizes and times, kept by the server before the application sees anything."""

import asyncio
import contextlib
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from bench.http import request
from bench.reliability.program import Program, running_program
from taskservice.server import protocol
from tests.support.talk import Talk, serving, talking

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def program() -> AsyncIterator[Program]:
    # No database: nothing here gets that far.
    async with running_program(ready=False, database_url="postgresql://u:p@127.0.0.1:1/none") as program:
        await program.ready(path="/health/live")
        yield program


def problem(answer: tuple[int, dict[str, str], bytes]) -> dict[str, Any]:
    status, headers, body = answer
    assert headers["content-type"] == "application/problem+json"
    assert headers["connection"] == "close"
    document: dict[str, Any] = json.loads(body)
    assert document["status"] == document["status_code"] == status
    assert document["request_id"] == headers["x-request-id"]
    return document


ONE_LARGE = b"GET /health/live HTTP/1.1\r\nhost: a\r\nx-large: " + b"x" * 16400 + b"\r\n\r\n"
MANY_SMALL = b"GET /health/live HTTP/1.1\r\nhost: a\r\n" + b"x-small: 1\r\n" * 1400 + b"\r\n"
NEVER_ENDING = b"GET /health/live HTTP/1.1\r\nhost: a\r\nx-endless: "


@pytest.mark.parametrize("raw", [ONE_LARGE, MANY_SMALL], ids=["one large header", "many small headers"])
async def test_large_headers_are_431(program: Program, raw: bytes) -> None:
    async with talking(program.port) as talk:
        talk.say(raw)
        assert problem(await talk.answer())["code"] == "headers-too-large"
        assert await talk.is_over()


@pytest.mark.timing
async def test_headers_without_end_are_431_and_take_no_memory(program: Program) -> None:
    before = program.resident_bytes()
    async with talking(program.port) as talk:
        talk.say(NEVER_ENDING)
        with contextlib.suppress(ConnectionError):
            for _ in range(100):
                talk.say(b"x" * (1 << 20))
                await talk.writer.drain()
                await asyncio.sleep(0.05)
        assert await talk.is_over()
    assert program.resident_bytes() - before < 4 << 20


async def test_headers_up_to_the_limit_pass(program: Program) -> None:
    async with talking(program.port) as talk:
        talk.say(ONE_LARGE.replace(b"x" * 16400, b"x" * 16000))
        assert (await talk.answer())[0] == 200


@pytest.mark.parametrize(
    "refused",
    [
        b"GET /api/tasks?q=" + b"x" * 8200 + b" HTTP/1.1\r\n%b\r\n",
        b"GET / HTTP/1.1\r\n%bx: " + b"x" * 16400 + b"\r\n\r\n",
    ],
    ids=["414", "431"],
)
async def test_a_page_of_another_origin_can_read_why_it_was_refused(program: Program, refused: bytes) -> None:
    for origin, allowed in ((b"http://localhost:3000", True), (b"https://evil.example", False)):
        async with talking(program.port) as talk:
            talk.say(refused % (b"host: a\r\nx-request-id: asked-for-1\r\norigin: %b\r\n" % origin))
            _, headers, _ = await talk.answer()
        assert headers["x-request-id"] == "asked-for-1"
        assert "request=asked-for-1" in program.log
        assert headers["vary"] == "origin"
        assert headers.get("access-control-allow-origin") == (origin.decode() if allowed else None)
        assert ("x-request-id" in headers.get("access-control-expose-headers", "")) is allowed


async def test_a_long_url_is_414(program: Program) -> None:
    async with talking(program.port) as talk:
        talk.say(b"GET /api/tasks?q=" + b"x" * 8200 + b" HTTP/1.1\r\nhost: a\r\n\r\n")
        document = problem(await talk.answer())
    assert document["code"] == "uri-too-long"
    assert document["instance"] == "/api/tasks"


async def test_a_method_that_the_parser_does_not_know_is_400(program: Program) -> None:
    async with talking(program.port) as talk:
        talk.say(b"BREW /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        assert problem(await talk.answer())["code"] == "bad-request"
        assert await talk.is_over()


@pytest.mark.parametrize("target", [b"a:80", b"/health/live", b"*"])
@pytest.mark.parametrize("head", [b"", b"connection: upgrade\r\nupgrade: websocket\r\n"], ids=["plain", "upgrade"])
async def test_connect_leads_nowhere(program: Program, target: bytes, head: bytes) -> None:
    async with talking(program.port) as talk:
        talk.say(b"CONNECT %b HTTP/1.1\r\nhost: a\r\n%b\r\n" % (target, head))
        assert (await talk.answer())[0] in {400, 404, 405}
        assert await talk.is_over()


@pytest.mark.parametrize("raw", [b"\x16\x03\x01\x02\x00\x01\x00", b"GET / HTTP/9\r\n\r\n", b"GET  \r\n\r\n"])
async def test_what_is_no_http_is_400(program: Program, raw: bytes) -> None:
    async with talking(program.port) as talk:
        talk.say(raw + b"\r\n\r\n")
        assert problem(await talk.answer())["code"] == "bad-request"
        assert await talk.is_over()


async def test_requests_before_a_bad_one_are_answered(program: Program) -> None:
    async with talking(program.port) as talk:
        talk.say(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n" * 2 + b"garbage\r\n\r\n")
        assert (await talk.answer())[0] == 200


async def test_a_request_to_upgrade_is_answered_as_it_is(program: Program) -> None:
    async with talking(program.port) as talk:
        upgrade = b"connection: upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n"
        talk.say(b"GET /health/live HTTP/1.1\r\nhost: a\r\n" + upgrade + b"\r\n")
        assert (await talk.answer())[0] == 200
        assert await talk.is_over()


async def test_a_client_that_leaves_while_sending_is_no_error_of_ours(program: Program) -> None:
    whole = request("POST", "/api/tasks", "leaver", {"title": "half"})
    async with talking(program.port) as talk:
        talk.say(whole[:-5])
        await talk.writer.drain()
        await asyncio.sleep(0.2)
    await asyncio.sleep(0.3)
    line = next(line for line in program.log.splitlines() if "user=leaver" in line)
    assert " 400 " in line


async def test_no_answer_names_the_server(program: Program) -> None:
    async with talking(program.port) as talk:
        talk.say(b"GET /health/live HTTP/1.1\r\nhost: a\r\n\r\n")
        assert "server" not in (await talk.answer())[1]


# ---- time: with shorter limits, in this process


async def echo(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "lifespan":
        while True:
            message = await receive()
            await send({"type": message["type"] + ".complete"})
            if message["type"] == "lifespan.shutdown":
                return
    body = b""
    more = scope["path"] != "/early"
    while more:
        message = await receive()
        if message["type"] == "http.disconnect":
            return
        body += message["body"]
        more = message["more_body"]
    body = body * 10_000_000 if scope["path"] == "/large" else body
    headers = [(b"content-length", str(len(body)).encode())]
    await send({"type": "http.response.start", "status": 200, "headers": headers})
    await send({"type": "http.response.body", "body": body})


@pytest.fixture
async def port(monkeypatch: pytest.MonkeyPatch) -> AsyncIterator[int]:
    for name in ("HEAD_SECONDS", "BODY_SECONDS", "ANSWER_SECONDS", "LINGER_SECONDS"):
        monkeypatch.setattr(protocol, name, 1)
    async with serving(echo, timeout_keep_alive=2) as port:
        yield port


@pytest.mark.parametrize("sent", [b"", b"\r\n", b"\r\n\r\n"], ids=["nothing", "an empty line", "empty lines"])
async def test_a_connection_without_a_request_is_closed(port: int, sent: bytes) -> None:
    async with talking(port) as talk:
        talk.say(sent)
        assert await talk.is_over()


async def test_a_head_that_does_not_end_is_408(port: int) -> None:
    async with talking(port) as talk:
        talk.say(b"GET / HTTP/1.1\r\n")
        trickle = asyncio.create_task(_trickle(talk, b"x: 1\r\n"))
        assert problem(await talk.answer())["code"] == "request-timeout"
        assert await talk.is_over()
        trickle.cancel()


async def test_a_body_that_does_not_end_is_408(port: int) -> None:
    async with talking(port) as talk:
        talk.say(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\n")
        trickle = asyncio.create_task(_trickle(talk, b"x"))
        assert problem(await talk.answer())["code"] == "request-timeout"
        assert await talk.is_over()
        trickle.cancel()


async def test_a_request_that_is_answered_before_its_body_has_come_is_not_answered_again(port: int) -> None:
    async with talking(port) as talk:
        talk.say(b"POST /early HTTP/1.1\r\nhost: a\r\ncontent-length: 1000\r\n\r\nxxxxx")
        assert (await talk.answer())[0] == 200
        assert await talk.is_over()


async def test_an_answer_that_nobody_takes_is_given_up(port: int, monkeypatch: pytest.MonkeyPatch) -> None:
    unread: list[int] = []
    sweep = protocol.Protocol.sweep

    def watched(connection: protocol.Protocol) -> None:
        size = connection.transport.get_write_buffer_size()
        if size:  # connections of earlier tests may be open
            unread.append(size)
        sweep(connection)

    monkeypatch.setattr(protocol.Protocol, "sweep", watched)
    async with talking(port) as talk:
        talk.say(b"POST /large HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nxxxxx")
        talk.writer.transport.pause_reading()  # type: ignore[attr-defined]
        await asyncio.sleep(4)
        talk.writer.transport.resume_reading()  # type: ignore[attr-defined]
        with pytest.raises((asyncio.IncompleteReadError, ConnectionResetError)):
            await talk.answer()
    # Once a second: when nothing more was read for the first time, and when the time was up.
    assert unread.count(unread[-1]) == 1 + protocol.ANSWER_SECONDS


async def test_an_answer_that_is_taken_slowly_arrives(port: int) -> None:
    async with talking(port) as talk:
        talk.say(b"POST /large HTTP/1.1\r\nhost: a\r\ncontent-length: 5\r\n\r\nxxxxx")
        received = 0
        while received < 50_000_000:
            await asyncio.sleep(0.02)
            received += len(await talk.reader.read(500_000))


async def test_an_idle_connection_is_closed_and_a_busy_one_is_not(port: int) -> None:
    async with talking(port) as talk:
        for _ in range(5):
            talk.say(b"POST / HTTP/1.1\r\nhost: a\r\ncontent-length: 2\r\n\r\nhi")
            assert (await talk.answer())[2] == b"hi"
            await asyncio.sleep(0.4)
        assert await talk.is_over()


async def _trickle(talk: Talk, piece: bytes) -> None:
    while True:
        talk.say(piece)
        await asyncio.sleep(0.1)
