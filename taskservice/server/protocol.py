"""HTTP/1.1 with the limits that uvicorn's protocol leaves open: how large a head may be, and how long anybody may take.

Time is watched by one sweep a second over all connections (`Server`), which costs a request nothing; uvicorn's own
keep-alive timers, two per request, are not used.
"""

import asyncio
import logging
import re
from collections import deque
from collections.abc import Callable
from enum import Enum, auto
from math import inf
from typing import Any, Final
from urllib.parse import unquote

import httptools
import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol
from uvicorn.server import ServerState

from taskservice.observability.request_log import request_id_of
from taskservice.problems import BadRequest, HeadersTooLarge, Problem, RequestTimeout, UriTooLong
from taskservice.server.exchange import Exchange

URL_MAX: Final = 8 * 1024
HEAD_MAX: Final = 16 * 1024
QUEUE_MAX: Final = 100
"""So many requests may wait on one connection for the answer to an earlier one."""
HEAD_SECONDS: Final = 10
"""From the first byte of a request to the end of its head, and from a connection to its first request."""
BODY_SECONDS: Final = 30
ANSWER_SECONDS: Final = 30
"""So long may a client take nothing of an answer that it asked for."""
LINGER_SECONDS: Final = 2
"""So long is the rest of a refused request read and thrown away. Closing at once would reset the connection, and the
client would never see why."""

_ABOUT_UPGRADES: Final = frozenset({b"connection", b"upgrade", b"http2-settings"})
_METHOD: Final = re.compile(rb"([!#$%&'*+.^_`|~0-9A-Za-z-]{1,32})(?= [^ ])")

log: Final = logging.getLogger(__name__)


class Phase(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    REFUSED = auto()


class State(ServerState):
    """What the connections of one server share."""

    def __init__(self) -> None:
        super().__init__()
        self.now = 0
        """Seconds, counted by the sweep: exact enough for every limit here, and free to read."""
        self.marks: Callable[[bytes | None], list[tuple[bytes, bytes]]] = lambda _: []
        """Headers that let pages of other origins read an answer, by the origin that the request names."""
        self.draining = False
        """The server is about to stop: each answer is the last one of its connection, and says so."""


class Protocol(HttpToolsProtocol):
    server_state: State
    cycle: Exchange  # type: ignore[assignment]

    def __init__(self, *arguments: Any, **named: Any) -> None:
        super().__init__(*arguments, **named)
        self.url = b""
        self._queue: deque[Exchange] = deque()
        self._phase = Phase.IDLE
        self._until: float = self.server_state.now + HEAD_SECONDS
        self._head_bytes = 0
        self._received = 0
        """Since the piece in which this head began: no fewer bytes than the head has."""
        self._method = b""
        self._running: Exchange | None = None
        self._had_body = False
        self._beside_body = self._trailer_bytes = 0
        self._problem: Problem | None = None
        self._unsent: float = 0
        self._unsent_until: float = inf

    # ---- size

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.REFUSED:
            return
        phase, exchange, headers = self._phase, self.cycle, self.headers
        was_in_head = phase is Phase.HEAD
        self._had_body = False
        self._received = len(data) + (self._received if was_in_head else 0)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            if self._phase is Phase.HEAD:
                self._read_again(self._head_without_upgrade(), data[upgrade.args[0] :])
            else:
                self.cycle.keep_alive = False  # CONNECT, which nobody follows
        except httptools.HttpParserInvalidMethodError:
            unknown = _METHOD.match(data) if phase is Phase.IDLE and self.cycle is exchange else None
            if unknown is None:
                self._refuse(BadRequest())
            else:
                # What a path allows instead of it, the router has to say: TRACE is allowed nowhere.
                self._method = unknown[1]
                self._read_again(b"TRACE", data[unknown.end() :])
        except httptools.HttpParserError:
            self._refuse(self._problem or BadRequest())
        else:
            if was_in_head and self._phase is Phase.HEAD and self.headers is headers:
                self._count_head(len(data))
            elif phase is self._phase is Phase.BODY:
                self._count_frame(len(data))

    def _count_head(self, size: int) -> None:
        self._head_bytes += size
        if self._head_bytes > HEAD_MAX:
            self._refuse(UriTooLong() if len(self.url) > URL_MAX else HeadersTooLarge())

    def _count_frame(self, size: int) -> None:
        """What frames a body, its extensions and trailers, may be no larger than a head."""
        self._beside_body = 0 if self._had_body else self._beside_body + size
        if self._beside_body > HEAD_MAX:
            self._refuse(HeadersTooLarge())

    def _read_again(self, beginning: bytes, rest: bytes) -> None:
        """In a form that the parser takes for a plain request of a method it knows."""
        self.parser = httptools.HttpRequestParser(self)
        self.data_received(beginning + rest)

    def _head_without_upgrade(self) -> bytes:
        """No other protocol is spoken here, so the request is answered as it is, with its body, and is the last one."""
        lines = [b"%b %b HTTP/%b" % (self.parser.get_method(), self.url, self.parser.get_http_version().encode())]
        lines += [b"%b: %b" % header for header in self.headers if header[0] not in _ABOUT_UPGRADES]
        return b"\r\n".join([*lines, b"connection: close", b"", b""])

    def on_message_begin(self) -> None:
        self.url, self.headers, self.expect_100_continue = b"", [], False
        self._phase = Phase.HEAD
        self._until = self.server_state.now + HEAD_SECONDS
        self._head_bytes = self._beside_body = self._trailer_bytes = 0

    def on_header(self, name: bytes, value: bytes) -> None:
        if self._phase is Phase.HEAD:
            super().on_header(name, value)
            return
        # A trailer, which nobody asked for. It must not pass for a header, of which proxies have their own view.
        self._trailer_bytes += len(name) + len(value)
        if self._trailer_bytes > HEAD_MAX:
            self._problem = HeadersTooLarge()
            raise self._problem

    def on_body(self, body: bytes) -> None:
        self._had_body = True
        super().on_body(body)

    def on_headers_complete(self) -> None:
        if self.parser.should_upgrade() and any(name == b"upgrade" for name, _ in self.headers):
            return  # the parser stops here, and `data_received` goes on
        if len(self._queue) >= QUEUE_MAX:
            raise BadRequest  # stops the parser: those that wait are answered, and nothing behind them
        if self._received > URL_MAX:  # else there is nothing to look at
            self._check_head()
        self._begin_exchange()
        self._phase = Phase.BODY
        self._until = self.server_state.now + BODY_SECONDS

    def _check_head(self) -> None:
        if len(self.url) > URL_MAX:
            self._problem = UriTooLong()
        elif len(self.url) + sum(len(name) + len(value) + 4 for name, value in self.headers) > HEAD_MAX:
            self._problem = HeadersTooLarge()
        if self._problem is not None:
            raise self._problem  # stops the parser; `data_received` answers

    def _begin_exchange(self) -> None:
        raw_path, _, query = self.url.partition(b"?")
        if raw_path[:1] != b"/" or b"#" in self.url:
            # A proxy's form of an address (`GET http://host/path`), or one with a fragment.
            parsed = httptools.parse_url(self.url)
            raw_path, query = parsed.path or b"/", parsed.query or b""
        path = raw_path.decode("ascii")
        method, self._method = self._method or self.parser.get_method(), b""
        version = self.parser.get_http_version()
        scope = {
            "type": "http",
            "asgi": {"version": self.asgi_version, "spec_version": "2.3"},
            "http_version": version,
            "server": self.server,
            "client": self.client,
            "scheme": self.scheme or "http",
            "method": method.decode("ascii"),
            "root_path": "",
            "path": unquote(path) if "%" in path else path,
            "raw_path": raw_path,
            "query_string": query,
            "headers": self.headers,
            "state": self.app_state.copy(),
        }
        state, former = self.server_state, self.cycle
        self.cycle = Exchange(
            scope,
            self.transport,
            self.flow,
            state.default_headers,
            self.on_response_complete,
            keep_alive=version != "1.0" and self.parser.should_keep_alive() and not state.draining,
            wants_100=self.expect_100_continue,
        )
        if former is None or former.response_complete:
            self._start(self.cycle)
        else:
            # Answers go out in the order of the requests: this one waits for its turn.
            self.flow.pause_reading()
            self._queue.append(self.cycle)

    def _start(self, exchange: Exchange) -> None:
        self._running = exchange
        self.tasks.add(self.loop.create_task(self._run(exchange)))

    async def _run(self, exchange: Exchange) -> None:
        try:
            await exchange.run(self.app)
        finally:
            # Not in a callback of the task, which would have to be scheduled.
            self.tasks.discard(asyncio.current_task(self.loop))

    # ---- time

    def on_message_complete(self) -> None:
        if self._phase is Phase.HEAD:
            return  # of a request to upgrade, which is read again
        super().on_message_complete()
        if self.cycle.response_complete:
            self._wait_for_next()
        else:
            self._phase = Phase.ANSWER
            self._until = inf

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            self._unsent = self._unsent_until = 0  # measured by the next sweep, should it still be there
            return
        if self._queue:
            self._start(self._queue.popleft())
        elif self._phase is Phase.ANSWER:
            self._wait_for_next()
        if not self._queue:
            self.flow.resume_reading()

    def _wait_for_next(self) -> None:
        self._phase = Phase.IDLE
        self._until = self.server_state.now + self.timeout_keep_alive

    def pause_writing(self) -> None:
        super().pause_writing()
        self._unsent = inf
        self._unsent_until = self.server_state.now + ANSWER_SECONDS

    def resume_writing(self) -> None:
        super().resume_writing()
        self._unsent_until = inf

    def sweep(self) -> None:
        """Called once a second."""
        now = self.server_state.now
        if self._unsent_until <= now:
            unsent = self.transport.get_write_buffer_size()
            if self._unsent_until and unsent >= self._unsent:
                self.transport.abort()
                return
            self._unsent, self._unsent_until = unsent, now + ANSWER_SECONDS
        if self._until > now:
            return
        if self._phase is Phase.IDLE:
            self.transport.close()
        elif self._phase is Phase.REFUSED:
            self.transport.abort()
        elif not self.transport.is_closing():
            self._refuse(RequestTimeout())

    # ---- ending

    def connection_lost(self, exc: Exception | None) -> None:
        running, waiting = self._running, list(self._queue)
        self._running = None
        self._queue.clear()
        for exchange in [running, *waiting] if running else waiting:
            exchange.disconnected = True
            exchange.message_event.set()
        super().connection_lost(exc)
        self.cycle = None  # type: ignore[assignment] # or it and this would keep each other alive

    def finish(self) -> None:
        """Let the answer that is being made be the last one of this connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    @property
    def is_idle(self) -> bool:
        return self._phase is Phase.IDLE

    def _refuse(self, problem: Problem) -> None:
        """Answer in place of the application, if the answer's turn has come, and end the connection."""
        cycle = self.cycle
        if cycle is not None and not cycle.response_complete:
            if self._phase is not Phase.BODY or self._queue or cycle.response_started:
                # An earlier request is still being answered, or this one is: that answer is the last.
                cycle.keep_alive = False
                self.flow.pause_reading()
                self._phase, self._until = Phase.REFUSED, self.server_state.now + ANSWER_SECONDS
                return
            cycle.disconnected = True
            cycle.message_event.set()
        sent = dict(self.headers or ())
        request_id = request_id_of(sent.get(b"x-request-id"))
        path = self.url.partition(b"?")[0][:1000].decode("latin-1")
        named = {"request_id": request_id}
        log.info("refused a request for %r with %d: %s", path, problem.status, problem.detail, extra=named)
        body = msgspec.json.encode(problem.document(instance=path, request_id=request_id))
        headers = [
            *self.server_state.default_headers,
            *self.server_state.marks(sent.get(b"origin")),
            (b"content-type", b"application/problem+json"),
            (b"content-length", str(len(body)).encode()),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        head = b"".join([name + b": " + value + b"\r\n" for name, value in headers])
        self.transport.write(STATUS_LINE[problem.status] + head + b"\r\n" + body)
        self.flow.resume_reading()
        self._phase, self._until = Phase.REFUSED, self.server_state.now + LINGER_SECONDS
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
