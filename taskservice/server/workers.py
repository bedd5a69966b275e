"""Runs several serving processes on one listening socket: starts them, replaces those that die, ends them together.

uvicorn's own `Multiprocess` starts each worker anew, in place of forking it, and does not notice one that hangs.
"""

import contextlib
import logging
import mmap
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from uvicorn.config import STARTUP_FAILURE

HEALTHY_SECONDS: Final = 1.0
"""A worker that dies within this time is replaced only after the same time, as the next one may die as fast."""
HUNG_SECONDS: Final = 30.0
"""A worker whose event loop has been blocked for this long is killed: all of its clients wait."""
LOOK_SECONDS: Final = 5.0
"""How often the parent looks for workers that hang."""

Beat = Callable[[], None]
"""Called by a worker at least once a second, as its heartbeat."""
Serve = Callable[[int, Beat], None]
"""What a worker runs. Arguments: its place among the workers, which its successor takes over, and its heartbeat."""

log: Final = logging.getLogger(__name__)


def ending_signals() -> set[signal.Signals]:
    """Signals that ask for a graceful end. SIGHUP is one unless the process was started with `nohup`."""
    ends = {signal.SIGTERM, signal.SIGINT}
    if signal.getsignal(signal.SIGHUP) is not signal.SIG_IGN:
        ends.add(signal.SIGHUP)
    return ends


class Workers:
    """Workers are forked, so that they share the memory of what is loaded already and serve at once."""

    def __init__(self, serve: Serve, count: int, listener: socket.socket, *, patience: float) -> None:
        self._serve = serve
        self._listener = listener
        self._count = count
        self._patience = patience
        self._ends = ending_signals()
        self._born: dict[int, float] = {}
        self._places: dict[int, int] = {}
        self._beats = memoryview(mmap.mmap(-1, count * 8)).cast("d")
        """The time of each worker's last heartbeat, in memory that they share with this process."""

    def run(self) -> int:
        """Keep the workers alive until a signal asks for the end. Returns the exit code."""
        awaited = self._ends | {signal.SIGCHLD, signal.SIGALRM}
        signal.signal(signal.SIGCHLD, lambda *_: None)  # the system discards it otherwise
        signal.pthread_sigmask(signal.SIG_BLOCK, awaited)
        signal.setitimer(signal.ITIMER_REAL, LOOK_SECONDS, LOOK_SECONDS)
        for place in range(self._count):
            self._start(place)
        while True:
            received = signal.sigwait(awaited)
            if received in self._ends:
                log.info("%s: finishing the running requests, then stopping", signal.Signals(received).name)
                return self._end(0)
            for pid, code, age in self._dead():
                if code == STARTUP_FAILURE:
                    log.error("worker %d could not start", pid)
                    return self._end(code)
                log.error("worker %d %s; starting another one", pid, _described(code))
                time.sleep(max(0.0, HEALTHY_SECONDS - age))
                self._start(self._places.pop(pid))
            self._kill_hung()

    def _kill_hung(self) -> None:
        for pid, place in self._places.items():
            if time.monotonic() - self._beats[place] > HUNG_SECONDS:
                log.error("worker %d has been blocked for %.0f seconds, killing it", pid, HUNG_SECONDS)
                self._beats[place] = time.monotonic()
                os.kill(pid, signal.SIGKILL)

    def _start(self, place: int) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        self._beats[place] = time.monotonic()
        pid = os.fork()
        if pid == 0:
            self._become_worker(place)
        self._born[pid] = time.monotonic()
        self._places[pid] = place

    def _become_worker(self, place: int) -> NoReturn:
        def beat() -> None:
            self._beats[place] = time.monotonic()

        code = 1
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, self._ends | {signal.SIGCHLD, signal.SIGALRM})
            self._serve(place, beat)
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:  # noqa: BLE001 (the parent's code must not run in the worker)
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
            os._exit(code)

    def _dead(self) -> list[tuple[int, int, float]]:
        """Process id, exit code and age of the workers that ended since the last call."""
        found: list[tuple[int, int, float]] = []
        for pid in list(self._born):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                found.append((pid, os.waitstatus_to_exitcode(status), time.monotonic() - self._born.pop(pid)))
        return found

    def _end(self, code: int) -> int:
        # Clients could still connect otherwise, when no worker accepts them any more.
        self._listener.close()
        for pid in self._born:
            os.kill(pid, signal.SIGTERM)
        until = time.monotonic() + self._patience
        while self._born and time.monotonic() < until:
            self._dead()
            time.sleep(0.02)
        for pid in self._born:
            log.error("worker %d does not end, killing it", pid)
            os.kill(pid, signal.SIGKILL)
            os.waitpid(pid, 0)
        return code


def _described(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
