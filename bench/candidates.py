"""The programs that are measured. Each runs as one worker on one core's worth of threads, with ten connections."""

import sys
from collections.abc import Callable, Iterable, Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Literal

import msgspec

from bench import toolchains
from bench.processes import Server, free_port
from bench.tokens import SECRET

Name = Literal["service", "limit", "go", "fastify", "fastapi"]
DATABASE_CONNECTIONS = 10
READY = "/health/ready"


def nothing_lacks() -> None:
    """Of the programs in Python, which are there when the bench is."""


class Candidate(msgspec.Struct, frozen=True):
    name: Name
    title: str
    program: Callable[[str], tuple[str, ...]]
    """The command line for a port."""
    can: frozenset[str] = frozenset()
    """Names of the operations beyond the ordinary ones that it offers."""
    lacks: Callable[[], str | None] = nothing_lacks
    """What this machine lacks to run it."""


def litestar(port: str) -> tuple[str, ...]:
    return (sys.executable, "-m", "litestar", "run", "--host", "127.0.0.1", "--port", port)


# The others run without an access log, the service with whatever it ships: the comparison leans against us.
def uvicorn(application: str) -> Callable[[str], tuple[str, ...]]:
    options = ("--loop", "uvloop", "--http", "httptools", "--no-access-log", "--host", "127.0.0.1", "--port")
    return lambda port: (sys.executable, "-m", "uvicorn", application, *options, port)


def node(port: str) -> tuple[str, ...]:
    return ("node", str(toolchains.FASTIFY / "server.js"), "127.0.0.1", port)


def go(port: str) -> tuple[str, ...]:
    return (toolchains.go_program(), "127.0.0.1", port)


EVERYTHING = frozenset({"list not modified", "batch of 100", "changes"})

SERVICE = Candidate("service", "taskservice", litestar, EVERYTHING)
LIMIT = Candidate("limit", "bare ASGI + asyncpg + msgspec", uvicorn("bench.peers.limit:app"), EVERYTHING)
GO = Candidate("go", "Go net/http + pgx", go, lacks=toolchains.go_lacks)
FASTIFY = Candidate("fastify", "Fastify + postgres.js", node, lacks=toolchains.node_lacks)
FASTAPI = Candidate(
    "fastapi", "FastAPI + SQLModel", uvicorn("bench.peers.fastapi_sqlmodel:app"), frozenset({"batch of 100"})
)
ALL = (SERVICE, LIMIT, GO, FASTIFY, FASTAPI)
IN_PYTHON = (SERVICE, LIMIT, FASTAPI)
"""Those that run wherever the bench does."""


def runnable(wanted: Iterable[Candidate]) -> list[Candidate]:
    """Those that can run on this machine. Says why the others cannot."""
    able = []
    for candidate in wanted:
        lacking = candidate.lacks()
        if lacking is None:
            able.append(candidate)
        else:
            print(f"{candidate.title} is left out: {lacking}", flush=True)
    return able


def start(candidate: Candidate, database_url: str, log_directory: Path) -> Server:
    """A process that is starting; nobody has waited for it yet."""
    port = free_port()
    environment = {
        "DATABASE_URL": database_url,
        "BETTER_AUTH_SECRET": SECRET,
        "TASKSERVICE_ENV": "production",
        "TASKSERVICE_DATABASE_CONNECTIONS": str(DATABASE_CONNECTIONS),
        # What Node and Go need to hear: the first is a matter of habit, the second makes Go one worker like the others.
        "NODE_ENV": "production",
        "GOMAXPROCS": "1",
    }
    log = log_directory / f"{candidate.name}-{port}.log"
    return Server(candidate.name, candidate.program(str(port)), environment, port, log)


@contextmanager
def running(candidate: Candidate, database_url: str, log_directory: Path) -> Iterator[Server]:
    """A ready server, stopped at the end."""
    server = start(candidate, database_url, log_directory)
    try:
        server.wait_ready(READY)
        yield server
    finally:
        server.stop()
