"""What a request costs as the work grows: tasks in the table, tasks of one user, pages into a list.

Cost is CPU time of the service and of PostgreSQL together: growth would show in the database first.
"""

import asyncio
import re
import statistics
from collections.abc import Iterator, Sequence
from contextlib import ExitStack
from pathlib import Path

import msgspec

from bench.candidates import SERVICE, running
from bench.fill import Filling, create_database
from bench.http import Connection, connect, request
from bench.load import Cost, measure
from bench.postgres import Postgres
from bench.processes import Server

# Few enough that nobody waits for a database connection or long for a user's row lock.
CONNECTIONS = 4
EACH = 1000
NEWCOMERS = Filling("newcomer", 50, 0)
DEEP_PAGE = 500
NEXT = re.compile(r'<(?:https?://[^/>]+)?([^>]+)>; rel="?next"?')


class Point(msgspec.Struct, frozen=True):
    """Medians over the rounds, in microseconds per request."""

    series: str
    operation: str
    size: int
    service_cpu: float
    database_cpu: float
    p50: float

    @property
    def cost(self) -> float:
        return self.service_cpu + self.database_cpu


class _Case(msgspec.Struct, frozen=True):
    series: str
    operation: str
    size: int
    database: str
    server: Server
    requests: list[bytes]


async def page(connection: Connection, user: str, limit: int, number: int) -> bytes:
    """The request for that page, reached as a client reaches it: by following `Link` from the first."""
    path = f"/api/tasks?limit={limit}"
    for _ in range(number - 1):
        answer = await connection.send(request("GET", path, user))
        following = NEXT.search(answer.headers["link"])
        assert following is not None, answer.headers
        path = following[1]
    return request("GET", path, user)


async def ids(connection: Connection, user: str) -> list[str]:
    answer = await connection.send(request("GET", "/api/tasks?limit=50", user))
    return [task["id"] for task in msgspec.json.decode(answer.body)]


def creations(users: Sequence[str]) -> list[bytes]:
    return [request("POST", "/api/tasks", user, {"title": "Buy milk", "priority": "high"}) for user in users]


def newcomers() -> list[str]:
    return [f"{NEWCOMERS.prefix}-{member}" for member in range(1, NEWCOMERS.users + 1)]


async def table_cases(size: int, database: str, server: Server) -> list[_Case]:
    """Every user has a thousand tasks, so only the table grows; pages of one, so that a thousand make 500 pages."""
    connection = await connect(server.port)
    users = [f"member-{member}" for member in range(1, min(size // EACH, 20) + 1)]
    cases = {
        "get": [request("GET", f"/api/tasks/{id_}", user) for user in users for id_ in await ids(connection, user)],
        "create": creations(newcomers()),
        "first page of 100": [request("GET", "/api/tasks?limit=100", user) for user in users],
        "page 1 of one": [request("GET", "/api/tasks?limit=1", user) for user in users],
        f"page {DEEP_PAGE} of one": [await page(connection, user, 1, DEEP_PAGE) for user in users],
    }
    connection.close()
    return [_Case("table", name, size, database, server, requests) for name, requests in cases.items()]


async def user_cases(size: int, database: str, server: Server) -> list[_Case]:
    connection = await connect(server.port)
    user = f"owner{size}-1"
    cases = {
        "get": [request("GET", f"/api/tasks/{id_}", user) for id_ in await ids(connection, user)],
        "create": creations([user]),
        "first page of 10": [request("GET", "/api/tasks?limit=10", user)],
    }
    connection.close()
    return [_Case("user", name, size, database, server, requests) for name, requests in cases.items()]


async def page_cases(owner_of: int, pages: Sequence[int], database: str, server: Server) -> list[_Case]:
    connection = await connect(server.port)
    user = f"owner{owner_of}-1"
    requests = {number: await page(connection, user, 100, number) for number in pages}
    connection.close()
    return [_Case("page", "list 100", number, database, server, [raw]) for number, raw in requests.items()]


def grow(
    postgres: Postgres,
    log_directory: Path,
    *,
    tables: Sequence[int],
    owners: Sequence[int],
    pages: Sequence[int],
    rounds: int,
    seconds: float,
) -> Iterator[Point]:
    """All sizes stand side by side and take turns, so that a busy minute of the machine hits all of them."""
    with ExitStack() as servers:
        cases: list[_Case] = []
        for size in tables:
            database = f"table_{size}"
            create_database(postgres, database, [Filling("member", size // EACH, EACH), NEWCOMERS])
            server = servers.enter_context(running(SERVICE, postgres.url(database), log_directory))
            cases += asyncio.run(table_cases(size, database, server))
        create_database(postgres, "owners", [Filling(f"owner{size}", 1, size) for size in owners])
        server = servers.enter_context(running(SERVICE, postgres.url("owners"), log_directory))
        for size in owners:
            cases += asyncio.run(user_cases(size, "owners", server))
        cases += asyncio.run(page_cases(max(owners), pages, "owners", server))
        yield from _measure(cases, postgres, rounds=rounds, seconds=seconds)


def _measure(cases: Sequence[_Case], postgres: Postgres, *, rounds: int, seconds: float) -> Iterator[Point]:
    # One operation after the other, and within it the sizes in turn.
    for kind in dict.fromkeys((case.series, case.operation) for case in cases):
        alike = [case for case in cases if (case.series, case.operation) == kind]
        costs: dict[int, list[Cost]] = {case.size: [] for case in alike}
        for number in range(rounds + 1):
            for case in alike:
                # The first turn warms up: statements are prepared, pages come into the cache.
                length = seconds if number else 1
                cost = measure(case.server, postgres, case.requests, connections=CONNECTIONS, seconds=length)
                if number:
                    costs[case.size].append(cost)
                if case.operation == "create":
                    postgres.execute(
                        case.database,
                        [
                            "DELETE FROM tasks WHERE created_at > now() - interval '1 hour'",
                            "VACUUM tasks",
                            "VACUUM users",
                        ],
                    )
        for size, seen in costs.items():
            yield Point(
                *kind,
                size,
                statistics.median(cost.cpu for cost in seen),
                statistics.median(cost.database_cpu for cost in seen),
                statistics.median(cost.report.p50 for cost in seen),
            )
