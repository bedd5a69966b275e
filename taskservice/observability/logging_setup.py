"""Sends every logger of the process to standard output, in one format.

Values of the query, headers and bodies never reach the log. A log that cannot be written never fails a request.
"""

import contextlib
import logging
import sys
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable
from datetime import UTC, datetime
from threading import Lock
from typing import Final

from taskservice.observability.log_lines import AccessLine, Line, MessageLine, as_json, as_text, causes, frames
from taskservice.observability.request_context import current_request
from taskservice.settings import Settings

FLUSH_SECONDS: Final = 0.05
FLUSH_LINES: Final = 512

LEVEL_NAMES: Final = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}
_LEVELS: Final = {name: number for number, name in LEVEL_NAMES.items()}


class Log(logging.Handler):
    """Writes lines of requests within 50 ms, many at once, and every other line immediately.

    `logging.shutdown` writes the lines that still wait when the process ends.
    """

    def __init__(self, *, production: bool, level: int) -> None:
        super().__init__(level)
        self._encode: Callable[[Line], bytes] = as_json if production else as_text
        self._waiting: deque[Line] = deque()
        self._writing = Lock()
        self._flush_is_due = False

    def emit(self, record: logging.LogRecord) -> None:
        request = current_request()
        error = record.exc_info[1] if record.exc_info else None
        try:
            message = record.getMessage()
        except (TypeError, ValueError):
            message = str(record.msg)
        self._waiting.append(
            MessageLine(
                time=datetime.fromtimestamp(record.created, UTC),
                level=LEVEL_NAMES.get(record.levelno, record.levelname.lower()),
                logger=record.name,
                message=message,
                request_id=request.request_id if request else getattr(record, "request_id", None),
                client=getattr(record, "client", None),
                trace_id=request.trace_id if request else None,
                code=getattr(record, "code", None),
                error=list(causes(error)) if error else None,
                traceback=frames(error.__traceback__) if error else None,
            )
        )
        self.flush()

    def access(self, line: AccessLine) -> None:
        waiting = self._waiting
        waiting.append(line)
        if line.status >= 500 or len(waiting) >= FLUSH_LINES:
            self.flush()
        elif not self._flush_is_due:
            self._flush_is_due = True
            # Only called inside a request, so there is a running loop.
            get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        self._flush_is_due = False
        with self._writing:
            lines = []
            with contextlib.suppress(IndexError):
                while True:
                    lines.append(self._encode(self._waiting.popleft()))
            if lines:
                # The service goes on when the reader of its log has ended.
                with contextlib.suppress(OSError, ValueError):
                    sys.stdout.buffer.write(b"".join(lines))
                    sys.stdout.buffer.flush()


def configure_logging(settings: Settings) -> Log:
    """Send every logger of this process through one `Log`, which replaces that of an earlier call."""
    level = _LEVELS[settings.log_level]
    log = Log(production=settings.production, level=level)
    root = logging.getLogger()
    for handler in [handler for handler in root.handlers if isinstance(handler, Log)]:
        root.removeHandler(handler)
        handler.flush()
    root.addHandler(log)
    root.setLevel(level)
    for name in ("uvicorn", "uvicorn.error", "uvicorn.access", "asyncpg", "taskservice"):
        logger = logging.getLogger(name)
        logger.handlers.clear()
        logger.propagate = True
        logger.setLevel(logging.NOTSET)
    # uvicorn asks this logger for handlers once, and without any it does not build its line.
    logging.getLogger("uvicorn.access").propagate = False
    # These write a line for each HTTP request and each migration step.
    for chatty in ("httpx", "httpcore", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING if level > logging.DEBUG else logging.NOTSET)
    return log
