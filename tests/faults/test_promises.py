"""The promises of docs/reliability.md, each with small numbers. `python -m bench.reliability` takes large ones."""

import asyncio

import pytest

from bench.http import request
from bench.reliability import scenarios
from bench.reliability.database import KillablePostgres, url_through, wired
from bench.reliability.program import running_program

pytestmark = pytest.mark.timing

MEGABYTE = 1 << 20


@pytest.mark.parametrize("sharded", ["false", "true"])
async def test_nothing_acknowledged_is_lost_when_postgresql_is_killed(postgres: KillablePostgres, sharded: str) -> None:
    killed = await scenarios.database_killed(postgres, writes=1500, kills=3, sharded=sharded)
    assert killed.lost == 0
    assert killed.hung == 0
    assert killed.longest_answer < scenarios.DEADLINE + 1
    assert killed.longest_to_heal < 1
    assert set(killed.other_answers) <= {503}


async def test_nothing_acknowledged_is_lost_when_workers_are_killed(postgres: KillablePostgres) -> None:
    killed = await scenarios.workers_killed(postgres, writes=1500, kills=3)
    assert killed.lost == 0
    assert killed.hung == 0
    assert killed.longest_to_heal < 1
    assert not killed.other_answers


@pytest.mark.usefixtures("pgbouncer")
async def test_no_wrong_row_comes_from_behind_pgbouncer(postgres: KillablePostgres) -> None:
    pooled = await scenarios.behind_pgbouncer(postgres, requests=2000)
    assert pooled.wrong == 0
    assert pooled.errors == 0


@pytest.mark.parametrize(("kind", "seconds"), [("refused", 2), ("reset", 2), ("silent", 7)])
async def test_an_outage_is_503_within_the_deadline_and_heals_within_a_second(
    postgres: KillablePostgres, kind: str, seconds: float
) -> None:
    outage = await scenarios.outage(postgres, kind, seconds=seconds)
    assert set(outage.answers) == {503}
    assert outage.without_retry_after == 0
    assert outage.hung == 0
    assert outage.longest_answer < scenarios.DEADLINE + 1
    assert outage.seconds_to_heal < 1


async def test_a_database_that_takes_seconds_to_wake_up_costs_nobody_an_error(postgres: KillablePostgres) -> None:
    async with wired(postgres) as wire, running_program(database_url=url_through(wire.port)) as program:
        wire.cut()
        asking = [
            asyncio.create_task(program.once(request("POST", "/api/tasks", f"early-{number}", {"title": "x"})))
            for number in range(50)
        ]
        await asyncio.sleep(3)
        await wire.mend()
        assert {answer.status for answer in await asyncio.gather(*asking)} == {201}


async def test_1500_clients_stay_connected_without_an_error(postgres: KillablePostgres) -> None:
    crowd = await scenarios.crowd(postgres, clients=1500, rounds=3)
    assert crowd.requests == 4500
    assert crowd.errors == 0


@pytest.mark.parametrize("workers", [1, 2])
async def test_no_request_is_lost_at_the_end(postgres: KillablePostgres, workers: int) -> None:
    stopped = await scenarios.stopped_under_load(postgres, workers=workers)
    assert stopped.answered > 0
    assert stopped.lost == 0
    assert stopped.exit_code == 0
    assert stopped.seconds < 10


async def test_requests_leave_no_memory_behind(postgres: KillablePostgres) -> None:
    grown = await scenarios.memory_of_requests(postgres, requests=5000)
    assert grown.bytes < 8 * MEGABYTE


async def test_a_large_body_takes_no_memory(postgres: KillablePostgres) -> None:
    grown = await scenarios.memory_of_a_large_body(postgres)
    assert grown.bytes < 2 * MEGABYTE
