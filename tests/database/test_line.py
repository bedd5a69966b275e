"""The lines in which requests wait for a connection or for their turn: nothing that is given gets lost."""

import asyncio
import time
from collections.abc import Coroutine

import pytest

from taskservice.database.line import Line
from taskservice.database.turns import Turns

WAITING = 0.01
"""Seconds in which a task has come to where it waits."""


def waiting(line: Line[str], patience: float, passed_on: list[str]) -> "asyncio.Task[str]":
    return asyncio.create_task(line.wait(patience, passed_on.append))


async def test_who_comes_first_is_served_first() -> None:
    line: Line[str] = Line()
    tasks = [waiting(line, 5, []) for _ in range(3)]
    await asyncio.sleep(WAITING)
    assert len(line) == 3
    assert [line.give(word) for word in "abc"] == [True] * 3
    assert await asyncio.gather(*tasks) == ["a", "b", "c"]
    assert not line.give("d")


async def test_who_has_given_up_is_passed_over() -> None:
    line: Line[str] = Line()
    impatient, cancelled, patient = (waiting(line, patience, []) for patience in (WAITING / 10, 5, 5))
    await asyncio.sleep(WAITING)
    cancelled.cancel()
    with pytest.raises(TimeoutError):
        await impatient
    with pytest.raises(asyncio.CancelledError):
        await cancelled
    assert len(line) == 1
    assert line.give("a")
    assert await patient == "a"


async def test_what_is_given_in_the_moment_of_a_cancellation_is_passed_on() -> None:
    line: Line[str] = Line()
    passed_on: list[str] = []
    task = waiting(line, 5, passed_on)
    await asyncio.sleep(WAITING)
    assert line.give("a")
    task.cancel()
    with pytest.raises(asyncio.CancelledError):
        await task
    assert passed_on == ["a"]


def has_its_turn(taking: Coroutine[None, None, None]) -> bool:
    """Whether it gets its turn without waiting."""
    try:
        taking.send(None)
    except StopIteration:
        return True
    taking.close()
    return False


async def test_no_turn_is_lost_when_all_give_up_at_once() -> None:
    """Both holders leave when those who waited have given up, but have not gone on yet."""
    turns = Turns(2)
    for _ in range(2):
        await turns.take("ann", 1)
    gone = [asyncio.create_task(turns.take("ann", WAITING * 2)) for _ in range(3)]
    await asyncio.sleep(WAITING)
    found: list[bool] = []

    def leave_and_come() -> None:
        for _ in range(2):
            turns.leave("ann")
        found.extend(has_its_turn(turns.take("ann", 1)) for _ in range(3))

    asyncio.get_running_loop().call_later(WAITING * 2, leave_and_come)
    time.sleep(WAITING * 4)
    errors = await asyncio.gather(*gone, return_exceptions=True)
    assert [type(error) for error in errors] == [TimeoutError] * 3
    assert found == [True, True, False]


async def test_a_cancelled_writer_passes_its_turn_on() -> None:
    turns = Turns(1)
    await turns.take("ann", 1)
    first, second = (asyncio.create_task(turns.take("ann", 5)) for _ in range(2))
    await asyncio.sleep(WAITING)
    turns.leave("ann")
    first.cancel()
    await asyncio.wait_for(second, 1)
    turns.leave("ann")
    assert turns.waiting == 0
