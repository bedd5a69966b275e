"""HEAD, for every GET: the same answer, of which the server sends no body."""

from typing import cast

from litestar.types import ASGIApp, Receive, Scope, Send


class HeadAsGet:
    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope.get("method") == "HEAD":
            # A copy: uvicorn looks at its own scope to know that no body may follow.
            as_get = cast("Scope", {**scope, "method": "GET"})
            try:
                await self._app(as_get, receive, send)
            finally:
                # The log and the metrics look at the one that came.
                scope.update({name: as_get.get(name) for name in ("path_template", "user")})  # type: ignore[typeddict-item]
        else:
            await self._app(scope, receive, send)
