"""What happened, in the log: one line for each request, and every other logger in the same dress.

`RequestLog` stands outside everything: the router, CORS and the handling of exceptions. So 404, 405 and preflights are
seen too, and whatever is inside finds the id of the request in `scope["state"]["request_id"]`.

Values of the query, headers and bodies never reach the log. A log that cannot be written never fails a request.
"""

import contextlib
import logging
import re
import sys
from asyncio import get_running_loop
from collections import deque
from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from threading import Lock
from time import perf_counter
from traceback import extract_tb
from types import TracebackType
from typing import Any, Final

import msgspec
import uuid_utils
from litestar.enums import ScopeType
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Scope, Send

from taskservice.database.database_time import Spent, spent_on_database
from taskservice.settings import Settings

Observe = Callable[[str, str | None, int, float], None]
"""Method, route template (None: no such route), status, seconds."""

ACCESS: Final = "taskservice.access"
QUIET_ROUTES: Final = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines: logged at `debug`, unless they fail."""

FLUSH_SECONDS: Final = 0.05
FLUSH_LINES: Final = 512
PATH_MAX: Final = 512
ABORTED: Final = 499
"""Logged, never sent: the request ended before an answer began (nginx's number for it)."""

_SANE_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
_TRACEPARENT: Final = re.compile(rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?")
_LEVELS: Final = {"debug": 10, "info": 20, "warning": 30, "error": 40}
_LEVEL_NAMES: Final = {10: "debug", 20: "info", 30: "warning", 40: "error", 50: "critical"}


def request_id_of(given: bytes | None) -> str:
    """The one that the client gave, if it is sane; else a new one."""
    return given.decode() if given and _SANE_REQUEST_ID(given) else str(uuid_utils.uuid7())


class RequestRecord(Spent):
    """What is known of the request that is being answered."""

    __slots__ = ("cause", "request_id", "trace_id")

    def __init__(self, request_id: str, trace_id: str | None) -> None:
        self.database_seconds = 0.0
        self.request_id = request_id
        self.trace_id = trace_id
        self.cause: BaseException | None = None


def current_request() -> RequestRecord | None:
    """The one that this code runs for."""
    spent = spent_on_database.get()
    return spent if isinstance(spent, RequestRecord) else None


class AccessLine(msgspec.Struct, omit_defaults=True):
    """One request, as it stands in the log."""

    time: datetime
    level: str
    logger: str
    method: str
    path: str
    route: str | None
    status: int
    duration_ms: float
    database_ms: float
    user_id: str | None
    request_id: str
    trace_id: str | None = None
    error: list[str] | None = None
    traceback: list[str] | None = None


class MessageLine(msgspec.Struct, omit_defaults=True):
    """Anything else that is said, by us or by a library."""

    time: datetime
    level: str
    logger: str
    message: str
    request_id: str | None = None
    trace_id: str | None = None
    error: list[str] | None = None
    traceback: list[str] | None = None


Line = AccessLine | MessageLine


class Log(logging.Handler):
    """Lines to standard output: JSON in production, for eyes in development.

    Lines of requests wait up to 50 ms, so that a busy worker writes many at once. Everything else goes out at once,
    with all that waited before it; what still waits at exit goes out with `logging.shutdown`.
    """

    def __init__(self, *, production: bool, level: int) -> None:
        super().__init__(level)
        self._encode: Callable[[Line], bytes] = _json if production else _readable
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
                level=_LEVEL_NAMES.get(record.levelno, record.levelname.lower()),
                logger=record.name,
                message=message,
                request_id=request.request_id if request else getattr(record, "request_id", None),
                trace_id=request.trace_id if request else None,
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
            # Only ever called inside a request, so there is a running loop.
            get_running_loop().call_later(FLUSH_SECONDS, self.flush)

    def flush(self) -> None:
        self._flush_is_due = False
        with self._writing:
            lines = []
            with contextlib.suppress(IndexError):
                while True:
                    lines.append(self._encode(self._waiting.popleft()))
            if lines:
                # A reader that has gone away must not take the service with it.
                with contextlib.suppress(OSError, ValueError):
                    sys.stdout.buffer.write(b"".join(lines))
                    sys.stdout.buffer.flush()


def configure_logging(settings: Settings) -> Log:
    """Send every logger of this process through one `Log`; calling it again replaces the last one."""
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
    # uvicorn asks this logger for handlers once, and without any it does not even build its line.
    logging.getLogger("uvicorn.access").propagate = False
    # A line for each HTTP request and each migration step we make is for debugging only.
    for chatty in ("httpx", "httpcore", "alembic", "asyncio"):
        logging.getLogger(chatty).setLevel(logging.WARNING if level > logging.DEBUG else logging.NOTSET)
    return log


class RequestLog:
    """Names the request, answers with the name, and says how it went."""

    def __init__(self, app: ASGIApp, log: Log, *, observe: Observe | None = None) -> None:
        self._app = app
        self._log = log
        self._observe = observe

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["type"] != ScopeType.HTTP:
            await self._app(scope, receive, send)
            return
        started = perf_counter()
        given = trace = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"traceparent":
                trace = _TRACEPARENT.fullmatch(value)
        request_id = request_id_of(given)
        record = RequestRecord(request_id, trace[1].decode() if trace else None)
        scope["state"]["request_id"] = request_id
        path = scope["path"]  # read now: a mounted handler sees a shortened one
        header = (b"x-request-id", request_id.encode())
        status = 0
        crashed = False

        def send_with_id(message: Message) -> Any:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            return send(message)

        in_context = spent_on_database.set(record)
        try:
            await self._app(scope, receive, send_with_id)
        except BaseException as error:
            # Litestar answers for every exception, so this is one that came when the answer was already on its way.
            record.cause = error
            crashed = isinstance(error, Exception)
            raise
        finally:
            spent_on_database.reset(in_context)
            if not status:
                status = 500 if crashed else ABORTED
            self._report(scope, path, status, perf_counter() - started, record, failed=crashed or status >= 500)

    def _report(
        self, scope: HTTPScope, path: str, status: int, seconds: float, record: RequestRecord, *, failed: bool
    ) -> None:
        route: str | None = scope.get("path_template")
        if self._observe is not None:
            self._observe(scope["method"], route, status, seconds)
        level = 40 if failed else 10 if route in QUIET_ROUTES else 20
        if level < self._log.level:
            return
        line = AccessLine(
            datetime.now(UTC),
            _LEVEL_NAMES[level],
            ACCESS,
            scope["method"],
            path if len(path) <= PATH_MAX else path[:PATH_MAX] + "…",
            route,
            status,
            round(seconds * 1000, 3),
            round(record.database_seconds * 1000, 3),
            getattr(scope.get("user"), "user_id", None),
            record.request_id,
            record.trace_id,
        )
        if failed and record.cause is not None:
            line.error = list(causes(record.cause))
            # An outage has one cause and many requests: where in the code they met it says nothing new.
            line.traceback = frames(record.cause.__traceback__) if status != 503 else None
        self._log.access(line)


async def remember_cause(error: Exception, scope: Scope) -> None:
    """Litestar's `after_exception` hook: keep what a handler is about to turn into an answer."""
    request = current_request()
    if request is not None:
        request.cause = error


def causes(error: BaseException) -> Iterator[str]:
    """An exception and what led to it, a line each, without the values that PostgreSQL adds in further lines."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        message = str(link).partition("\n")[0][:300]
        kind = type(link)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        where = extract_tb(link.__traceback__)[-1:]
        place = f" (at {where[0].filename}:{where[0].lineno} in {where[0].name})" if where else ""
        yield f"{name}: {message}{place}" if message else name + place
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def frames(traceback: TracebackType | None) -> list[str]:
    """Where it happened, innermost last; source lines, never values."""
    return [f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in extract_tb(traceback)]


_encode_json: Final = msgspec.json.Encoder().encode


def _json(line: Line) -> bytes:
    try:
        return _encode_json(line) + b"\n"
    except UnicodeEncodeError:
        # A lone surrogate: no JSON can carry it, the rest of the line still counts.
        clean = {
            name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for name, value in msgspec.structs.asdict(line).items()
        }
        return _encode_json(clean) + b"\n"


def _readable(line: Line) -> bytes:
    clock = line.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    if isinstance(line, AccessLine):
        what = (
            f"{line.method} {_printable(line.path)} {line.status} {line.duration_ms:.1f} ms "
            f"(database {line.database_ms:.1f} ms) user={line.user_id or '-'} request={line.request_id}"
        )
    else:
        what = line.message + (f" request={line.request_id}" if line.request_id else "")
    text = [f"{clock} {line.level.upper():<7} {what}"]
    text += [f"    {error}" for error in line.error or ()]
    text += [f"      {frame}" for frame in line.traceback or ()]
    return ("\n".join(text) + "\n").encode("utf-8", "replace")


def _printable(text: str) -> str:
    """A path may hold anything; in a terminal it must not move the cursor or start a line of its own."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()
