"""Cross-origin requests: which pages may call, and what they may read. Outermost, so that errors carry it too."""

import re
from collections.abc import Awaitable
from typing import Any, Final

from litestar.enums import ScopeType
from litestar.types import ASGIApp, Message, Receive, Scope, Send

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS: Final = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID, Traceparent, Tracestate"
)
EXPOSED: Final = b"ETag, Link, Location, Retry-After, X-Request-ID, Idempotency-Replayed, X-Trash"
PREFLIGHT_SECONDS: Final = b"600"


class Cors:
    """Answers preflights without a token, and marks answers for the origins that may read them."""

    def __init__(self, app: ASGIApp, origins: tuple[str, ...], pattern: str | None) -> None:
        self._app = app
        self._origins = frozenset(origin.encode() for origin in origins)
        self._any = "*" in origins
        self._pattern = re.compile(pattern) if pattern else None

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] != ScopeType.HTTP:
            return self._app(scope, receive, send)
        headers = scope["headers"]
        origin = next((value for name, value in headers if name == b"origin"), None)
        if origin is None:
            return self._app(scope, receive, _with_headers(_VARY, send))
        if scope["method"] == "OPTIONS" and any(name == b"access-control-request-method" for name, _ in headers):
            return self._answer_preflight(origin, send)
        return self._app(scope, receive, self._marking(origin, send))

    def _allows(self, origin: bytes) -> bool:
        return (
            self._any
            or origin in self._origins
            or bool(self._pattern and self._pattern.fullmatch(origin.decode("latin-1")))
        )

    async def _answer_preflight(self, origin: bytes, send: Send) -> None:
        headers = [(b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]
        if self._allows(origin):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-methods", METHODS),
                (b"access-control-allow-headers", REQUEST_HEADERS),
                (b"access-control-max-age", PREFLIGHT_SECONDS),
            ]
        # For another origin the absence of these headers is the refusal; browsers say so to the developer.
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})

    def _marking(self, origin: bytes, send: Send) -> Send:
        marks = [(b"vary", b"Origin")]
        if self._allows(origin):
            marks += [(b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED)]
        return _with_headers(marks, send)


_VARY: Final = [(b"vary", b"Origin")]


def _with_headers(extra: list[tuple[bytes, bytes]], send: Send) -> Send:
    def marked(message: Message) -> Any:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *extra]
        return send(message)

    return marked
