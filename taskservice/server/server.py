"""One serving process: uvicorn's server with an end that loses no request that has reached it."""

import asyncio
import contextlib
import logging
import os
import select
import signal
import socket
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from types import FrameType
from typing import Any, Final

import uvicorn

from taskservice.server.protocol import Protocol, State
from taskservice.server.refusals import Refusals
from taskservice.server.workers import ending_signals
from taskservice.settings import Settings
from taskservice.web.health import DRAINING

BACKLOG: Final = 2048
KEEP_ALIVE_SECONDS: Final = 75
"""Longer than the 60 s of common load balancers, so that the client's side closes an idle connection first."""
GRACE_SECONDS: Final = 20
"""How long requests may go on after a signal to end."""
LAST_WORD_SECONDS: Final = 0.5
"""How long idle connections stay open at the end: a busy client learns from its next answer that it is the last."""

log: Final = logging.getLogger(__name__)


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
    """Ends at SIGTERM, SIGINT or SIGHUP with exit code 0.

    As a worker (`is_worker`) it also ends when its parent process has ended. `every_second` is called as long as
    the event loop runs.
    """

    server_state: State

    def __init__(
        self,
        config: uvicorn.Config,
        settings: Settings,
        *,
        drain_seconds: float = 0,
        every_second: Callable[[], None] | None = None,
        is_worker: bool = False,
    ) -> None:
        super().__init__(config)
        self.server_state = State(Refusals(settings))
        self._drain_seconds = drain_seconds
        self._every_second = every_second
        self._parent = os.getppid() if is_worker else None
        self._accepting: list[asyncio.Task[Any]] = []

    async def on_tick(self, counter: int) -> bool:
        if counter % 10 == 0:
            self.server_state.now += 1
            for connection in self._connections():
                connection.sweep()
            if self._every_second is not None:
                self._every_second()
            # The parent process id changes when the parent dies; no signal to end will come then.
            if self._parent is not None and os.getppid() != self._parent:
                self.should_exit = True
        return await super().on_tick(counter)

    async def _serve(self, sockets: list[socket.socket] | None = None) -> None:
        if not self.config.loaded:
            self.config.load()  # makes the application, which sets logging up
        logging.getLogger("uvicorn.error").setLevel(logging.WARNING)  # its messages tell an operator nothing
        await super()._serve(sockets)

    @contextlib.contextmanager
    def capture_signals(self) -> Iterator[None]:
        """Handle signals without raising them again at the end, as uvicorn does: that would look like a kill."""
        former = {number: signal.signal(number, self.handle_exit) for number in ending_signals()}
        try:
            yield
        finally:
            for number, handler in former.items():
                signal.signal(number, handler)

    def handle_exit(self, sig: int, frame: FrameType | None) -> None:
        super().handle_exit(sig, frame)
        if self._parent is None and not self.force_exit:
            # Not logged here: a signal may come while the log is being written.
            loop = asyncio.get_running_loop()
            loop.call_soon_threadsafe(
                log.info, "%s: finishing the running requests, then stopping", signal.Signals(sig).name
            )

    async def shutdown(self, sockets: list[socket.socket] | None = None) -> None:
        self.lifespan.state[DRAINING] = True
        await self._go_on_for(self._drain_seconds)
        self.server_state.draining = True
        self._stop_listening()
        for connection in self._connections():
            connection.finish()
        await self._go_on_for(LAST_WORD_SECONDS)
        for _ in range(100):  # requests that arrive at this moment are answered, too
            if not self._is_anything_unread():
                break
            await asyncio.sleep(0)
        _leave_threads_behind()
        await super().shutdown(sockets)
        _leave_threads_behind()

    def _connections(self) -> list[Protocol]:
        return [connection for connection in self.server_state.connections if isinstance(connection, Protocol)]

    async def _go_on_for(self, seconds: float) -> None:
        for tick in range(1, int(seconds * 10) + 1):
            if self.force_exit or (self.server_state.draining and not self.server_state.connections):
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
                with listener, contextlib.suppress(OSError):  # no client is left, or no file descriptor
                    listener.setblocking(False)
                    while True:
                        accepted, _ = listener.accept()
                        # Not awaited: a client may be slow with its TLS handshake.
                        accepting = loop.connect_accepted_socket(self._protocol, accepted, ssl=self.config.ssl)
                        self._accepting.append(loop.create_task(accepting))

    def _protocol(self) -> asyncio.Protocol:
        return Protocol(config=self.config, server_state=self.server_state, app_state=self.lifespan.state)

    def _is_anything_unread(self) -> bool:
        poll = select.poll()
        for connection in self._connections():
            if connection.is_idle:
                poll.register(connection.transport.get_extra_info("socket").fileno(), select.POLLIN)
        return bool(poll.poll(0))


def _leave_threads_behind() -> None:
    """Give the loop new threads: at the end it waits for them, and the old ones may work for clients that left."""
    asyncio.get_running_loop().set_default_executor(ThreadPoolExecutor())
