"""HEAD and OPTIONS, derived from the other methods of a path."""

from collections.abc import Awaitable
from typing import Any, Final, cast

from litestar.types import ASGIApp, Message, Receive, Scope, Send

_NOWHERE: Final = "TRACE"
"""A method that no route has. The 405 that it gets names the methods there are."""

HEADERS_ONLY: Final = "headers_only"
"""In the state of a request that is answered as GET, but whose body nobody gets."""


class DerivedMethods:
    """Answers HEAD as GET (the server leaves the body out) and OPTIONS with what the path allows, without a token."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        method = scope.get("method")
        if method == "HEAD":
            return self._as_get(scope, receive, send)
        if method == "OPTIONS":
            # Litestar's own answer leaves methods out, and runs the middleware of the route without a user.
            return self._app(cast("Scope", {**scope, "method": _NOWHERE}), receive, _allowing(send))
        return self._app(scope, receive, send)

    async def _as_get(self, scope: Scope, receive: Receive, send: Send) -> None:
        # A copy, because the server looks at its own scope to know that it must send no body.
        as_get = cast("Scope", {**scope, "method": "GET"})
        as_get["state"][HEADERS_ONLY] = True
        try:
            await self._app(as_get, receive, send)
        finally:
            # The log and the metrics read the original scope.
            scope.update({name: as_get.get(name) for name in ("path_template", "user")})  # type: ignore[typeddict-item]


def _allowing(send: Send) -> Send:
    """Turns a 405 into a 204 and keeps the header `Allow`."""
    allows = False

    def answer(message: Message) -> Any:
        nonlocal allows
        if message["type"] == "http.response.start" and message["status"] == 405:
            allows = True
            headers = [(name, value) for name, value in message["headers"] if not name.startswith(b"content-")]
            return send({**message, "status": 204, "headers": headers})
        return send({**message, "body": b""}) if allows and message["type"] == "http.response.body" else send(message)

    return answer
