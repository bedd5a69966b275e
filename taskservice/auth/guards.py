"""Guards of the task routes: refuse the path of another user."""

from typing import Any
from urllib.parse import unquote

from litestar.connection import ASGIConnection
from litestar.handlers import BaseRouteHandler

from taskservice.problems import PathOwnerMismatch


async def requires_path_owner(connection: ASGIConnection[Any, Any, Any, Any], _: BaseRouteHandler) -> None:
    """`{user_id}` of the path must be the token's user, character by character."""
    # A coroutine, because Litestar runs other functions in a thread. `web.paths` left `%` and `/` encoded.
    if unquote(connection.path_params["user_id"]) != connection.scope["user"].user_id:
        raise PathOwnerMismatch
