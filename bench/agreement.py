"""Before anything is measured: all candidates give the right answer, and the same one."""

import asyncio
import datetime as dt
import re
from collections.abc import Mapping
from typing import Any

from bench.candidates import Candidate
from bench.http import Answer, connect
from bench.operations import Operation, World
from bench.processes import Server

# What must differ between two runs of the same write.
OF_THE_RUN = frozenset({"id", "created_at", "updated_at", "completed_at", "next"})
# FastAPI's peer shows no tag in its tasks, which is its own gain.
OF_SOME = frozenset({"etag"})
INSTANT = re.compile(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d(\.\d+)?(Z|\+00:00)")
SAMPLE = 10


class DisagreementError(Exception):
    """Two candidates do not do the same work, so their costs must not be compared."""


def comparable(value: Any, leave_out: frozenset[str]) -> Any:
    """The value without what belongs to one run, instants by their meaning: `.5Z` and `.500000Z` are the same."""
    if isinstance(value, dict):
        return {key: comparable(item, leave_out) for key, item in value.items() if key not in leave_out}
    if isinstance(value, list):
        return [comparable(item, leave_out) for item in value]
    if isinstance(value, str) and INSTANT.fullmatch(value):
        return dt.datetime.fromisoformat(value)
    return value


async def _answers(port: int, operation: Operation, world: World) -> list[Answer]:
    connection = await connect(port)
    try:
        requests = (await operation.prepare(world, connection))[:SAMPLE]
        answers = [await connection.send(raw) for raw in requests]
        if operation.name == "toggle":
            # The way back, so that the next candidate finds what this one found.
            answers += [await connection.send(raw) for raw in requests]
        return answers
    finally:
        connection.close()


def check(operation: Operation, world: World, servers: Mapping[Candidate, Server]) -> None:
    """Raises `DisagreementError` with both answers, unless all that offer the operation answer alike."""
    leave_out = OF_SOME | OF_THE_RUN if operation.writes else OF_SOME
    first: tuple[str, list[Any]] | None = None
    for candidate, server in servers.items():
        if not operation.offered_by(candidate):
            continue
        answers = asyncio.run(_answers(server.port, operation, world))
        for answer in answers:
            if answer.status not in operation.statuses:
                message = f"{operation.name}: {candidate.name} answered {answer.status}: {answer.body[:500]!r}"
                raise DisagreementError(message)
        bodies = [comparable(answer.json(), leave_out) if answer.body else None for answer in answers]
        if first is None:
            first = (candidate.name, bodies)
        elif bodies != first[1]:
            message = f"{operation.name}: {first[0]} answered {first[1]!r:.2000}\nbut {candidate.name} {bodies!r:.2000}"
            raise DisagreementError(message)
