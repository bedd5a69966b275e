"""`/llms.txt`: the API in one short text, for programs that read before they call. Made from its description."""

from typing import Any, Final

from litestar import MediaType, Request, Response, get

from taskservice.settings import Settings

SURFACE: Final = "/api/tasks"

_TEXT: Final = """\
# taskservice

> A task API over HTTP and JSON. Every request carries a bearer token (JWT), and every user sees only their own tasks.

Base address: {base}

## How to call it

- Send `Authorization: Bearer <jwt>` with every request below `/api`. Ask the person you work for to give you a token.
- Send bodies as `Content-Type: application/json`. Fields that are not described are refused with 422.
- Errors are `application/problem+json`. Decide by `code`; `errors` names every invalid field and what is allowed.
- Send an `Idempotency-Key` of your own with every write, and repeat the request with the same key when no answer came.
- Send `If-Match` with the `etag` of the task you read, so that you overwrite nobody's change; 412 says to read again.
- Lists answer up to 1000 tasks. Follow `Link: <...>; rel="next"` until it is gone.
- After 503, wait for the seconds in `Retry-After` and repeat.

## Operations

{operations}

`{base}/api/{{user_id}}/tasks` serves the same operations with the token's own user id in the path.

## More

- [OpenAPI description]({openapi}?surface=token): every parameter, body and answer
- [Errors]({problems}): what each `code` means and what to do about it
- [Readiness]({health}): 200 when requests can be served
"""


@get("/llms.txt", media_type=MediaType.TEXT, sync_to_thread=False)
def llms(request: Request[Any, Any, Any]) -> Response[str]:
    settings: Settings = request.app.state.settings
    text = _TEXT.format(
        base=settings.public_url or str(request.base_url).rstrip("/"),
        operations="\n".join(_operations(request.app.openapi_schema.to_schema())),
        openapi=settings.address("/schema/openapi.json"),
        problems=settings.address("/schema/problems"),
        health=settings.address("/health/ready"),
    )
    return Response(text, headers={"Cache-Control": "no-cache"})


def _operations(document: dict[str, Any]) -> list[str]:
    """One line for each operation of the token surface: how to call it, and what for."""
    return [
        f"- `{method.upper()} {path}`: {_in_one_line(operation)}"
        for path, item in document["paths"].items()
        if path == SURFACE or path.startswith(f"{SURFACE}/")
        for method, operation in item.items()
    ]


def _in_one_line(operation: dict[str, Any]) -> str:
    summary: str = operation["summary"].rstrip(".")
    first, stop, _ = " ".join(operation.get("description", "").split()).partition(". ")
    return f"{summary}. {first}{'.' if stop else ''}".rstrip()
