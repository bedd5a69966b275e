"""HEAD, for every GET: the same answer, of which the server sends no body."""

from typing import cast

from litestar.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "HEAD":
            # A copy: uvicorn looks at its own scope to know that no body may follow.
            scope = cast("Scope", {**scope, "method": "GET"})
        await self._app(scope, receive, send)
