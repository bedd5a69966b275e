"""Whose tasks a path names, whatever characters the user's id has.

Servers decode a path before anybody splits it, so that the `%2F` of a name becomes a slash like any other. And
`/api/tasks/tasks` could be the list of the user `tasks`, or a task `tasks` of the token's user; no task has such an id.
"""

import re
from collections.abc import Awaitable
from typing import Final
from urllib.parse import unquote

from litestar.types import ASGIApp, Receive, Scope, Send

_USER_TASKS: Final = re.compile(r"/api/tasks(?=/tasks(?:/|$))")


class PathNames:
    """Gives the router each part of a path as one part: decoded, but for `%` and `/`, which the guard decodes."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if b"%" in scope["raw_path"]:
            parts = scope["raw_path"].decode("ascii").split("/")
            scope["path"] = "/".join(unquote(part).replace("%", "%25").replace("/", "%2F") for part in parts)
        if scope["path"].startswith("/api/tasks/tasks"):
            scope["path"] = _USER_TASKS.sub("/api/%74asks", scope["path"])
        return self._app(scope, receive, send)
