"""Where a reader of the change feed stands: what its token says, what is told after it, and when it is too old."""

import datetime as dt
import json
import uuid
from typing import Any

import msgspec
import pytest

from taskservice.database.moments import microseconds_of
from taskservice.problems import FieldError, ResyncRequired
from taskservice.tasks.changes import Deletion, Position, change_page, read_position
from taskservice.tasks.store import Changes

EPOCH = "k3f9q2x1"
NOW = microseconds_of(dt.datetime(2026, 1, 2, tzinfo=dt.UTC))


def page(*numbers: int, revision: int = 9, forgotten: int = 0, has_more: bool = False, epoch: str = EPOCH) -> Changes:
    """Deletions, as the database tells them."""
    rows = [{"id": uuid.UUID(int=number), "deleted_at": NOW, "revision": number} for number in numbers]
    return Changes(rows, has_more=has_more, revision=revision, forgotten=forgotten, epoch=epoch)


def read(token: str) -> Position:
    errors: list[FieldError] = []
    position = read_position({"since": [token]}, errors)
    assert errors == []
    return position


@pytest.mark.parametrize(
    ("token", "seen", "complete_from", "epoch"),
    [
        ("0", 0, 0, None),
        ("7", 7, 0, None),
        ("7.k3f9q2x1", 7, 0, "k3f9q2x1"),
        ("7-12.k3f9q2x1", 7, 12, "k3f9q2x1"),
        ("0-0.k3f9q2x1", 0, 0, "k3f9q2x1"),
        ("999999999999999999.k3f9q2x1", 10**18 - 1, 0, "k3f9q2x1"),
    ],
)
def test_a_token_is_read(token: str, seen: int, complete_from: int, epoch: str | None) -> None:
    assert read(token) == Position(seen, complete_from, epoch, first=False)


@pytest.mark.parametrize(
    "token",
    [
        "", "-1", "07", "1000000000000000000", "7-", "-7", "7-07.k3f9q2x1", "7-1000000000000000000.k3f9q2x1",
        "7.k3f9q2x", "7.k3f9q2x12", "7.K3F9Q2X1", "7k3f9q2x1", "7.", " 7", "7 ", "7\n", "\u0667",
    ],
)  # fmt: skip
def test_what_is_no_token_is_named(token: str) -> None:
    errors: list[FieldError] = []
    assert read_position({"since": [token]}, errors) == Position()
    (error,) = errors
    assert (error.field, error.location, error.rule) == ("since", "query", "token")
    assert error.message == "is not a token of this feed: take it from `next` of an earlier answer"


def test_without_a_token_everything_is_read_for_the_first_time() -> None:
    position = read_position({}, [])
    assert position == Position(0, 0, None, first=True)
    assert position.deletions_after == 2**63 - 1


def test_a_first_copy_keeps_the_number_at_which_it_began_while_it_goes_on() -> None:
    first = Position(first=True)
    second = first.after(page(2, 5, revision=9, has_more=True))
    assert second == Position(5, 9, EPOCH, first=False)
    assert second.token == "5-9.k3f9q2x1"
    assert second.deletions_after == 9
    third = read(second.token).after(page(7, revision=20, has_more=True))
    assert (third, third.token) == (Position(7, 9, EPOCH), "7-9.k3f9q2x1")
    last = third.after(page(20, revision=20))
    assert (last, last.token, last.deletions_after) == (Position(20, 0, EPOCH), "20.k3f9q2x1", 0)


def test_a_token_does_not_name_the_beginning_of_a_copy_that_has_passed_it() -> None:
    assert Position(9, 9, EPOCH).token == "9.k3f9q2x1"
    assert Position(10, 9, EPOCH).token == "10.k3f9q2x1"
    assert Position(8, 9, EPOCH).token == "8-9.k3f9q2x1"


@pytest.mark.parametrize(
    ("position", "found"),
    [
        (Position(first=True), page(forgotten=5)),
        (Position(0, 0, "another1"), page(forgotten=5)),
        (Position(5, 0, EPOCH), page(forgotten=5)),
        (Position(9, 0, EPOCH), page(revision=9)),
        (Position(2, 5, EPOCH), page(forgotten=5)),
        (Position(0, 5, EPOCH), page(forgotten=5)),
    ],
)
def test_who_can_have_missed_nothing_goes_on(position: Position, found: Changes) -> None:
    assert change_page("alice", position, found).changes == []


@pytest.mark.parametrize(
    ("position", "found"),
    [
        (Position(4, 0, EPOCH), page(forgotten=5)),
        (Position(10, 0, EPOCH), page(revision=9)),
        (Position(2, 10, EPOCH), page(revision=9)),
        (Position(2, 4, EPOCH), page(forgotten=5)),
        (Position(0, 4, EPOCH), page(forgotten=5)),
        (Position(7, 0, "another1"), page()),
        (Position(7, 0, None), page()),
        (Position(0, 7, "another1"), page()),
    ],
)
def test_who_may_have_missed_something_is_told_to_begin_anew(position: Position, found: Changes) -> None:
    with pytest.raises(ResyncRequired):
        change_page("alice", position, found)


def test_a_page_tells_deletions_and_where_it_ends() -> None:
    told: Any = change_page("alice", Position(1, 0, EPOCH), page(3, 4, has_more=True))
    assert told.changes == [Deletion(uuid.UUID(int=number), "2026-01-02T00:00:00.000000Z") for number in (3, 4)]
    assert (told.next, told.has_more) == ("4.k3f9q2x1", True)
    assert json.loads(msgspec.json.encode(told))["changes"][0] == {
        "type": "delete", "id": str(uuid.UUID(int=3)), "deleted_at": "2026-01-02T00:00:00.000000Z",
    }  # fmt: skip
    told = change_page("alice", Position(1, 0, EPOCH), page(3))
    assert (told.next, told.has_more) == ("9.k3f9q2x1", False)
