"""Cross-origin requests: which pages may call, and what they may read. Outermost, so that errors carry it too."""

import re
from collections.abc import Awaitable
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

from taskservice.settings import Settings

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS: Final = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID, Traceparent, Tracestate"
)
EXPOSED: Final = b"ETag, Link, Location, Retry-After, X-Request-ID, Idempotency-Replayed, X-Trash"
PREFLIGHT_SECONDS: Final = b"600"
_PREFLIGHT: Final = b"access-control-request-method"


Header = tuple[bytes, bytes]

_VARY: Final = [(b"vary", b"Origin")]


class Origins:
    """Whose pages may read our answers."""

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(origin.encode() for origin in settings.cors_origins)
        self._any = "*" in settings.cors_origins
        self._pattern = re.compile(settings.cors_origin_regex) if settings.cors_origin_regex else None

    def allow(self, origin: bytes) -> bool:
        return (
            self._any
            or origin in self._origins
            or bool(self._pattern and self._pattern.fullmatch(origin.decode("latin-1")))
        )

    def marks(self, origin: bytes | None) -> list[Header]:
        """What an answer to a page of this origin says about that. None: the request names no origin."""
        if origin is None or not self.allow(origin):
            return _VARY
        return [*_VARY, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED)]


class Cors:
    """Answers preflights without a token, and marks answers for the origins that may read them."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != ScopeType.HTTP:
            return self._app(scope, receive, send)
        headers = scope["headers"]
        origin = next((value for name, value in headers if name == b"origin"), None)
        if origin is not None and scope["method"] == "OPTIONS" and any(name == _PREFLIGHT for name, _ in headers):
            return self._answer_preflight(origin, send)
        return self._app(scope, receive, _with_headers(self._origins.marks(origin), send))

    async def _answer_preflight(self, origin: bytes, send: Send) -> None:
        headers = [(b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]
        if self._origins.allow(origin):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-methods", METHODS),
                (b"access-control-allow-headers", REQUEST_HEADERS),
                (b"access-control-max-age", PREFLIGHT_SECONDS),
            ]
        # For another origin the absence of these headers is the refusal; browsers say so to the developer.
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _with_headers(extra: list[Header], send: Send) -> Send:
    def marked(message: Message) -> Any:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *extra]
        return send(message)

    return marked
