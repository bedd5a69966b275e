"""One scrape answers for every worker of a service."""

import asyncio
import os
from collections.abc import AsyncIterator

import pytest
from prometheus_client.parser import text_string_to_metric_families

from bench.http import request
from bench.reliability.program import Program, running_program
from taskservice.observability.shared_figures import Figures, RouteFigures, SharedFigures

pytestmark = pytest.mark.slow

TELLING_SECONDS = 1.5
"""Within this a worker has told the others its figures, as it does each second."""

NOWHERE = "postgresql://somebody@127.0.0.1:1/none"
LIVE = request("GET", "/health/live", None)
Series = dict[str, list[tuple[dict[str, str], float]]]


@pytest.fixture
async def program() -> AsyncIterator[Program]:
    async with running_program("--wc", "3", ready=False, database_url=NOWHERE, taskservice_metrics="true") as program:
        await program.ready(path="/health/live")
        yield program


async def scrape(program: Program) -> Series:
    answer = await program.once(request("GET", "/metrics", None))
    series: Series = {}
    for family in text_string_to_metric_families(answer.body.decode()):
        for sample in family.samples:
            series.setdefault(sample.name, []).append((sample.labels, sample.value))
    return series


def answered(series: Series, path: str) -> float:
    return sum(value for labels, value in series.get("taskservice_http_requests_total", []) if labels["route"] == path)


async def answered_in_all(program: Program, path: str) -> float:
    """What all workers have answered, as soon as none of them has more to tell."""
    async with asyncio.timeout(30):
        told = -1.0
        while True:
            before, told = told, answered(await scrape(program), path)
            if told == before:
                return told
            await asyncio.sleep(TELLING_SECONDS)


async def test_every_scrape_counts_the_requests_of_all_workers(program: Program) -> None:
    before = await answered_in_all(program, "/health/live")
    for _ in range(200):
        assert (await program.once(LIVE)).status == 200
    assert await answered_in_all(program, "/health/live") == before + 200
    seen = {answered(await scrape(program), "/health/live") for _ in range(12)}
    assert seen == {before + 200}


async def test_counters_go_on_when_a_worker_is_replaced(program: Program) -> None:
    for _ in range(200):
        await program.once(LIVE)
    before = await answered_in_all(program, "/health/live")
    for worker in program.workers():
        worker.kill()
    await asyncio.sleep(3)
    await program.ready(path="/health/live")
    after = answered(await scrape(program), "/health/live")
    assert before <= after <= before + 50


async def test_processes_are_told_by_worker_and_everything_else_once(program: Program) -> None:
    await asyncio.sleep(TELLING_SECONDS)
    series = await scrape(program)
    workers = {str(worker.pid) for worker in program.workers()}
    assert {labels["worker"] for labels, _ in series["process_resident_memory_bytes"]} == workers
    assert all(value > 1 << 20 for _, value in series["process_resident_memory_bytes"])
    assert [labels["state"] for labels, _ in series["taskservice_database_connections"]] == ["in_use", "idle"]


def figures(count: int) -> Figures:
    return Figures(1, [RouteFigures("GET", "/", 200, [count, 0], 0.5)], {}, {})


def test_a_worker_that_is_killed_while_it_writes_leaves_its_last_figures() -> None:
    shared = SharedFigures(2)
    shared.write(figures(1))
    child = os.fork()
    if child == 0:
        shared.write(figures(2))
        shared._memory[20:30] = b"\0" * 10  # as if the second half of it were missing
        os._exit(0)
    assert os.waitstatus_to_exitcode(os.waitpid(child, 0)[1]) == 0
    assert [found.requests[0].buckets for found in shared.read()] == [[1, 0]]


def test_the_worker_that_takes_a_place_counts_on() -> None:
    shared = SharedFigures(2)
    shared.take_place(1)
    shared.write(figures(5))
    shared.take_place(1)
    shared.write(figures(2))
    (found,) = shared.read()
    assert (found.requests[0].buckets, found.requests[0].seconds) == ([7, 0], 1.0)
