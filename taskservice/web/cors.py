"""Cross-origin requests: which pages may call the API and what they may read. Errors carry the same headers."""

import logging
import re
from collections.abc import Awaitable
from typing import Any, Final

from litestar.types import ASGIApp, Message, Receive, Scope, Send

from taskservice.settings import Settings
from taskservice.settings.values import origin_of

METHODS: Final = b"GET, HEAD, POST, PUT, PATCH, DELETE, OPTIONS"
REQUEST_HEADERS: Final = (
    b"Authorization, Content-Type, Idempotency-Key, If-Match, If-None-Match, X-Request-ID, Traceparent, Tracestate"
)
EXPOSED: Final = b"ETag, Link, Location, Retry-After, X-Request-ID, X-Total-Count, Idempotency-Replayed, X-Trash"
PREFLIGHT_SECONDS: Final = b"600"
WARNINGS_MAX: Final = 100
"""How many refused origins a process names in its log. A client can send any number of them."""

_PREFLIGHT: Final = b"access-control-request-method"
_LOOPBACK: Final = re.compile(rb"https?://(localhost|127(\.[0-9]{1,3}){3}|\[::1\])(:[0-9]{1,5})?")

Header = tuple[bytes, bytes]

_VARY: Final = [(b"vary", b"Origin")]

log: Final = logging.getLogger("taskservice")


class Origins:
    """The origins whose pages may read the answers. In development, those of this machine are among them."""

    def __init__(self, settings: Settings) -> None:
        self._origins = frozenset(origin.encode() for origin in settings.cors_origins)
        self._any = "*" in settings.cors_origins
        self._pattern = re.compile(settings.cors_origin_regex) if settings.cors_origin_regex else None
        self._development = not settings.production
        self._own = origin_of(settings.public_url).encode() if settings.public_url else None
        self._warned: set[bytes] = set()

    def allow(self, origin: bytes) -> bool:
        return (
            self._any
            or origin in self._origins
            or bool(self._development and _LOOPBACK.fullmatch(origin))
            or bool(self._pattern and self._pattern.fullmatch(origin.decode("latin-1")))
        )

    def cors_headers(self, origin: bytes | None) -> list[Header]:
        """The headers that an answer to a page of this origin gets. None: the request names no origin."""
        if origin is None or not self.allow(origin):
            return _VARY
        return [*_VARY, (b"access-control-allow-origin", origin), (b"access-control-expose-headers", EXPOSED)]

    def warn_if_refused(self, origin: bytes, host: bytes) -> None:
        """Name a refused origin in the log, once: the browser tells the page's developer, but not the operator."""
        # The service's own pages send their origin with a POST, and need no permission.
        own = origin == self._own or origin.partition(b"://")[2] == host
        if own or origin in self._warned or len(self._warned) >= WARNINGS_MAX or self.allow(origin):
            return
        self._warned.add(origin)
        log.warning(
            "pages of the origin %r may not read answers; if the origin is yours, add it to TASKSERVICE_CORS_ORIGINS",
            origin[:200].decode("latin-1"),
        )


class Cors:
    """Answers preflights without a token, and adds the CORS headers to every other answer."""

    def __init__(self, app: ASGIApp, origins: Origins) -> None:
        self._app = app
        self._origins = origins

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        headers = scope["headers"]
        origin = next((value for name, value in headers if name == b"origin"), None)
        if origin is not None:
            self._origins.warn_if_refused(origin, next((value for name, value in headers if name == b"host"), b""))
            if scope.get("method") == "OPTIONS" and any(name == _PREFLIGHT for name, _ in headers):
                return self._answer_preflight(origin, send)
        return self._app(scope, receive, _with_headers(self._origins.cors_headers(origin), send))

    async def _answer_preflight(self, origin: bytes, send: Send) -> None:
        headers = [(b"vary", b"Origin, Access-Control-Request-Method, Access-Control-Request-Headers")]
        if self._origins.allow(origin):
            headers += [
                (b"access-control-allow-origin", origin),
                (b"access-control-allow-methods", METHODS),
                (b"access-control-allow-headers", REQUEST_HEADERS),
                (b"access-control-max-age", PREFLIGHT_SECONDS),
            ]
        # Another origin is refused by the absence of these headers.
        await send({"type": "http.response.start", "status": 204, "headers": headers})
        await send({"type": "http.response.body", "body": b"", "more_body": False})


def _with_headers(extra: list[Header], send: Send) -> Send:
    def send_with_headers(message: Message) -> Any:
        if message["type"] == "http.response.start":
            message["headers"] = [*message.get("headers", ()), *extra]
        return send(message)

    return send_with_headers
