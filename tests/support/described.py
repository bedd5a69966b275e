"""Every answer that any test gets is one that docs/openapi.json names: its status, its type and its headers."""

import json
import re
from pathlib import Path
from typing import Any, Final

import httpx

DOCUMENT: Final[dict[str, Any]] = json.loads(
    (Path(__file__).parents[2] / "docs" / "openapi.json").read_text("utf-8"),
)
WATCHED: Final = {
    name.lower(): name for name in (header.partition("-sometimes")[0] for header in DOCUMENT["components"]["headers"])
}

COMMON: Final = frozenset({400, 401, 404, 405, 408, 413, 414, 415, 431, 500, 501, 503})
"""What `default` may stand for."""


def _template(path: str) -> re.Pattern[str]:
    # What has a name of its own (`/trash`) is tried before what may be any id.
    return re.compile(re.sub(r"\\{\w+\\}", "[^/]+", re.escape(path)))


_TEMPLATES: Final = [
    (_template(path), operations)
    for path, operations in sorted(DOCUMENT["paths"].items(), key=lambda item: item[0].count("{"))
]


def resolved(part: dict[str, Any]) -> dict[str, Any]:
    """The part itself, or the component that it refers to."""
    while "$ref" in part:
        found: Any = DOCUMENT
        for name in part["$ref"].removeprefix("#/").split("/"):
            found = found[name]
        part = found
    return part


def operation_of(method: str, path: str) -> dict[str, Any] | None:
    """The operation of a request's raw path. None for what is not described: other methods, pages, nonsense."""
    path = re.sub("^/api/tasks(?=/tasks(/|$))", "/api/{user_id}", path)  # the tasks of the user `tasks`
    for template, operations in _TEMPLATES:
        if template.fullmatch(path.rstrip("/")):
            found: dict[str, Any] | None = operations.get("get" if method == "HEAD" else method.lower())
            return found
    return None


def description_of(status: int, operation: dict[str, Any]) -> dict[str, Any] | None:
    """The answer of this status. `default` stands for the problems that any operation may have, not for successes."""
    answers = operation["responses"]
    common = answers["default"] if status in COMMON else None
    found = answers.get(str(status), common)
    return None if found is None else resolved(found)


async def assert_described(response: httpx.Response) -> None:
    """For the hooks of an HTTP client."""
    request = response.request
    operation = operation_of(request.method, request.url.raw_path.partition(b"?")[0].decode("ascii"))
    if operation is None:
        return
    called = f"{request.method} {request.url.path}: {response.status_code}"
    described = description_of(response.status_code, operation)
    assert described is not None, f"{called} is not described"
    if "content" in described:
        assert response.headers["content-type"].partition(";")[0] in described["content"], called
    promised = {name.lower(): resolved(header) for name, header in described["headers"].items()}
    for name, header in promised.items():
        assert name in response.headers or not header.get("required"), f"{called} lacks {name}"
    for name in WATCHED:
        assert name not in response.headers or name in promised, f"{called} has {name}, which is not described"
