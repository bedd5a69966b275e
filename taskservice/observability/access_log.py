"""The middleware that gives each request an id and writes its line in the log.

It runs outside the router, CORS and the handling of exceptions, so that it sees 404, 405 and preflights, too.
The code inside finds the id in `scope["state"]["request_id"]`.
"""

from collections.abc import Callable, Iterator
from datetime import UTC, datetime
from time import perf_counter
from typing import Any, Final

import msgspec
from litestar.types import ASGIApp, HTTPScope, Message, Receive, Send
from uvicorn.protocols.utils import ClientDisconnected

from taskservice.database.database_time import spent_on_database
from taskservice.observability.log_lines import AccessLine, causes, frames
from taskservice.observability.logging_setup import LEVEL_NAMES, Log
from taskservice.observability.request_context import RequestContext, request_id_of, trace_id_of
from taskservice.problems import InternalError, ProblemDocument

Observe = Callable[[str, str | None, int, float], None]
"""Method, route template (None: no such route), status, seconds."""

ACCESS: Final = "taskservice.access"
QUIET_ROUTES: Final = frozenset({"/health", "/health/live", "/health/ready", "/metrics"})
"""Asked every few seconds by machines: logged at `debug`, unless they fail."""
PATH_MAX: Final = 512
ABORTED: Final = 499
"""Logged, never sent: the client left before it had the whole answer (nginx uses this number)."""


class RequestLog:
    """Gives the request an id, adds it to the answer, and logs how the request ended."""

    def __init__(
        self, app: ASGIApp, log: Log, *, observe: Observe | None = None, public_url: str | None = None
    ) -> None:
        self._app = app
        self._log = log
        self._observe = observe
        self._public_url = public_url

    async def __call__(self, scope: Any, receive: Receive, send: Send) -> None:
        started = perf_counter()
        given = trace = None
        for name, value in scope["headers"]:
            if name == b"x-request-id":
                given = value
            elif name == b"traceparent":
                trace = value
        request = RequestContext(request_id_of(given), trace_id_of(trace))
        scope.setdefault("state", {})["request_id"] = request.request_id
        path = scope["path"]  # read now: a mounted handler sees a shortened one
        header = (b"x-request-id", request.request_id.encode())
        status = 0

        def send_with_id(message: Message) -> Any:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
                message["headers"] = [*message.get("headers", ()), header]
            return send(message)

        in_context = spent_on_database.set(request)
        crashed = False
        try:
            await self._app(scope, receive, send_with_id)
        except Exception as error:
            # Litestar answers for exceptions until an answer has begun.
            if _is_disconnect(error):
                status = ABORTED
                return
            request.cause, crashed = error, True
            if status:
                raise  # the server closes the connection, so that the answer does not look complete
            problem = InternalError().document(scope["raw_path"], request.request_id, self._public_url)
            await _send_problem(problem, send_with_id)
        finally:
            spent_on_database.reset(in_context)
            status = status or ABORTED
            self._report(scope, path, status, perf_counter() - started, request, failed=crashed or status >= 500)

    def _report(
        self, scope: HTTPScope, path: str, status: int, seconds: float, request: RequestContext, *, failed: bool
    ) -> None:
        route: str | None = scope.get("path_template")
        if self._observe is not None:
            self._observe(scope["method"], route, status, seconds)
        level = 40 if failed else 10 if route in QUIET_ROUTES else 20
        if level < self._log.level:
            return
        client = scope.get("client")
        line = AccessLine(
            datetime.now(UTC),
            LEVEL_NAMES[level],
            ACCESS,
            scope["method"],
            path if len(path) <= PATH_MAX else path[:PATH_MAX] + "…",
            route,
            status,
            round(seconds * 1000, 3),
            round(request.database_seconds * 1000, 3),
            getattr(scope.get("user"), "user_id", None),
            request.request_id,
            client[0] if client else None,
            request.trace_id,
            scope["state"].get("problem_code"),
        )
        if failed and request.cause is not None:
            line.error = list(causes(request.cause))
            # An outage fails many requests for one reason: where in the code each one failed adds nothing.
            line.traceback = frames(request.cause.__traceback__) if status != 503 else None
        self._log.access(line)


async def _send_problem(problem: ProblemDocument, send: Send) -> None:
    body = msgspec.json.encode(problem)
    headers = [(b"content-type", b"application/problem+json"), (b"content-length", b"%d" % len(body))]
    await send({"type": "http.response.start", "status": problem.status, "headers": headers})
    await send({"type": "http.response.body", "body": body, "more_body": False})


def _is_disconnect(error: BaseException) -> bool:
    """Whether the client has gone. Litestar wraps what is raised while an answer is being sent."""
    return any(isinstance(link, ClientDisconnected) for link in _chain(error))


def _chain(error: BaseException | None) -> Iterator[BaseException]:
    while error is not None:
        yield error
        error = error.__cause__
