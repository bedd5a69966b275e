"""uvicorn's HTTP/1.1 protocol with the limits that it lacks: on size, on time, and on unread answers.

`Server` calls `sweep` on every connection once a second, in place of a timer for each request.
"""

from collections.abc import Awaitable
from enum import Enum, auto
from math import inf
from typing import Any, Final

import httptools
from uvicorn.protocols.http.httptools_impl import HttpToolsProtocol, RequestResponseCycle
from uvicorn.protocols.utils import ClientDisconnected
from uvicorn.server import ServerState

from taskservice.problems import BadRequest, HeadersTooLarge, Problem, RequestTimeout, UriTooLong
from taskservice.server.refusals import Refusals
from taskservice.server.request_head import HEAD_MAX, URL_MAX, check_head, upgrade_body_length
from taskservice.server.unsent import PIECE_BYTES, Unsent

PIPELINE_MAX: Final = 100
"""How many requests of one connection may wait for the answer to an earlier one."""
HEAD_SECONDS: Final = 10
"""From the first byte of a request to the end of its head, and from a connection to its first request."""
BODY_SECONDS: Final = 30
"""From the end of a head to the end of the body."""
ANSWER_SECONDS: Final = 30
"""How long a client may read nothing of an answer."""
LINGER_SECONDS: Final = 2
"""How long the rest of a refused request is read and discarded. Closing at once would reset the connection, and the
client would never see the answer."""


class Phase(Enum):
    IDLE = auto()
    HEAD = auto()
    BODY = auto()
    ANSWER = auto()
    LAST = auto()
    """The connection ends after its last answer, and everything else that the client sends is discarded."""


class State(ServerState):
    """What the connections of one server share."""

    def __init__(self, refusals: Refusals) -> None:
        super().__init__()
        self.refusals: Final = refusals
        self.now = 0
        """Seconds, counted by the sweep."""
        self.unsent: Final = Unsent()
        self.draining = False
        """The server is about to stop: each answer is the last one of its connection, with `Connection: close`."""


class Protocol(HttpToolsProtocol):
    server_state: State
    parser: httptools.HttpRequestParser

    def __init__(self, *arguments: Any, **options: Any) -> None:
        super().__init__(*arguments, **options)
        self.url = b""
        self._phase = Phase.IDLE
        self._until: float = self.server_state.now + HEAD_SECONDS
        self._data = b""
        self._overhead = 0
        """Bytes since a head, a piece of a body or a request ended: of a head, of trailers or between chunks."""
        self._upgrade_body = 0
        """Bytes that are still to come of the body of a request to upgrade."""
        self._problem: Problem | None = None
        self._running: RequestResponseCycle | None = None
        self._next_waits = False
        self._unread: float = inf
        self._unread_until: float = inf

    # ---- size

    def data_received(self, data: bytes) -> None:
        if self._phase is Phase.LAST:
            return
        if self._upgrade_body:
            self._take_upgrade_body(data)
            return
        self._data = data
        self._overhead += len(data)
        try:
            self.parser.feed_data(data)
        except httptools.HttpParserUpgrade as upgrade:
            # No other protocol is spoken here. The request is answered as it stands, as the last one.
            self.cycle.keep_alive = False
            self._take_upgrade_body(data[upgrade.args[0] :])
        except httptools.HttpParserError:
            self._refuse(self._problem or BadRequest())
        else:
            if self._overhead > HEAD_MAX:
                self._refuse(UriTooLong() if len(self.url) > URL_MAX else HeadersTooLarge())

    def _take_upgrade_body(self, data: bytes) -> None:
        if self._upgrade_body:
            self.on_body(data[: self._upgrade_body])
            self._upgrade_body -= min(len(data), self._upgrade_body)
        if not self._upgrade_body:
            self.on_message_complete()
            self._phase = Phase.LAST

    def on_message_begin(self) -> None:
        super().on_message_begin()
        self._phase, self._until = Phase.HEAD, self.server_state.now + HEAD_SECONDS

    def on_headers_complete(self) -> None:
        try:
            self._check_head()
        except Problem as problem:
            self._problem = problem
            raise  # stops the parser; `data_received` answers
        super().on_headers_complete()
        self.headers = []  # takes the trailers of a body, which must not pass for headers
        self.cycle.keep_alive = self.cycle.keep_alive and not self.server_state.draining
        self._overhead = 0
        self._phase, self._until = Phase.BODY, self.server_state.now + BODY_SECONDS

    def _check_head(self) -> None:
        protocol_at = len(self.parser.get_method()) + len(self.url) + 2
        protocol = self._data[protocol_at : protocol_at + 4]
        check_head(self.url, self.headers, self.parser.get_http_version(), protocol)
        if len(self.pipeline) >= PIPELINE_MAX:
            raise BadRequest("Too many requests wait for an earlier answer")
        if self.parser.should_upgrade():
            self._upgrade_body = upgrade_body_length(self.headers)

    def on_body(self, body: bytes) -> None:
        self._overhead = 0
        super().on_body(body)

    def on_message_complete(self) -> None:
        if self._upgrade_body:
            return  # the parser takes the body of such a request for another protocol
        super().on_message_complete()
        self._overhead = 0
        self._phase, self._until = Phase.ANSWER, inf
        if self.cycle.response_complete:
            self._wait_for_next_request()

    # ---- answers

    def _start_asgi_task(self, cycle: RequestResponseCycle, app: Any) -> None:
        self._running = cycle

        def send(message: Any) -> Awaitable[None]:
            if message.get("more_body") and cycle.disconnected:
                raise ClientDisconnected  # so that the application stops producing an answer that nobody reads
            if len(message.get("body", b"")) > PIECE_BYTES:
                return self.server_state.unsent.send(self, message, cycle.send)
            return cycle.send(message)

        super()._start_asgi_task(cycle, lambda scope, receive, _: app(scope, receive, send))

    def on_response_complete(self) -> None:
        self.server_state.total_requests += 1
        if self.transport.is_closing():
            return
        if self.flow.write_paused:
            self.flow.pause_reading()
            self._next_waits = True
        else:
            self._go_on()

    def _go_on(self) -> None:
        self.flow.resume_reading()
        if self.pipeline:
            self._start_asgi_task(*self.pipeline.pop())
        elif self._phase is Phase.ANSWER:
            self._wait_for_next_request()

    def _wait_for_next_request(self) -> None:
        self._phase, self._until = Phase.IDLE, self.server_state.now + self.timeout_keep_alive

    def pause_writing(self) -> None:
        super().pause_writing()
        self.server_state.unsent.stalled(self)

    def resume_writing(self) -> None:
        super().resume_writing()
        self.server_state.unsent.moved(self)
        self._unread = inf
        if self._next_waits:
            self._next_waits = False
            self._go_on()

    # ---- time

    def sweep(self) -> None:
        """Called once a second."""
        now = self.server_state.now
        if self.flow.write_paused or self.transport.is_closing():
            unread = self.transport.get_write_buffer_size()
            if unread < self._unread:
                self._unread, self._unread_until = unread, now + ANSWER_SECONDS
            elif now >= self._unread_until:
                self.transport.abort()
        if now < self._until or self.transport.is_closing():
            return
        if self._phase is Phase.LAST:
            self.transport.abort()
        elif self._phase is Phase.IDLE:
            self.transport.close()
        else:
            self._refuse(RequestTimeout())

    # ---- ending

    def eof_received(self) -> bool:  # type: ignore[override] # uvicorn's never keeps the transport open
        """Keep the connection of a client that has closed its side, until it has all answers that it asked for."""
        cycle = self.cycle
        if self.scheme == "https" or self._phase not in {Phase.ANSWER, Phase.LAST}:
            return False
        if cycle is None or cycle.response_complete or cycle.disconnected:
            return False
        cycle.keep_alive = False
        self._phase, self._until = Phase.LAST, inf
        return True

    def connection_lost(self, exc: Exception | None) -> None:
        for cycle in [self._running, *(cycle for cycle, _ in self.pipeline)]:
            if cycle is not None:
                cycle.disconnected = True
                cycle.message_event.set()
        self.pipeline.clear()
        self.server_state.unsent.forget(self)
        super().connection_lost(exc)
        self.cycle = self._running = None  # type: ignore[assignment] # breaks a reference cycle

    def finish(self) -> None:
        """Let the answer that is being made be the last one of this connection."""
        if self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False

    @property
    def is_idle(self) -> bool:
        return self._phase is Phase.IDLE

    def _refuse(self, problem: Problem) -> None:
        """Answer in place of the application, unless an answer is under way, and end the connection."""
        cycle = self.cycle
        if cycle is not None and self._phase is Phase.BODY and cycle.response_complete:
            self.transport.close()
            return
        if cycle is not None and not cycle.response_complete:
            if self._phase is not Phase.BODY or cycle is not self._running or cycle.response_started:
                cycle.keep_alive = False
                self._phase, self._until = Phase.LAST, self.server_state.now + ANSWER_SECONDS
                return
            cycle.disconnected = True
            cycle.message_event.set()
        state, sent = self.server_state, self.scope["headers"] if self.scope else []
        client = self.client[0] if self.client else None
        answer = state.refusals.answer(problem, self.url, list(sent), state.default_headers, client)
        self.transport.write(answer)
        self.flow.resume_reading()
        self._phase, self._until = Phase.LAST, self.server_state.now + LINGER_SECONDS
        if self.transport.can_write_eof():
            self.transport.write_eof()
        else:
            self.transport.close()
