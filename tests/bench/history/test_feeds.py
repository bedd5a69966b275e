"""What the history checker expects of a page of the feed, in histories that are too rare to wait for."""

from typing import Any

import pytest

from bench.reliability.history.check import check
from bench.reliability.history.record import Call, History, Task, Version

FIELDS: Task = {"description": None, "status": "pending", "priority": "medium"}


def say(history: History, kind: str, status: int = 200, **what: Any) -> None:
    """The next call of the only client, and its answer."""
    number = len(history.calls)
    call = Call(number=number, user="ann", client="one", server="it", kind=kind, began=float(number), **what)
    call.ended, call.status = number + 0.5, status
    history.calls.append(call)


def version(history: History, title: str, number: int) -> int:
    """The place of a task as change `number` left it."""
    dates = {"created_at": "then", "updated_at": f"at {number}", "completed_at": None, "due_date": None}
    task = {"id": title, "user_id": "ann", "title": title, "completed": False, "etag": f'"{number}-e"'}
    history.versions.append(Version(number, FIELDS | dates | task))
    return len(history.versions) - 1


def create(history: History, title: str, number: int) -> None:
    made = version(history, title, number)
    say(history, "create", 201, versions=[made], asked={"title": title}, tag=number, epoch="e")


@pytest.fixture
def history() -> History:
    """Milk is erased, comes back by an import that no answer shows, and is deleted; then bread is deleted."""
    history = History([], [], [])
    create(history, "milk", 1)
    create(history, "bread", 2)
    say(history, "erase", 204, task="milk")
    say(history, "changes", since=2, entries=["milk"], next=3)
    say(history, "import", asked={"tasks": [FIELDS | {"id": "milk", "title": "milk"}]}, count=1)
    say(history, "delete", 204, task="milk")
    say(history, "changes", since=4, entries=["milk"], next=5)
    say(history, "delete", 204, task="bread")
    return history


def test_an_erased_task_that_came_back_unseen_and_went_again_is_told_as_gone_twice(history: History) -> None:
    say(history, "changes", since=2, entries=["milk", "milk", "bread"], next=6)
    assert check(history).violations == []


@pytest.mark.parametrize("entries", [["milk", "milk"], ["bread"], ["milk", "milk", "milk", "bread"]])
def test_whatever_else_is_told_of_it_is_wrong(history: History, entries: list[int | str]) -> None:
    say(history, "changes", since=2, entries=entries, next=6)
    assert {violation.rule for violation in check(history).violations} == {"every change is told"}


@pytest.fixture
def restored() -> History:
    """Milk goes into the trash, is restored, erased, and comes back by an import; bread changes in between."""
    history = History([], [], [])
    create(history, "milk", 1)
    create(history, "bread", 2)
    say(history, "delete", 204, task="milk")
    say(history, "restore", task="milk", versions=[version(history, "milk", 4)], tag=4, epoch="e")
    asked = {"title": "bread"}
    say(history, "update", task="bread", versions=[version(history, "bread", 5)], asked=asked, tag=5, epoch="e")
    say(history, "erase", 204, task="milk")
    say(history, "import", asked={"tasks": [FIELDS | {"id": "milk", "title": "milk"}]}, count=1)
    version(history, "milk", 7)
    return history


BREAD, MILK = 3, 4
"""The places of their last versions."""


def test_what_an_erased_task_leaves_is_told_where_it_was_erased(restored: History) -> None:
    say(restored, "changes", since=2, entries=[BREAD, "milk", MILK], next=7)
    assert check(restored).violations == []


@pytest.mark.parametrize("entries", [["milk", BREAD, MILK], ["milk", BREAD, "milk", MILK], [BREAD, MILK, "milk"]])
def test_an_earlier_stay_in_the_trash_is_not_told(restored: History, entries: list[int | str]) -> None:
    say(restored, "changes", since=2, entries=entries, next=7)
    assert {violation.rule for violation in check(restored).violations} == {"every change is told"}
