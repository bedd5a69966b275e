"""Turns every exception into a problem document."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException

from taskservice.database.failures import classify
from taskservice.problems import (
    BadRequest,
    BodyTooLarge,
    DatabaseUnavailable,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Problem,
)
from taskservice.settings import Settings

MEDIA_TYPE: Final = "application/problem+json"

_OF_STATUS: Final[dict[int, type[Problem]]] = {
    400: BadRequest, 404: NotFound, 405: MethodNotAllowed, 413: BodyTooLarge,
}  # fmt: skip


def as_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException) and error.status_code in _OF_STATUS:
        kind = _OF_STATUS[error.status_code]
        # For the others, our own text says more than Litestar's.
        detail = error.detail if kind is BadRequest else None
        return kind(detail, headers=_with_head(error.headers or {}))
    if isinstance(error, InternalServerException):
        # Litestar raises this when a client goes away while it sends its body. Nobody is left to read the answer.
        return BadRequest("The request did not arrive in full")
    # The pool raises `DatabaseUnavailable` itself. What is left fails while connecting or while a stream is read.
    return InternalError() if classify(error) is None else DatabaseUnavailable()


def _with_head(headers: Mapping[str, str]) -> dict[str, str]:
    """`Allow` with HEAD, which is allowed wherever GET is without a route of its own (see `web.methods`)."""
    return {
        name: re.sub(r"\bGET\b", "GET, HEAD", value) if name.lower() == "allow" else value
        for name, value in headers.items()
    }


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    problem = as_problem(error)
    state = request.scope["state"]
    state["problem_code"] = problem.code  # for the log
    settings: Settings = request.app.state.settings
    document = problem.document(request.scope["raw_path"], str(state.get("request_id", "unknown")), settings.public_url)
    return Response(
        msgspec.json.encode(document), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers
    )
