"""The programs that are measured. Each runs as one worker, with uvloop and httptools and ten database connections."""

import sys
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from bench.processes import Server, free_port
from bench.tokens import SECRET

Name = Literal["service", "peer", "limit"]
DATABASE_CONNECTIONS = 10


class Candidate(msgspec.Struct, frozen=True):
    name: Name
    title: str
    program: tuple[str, ...]
    ready: str
    can: frozenset[str]
    """Names of the operations beyond the ordinary ones that it offers."""

    def command(self, port: int) -> list[str]:
        return [sys.executable, "-m", *self.program, "--host", "127.0.0.1", "--port", str(port)]


# Peer and limit run without an access log, the service with whatever it ships: the comparison leans against us.
UVICORN = ("--loop", "uvloop", "--http", "httptools", "--no-access-log")

SERVICE = Candidate(
    "service",
    "taskservice",
    ("litestar", "run"),
    "/health/ready",
    frozenset({"list not modified", "batch of 100", "changes"}),
)
PEER = Candidate(
    "peer",
    "FastAPI + SQLModel",
    ("uvicorn", "bench.peers.fastapi_sqlmodel:app", *UVICORN),
    "/health/ready",
    frozenset({"batch of 100"}),
)
LIMIT = Candidate(
    "limit",
    "bare ASGI + asyncpg + msgspec",
    ("uvicorn", "bench.peers.limit:app", *UVICORN),
    "/health/ready",
    frozenset({"list not modified", "batch of 100", "changes"}),
)
ALL = (SERVICE, PEER, LIMIT)


def start(candidate: Candidate, database_url: str, log_directory: Path) -> Server:
    """A process that is starting; nobody has waited for it yet."""
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "BETTER_AUTH_SECRET": SECRET,
        "TASKSERVICE_ENV": "production",
        "TASKSERVICE_DATABASE_CONNECTIONS": str(DATABASE_CONNECTIONS),
    }
    return Server(
        candidate.name, candidate.command(port), environment, port, log_directory / f"{candidate.name}-{port}.log"
    )


@contextmanager
def running(candidate: Candidate, database_url: str, log_directory: Path) -> Iterator[Server]:
    """A ready server, stopped at the end."""
    server = start(candidate, database_url, log_directory)
    try:
        server.wait_ready(candidate.ready)
        yield server
    finally:
        server.stop()
