"""Several serving processes on one listening socket: started, replaced when they die, ended together."""

import contextlib
import logging
import os
import signal
import socket
import sys
import time
import traceback
from collections.abc import Callable
from typing import Final, NoReturn

from uvicorn.config import STARTUP_FAILURE

ENDS: Final = frozenset({signal.SIGTERM, signal.SIGINT})
SIGNALS: Final = ENDS | {signal.SIGCHLD}
HEALTHY_SECONDS: Final = 1.0
"""A worker that dies younger is not replaced at once: the next one would hardly do better."""

log: Final = logging.getLogger(__name__)


class Workers:
    """Forked, so that they share the memory of what is loaded already and serve at once."""

    def __init__(self, serve: Callable[[], None], count: int, listener: socket.socket, *, patience: float) -> None:
        self._serve = serve
        self._listener = listener
        self._count = count
        self._patience = patience
        self._born: dict[int, float] = {}

    def run(self) -> int:
        """Keep them alive until SIGTERM or SIGINT; the exit code."""
        signal.signal(signal.SIGCHLD, lambda *_: None)  # else it is discarded instead of waited for
        signal.pthread_sigmask(signal.SIG_BLOCK, SIGNALS)
        for _ in range(self._count):
            self._start()
        while True:
            if signal.sigwait(SIGNALS) in ENDS:
                return self._end(0)
            for pid, code, age in self._dead():
                if code == STARTUP_FAILURE:
                    log.error("worker %d could not start", pid)
                    return self._end(code)
                log.error("worker %d %s; starting another one", pid, _said(code))
                time.sleep(max(0.0, HEALTHY_SECONDS - age))
                self._start()

    def _start(self) -> None:
        sys.stdout.flush()
        sys.stderr.flush()
        pid = os.fork()
        if pid == 0:
            self._become_worker()
        self._born[pid] = time.monotonic()

    def _become_worker(self) -> NoReturn:
        code = 1
        try:
            signal.signal(signal.SIGCHLD, signal.SIG_DFL)
            signal.pthread_sigmask(signal.SIG_UNBLOCK, SIGNALS)
            self._serve()
            code = 0
        except SystemExit as ended:
            code = ended.code if isinstance(ended.code, int) else 1
        except BaseException:  # noqa: BLE001 (it must not come out in the parent's code)
            traceback.print_exc()
        finally:
            with contextlib.suppress(Exception):
                logging.shutdown()
                sys.stdout.flush()
            os._exit(code)

    def _dead(self) -> list[tuple[int, int, float]]:
        """Who ended since it was asked last: with which code, at which age. One signal may stand for several."""
        found: list[tuple[int, int, float]] = []
        for pid in list(self._born):
            ended, status = os.waitpid(pid, os.WNOHANG)
            if ended:
                found.append((pid, os.waitstatus_to_exitcode(status), time.monotonic() - self._born.pop(pid)))
        return found

    def _end(self, code: int) -> int:
        # Or clients could still connect when nobody accepts them any more.
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


def _said(code: int) -> str:
    return f"was killed by {signal.Signals(-code).name}" if code < 0 else f"ended with exit code {code}"
