"""From the router straight to the handler.

Between the two Litestar's route converts arguments, resolves dependencies, looks for hooks and cached answers, and
works out how to make an answer of what the handler returned: a tenth of all the work for a short answer. Handlers that
read their request and make their answer themselves use none of it (decision 4).
"""

from typing import Any

from litestar import Request
from litestar.handlers import HTTPRouteHandler
from litestar.types import ASGIApp, Receive, Scope, Send


class Straight:
    """The innermost middleware of such handlers. They take the request and nothing else."""

    def __init__(self, app: ASGIApp) -> None:
        """The way by `app`, the route, is not taken."""

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        handler = scope["route_handler"]
        assert isinstance(handler, HTTPRouteHandler)  # noqa: S101 (for the type checker)
        request: Request[Any, Any, Any] = Request(scope, receive, send)
        if handler.resolve_guards():
            await handler.authorize_connection(request)
        answer = await handler.fn(request)
        await answer.to_asgi_response()(scope, receive, send)
