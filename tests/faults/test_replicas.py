"""Reads from a replica are never older than reads from the primary, and nobody waits for a replica that is away."""

import asyncio
import contextlib
import random
import re
import signal
import time
from collections.abc import AsyncIterator, Sequence
from pathlib import Path
from typing import Any

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.http import Answer, request
from bench.reliability.program import Program, running_program
from bench.reliability.replicated import Replicated, Server, replicated
from tests.faults.conftest import Split
from tests.support.commands import Operator
from tests.support.services import SECRET, number_of

pytestmark = pytest.mark.slow

USERS = ("ann", "ben", "cleo")


@pytest.fixture(scope="module")
async def servers(split: Split) -> AsyncIterator[Replicated]:
    async with replicated(synchronous=False) as servers:
        await split(servers.primary.url)
        yield servers


@contextlib.asynccontextmanager
async def serving(servers: Replicated, *options: str, **settings: str) -> AsyncIterator[Program]:
    async with running_program(
        *options,
        files=None,
        ready=True,
        database_url=servers.primary.url,
        database_replica_urls=servers.standby.url,
        taskservice_metrics="true",
        taskservice_log_level="warning",
        **settings,
    ) as program:
        yield program


async def outcomes(programs: Sequence[Program]) -> dict[str, float]:
    """How reads were answered, by all of them together."""
    await asyncio.sleep(1.2)  # workers tell each other once a second
    counted: dict[str, float] = {}
    for program in programs:
        answer = await program.once(request("GET", "/metrics", None))
        for family in text_string_to_metric_families(answer.body.decode()):
            if family.name == "taskservice_replica_reads":
                for sample in family.samples:
                    outcome = sample.labels["outcome"]
                    counted[outcome] = counted.get(outcome, 0) + sample.value
    return counted


class Crowd:
    """Writes and reads through all processes at random, and compares each answer with what anybody saw before it."""

    def __init__(self, programs: Sequence[Program]) -> None:
        self._programs = programs
        self._chance = random.Random(7)
        self.seen = dict.fromkeys(USERS, 0)
        self._tasks: dict[str, list[str]] = {user: [] for user in USERS}
        self._tags: dict[str, list[str]] = {user: [] for user in USERS}
        self.reads = 0
        self.not_modified = 0
        self.writes = True
        self.stale: list[str] = []

    async def client(self, user: str, stop: asyncio.Event) -> None:
        while not stop.is_set():
            if self.writes or not self._tasks[user]:
                await self._write(user)
            for _ in range(4):
                await self._chance.choice((self._list, self._get, self._follow))(user)

    async def _send(self, method: str, path: str, user: str, body: Any = None, **headers: str) -> Answer:
        program = self._chance.choice(self._programs)
        named = {name.replace("_", "-"): value for name, value in headers.items()}
        return await program.once(request(method, path, user, body, named))

    async def _write(self, user: str) -> None:
        answer = await self._send("POST", "/api/tasks", user, {"title": "one more"})
        assert answer.status == 201, answer
        self._tasks[user].append(answer.headers["location"])
        self._saw(user, answer.headers["etag"])

    async def _list(self, user: str) -> None:
        known = {}
        if self._tags[user] and self._chance.random() < 0.6:
            # Also an old one, as that of a client that has written since it read.
            known = {"If_None_Match": self._chance.choice(self._tags[user][-3:])}
        before = self.seen[user]
        answer = await self._send("GET", "/api/tasks?sort=-created&limit=20", user, **known)
        self.not_modified += answer.status == 304
        self._judge(user, before, number_of(answer.headers["etag"]), f"list, {answer.status}")
        self._tags[user].append(answer.headers["etag"])
        self._saw(user, answer.headers["etag"])

    async def _get(self, user: str) -> None:
        """The newest task: an old snapshot does not have it."""
        before = self.seen[user]
        answer = await self._send("GET", self._tasks[user][-1], user)
        self._judge(user, before, before if answer.status == 200 else -1, f"get, {answer.status}")

    async def _follow(self, user: str) -> None:
        before = self.seen[user]
        page: Any = (await self._send("GET", "/api/tasks/changes?limit=1000", user)).json()
        self._judge(user, before, int(page["next"].partition(".")[0]), "changes")

    def _judge(self, user: str, before: int, number: int, what: str) -> None:
        self.reads += 1
        if number < before:
            self.stale.append(f"{what} of {user}: {number} after {before}")

    def _saw(self, user: str, tag: str) -> None:
        self.seen[user] = max(self.seen[user], number_of(tag))


async def test_no_answer_is_stale_while_replay_pauses_and_resumes_under_load(servers: Replicated) -> None:
    async with serving(servers, "--wc", "2") as pair, serving(servers) as alone:
        crowd = Crowd([pair, alone])
        stop = asyncio.Event()
        clients = [asyncio.create_task(crowd.client(user, stop)) for user in USERS for _ in range(3)]
        for _ in range(4):
            await asyncio.sleep(0.8)
            await servers.standby.value("SELECT pg_wal_replay_pause()")
            await asyncio.sleep(0.8)
            await servers.standby.value("SELECT pg_wal_replay_resume()")
        await asyncio.sleep(2)
        stop.set()
        await asyncio.gather(*clients)
        counted = await outcomes([pair, alone])
    assert not crowd.stale, crowd.stale[:20]
    assert crowd.not_modified > 0
    # The test must have been able to see it: many answers came from the replica, and many of its answers were too old.
    assert counted["replica"] > 50, counted
    assert counted["behind"] > 10, counted


async def until_logged(program: Program, text: str, seconds: float) -> None:
    async with asyncio.timeout(seconds):
        while text not in program.log:
            await asyncio.sleep(0.1)


async def test_a_replica_that_is_only_far_behind_is_left_out_and_taken_back_when_it_has_caught_up(
    servers: Replicated,
) -> None:
    async with serving(servers) as program, asyncio.TaskGroup() as clients:
        crowd = Crowd([program])
        stop = asyncio.Event()
        for user in USERS * 3:
            clients.create_task(crowd.client(user, stop))
        await asyncio.sleep(1)
        before = await outcomes([program])
        assert before["replica"] > 0, before
        await servers.standby.value("SELECT pg_wal_replay_pause()")
        try:
            await until_logged(program, "is left out: it is behind the primary", 10)
            away = await outcomes([program])
            await asyncio.sleep(2)
            later = await outcomes([program])
            assert await servers.standby.value("SELECT 1") == 1  # it answers all the time
        finally:
            await servers.standby.value("SELECT pg_wal_replay_resume()")
        # It answers nobody meanwhile, and is only tried now and then.
        assert later["replica"] == away["replica"], (away, later)
        assert later["left_out"] - away["left_out"] > 10 * (later["behind"] - away["behind"]), (away, later)
        crowd.writes = False  # under load its first answer after its return may be too early, time and again
        await until_logged(program, "is used again", 30)
        caught_up = await outcomes([program])
        assert caught_up["replica"] > later["replica"], (later, caught_up)
        crowd.writes = True
        await asyncio.sleep(1)
        stop.set()
    assert crowd.reads > 100
    assert not crowd.stale, crowd.stale[:20]


async def read_for(program: Program, seconds: float) -> float:
    """Reads of one user, one after the other; the longest of them."""
    longest = 0.0
    end = time.monotonic() + seconds
    while time.monotonic() < end:
        began = time.monotonic()
        answer = await program.once(request("GET", "/api/tasks", "ann"))
        assert answer.status == 200
        assert len(answer.body) > 2
        longest = max(longest, time.monotonic() - began)
    return longest


@pytest.mark.timing
@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["is killed", "freezes"])
async def test_a_replica_that_is_away_keeps_nobody_waiting_and_is_taken_back(
    servers: Replicated, fault: signal.Signals
) -> None:
    async with serving(servers) as program:
        assert (await program.once(request("POST", "/api/tasks", "ann", {"title": "Buy milk"}))).status == 201
        await read_for(program, 2)
        before = await outcomes([program])
        assert before["replica"] > 0, before
        known = len(program.log)  # at first it may have been left out until it had the new tables
        servers.standby.signal(fault)
        try:
            assert await read_for(program, 1.5) < 1.5  # those that were under way, no others
            assert await read_for(program, 1.5) < 0.5
            assert (await program.once(request("GET", "/health/ready", None))).status == 200
            away = await outcomes([program])
            assert away["left_out"] > before["left_out"]
        finally:
            if fault is signal.SIGKILL:
                await servers.standby.start()
            else:
                servers.standby.signal(signal.SIGCONT)
        for _ in range(20):
            await read_for(program, 1)
            if (await outcomes([program]))["replica"] > away["replica"] + 5:
                break
        else:
            raise AssertionError("it was not taken back")
        log = program.log[known:]
    assert log.count("is left out") == 1, log
    assert log.count("is used again") == 1, log


async def test_the_doctor_says_how_far_a_replica_is_behind_and_whether_it_follows(
    servers: Replicated, tmp_path: Path
) -> None:
    operator = Operator(tmp_path, BETTER_AUTH_SECRET=SECRET, TASKSERVICE_DATA_DIR=str(tmp_path / "data"))

    async def doctor(replica: Server) -> str:
        # The primary goes by another address here, so that it may be named as a replica by mistake.
        urls = {
            "DATABASE_URL": servers.primary.url.replace(str(servers.primary.port), str(servers.wire.port)),
            "DATABASE_REPLICA_URLS": replica.url,
        }
        return (await asyncio.to_thread(operator.litestar, "doctor", **urls)).out

    name = f"replica .*127.0.0.1:{servers.standby.port}/postgres: [0-9,]+ bytes behind"
    assert re.search(f"✓ {name}", await doctor(servers.standby))
    await servers.standby.value("SELECT pg_wal_replay_pause()")
    try:
        said = await doctor(servers.standby)
    finally:
        await servers.standby.value("SELECT pg_wal_replay_resume()")
    assert re.search(f"✗ {name}, replay is paused", said)
    assert "pg_wal_replay_resume() there" in said
    assert re.search("✗ replica .* takes writes, so it is no replica", await doctor(servers.primary))


@contextlib.asynccontextmanager
async def fewer_connections(standby: Server) -> AsyncIterator[None]:
    """It allows 37 while the primary allows 97: a standby may reserve more, but its limit is at least as large."""
    await restart(standby, "reserved_connections=60")
    try:
        yield
    finally:
        await restart(standby)


async def restart(server: Server, *settings: str) -> None:
    server.stop()
    await server.start(*settings)


def about_connections(log: str) -> list[str]:
    return [line for line in log.splitlines() if "connections each" in line]


async def test_more_connections_than_a_replica_allows_are_one_line_at_start(servers: Replicated) -> None:
    advice = (
        "2 workers with 20 connections each are 40, and the server allows 37: set TASKSERVICE_DATABASE_CONNECTIONS=18"
    )
    async with fewer_connections(servers.standby):
        async with serving(servers, "--wc", "2", taskservice_database_connections="20") as program:
            await asyncio.sleep(1.5)
            lines = about_connections(program.log)
        assert len(lines) == 1, lines
        assert f"the replica 127.0.0.1:{servers.standby.port}: {advice}" in lines[0]
        async with serving(servers, "--wc", "2", taskservice_database_connections="18") as program:
            await asyncio.sleep(1.5)
            assert not about_connections(program.log)


async def test_the_connections_of_a_replica_that_is_away_at_start_are_checked_once_it_is_there(
    servers: Replicated,
) -> None:
    async with fewer_connections(servers.standby):
        servers.standby.stop()
        async with serving(servers, taskservice_database_connections="40") as program:
            assert (await program.once(request("POST", "/api/tasks", "ann", {"title": "Buy milk"}))).status == 201
            assert not about_connections(program.log)
            await servers.standby.start("reserved_connections=60")
            for _ in range(120):
                if lines := about_connections(program.log):
                    break
                await asyncio.sleep(0.1)
        assert len(lines) == 1, lines
        assert "the server allows 37: set TASKSERVICE_DATABASE_CONNECTIONS=37" in lines[0]


async def test_the_doctor_says_which_replica_allows_too_few_connections(servers: Replicated, tmp_path: Path) -> None:
    operator = Operator(
        tmp_path,
        BETTER_AUTH_SECRET=SECRET,
        TASKSERVICE_DATA_DIR=str(tmp_path / "data"),
        DATABASE_URL=servers.primary.url,
        DATABASE_REPLICA_URLS=servers.standby.url,
        WEB_CONCURRENCY="4",
    )
    assert "✓ its connections" in (await asyncio.to_thread(operator.litestar, "doctor")).out
    async with fewer_connections(servers.standby):
        said = (await asyncio.to_thread(operator.litestar, "doctor")).out
    assert "✓ connections" in said
    assert re.search("✗ its connections +4 workers with 10 connections each are 40, and the server allows 37", said)
    assert "set TASKSERVICE_DATABASE_CONNECTIONS=9" in said


async def test_reads_need_the_primary_and_readiness_says_so(servers: Replicated) -> None:
    async with serving(servers) as program:
        servers.primary.signal(signal.SIGSTOP)
        try:
            assert (await program.once(request("GET", "/api/tasks", "ann"))).status == 503
            assert (await program.once(request("GET", "/health/ready", None))).status == 503
        finally:
            servers.primary.signal(signal.SIGCONT)
        await program.ready(20)
