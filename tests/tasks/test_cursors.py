"""Cursors: what nobody signed, and what makes no sense although it is signed, is no cursor."""

import base64
import datetime as dt
import uuid
from typing import Any

import msgspec
import pytest

from taskservice.database.moments import microseconds_of
from taskservice.settings import load_settings
from taskservice.tasks.cursors import _signature, cursor_key, list_key, position_after, read_cursor, write_cursor
from taskservice.tasks.filters import Order
from tests.support.services import SECRET

KEY = list_key(b"k" * 32, "a list")
ORDERS = (Order("title"), Order("due"))
LAST_MOMENT = microseconds_of(dt.datetime(9999, 12, 31, 23, 59, 59, 999999, dt.UTC))
LAST = {"title": "Buy milk", "due_date": LAST_MOMENT, "id": uuid.uuid4()}


def signed(payload: bytes) -> str:
    return base64.urlsafe_b64encode(_signature(payload, KEY) + payload).rstrip(b"=").decode()


def test_a_cursor_says_where_the_page_ended() -> None:
    assert read_cursor(write_cursor(LAST, ORDERS, KEY), ORDERS, KEY) == {
        "after_id": LAST["id"], "after_title": "Buy milk", "after_due": LAST_MOMENT,
    }  # fmt: skip


def test_a_key_of_another_list_or_secret_does_not_fit() -> None:
    other = load_settings({"BETTER_AUTH_SECRET": SECRET[::-1]})
    assert cursor_key(other) != cursor_key(load_settings({"BETTER_AUTH_SECRET": SECRET}))
    for key in (list_key(b"k" * 32, "another list"), list_key(cursor_key(other), "a list")):
        assert read_cursor(write_cursor(LAST, ORDERS, key), ORDERS, KEY) is None


SOME_MOMENT = microseconds_of(dt.datetime(2026, 1, 2, 3, 4, 5, 6, dt.UTC))
AT = {"title": "Buy milk", "due_date": SOME_MOMENT, "id": uuid.UUID(int=7)}
PAYLOAD = "TqEJ1eSBtaWxrzwAGR172TPNGxBAAAAAAAAAAAAAAAAAAAAAH"


@pytest.mark.parametrize(
    ("environ", "cursor"),
    [
        ({"BETTER_AUTH_SECRET": SECRET}, "WoZOhTtdjdy" + PAYLOAD),
        ({"BETTER_AUTH_SECRETS": f"2:{SECRET},1:{SECRET[::-1]}"}, "WoZOhTtdjdy" + PAYLOAD),
        (
            {"BETTER_AUTH_URL": "https://auth.example", "DATABASE_URL": "postgresql://u:password@h/d?sslmode=disable"},
            "vSH_Dfw21N2" + PAYLOAD,
        ),
        ({"BETTER_AUTH_URL": "https://auth.example"}, "V9ZG4bAQGWy" + PAYLOAD),
    ],
    ids=["a secret", "the first of several", "the database's password", "neither"],
)
def test_a_cursor_outlives_its_release(environ: dict[str, str], cursor: str) -> None:
    key = list_key(cursor_key(load_settings(environ)), "a list")
    assert write_cursor(AT, ORDERS, key) == cursor
    assert read_cursor(cursor, ORDERS, key) == {
        "after_id": AT["id"], "after_title": "Buy milk", "after_due": SOME_MOMENT,
    }  # fmt: skip


def test_a_task_without_a_due_date_has_its_place_too() -> None:
    values = read_cursor(write_cursor(AT | {"due_date": None}, ORDERS, KEY), ORDERS, KEY)
    assert values == {"after_id": AT["id"], "after_title": "Buy milk", "after_due": None}


def test_a_position_is_what_its_cursor_says() -> None:
    for row in (AT, LAST, AT | {"due_date": None}):
        assert position_after(row, ORDERS) == read_cursor(write_cursor(row, ORDERS, KEY), ORDERS, KEY)


def test_a_cursor_may_end_with_any_character() -> None:
    rows = [AT | {"id": uuid.UUID(int=number)} for number in range(64)]
    assert len({write_cursor(row, ORDERS, KEY)[-1] for row in rows}) > 8
    for row in rows:
        values = read_cursor(write_cursor(row, ORDERS, KEY), ORDERS, KEY)
        assert values is not None
        assert values["after_id"] == row["id"]


def test_a_cursor_has_one_spelling() -> None:
    text = write_cursor(AT | {"title": "Buy"}, (Order("title"),), KEY)
    assert len(text) % 4
    assert read_cursor(text, (Order("title"),), KEY) is not None
    # The last character has bits to spare.
    for other in (text + "=", text[:-1] + chr(ord(text[-1]) + 1), f"{text[:9]}!{text[9:]}", text + "A"):
        assert read_cursor(other, (Order("title"),), KEY) is None


ID = uuid.uuid4().bytes


@pytest.mark.parametrize(
    "values",
    [
        [], [ID], ["t", ID], ["t", 1, 2, ID], ["t", 1, None], ["t", 1, "x" * 16], ["t", 1, 7], ["t", 1, b"short"],
        [None, 1, ID], [7, 1, ID], ["\x00", 1, ID], ["t", "1", ID], ["t", 2**63, ID], ["t", -(2**62), ID],
        ["t", 1.5e300, ID], ["t", [1], ID], [{"t": 1}, 1, ID], 7, None, "text", {"a": 1},
    ],
)  # fmt: skip
def test_what_is_signed_and_odd_is_no_cursor(values: Any) -> None:
    assert read_cursor(signed(msgspec.msgpack.encode(values)), ORDERS, KEY) is None


BROKEN = [b"", b"\xc1", b"\x91" * 2000, b"\x91" * 100_000, b"\xdd\xff\xff\xff\xff", b"\xa1\xff"]


@pytest.mark.parametrize("payload", BROKEN)
def test_what_is_signed_and_broken_is_no_cursor(payload: bytes) -> None:
    assert read_cursor(signed(payload), ORDERS, KEY) is None
