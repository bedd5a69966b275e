"""A span for each request, when OpenTelemetry's SDK has been set up (docs/operations/README.md says how).

It runs directly inside `RequestLog`, whose lines carry the span's trace id. Litestar's own plugin names spans by path,
which gives every task a span name of its own, and records query values.
"""

import sys
from collections.abc import Iterable
from typing import Any

from litestar.types import ASGIApp, Message, Receive, Send

from taskservice.observability.request_context import current_request


def traced(app: ASGIApp) -> ASGIApp:
    """The app with spans if the SDK is loaded; else the app itself, and nothing is imported."""
    if "opentelemetry.sdk.trace" not in sys.modules:
        return app
    from opentelemetry import propagate, trace  # noqa: PLC0415
    from opentelemetry.trace import SpanKind, StatusCode  # noqa: PLC0415

    tracer = trace.get_tracer("taskservice")

    async def with_span(scope: Any, receive: Receive, send: Send) -> None:
        method = scope["method"]
        status = 0

        async def noting_status(message: Message) -> None:
            nonlocal status
            if message["type"] == "http.response.start":
                status = message["status"]
            await send(message)

        with tracer.start_as_current_span(
            method,
            context=propagate.extract(_carrier(scope["headers"])),
            kind=SpanKind.SERVER,
            attributes={"http.request.method": method, "url.path": scope["path"], "url.scheme": scope["scheme"]},
        ) as span:
            request, context = current_request(), span.get_span_context()
            if request is not None and context.is_valid:
                request.trace_id = trace.format_trace_id(context.trace_id)
                span.set_attribute("taskservice.request_id", request.request_id)
            try:
                await app(scope, receive, noting_status)
            finally:
                route = scope.get("path_template")
                if route:
                    span.update_name(f"{method} {route}")
                    span.set_attribute("http.route", route)
                span.set_attribute("http.response.status_code", status)
                if status >= 500:
                    span.set_attribute("error.type", str(status))
                    span.set_status(StatusCode.ERROR)

    return with_span


def _carrier(headers: Iterable[tuple[bytes, bytes]]) -> dict[str, str]:
    return {name.decode("latin-1"): value.decode("latin-1") for name, value in headers if name.startswith(b"trace")}
