"""Says who is asking, and whether the path is theirs, before anything else of a request is read."""

from collections.abc import Awaitable, Iterable
from typing import Any, Final
from urllib.parse import unquote

from litestar.openapi.spec import SecurityRequirement
from litestar.types import ASGIApp, Receive, Scope, Send

from taskservice.auth.tokens import TokenVerifier
from taskservice.auth.users import RegisteredUsers
from taskservice.problems import InvalidToken, MissingAuthentication, PathOwnerMismatch, Problem

_PUBLIC: Final = "public"
NO_TOKEN: Final[list[SecurityRequirement]] = [{}]
PUBLIC: Final[dict[str, Any]] = {"opt": {_PUBLIC: True}, "security": NO_TOKEN}
"""The options of a route that needs no token, for this middleware and for the API's description. All others need one.

    @get("/health/live", **PUBLIC)
"""


class Authentication:
    """Sets `scope["user"]` to the `Principal` of the bearer token, or raises. Use with `DefineMiddleware`.

    With `users`, the principal must also be one of them.
    """

    def __init__(self, app: ASGIApp, verifier: TokenVerifier, users: RegisteredUsers | None = None) -> None:
        self._app = app
        self._verifier = verifier
        self._users = users

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        if scope["route_handler"].opt.get(_PUBLIC) is not True:
            try:
                token = bearer_token(scope["headers"])
            except Problem as problem:
                self._verifier.outcomes[problem.code] += 1
                raise
            principal = await self._verifier.verify(token)
            if self._users is not None:
                await self._users.require(principal.user_id)
            scope["user"] = principal
        await self._app(scope, receive, send)


class PathOwner:
    """Refuses a path whose `{user_id}` is not the token's user, character by character. Runs after `Authentication`.

    A guard would be the usual place. Litestar copies the route's handler for every call of one, which costs a request
    more than a twentieth of its time.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        # `web.paths` left `%` and `/` encoded.
        if unquote(scope["path_params"]["user_id"]) != scope["user"].user_id:
            raise PathOwnerMismatch
        return self._app(scope, receive, send)


def bearer_token(headers: Iterable[tuple[bytes, bytes]]) -> bytes:
    """The token of the one `Authorization` header. Never from a cookie or the query."""
    found = [value for name, value in headers if name == b"authorization"]
    if not found or (len(found) == 1 and not found[0].strip()):
        raise MissingAuthentication
    scheme, _, token = found[0].partition(b" ")
    if len(found) > 1 or scheme.lower() != b"bearer":
        problem = InvalidToken()
        # The request has no bearer token, so RFC 6750 (3.1) wants no error code.
        problem.headers["WWW-Authenticate"] = 'Bearer realm="taskservice"'
        raise problem
    return token.lstrip(b" ")
