"""`python -m bench.scaling`: what requests cost the service, PostgreSQL and a replica, into `docs/scaling.md`.

A primary, a standby that follows it, and two services that take turns: one knows the primary only, the other both.
"""

import asyncio
import statistics
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import Final

import msgspec
import psutil

from bench.candidates import READY, SERVICE
from bench.fill import create_database
from bench.load import measure
from bench.operations import CHANGES, CREATE, FILLINGS, GET, LIST_100, LIST_1000, NOT_MODIFIED, UPDATE, look_around
from bench.postgres import Postgres
from bench.processes import REPOSITORY, Server, free_port
from bench.reliability.replicated import Replicated, replicated
from bench.reliability.replicated import Server as DatabaseServer
from bench.tokens import SECRET

PAGE: Final = REPOSITORY / "docs" / "scaling.md"
DATABASE: Final = "bench"
READS: Final = (GET, LIST_100, LIST_1000, CHANGES, NOT_MODIFIED)
OPERATIONS: Final = (*READS, CREATE, UPDATE)
MEBIBYTE: Final = 1 << 20
CONNECTIONS, ROUNDS, SECONDS = 32, 5, 1.5


class Line(msgspec.Struct, frozen=True):
    """CPU microseconds per request, in the least disturbed round. `with_replica` is the primary's, then."""

    operation: str
    service: float
    primary: float
    with_replica: float
    replica: float
    service_ratio: float
    """The service's CPU with a replica, by that without: the median over the rounds."""


class Memory(msgspec.Struct, frozen=True):
    """MiB that a worker takes, and that a connection takes of the server for itself."""

    worker: float
    connection: float


def postgres_of(server: DatabaseServer) -> Postgres:
    return Postgres(server.port, psutil.Process(server.pid), "")


@contextmanager
def service(database: str, *replicas: str, logs: Path) -> Iterator[Server]:
    port = free_port()
    environment = {"DATABASE_URL": database, "BETTER_AUTH_SECRET": SECRET, "TASKSERVICE_ENV": "production"}
    if replicas:
        environment["DATABASE_REPLICA_URLS"] = " ".join(replicas)
    server = Server("service", SERVICE.program(str(port)), environment, port, logs / f"{port}.log")
    try:
        server.wait_ready(READY)
        yield server
    finally:
        server.stop()


def measure_all(servers: Replicated) -> tuple[list[Line], Memory]:
    primary, standby = postgres_of(servers.primary), postgres_of(servers.standby)
    create_database(primary, DATABASE, FILLINGS)
    lines = []
    with ExitStack() as stack:
        logs = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="bench-logs-")))
        alone = stack.enter_context(service(primary.url(DATABASE), logs=logs))
        both = stack.enter_context(service(primary.url(DATABASE), standby.url(DATABASE), logs=logs))
        world = look_around(primary, DATABASE)
        for operation in OPERATIONS:
            requests = operation.requests(world, alone.port)
            lines.append(_compare(operation.name, requests, alone, both, primary, standby))
            print(lines[-1], flush=True)
        backends = [
            process.memory_full_info().uss
            for process in primary.process.children()
            if DATABASE in " ".join(process.cmdline())
        ]
        memory = Memory(alone.resident_bytes() / MEBIBYTE, statistics.median(backends) / MEBIBYTE)
        print(memory, flush=True)
    return lines, memory


def _compare(
    name: str, requests: Sequence[bytes], alone: Server, both: Server, primary: Postgres, standby: Postgres
) -> Line:
    rounds = []
    for _ in range(ROUNDS):
        without = measure(alone, primary, requests, connections=CONNECTIONS, seconds=SECONDS)
        before = standby.backend_seconds()
        having = measure(both, primary, requests, connections=CONNECTIONS, seconds=SECONDS)
        on_replica = (standby.backend_seconds() - before) / having.report.requests * 1e6
        rounds.append((without.cpu, without.database_cpu, having.database_cpu, on_replica, having.cpu / without.cpu))
    columns: list[list[float]] = [list(column) for column in zip(*rounds, strict=True)]
    of_service, of_primary, with_replica, of_replica, ratios = columns
    return Line(name, min(of_service), min(of_primary), min(with_replica), min(of_replica), statistics.median(ratios))


def table(*heads: str, rows: Iterable[Sequence[str]]) -> str:
    lines = [heads, ("---", *("---:" for _ in heads[1:])), *rows]
    return "\n".join(f"| {' | '.join(cells)} |" for cells in lines)


def _micro(value: float) -> str:
    return f"{value:,.0f} µs"


def _per_core(micro: float) -> str:
    return f"{1e6 / micro:,.0f}/s"


def carries(lines: Sequence[Line], memory: Memory) -> str:
    rows = [
        (each.operation, _micro(each.service), _micro(each.primary), _per_core(each.service), _per_core(each.primary))
        for each in lines
    ]
    return (
        table("request", "service's CPU", "PostgreSQL's", "a core of the service", "a core of PostgreSQL", rows=rows)
        + f"\n\n{_people(lines)}"
        + f"\n\nA worker takes {memory.worker:.0f} MiB, and each connection {memory.connection:.1f} MiB of the server."
    )


def _people(lines: Sequence[Line]) -> str:
    """A thousand people who poll every 30 seconds, one time in ten with news, and write every ten minutes."""
    asked = {"list not modified": 30.0, "list 100": 3.3, "create": 1.7}
    sums = []
    for whose, cost in (("the service", {each.operation: each.service for each in lines}),
                        ("PostgreSQL", {each.operation: each.primary for each in lines})):  # fmt: skip
        total = sum(times * cost[name] for name, times in asked.items())
        addends = " + ".join(f"{times:g} · {cost[name]:,.0f}" for name, times in asked.items())
        people = 1e6 / total * 1000
        sums.append(f"- {whose}: {addends} = {total:,.0f} µs in a second, so one core serves {people:,.0f} of them")
    return "A thousand of the people described below ask in a second for:\n\n" + "\n".join(sums)


def spares(lines: Sequence[Line]) -> str:
    rows = [
        (
            each.operation,
            _micro(each.primary),
            _micro(each.with_replica),
            _micro(each.replica),
            f"{1 - each.with_replica / each.primary:.0%}",
            f"{each.service_ratio:.2f}",
        )
        for each in lines
        if each.operation in {operation.name for operation in READS}
    ]
    heads = (
        "primary alone",
        "primary, with a replica",
        "replica",
        "the primary saves",
        "service's CPU, by that before",
    )
    return table("read", *heads, rows=rows)


def written(text: str, name: str, content: str) -> str:
    """With this between `<!-- name -->` and `<!-- /name -->`."""
    head, opening, rest = text.partition(f"<!-- {name} -->\n")
    _, closing, tail = rest.partition(f"<!-- /{name} -->")
    assert opening, name
    assert closing, name
    return f"{head}{opening}\n{content}\n\n{closing}{tail}"


async def main() -> None:
    async with replicated(synchronous=False) as servers:
        lines, memory = await asyncio.to_thread(measure_all, servers)
    text = written(PAGE.read_text("utf-8"), "carries", carries(lines, memory))
    PAGE.write_text(written(text, "replicas", spares(lines)), "utf-8")


if __name__ == "__main__":
    asyncio.run(main())
