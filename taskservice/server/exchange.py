"""One request and its answer on the wire: what `receive` and `send` of the application do.

In place of uvicorn's `RequestResponseCycle`, which looks at every header of an answer several times over, and writes
the head of a short answer apart from its body.
"""

import asyncio
import logging
from collections.abc import Callable
from typing import Any, Final

import msgspec
from uvicorn.protocols.http.flow_control import FlowControl
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from taskservice.problems import InternalError

Header = tuple[bytes, bytes]

WITHOUT_BODY: Final = frozenset({204, 304})

log: Final = logging.getLogger(__name__)


def _nothing() -> None:
    pass


class BadAnswer(Exception):
    """The application sent what cannot be an answer."""


class Exchange:
    """The names without an underscore are those that uvicorn's protocol uses."""

    __slots__ = (
        "_always", "_chunked", "_ended", "_flow", "_head", "_left", "_transport", "_until_close", "_wants_100", "body",
        "disconnected", "keep_alive", "message_event", "more_body", "response_complete", "response_started", "scope",
    )  # fmt: skip

    def __init__(
        self,
        scope: dict[str, Any],
        transport: asyncio.Transport,
        flow: FlowControl,
        always: list[Header],
        ended: Callable[[], None],
        *,
        keep_alive: bool,
        wants_100: bool,
    ) -> None:
        """`always`: headers of every answer. `ended` is called when the answer has been handed to the transport."""
        self.scope = scope
        self.keep_alive = keep_alive
        self.body = bytearray()
        self.more_body = True
        self.message_event = asyncio.Event()
        self.disconnected = False
        self.response_started = False
        self.response_complete = False
        self._transport = transport
        self._flow = flow
        self._always = always
        self._ended = ended
        self._wants_100 = wants_100
        self._head: bytes | None = None
        self._chunked = False
        self._until_close = False
        self._left = 0

    async def run(self, app: Any) -> None:
        try:
            await app(self.scope, self.receive, self.send)
        except (Exception, asyncio.CancelledError):
            # The application answers for its exceptions itself: this one came too late, or from its own end.
            log.exception("a request was not answered in full")
        else:
            if not (self.response_complete or self.disconnected):
                log.error("a request was not answered in full")
        finally:
            if not (self.response_complete or self.disconnected):
                await self._break_off()
            self._ended = _nothing  # or it and its connection would keep each other alive

    async def receive(self) -> dict[str, Any]:
        if self._wants_100 and not self._transport.is_closing():
            self._transport.write(b"HTTP/1.1 100 Continue\r\n\r\n")
            self._wants_100 = False
        if not (self.disconnected or self.response_complete):
            if self.more_body:
                self._flow.resume_reading()
            await self.message_event.wait()
            self.message_event.clear()
        if self.disconnected or self.response_complete:
            return {"type": "http.disconnect"}
        body, self.body = bytes(self.body), bytearray()
        return {"type": "http.request", "body": body, "more_body": self.more_body}

    async def send(self, message: Any) -> None:
        if self._flow.write_paused and not self.disconnected:
            await self._flow.drain()
        if self.disconnected:
            return
        kind = message["type"]
        if kind == "http.response.start" and not self.response_started:
            # Waits for the first piece of the body, so that a short answer is written at once.
            self._head = self._written_head(message["status"], message["headers"])
            self.response_started = True
            self._wants_100 = False
        elif kind == "http.response.body" and self.response_started and not self.response_complete:
            self._write(message.get("body", b""), more=message.get("more_body", False))
        else:
            raise BadAnswer(f"unexpected {kind}")

    def _written_head(self, status: int, headers: list[Header]) -> bytes:
        length: bytes | None = None
        lines = [STATUS_LINE[status][:-2]]
        lines += [name + b": " + value for name, value in self._always]
        for name, value in headers:
            lines.append(name + b": " + value)
            if name == b"content-length":
                length = value
            elif name == b"connection" and value.lower() == b"close":
                self.keep_alive = False
                lines.pop()
        if not self.keep_alive:
            lines.append(b"connection: close")
        if self.scope["method"] == "HEAD" or status in WITHOUT_BODY:
            pass
        elif length is None and self.scope["http_version"] == "1.0":
            self._until_close = True
        elif length is None:
            self._chunked = True
            lines.append(b"transfer-encoding: chunked")
        else:
            self._left = int(length)
        breaks = len(lines) + 1
        lines += (b"", b"")
        head = b"\r\n".join(lines)
        # A line break in a value would begin a header, or an answer, that nobody meant.
        if head.count(b"\n") != breaks or head.count(b"\r") != breaks:
            raise BadAnswer("a header with a line break in it")
        return head

    def _write(self, body: bytes, *, more: bool) -> None:
        if self._chunked:
            body = (b"%x\r\n%b\r\n" % (len(body), body) if body else b"") + (b"" if more else b"0\r\n\r\n")
        elif self.scope["method"] == "HEAD":
            body = b""
        elif not self._until_close:
            self._left -= len(body)
            if self._left < 0 or (self._left and not more):
                raise BadAnswer("a body of another length than its head says")
        if self._head is not None:
            body, self._head = self._head + body, None
        if body:
            self._transport.write(body)
        if not more:
            self.response_complete = True
            self.message_event.set()
            if not self.keep_alive:
                self._transport.close()
            self._ended()

    async def _break_off(self) -> None:
        if self._head is not None:
            # Nothing of it is on the wire yet.
            self.response_started = self._chunked = False
            self._head, self._left = None, 0
        if self.response_started:
            self._transport.close()
            return
        path, request_id = self.scope["raw_path"][:1000].decode("latin-1"), self.scope["state"].get("request_id", "")
        body = msgspec.json.encode(InternalError().document(instance=path, request_id=request_id))
        headers = [
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        await self.send({"type": "http.response.start", "status": InternalError.status, "headers": headers})
        await self.send({"type": "http.response.body", "body": body})
