"""The one map from exceptions to problem documents."""

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec
from litestar import Request, Response
from litestar.exceptions import HTTPException, InternalServerException

from taskservice.database.failures import classify, is_duplicate_key
from taskservice.problems import (
    BadRequest,
    BodyTooLarge,
    DatabaseUnavailable,
    InternalError,
    MethodNotAllowed,
    NotFound,
    Problem,
    TaskExists,
)

MEDIA_TYPE: Final = "application/problem+json"

_OF_STATUS: Final[dict[int, type[Problem]]] = {
    400: BadRequest, 404: NotFound, 405: MethodNotAllowed, 413: BodyTooLarge,
}  # fmt: skip


def as_problem(error: Exception) -> Problem:
    if isinstance(error, Problem):
        return error
    if isinstance(error, HTTPException) and error.status_code in _OF_STATUS:
        kind = _OF_STATUS[error.status_code]
        # Of the others our own words say more than Litestar's.
        detail = error.detail if kind is BadRequest else None
        return kind(detail, headers=_with_head(error.headers or {}))
    if is_duplicate_key(error):
        # Ids come from clients in an import only; two at once may bring the same.
        return TaskExists()
    if isinstance(error, InternalServerException):
        # Litestar's word for a client that went away while it sent its body. Nobody is left to read the answer.
        return BadRequest("The request did not arrive in full")
    # The pool says so itself; this catches what fails on the way to a connection or while a stream is read.
    return InternalError() if classify(error) is None else DatabaseUnavailable()


def _with_head(headers: Mapping[str, str]) -> dict[str, str]:
    """`Allow` with HEAD, which stands wherever GET does (`web.methods`) without a route of its own."""
    return {
        name: re.sub(r"\bGET\b", "GET, HEAD", value) if name.lower() == "allow" else value
        for name, value in headers.items()
    }


def problem_response(request: Request[Any, Any, Any], error: Exception) -> Response[bytes]:
    problem = as_problem(error)
    state = request.scope.get("state", {})
    # As it was sent, because an instance is a URI.
    instance = request.scope["raw_path"][:1000].decode("latin-1")
    document = problem.document(instance=instance, request_id=str(state.get("request_id", "unknown")))
    return Response(
        msgspec.json.encode(document), status_code=problem.status, media_type=MEDIA_TYPE, headers=problem.headers
    )
