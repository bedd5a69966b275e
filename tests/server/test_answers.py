"""Requests and answers of one connection, with an application that stands in for the service."""

import asyncio
import gc
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from uvicorn.protocols.http.httptools_impl import RequestResponseCycle

from taskservice.server.protocol import PIPELINE_MAX
from tests.support.talk import serving, talking

pytestmark = pytest.mark.slow

Send = Callable[[dict[str, Any]], Awaitable[None]]


def sized(length: int) -> tuple[bytes, bytes]:
    return (b"content-length", b"%d" % length)


Answer = tuple[int, list[tuple[bytes, bytes]], list[bytes]]
"""Status, headers, pieces of the body."""

ANSWERS: dict[str, Answer] = {
    "/streamed": (200, [], [b"one", b"", b"two"]),
    "/sized": (200, [sized(5)], [b"hello"]),
    "/slow": (200, [sized(4)], [b"slow"]),
    "/last": (200, [sized(3), (b"connection", b"close")], [b"bye"]),
    "/nothing": (204, [], [b""]),
    "/unchanged": (304, [(b"etag", b'"7"')], [b""]),
    "/torn": (200, [], [b"half"]),
    "/waiting": (200, [sized(0)], [b""]),
}


async def answer(path: str, headers: list[tuple[bytes, bytes]], receive: Any, send: Send) -> None:
    await send_answer(*(await answer_to(path, headers, receive)), send, breaks_off=path == "/torn")


async def answer_to(path: str, headers: list[tuple[bytes, bytes]], receive: Any) -> Answer:
    if path == "/slow":
        await asyncio.sleep(0.2)
    if path == "/waiting":
        while (await receive())["type"] == "http.request":
            pass
    if path in {"/body", "/headers"}:
        body = await whole_body(receive) if path == "/body" else b",".join(b"%b=%b" % header for header in headers)
        return 200, [sized(len(body))], [body]
    return ANSWERS[path]


async def whole_body(receive: Any) -> bytes:
    body = bytearray()
    while True:
        message = await receive()
        if message["type"] == "http.disconnect":
            return bytes(body)
        body += message["body"]
        if not message["more_body"]:
            return bytes(body)


async def send_answer(
    status: int, headers: list[tuple[bytes, bytes]], pieces: list[bytes], send: Send, *, breaks_off: bool
) -> None:
    await send({"type": "http.response.start", "status": status, "headers": headers})
    for place, piece in enumerate(pieces, start=1):
        await send({"type": "http.response.body", "body": piece, "more_body": place < len(pieces) or breaks_off})
    if breaks_off:
        raise ValueError("the application fails")


async def app(scope: Any, receive: Any, send: Any) -> None:
    if scope["type"] == "http":
        await answer(scope["path"], scope["headers"], receive, send)
        return
    for _ in range(2):
        message = await receive()
        await send({"type": message["type"] + ".complete"})


@pytest.fixture
async def port() -> AsyncIterator[int]:
    async with serving(app) as port:
        yield port


def asking(path: str, method: str = "GET", head: bytes = b"", version: str = "1.1") -> bytes:
    return f"{method} {path} HTTP/{version}\r\nhost: a\r\n".encode() + head + b"\r\n"


async def test_what_is_streamed_comes_in_chunks(port: int) -> None:
    async with talking(port) as talk:
        talk.say(asking("/streamed"))
        status, headers = await talk.head()
        assert (status, headers["transfer-encoding"]) == (200, "chunked")
        assert "content-length" not in headers
        assert await talk.reader.readuntil(b"0\r\n\r\n") == b"3\r\none\r\n3\r\ntwo\r\n0\r\n\r\n"


@pytest.mark.parametrize(("path", "status"), [("/nothing", 204), ("/unchanged", 304)])
async def test_what_has_no_body_is_not_framed_and_the_connection_goes_on(port: int, path: str, status: int) -> None:
    async with talking(port) as talk:
        talk.say(asking(path))
        answered, headers = await talk.head()
        assert answered == status
        assert not {"content-length", "transfer-encoding", "connection"} & headers.keys()
        assert "date" in headers
        talk.say(asking("/last"))
        assert (await talk.head())[0] == 200
        assert await talk.rest() == b"bye"


@pytest.mark.parametrize("path", ["/sized", "/streamed"])
async def test_head_is_answered_without_a_body(port: int, path: str) -> None:
    async with talking(port) as talk:
        talk.say(asking(path, "HEAD"))
        assert (await talk.head())[0] == 200
        talk.say(asking("/last"))
        assert (await talk.head())[0] == 200
        assert await talk.rest() == b"bye"


@pytest.mark.parametrize(("head", "version"), [(b"connection: close\r\n", "1.1"), (b"", "1.0")])
async def test_a_client_that_wants_no_more_is_hung_up_on(port: int, head: bytes, version: str) -> None:
    async with talking(port) as talk:
        talk.say(asking("/sized", head=head, version=version))
        assert (await talk.head())[1]["connection"] == "close"
        assert await talk.rest() == b"hello"


async def test_requests_that_come_together_are_answered_in_their_order(port: int) -> None:
    async with talking(port) as talk:
        for path in ("/slow", "/sized", "/slow", "/last"):
            talk.say(asking(path))
        bodies = [(await talk.answer())[2] for _ in range(4)]
        assert bodies == [b"slow", b"hello", b"slow", b"bye"]


async def test_a_client_that_waits_to_be_asked_for_its_body_is_asked_when_it_is_read(port: int) -> None:
    async with talking(port) as talk:
        talk.say(asking("/body", "POST", b"expect: 100-continue\r\ncontent-length: 2\r\n"))
        assert await talk.head() == (100, {})
        talk.writer.write(b"hi")
        assert (await talk.head())[0] == 200
        assert await talk.reader.readexactly(2) == b"hi"
        # Not if the answer does not depend on it.
        talk.say(asking("/last", "POST", b"expect: 100-continue\r\ncontent-length: 2\r\n"))
        assert (await talk.head())[0] == 200


async def test_a_stream_that_breaks_off_does_not_look_complete(port: int) -> None:
    async with talking(port) as talk:
        talk.say(asking("/torn"))
        sent = await talk.rest()
    assert not sent.endswith(b"0\r\n\r\n")
    assert sent.count(b"HTTP/1.1") == 1


async def test_a_body_arrives_with_a_request_to_upgrade_too(port: int) -> None:
    async with talking(port) as talk:
        upgrade = b"connection: Upgrade, HTTP2-Settings\r\nupgrade: h2c\r\nhttp2-settings: AAMAAABk\r\n"
        talk.say(asking("/body", "POST", upgrade + b"content-length: 5\r\n") + b"hello")
        status, headers, body = await talk.answer()
        assert (status, body, headers["connection"]) == (200, b"hello", "close")


async def test_the_body_of_a_request_to_upgrade_may_come_later(port: int) -> None:
    async with talking(port) as talk:
        talk.say(asking("/body", "POST", b"connection: upgrade\r\nupgrade: h2c\r\ncontent-length: 5\r\n") + b"he")
        await asyncio.sleep(0.1)
        talk.say(b"llo" + asking("/sized"))
        assert (await talk.answer())[2] == b"hello"
        assert await talk.is_over()


async def test_a_request_to_upgrade_with_a_chunked_body_is_501(port: int) -> None:
    async with talking(port) as talk:
        upgrade = b"connection: upgrade\r\nupgrade: h2c\r\ntransfer-encoding: chunked\r\n"
        talk.say(asking("/body", "POST", upgrade) + b"0\r\n\r\n")
        assert (await talk.answer())[0] == 501


async def test_trailers_are_no_headers(port: int) -> None:
    chunked = asking("/headers", "POST", b"transfer-encoding: chunked\r\n") + b"2\r\nhi\r\n0\r\n"
    async with talking(port) as talk:
        talk.say(chunked + b"authorization: Bearer x\r\n\r\n")
        assert b"authorization" not in (await talk.answer())[2]


@pytest.mark.parametrize("trailer", [b"a:b\r\n" * 6000, b"a:" + b"b" * 40_000], ids=["many", "one"])
async def test_trailers_without_end_are_431(port: int, trailer: bytes) -> None:
    async with talking(port) as talk:
        talk.say(asking("/waiting", "POST", b"transfer-encoding: chunked\r\n") + b"0\r\n")
        for start in range(0, len(trailer), 5000):
            talk.say(trailer[start : start + 5000])
            await asyncio.sleep(0.02)
        assert (await talk.head())[0] == 431


async def test_of_too_many_requests_at_once_some_are_answered_and_the_rest_is_not_kept(port: int) -> None:
    async with talking(port) as talk:
        talk.say(asking("/slow") + asking("/sized") * 1000)
        assert (await talk.rest()).count(b"HTTP/1.1 200") == 1 + PIPELINE_MAX


async def test_requests_are_told_apart_however_they_are_cut(port: int) -> None:
    sent = asking("/sized") + asking("/body", "POST", b"content-length: 20000\r\n") + b"x" * 20_000 + asking("/last")
    async with talking(port) as talk:
        for piece in (sent[:20], sent[20:-20], sent[-20:]):
            talk.say(piece)
            await asyncio.sleep(0.1)
        assert [len((await talk.answer())[2]) for _ in range(3)] == [5, 20_000, 3]


async def test_who_waits_in_line_is_let_go_when_the_client_goes(port: int) -> None:
    async with talking(port) as talk:
        talk.say(asking("/slow") + asking("/sized") * 50)
        await asyncio.sleep(0.05)
    await asyncio.sleep(0.3)
    cycles = [found for found in gc.get_objects() if isinstance(found, RequestResponseCycle)]
    assert [cycle for cycle in cycles if not cycle.response_complete] == []


@pytest.mark.parametrize("body", [b"", b"hello"], ids=["without a body", "with a body"])
async def test_a_client_that_closes_its_side_still_gets_its_answers(port: int, body: bytes) -> None:
    async with talking(port) as talk:
        talk.say(asking("/slow") + asking("/body", "POST", b"content-length: %d\r\n" % len(body)) + body)
        talk.writer.write_eof()
        assert (await talk.answer())[2] == b"slow"
        assert (await talk.answer())[2] == body
        assert await talk.is_over()


@pytest.mark.parametrize("body", [b"", b"hello"], ids=["without a body", "with a body"])
async def test_a_client_that_closes_its_side_while_it_waits_gets_its_answer(port: int, body: bytes) -> None:
    """With no request behind it, for which the server would leave the end of the connection unread."""
    async with talking(port) as talk:
        talk.say(asking("/slow", "POST", b"content-length: %d\r\n" % len(body)) + body)
        talk.writer.write_eof()
        assert (await talk.answer())[2] == b"slow"
        assert await talk.is_over()


async def test_a_client_that_closes_its_side_within_a_request_is_let_go(port: int) -> None:
    async with talking(port) as talk:
        talk.say(asking("/body", "POST", b"content-length: 5\r\n") + b"he")
        talk.writer.write_eof()
        assert await talk.is_over()


@pytest.mark.parametrize("request_line", ["GET / HTTP/2.0", "GET / HTTP/0.9", "GET / RTSP/1.0", "SOURCE / ICE/1.0"])
async def test_another_protocol_is_400(port: int, request_line: str) -> None:
    async with talking(port) as talk:
        talk.say(f"{request_line}\r\nhost: a\r\n\r\n".encode())
        assert (await talk.answer())[0] == 400
        assert await talk.is_over()


@pytest.mark.parametrize("hosts", [b"", b"host: a\r\nHost: a\r\n"], ids=["none", "two"])
async def test_a_request_without_exactly_one_host_is_400(port: int, hosts: bytes) -> None:
    async with talking(port) as talk:
        talk.say(b"GET /sized HTTP/1.1\r\n" + hosts + b"\r\n")
        assert (await talk.answer())[0] == 400
        assert await talk.is_over()


async def test_a_client_of_http_1_0_needs_no_host(port: int) -> None:
    async with talking(port) as talk:
        talk.say(b"GET /sized HTTP/1.0\r\n\r\n")
        assert (await talk.answer())[0] == 200


@pytest.mark.parametrize("coding", [b"gzip, chunked", b"gzip,chunked", b"identity, chunked"])
async def test_a_transfer_coding_other_than_chunked_is_501(port: int, coding: bytes) -> None:
    async with talking(port) as talk:
        talk.say(asking("/body", "POST", b"transfer-encoding: " + coding + b"\r\n") + b"2\r\nhi\r\n0\r\n\r\n")
        status, headers, _ = await talk.answer()
        assert (status, headers["content-type"]) == (501, "application/problem+json")
        assert await talk.is_over()


async def test_blanks_around_a_header_value_are_not_part_of_it(port: int) -> None:
    async with talking(port) as talk:
        talk.say(asking("/headers", head=b"x-one: \t a b\t \r\nx-two:c \t\t\r\n"))
        assert (await talk.answer())[2] == b"host=a,x-one=a b,x-two=c"
