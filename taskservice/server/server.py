"""One serving process: uvicorn's server, which here ends without losing a request that has reached it."""

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
from collections.abc import Iterator
from typing import Any, Final

import uvicorn
from uvicorn.server import HANDLED_SIGNALS

from taskservice.server.protocol import Protocol, State
from taskservice.server.workers import Beat
from taskservice.web.cors import Origins
from taskservice.web.health import DRAINING

BACKLOG: Final = 2048
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the 60 s for which load balancers keep theirs, so that it is not us who close under a request."""
GRACE_SECONDS: Final = 20
"""So long may requests take that are under way when the end is asked for."""
LAST_WORD_SECONDS: Final = 0.5
"""So long are idle connections kept at the end: clients that are busy learn from an answer that it was the last."""


def uvicorn_config(app: Any, **options: Any) -> uvicorn.Config:
    """Everything that does not depend on how the service was started."""
    return uvicorn.Config(
        app,
        http=Protocol,
        ws="none",
        interface="asgi3",
        lifespan="on",
        log_config=None,
        access_log=False,
        server_header=False,
        backlog=BACKLOG,
        timeout_keep_alive=KEEP_ALIVE_SECONDS,
        timeout_graceful_shutdown=GRACE_SECONDS,
        **options,
    )


class Server(uvicorn.Server):
    """Ends at SIGTERM or SIGINT with exit code 0, and by itself when the process that started it is gone."""

    def __init__(
        self,
        config: uvicorn.Config,
        *,
        origins: Origins | None = None,
        drain_seconds: float = 0,
        beat: Beat | None = None,
    ) -> None:
        super().__init__(config)
        self._state = State()
        if origins is not None:
            self._state.cors_headers = origins.marks
        self.server_state = self._state
        self._drain_seconds = drain_seconds
        self._beat = beat
        self._parent = os.getppid() if beat else None
        self._taking: list[asyncio.Task[Any]] = []

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            self._state.now += 1
            for connection in self._connections():
                connection.sweep()
            if self._beat is not None:
                self._beat()
                # A new parent is the system's way to say that ours has died, and that nobody will tell us to end.
                if os.getppid() != self._parent:
                    self.should_exit = True
        return await super().on_tick(counter)

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.config.loaded:
            self.config.load()  # makes the application, which sets logging up
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its steps are of no use to anybody
        await super()._serve(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """As uvicorn's, which raises the signals again afterwards: the process would end as if it had been killed."""
        former = {number: signal.signal(number, self.handle_exit) for number in HANDLED_SIGNALS}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state[DRAINING] = True
        await self._go_on_for(self._drain_seconds)
        self._state.draining = True
        self._stop_listening()
        for connection in self._connections():
            connection.finish()
        await self._go_on_for(LAST_WORD_SECONDS)
        for _ in range(100):  # what came in this very moment is answered, too
            if not self._is_anything_unread():
                break
            await asyncio.sleep(0)
        await super().shutdown(sockets)

    def _connections(self) -> list[Protocol]:
        return [connection for connection in self._state.connections if isinstance(connection, Protocol)]

    async def _go_on_for(self, seconds: float) -> None:
        for tick in range(1, int(seconds * 10) + 1):
            if self.force_exit or (self._state.draining and not self._state.connections):
                return
            await asyncio.sleep(0.1)
            await self.on_tick(tick)

    def _stop_listening(self) -> None:
        """Close the listening sockets without resetting clients that are connected, but not yet accepted."""
        loop = asyncio.get_running_loop()
        for server in self.servers:
            listeners = [socket.socket(fileno=os.dup(listener.fileno())) for listener in server.sockets]
            server.close()
            for listener in listeners:
                with listener, contextlib.suppress(OSError):  # nobody is left, or no file descriptor
                    listener.setblocking(False)
                    while True:
                        accepted, _ = listener.accept()
                        # Not waited for: a client may take its time for a TLS handshake.
                        taking = loop.connect_accepted_socket(self._protocol, accepted, ssl=self.config.ssl)
                        self._taking.append(loop.create_task(taking))

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(config=self.config, server_state=self._state, app_state=self.lifespan.state)

    def _is_anything_unread(self) -> bool:
        poll = select.poll()
        for connection in self._connections():
            if connection.is_idle:
                poll.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))
