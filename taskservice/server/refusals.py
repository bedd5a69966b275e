"""Answers with which the server refuses requests before the application sees them."""

import logging
from typing import Final

import msgspec
from uvicorn.protocols.http.httptools_impl import STATUS_LINE

from taskservice.observability.request_context import request_id_of
from taskservice.problems import Problem
from taskservice.settings import Settings
from taskservice.web.cors import Origins

Headers = list[tuple[bytes, bytes]]

log: Final = logging.getLogger(__name__)


class Refusals:
    """Writes problem documents like the application's; each is the last answer of its connection."""

    def __init__(self, settings: Settings) -> None:
        self._public_url = settings.public_url
        self._origins = Origins(settings)

    def answer(self, problem: Problem, url: bytes, sent: Headers, always: Headers, client: str | None) -> bytes:
        """The bytes of the answer. `sent` are the request's headers, `always` the headers of every answer."""
        headers = dict(sent)
        request_id = request_id_of(headers.get(b"x-request-id"))
        document = problem.document(url.partition(b"?")[0], request_id, self._public_url)
        known = {"request_id": request_id, "client": client, "code": problem.code}
        log.info("refused a request for %r with %d: %s", document.instance, problem.status, problem.detail, extra=known)
        body = msgspec.json.encode(document)
        answered = [
            *always,
            *self._origins.cors_headers(headers.get(b"origin")),
            (b"content-type", b"application/problem+json"),
            (b"content-length", b"%d" % len(body)),
            (b"x-request-id", request_id.encode()),
            (b"connection", b"close"),
        ]
        head = b"".join([name + b": " + value + b"\r\n" for name, value in answered])
        return STATUS_LINE[problem.status] + head + b"\r\n" + body
