"""Paths that contain a user id with any characters.

A server decodes the path before the router splits it, which turns a `%2F` in a user id into a separator. And
`/api/tasks/tasks` could be the tasks of the user `tasks` or the task `tasks` of the token's user; as no task has such
an id, it is the former.
"""

import re
from collections.abc import Awaitable
from typing import Final
from urllib.parse import unquote

from litestar.types import ASGIApp, Receive, Scope, Send

_USER_TASKS: Final = re.compile(r"/api/tasks(?=/tasks(?:/|$))")


class PathNames:
    """Splits the path before it decodes it. `%` and `/` inside a part stay encoded; `PathOwner` decodes them."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if b"%" in scope["raw_path"]:
            parts = scope["raw_path"].decode("ascii").split("/")
            scope["path"] = "/".join(unquote(part).replace("%", "%25").replace("/", "%2F") for part in parts)
        if scope["path"].startswith("/api/tasks/tasks"):
            scope["path"] = _USER_TASKS.sub("/api/%74asks", scope["path"])
        return self._app(scope, receive, send)
