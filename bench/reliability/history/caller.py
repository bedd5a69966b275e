"""One client's way to the service: every call is recorded with its answer."""

import asyncio
import random
import time
from collections.abc import Callable, Mapping
from typing import Any, Final

import jwt
import msgspec
from msgspec import Raw, Struct

from bench.http import Answer, Connection, connect, request
from bench.reliability.history.record import (
    NO_ANSWER,
    NOT_SENT,
    Call,
    Recorder,
    Result,
    Version,
    epoch_of,
    number_of,
)
from bench.tokens import SECRET

PATIENCE: Final = 12.0
"""How long a client waits for an answer. The service's own deadline is 5 s."""

Ports = Callable[[], Mapping[str, int]]
"""Where each server listens at the moment."""


_ABSENT: Final = Raw()


class _BatchResult(Struct):
    status: int
    task: Raw = _ABSENT
    etag: str | None = None


class _BatchAnswer(Struct):
    results: list[_BatchResult]


class _Entry(Struct):
    type: str
    task: Raw = _ABSENT
    etag: str | None = None
    id: str | None = None


class _Page(Struct):
    changes: list[_Entry]
    next: str
    has_more: bool


class Reply(Struct):
    """What the client itself makes of an answer. Tags and tokens stay as they came: to it they are opaque."""

    call: Call
    tag: str | None = None
    token: str | None = None
    link: str | None = None


class Caller:
    def __init__(self, recorder: Recorder, ports: Ports, user: str, name: str, chance: random.Random) -> None:
        self.recorder = recorder
        self.user = user
        self.name = name
        self.chance = chance
        self.refused = False
        """Whether the last call found nobody, or an answer of 5xx."""
        self._ports = ports
        self._connections: dict[str, tuple[int, Connection]] = {}
        self._in_use: set[Connection] = set()
        # Valid on every clock that the run may show; `iat` is left out, because clocks are stepped back as well.
        claims = {"sub": user, "exp": int(time.time()) + 30 * 86_400}
        self._authorization = f"Bearer {jwt.encode(claims, SECRET, algorithm='HS256')}"

    def versions(self, call: Call) -> list[Version]:
        return [self.recorder.history.versions[place] for place in call.versions]

    def base(self) -> str:
        """One of the two surfaces."""
        return self.chance.choice(("/api/tasks", f"/api/{self.user}/tasks"))

    async def call(
        self,
        kind: str,
        method: str,
        path: str,
        body: object = None,
        *,
        if_match: str | None = None,
        if_none_match: str | None = None,
        key: str | None = None,
        **asked: Any,
    ) -> Reply:
        ports = self._ports()
        server = self.chance.choice(list(ports))
        conditions = {"If-Match": if_match, "If-None-Match": if_none_match, "Idempotency-Key": key}
        headers = {"Authorization": self._authorization}
        headers |= {name: value for name, value in conditions.items() if value is not None}
        call = self.recorder.begin(
            self.user,
            self.name,
            server,
            kind,
            if_match=number_of(if_match),
            if_none_match=number_of(if_none_match),
            key=key,
            **asked,
        )
        reply = Reply(call)
        try:
            answer = await self._send(server, ports[server], request(method, path, None, body, headers))
        except (OSError, TimeoutError) as error:
            call.ended = time.monotonic()
            call.status = NOT_SENT if isinstance(error, ConnectionRefusedError) else NO_ANSWER
        else:
            call.ended = time.monotonic()
            self._note(reply, answer)
        self.refused = call.worth_repeating
        return reply

    async def _send(self, server: str, port: int, raw: bytes) -> Answer:
        known_port, connection = self._connections.pop(server, (0, None))
        async with asyncio.timeout(PATIENCE):
            if connection is None or known_port != port:
                connection = await connect(port)
            self._in_use.add(connection)
            try:
                answer = await connection.send(raw)
            except BaseException:
                connection.close()
                raise
            finally:
                self._in_use.discard(connection)
        if answer.headers.get("connection") != "close":
            if server in self._connections:  # the client called twice at once
                connection.close()
            else:
                self._connections[server] = (port, connection)
        return answer

    def hang_up(self) -> None:
        """Break every connection, also those that wait for an answer."""
        for connection in [*self._in_use, *(connection for _, connection in self._connections.values())]:
            connection.close()
        self._connections.clear()

    def _note(self, reply: Reply, answer: Answer) -> None:
        call = reply.call
        call.status = answer.status
        call.replayed = answer.headers.get("idempotency-replayed") == "true"
        reply.tag = answer.headers.get("etag")
        reply.link = answer.headers.get("link")
        if reply.tag is not None:
            call.tag, call.epoch = number_of(reply.tag), epoch_of(reply.tag)
        if not call.succeeded or call.status == 204:
            return
        version = self.recorder.version
        match call.kind:
            case "list" | "trash":
                call.versions = [version(bytes(raw)) for raw in msgspec.json.decode(answer.body, type=list[Raw])]
            case "batch":
                results = msgspec.json.decode(answer.body, type=_BatchAnswer).results
                call.results = [
                    Result(result.status, version(bytes(result.task), result.etag) if bytes(result.task) else None)
                    for result in results
                ]
            case "changes":
                page = msgspec.json.decode(answer.body, type=_Page)
                call.entries = [
                    version(bytes(entry.task), entry.etag) if bytes(entry.task) else str(entry.id)
                    for entry in page.changes
                ]
                call.next, call.has_more = number_of(page.next), page.has_more
                reply.token = page.next
            case "clear":
                call.count = msgspec.json.decode(answer.body)["deleted"]
            case "import":
                imported = msgspec.json.decode(answer.body)
                call.count = imported["created"] + imported["updated"]
            case _:
                call.versions = [version(answer.body, reply.tag)]
