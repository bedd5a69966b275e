"""The one shape of every error (contract, section 8), asserted in one place."""

from typing import Any

import httpx

from taskservice.problems import catalogue

PROBLEMS = {(problem.status, problem.code) for problem in catalogue()}
REQUIRED = {"type", "title", "status", "detail", "instance", "code", "status_code", "request_id"}
LOCATIONS = {"body", "query", "path", "header"}
INSIDES = (
    "Traceback",
    'File "',
    "asyncpg",
    "sqlalchemy",
    "msgspec",
    "litestar",
    "SELECT ",
    "INSERT ",
    "UPDATE ",
    ".py",
)


def assert_problem(
    response: httpx.Response, status: int, code: str | None = None, *, detail: str | None = None
) -> dict[str, Any]:
    """The response is a problem document of this status, whole and without a word about the insides. The document."""
    assert response.status_code == status, f"{response.status_code} instead of {status}: {response.text[:500]}"
    if response.request.method == "HEAD":
        return {}
    assert response.headers["content-type"] == "application/problem+json"
    document: dict[str, Any] = response.json()
    assert set(document) - {"errors"} == REQUIRED
    assert document["status"] == document["status_code"] == status
    assert document["type"].endswith("/" + document["code"])
    assert (status, document["code"]) in PROBLEMS
    assert document["request_id"] == response.headers["x-request-id"]
    assert document["title"]
    assert document["detail"]
    # A request line that could not be read has no path to name.
    assert document["instance"].startswith("/") or document["code"] == "bad-request"
    assert "?" not in document["instance"]
    for error in document.get("errors", ()):
        assert {"field", "location", "rule", "message"} <= set(error)
        assert error["location"] in LOCATIONS
    if status == 422 and document["code"] == "validation-failed":
        assert document["errors"]
    _assert_headers_for(response, status)
    for inside in INSIDES:
        assert inside not in response.text, f"{inside!r} gives the insides away: {response.text[:500]}"
    if code is not None:
        assert document["code"] == code
    if detail is not None:
        assert document["detail"] == detail
    return document


def _assert_headers_for(response: httpx.Response, status: int) -> None:
    promised = {401: "www-authenticate", 405: "allow", 503: "retry-after"}
    if status in promised:
        assert response.headers[promised[status]]


def fields_of(document: dict[str, Any]) -> set[str]:
    """The names of all fields it complains about."""
    return {error["field"] for error in document["errors"]}
