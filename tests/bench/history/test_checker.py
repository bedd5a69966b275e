"""The history checker finds nothing in what the service really answered, and every fault that is planted there."""

import asyncio
from urllib.parse import urlsplit

import pytest

from bench.reliability.history.abilities import probe
from bench.reliability.history.check import check
from bench.reliability.history.matching import matched
from bench.reliability.history.record import History, Recorder
from bench.reliability.history.run import Crowd
from bench.reliability.history.times import Times
from bench.tokens import SECRET
from tests.bench.history.planting import PLANTS, Plant, planted
from tests.support.services import Services

# Alone: a busy machine lets calls time out, and a call without an answer may excuse what is planted.
pytestmark = [pytest.mark.slow, pytest.mark.timing]

CALLS = 2500


@pytest.fixture(scope="module")
async def history(services: Services) -> History:
    """What a crowd was told by a healthy service."""
    service = services.start(BETTER_AUTH_SECRET=SECRET)
    port = urlsplit(service.url).port
    assert port is not None
    recorder = Recorder()
    crowd = Crowd(recorder, lambda: {"the only one": port}, await probe(lambda: {"the only one": port}), seed=1)
    async with crowd.at_work():
        while crowd.calls < CALLS:
            await asyncio.sleep(0.05)
    await crowd.settle()
    for client in crowd.clients:
        client.caller.hang_up()
    await service.close()
    return recorder.history


def test_what_a_healthy_service_answered_is_found_right(history: History) -> None:
    report = check(history)
    assert report.violations == []
    assert report.changes > CALLS / 10
    assert report.blanks < report.changes / 10
    assert report.excused < CALLS / 20


@pytest.mark.parametrize("plant", PLANTS, ids=lambda plant: plant.name)
def test_a_planted_fault_is_found(history: History, plant: Plant) -> None:
    assert plant.rule in {violation.rule for violation in check(planted(history, plant)).violations}


def test_a_record_is_the_same_after_it_was_kept_in_a_file(
    history: History, tmp_path_factory: pytest.TempPathFactory
) -> None:
    path = tmp_path_factory.mktemp("history") / "history.json"
    history.save(path)
    assert History.load(path) == history


def test_what_was_seen_and_what_was_begun_bound_the_counter() -> None:
    times = Times(seen=[(1.0, 3), (2.0, 7), (3.0, 5)], written=[(0.5, 3), (2.5, 8), (4.0, 10), (3.5, 9)])
    assert [times.at_least(moment) for moment in (0.9, 1.0, 1.1, 2.5, 9.0)] == [0, 0, 3, 7, 7]
    assert [times.at_most(moment) for moment in (0.0, 0.5, 3.0, 3.7)] == [2, 7, 8, 9]


def test_pairs_are_found_by_making_room() -> None:
    assert matched({"a": [1, 2], "b": [1], "c": [2, 3]}) == {"a": 2, "b": 1, "c": 3}
    assert len(matched({"a": [1], "b": [1]})) == 1
