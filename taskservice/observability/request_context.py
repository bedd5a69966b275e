"""The context of the current request: its ids, its time in the database, and why it failed."""

import re
from typing import Final

import uuid_utils
from litestar.types import Scope

from taskservice.database.database_time import Spent, spent_on_database

_SANE_REQUEST_ID: Final = re.compile(rb"[A-Za-z0-9._-]{1,128}").fullmatch
_TRACEPARENT: Final = re.compile(
    rb"(?!ff)[0-9a-f]{2}-(?!0{32})([0-9a-f]{32})-(?!0{16})[0-9a-f]{16}-[0-9a-f]{2}(-.*)?"
).fullmatch


def request_id_of(given: bytes | None) -> str:
    """The id that the client sent, if it is valid; else a new one."""
    return given.decode() if given and _SANE_REQUEST_ID(given) else str(uuid_utils.uuid7())


def trace_id_of(traceparent: bytes | None) -> str | None:
    trace = _TRACEPARENT(traceparent) if traceparent else None
    return trace[1].decode() if trace else None


class RequestContext(Spent):
    """The pool adds the time that the request waits for the database (`database_time`)."""

    __slots__ = ("cause", "request_id", "trace_id")

    def __init__(self, request_id: str, trace_id: str | None) -> None:
        self.database_seconds = 0.0
        self.request_id = request_id
        self.trace_id = trace_id
        self.cause: BaseException | None = None


def current_request() -> RequestContext | None:
    """The request that this code runs for."""
    spent = spent_on_database.get()
    return spent if isinstance(spent, RequestContext) else None


async def remember_cause(error: Exception, scope: Scope) -> None:
    """Litestar's `after_exception` hook: keep what an exception handler turns into an answer, for the log."""
    request = current_request()
    if request is not None:
        request.cause = error
