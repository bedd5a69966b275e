"""Health checks: whether the process is alive, and whether it can serve requests."""

from collections.abc import Awaitable, Callable
from typing import Final

import msgspec
from litestar import Response, get
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import ResponseSpec
from litestar.openapi.spec import Example
from litestar.types import Scope

from taskservice.auth.middleware import PUBLIC
from taskservice.problems import NotReady

DRAINING: Final = "draining"
"""The key under which the server tells requests, through the state of its lifespan, that it is about to stop."""

Probe = Callable[[], Awaitable[str | None]]
"""Says why requests cannot be served right now; None when they can."""


class Health(msgspec.Struct):
    status: str


def _answer(description: str, status: str) -> dict[int, ResponseSpec]:
    example = Example(value={"status": status})
    return {200: ResponseSpec(Health, generate_examples=False, description=description, examples=[example])}


def health_routes(probe: Probe) -> list[HTTPRouteHandler]:
    @get(
        "/health/live",
        **PUBLIC,
        operation_id="isAlive",
        summary="Is the process alive?",
        tags=["health"],
        responses=_answer("It is.", "alive"),
    )
    async def live() -> Health:
        """Answers without touching the database, so that a database that is away restarts nobody."""
        return Health("alive")

    async def ready(scope: Scope) -> Response[Health]:
        """Proved by the requests of the last seconds, else by one query; two seconds at most. `/health` is the same."""
        trouble = "The server is about to stop" if scope["state"].get(DRAINING) else await probe()
        if trouble is not None:
            raise NotReady(trouble)
        return Response(Health("ready"), headers={"Cache-Control": "no-store"})

    described = get(
        "/health/ready",
        **PUBLIC,
        operation_id="isReady",
        summary="Can requests be served?",
        tags=["health"],
        responses=_answer("They can.", "ready"),
    )
    # The same under the shorter name; the description has it once, as operation ids are unique.
    short = get("/health", **PUBLIC, include_in_schema=False)
    return [live, described(ready), short(ready)]
