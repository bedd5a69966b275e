"""The specifications' success criteria about load, measured: `python -m bench.load_criteria`.

Every simulated user works on tasks of their own over a connection of their own, and every answer is checked, not just
its status. `--quick` asks for zero errors and right answers only, not for times, so that it holds on any machine;
tests do the same through `crowd_at_work`.
"""

import argparse
import asyncio
import resource
import sys
import tempfile
import time
from collections.abc import Callable, Sequence
from pathlib import Path

import msgspec

from bench import candidates, token_checks
from bench.fill import DATABASE, Filling, create_database
from bench.http import Answer, Connection, connect, request
from bench.postgres import running_postgres
from bench.tokens import token

TYPICAL = Filling("member", 100, 900)
"""The users of 001's "typical user (< 1000 tasks)"."""
NORMAL_USERS = 10
NORMAL_PAUSE = 0.05
"""Normal load: ten users who think for that many seconds between any two requests."""

Bearer = Callable[[str], str]


class Observed(msgspec.Struct):
    """What happened to a crowd: seconds each request took, by kind, and each wrong or missing answer in words."""

    took: dict[str, list[float]] = {}
    failures: list[str] = []
    seconds: float = 0.0

    @property
    def requests(self) -> int:
        return sum(len(seconds) for seconds in self.took.values())

    @property
    def per_second(self) -> float:
        return self.requests / self.seconds

    def percentile(self, share: float, *kinds: str) -> float:
        """In milliseconds, over these kinds of request or over all."""
        seconds = sorted(took for kind in kinds or self.took for took in self.took[kind])
        return seconds[min(len(seconds) - 1, int(len(seconds) * share))] * 1000


class Criterion(msgspec.Struct, frozen=True):
    number: str
    asks: str
    measured: float
    unit: str
    at_most: float

    @property
    def met(self) -> bool:
        return self.measured <= self.at_most

    def __str__(self) -> str:
        sign = "met    " if self.met else "NOT MET"
        return f"{sign}  {self.number:22} {self.asks}: {self.measured:.4g} {self.unit} (at most {self.at_most:g})"


class _User:
    """One user at work: creates a task, reads, lists, changes, completes and deletes it, and checks every answer."""

    def __init__(self, name: str, bearer: Bearer, connection: Connection, observed: Observed) -> None:
        self._name = name
        self._headers = {"Authorization": f"Bearer {bearer(name)}"}
        self._connection = connection
        self._observed = observed

    async def _ask(self, kind: str, status: int, method: str, path: str, body: object = None) -> Answer:
        raw = request(method, path, None, body, self._headers)
        start = time.perf_counter()
        answer = await self._connection.send(raw)
        self._observed.took.setdefault(kind, []).append(time.perf_counter() - start)
        if answer.status != status:
            raise AssertionError(f"{kind}: {answer.status} instead of {status}: {answer.body[:300]!r}")
        return answer

    @staticmethod
    def _expect(task: dict[str, object], **fields: object) -> None:
        for name, value in fields.items():
            if task[name] != value:
                raise AssertionError(f"{name} is {task[name]!r} instead of {value!r}")

    async def work(self, turn: int, pause: float) -> None:
        title = f"Turn {turn} of {self._name}"

        async def step(kind: str, status: int, method: str, path: str, body: object = None) -> Answer:
            if pause:
                await asyncio.sleep(pause)
            return await self._ask(kind, status, method, path, body)

        answer = await step("create", 201, "POST", "/api/tasks", {"title": title})
        task = msgspec.json.decode(answer.body)
        self._expect(task, title=title, user_id=self._name, status="pending", completed=False)
        path = f"/api/tasks/{task['id']}"
        answer = await step("get", 200, "GET", path)
        if msgspec.json.decode(answer.body) != task:
            raise AssertionError(f"read {answer.body!r} instead of {task!r}")
        answer = await step("list", 200, "GET", "/api/tasks?sort=-created")
        listed = msgspec.json.decode(answer.body)
        if task not in listed or {entry["user_id"] for entry in listed} != {self._name}:
            raise AssertionError(f"the list of {len(listed)} lacks the new task or has somebody else's")
        answer = await step("update", 200, "PATCH", path, {"title": f"{title}!", "priority": "high"})
        self._expect(msgspec.json.decode(answer.body), id=task["id"], title=f"{title}!", priority="high")
        answer = await step("complete", 200, "PATCH", f"{path}/complete")
        self._expect(msgspec.json.decode(answer.body), status="completed", completed=True)
        await step("delete", 204, "DELETE", path)
        await step("get deleted", 404, "GET", path)


async def crowd_at_work(
    port: int, users: Sequence[str], bearer: Bearer, *, turns: int = 1, pause: float = 0.0, host: str = "127.0.0.1"
) -> Observed:
    """All users at once: everybody connects first, then everybody works. Never raises for what the service does."""
    observed = Observed()
    try:
        connections = await asyncio.gather(*(connect(port, host) for _ in users))
    except OSError as error:
        observed.failures.append(f"connecting: {error!r}")
        return observed

    async def one(name: str, connection: Connection) -> None:
        user = _User(name, bearer, connection, observed)
        try:
            for turn in range(turns):
                await user.work(turn, pause)
        except (AssertionError, OSError, KeyError, msgspec.DecodeError) as failure:
            observed.failures.append(f"{name}: {failure!r}")
        finally:
            connection.close()

    start = time.perf_counter()
    await asyncio.gather(*(one(name, connection) for name, connection in zip(users, connections, strict=True)))
    observed.seconds = time.perf_counter() - start
    return observed


def allow_connections(wanted: int) -> None:
    """Sockets are files, and shells often allow few of them."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    ceiling = wanted if hard == resource.RLIM_INFINITY else min(wanted, hard)
    if soft < ceiling:
        resource.setrlimit(resource.RLIMIT_NOFILE, (ceiling, hard))


def members(count: int) -> list[str]:
    return [f"{TYPICAL.prefix}-{member}" for member in range(1, count + 1)]


def newcomers(count: int, crowd: str) -> list[str]:
    return [f"{crowd}-{member}" for member in range(1, count + 1)]


async def measure(port: int, *, quick: bool) -> tuple[list[Criterion], list[str]]:
    """The criteria (none when quick) and what failed."""
    turns = 1 if quick else 5
    hundred = await crowd_at_work(port, newcomers(100, "hundred"), token, turns=turns)
    thousand = await crowd_at_work(port, newcomers(1000, "thousand"), token, turns=1 if quick else 2)
    failures = hundred.failures + thousand.failures
    if quick or failures:
        return [], failures
    normal = await crowd_at_work(port, members(NORMAL_USERS), token, turns=20, pause=NORMAL_PAUSE)
    failures += normal.failures
    writes = ("create", "update", "complete", "delete")
    checks = await asyncio.to_thread(token_checks.costs)
    slowest_check = max(checks.values()) / 1000
    return [
        Criterion("000-SC-001", "endpoints, slowest of 99 %", normal.percentile(0.99), "ms", 500),
        Criterion("001-SC-001", "endpoints, slowest of 99 %", normal.percentile(0.99), "ms", 200),
        Criterion("003-SC-002", "endpoints, slowest of 95 %", normal.percentile(0.95), "ms", 500),
        Criterion("001 performance", "list of a typical user, 95 %", normal.percentile(0.95, "list"), "ms", 100),
        Criterion("001 performance", "create, update, delete, 95 %", normal.percentile(0.95, *writes), "ms", 50),
        Criterion("001 performance", "token check, slower key kind", slowest_check, "ms", 5),
        Criterion("001-SC-002", "token check, slower key kind", slowest_check, "ms", 10),
        Criterion("000-SC-004, 001-SC-005", "errors among 100 at once", len(hundred.failures), "errors", 0),
        Criterion("003-SC-001", "failed of all requests", len(failures) / thousand.requests * 100, "%", 0.1),
        Criterion("003-SC-006", "errors among 1000 at once", len(thousand.failures), "errors", 0),
        Criterion(
            "003-SC-006",
            "work of 100 users done in a second, relative to that of 1000 users",
            hundred.per_second / thousand.per_second,
            "times",
            1.25,
        ),
    ], failures


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench.load_criteria", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="no errors and right answers, whatever the times")
    options = parser.parse_args()
    allow_connections(4096)
    with tempfile.TemporaryDirectory(prefix="bench-logs-") as logs, running_postgres() as postgres:
        create_database(postgres, DATABASE, [TYPICAL])
        with candidates.running(candidates.SERVICE, postgres.url(DATABASE), Path(logs)) as server:
            criteria, failures = asyncio.run(measure(server.port, quick=options.quick))
    for criterion in criteria:
        print(criterion)
    for failure in failures[:20]:
        print(failure)
    print(f"{len(failures)} errors")
    return 1 if failures or not all(criterion.met for criterion in criteria) else 0


if __name__ == "__main__":
    sys.exit(main())
