"""Cursors: what nobody signed, and what makes no sense although it is signed, is no cursor."""

import base64
import datetime as dt
import uuid
from typing import Any

import msgspec
import pytest

from taskservice.settings import load_settings
from taskservice.tasks.cursors import _signature, cursor_key, list_key, read_cursor, write_cursor
from taskservice.tasks.filters import Order
from tests.support.services import SECRET

KEY = list_key(b"k" * 32, "a list")
ORDERS = (Order("title"), Order("due"))
LAST = {"title": "Buy milk", "due_date": dt.datetime(9999, 12, 31, 23, 59, 59, 999999, dt.UTC), "id": uuid.uuid4()}


def signed(payload: bytes) -> str:
    return base64.urlsafe_b64encode(_signature(payload, KEY) + payload).rstrip(b"=").decode()


def test_a_cursor_says_where_the_page_ended() -> None:
    assert read_cursor(write_cursor(LAST, ORDERS, KEY), ORDERS, KEY) == {
        "after_id": LAST["id"], "after_title": "Buy milk", "after_due": "9999-12-31T23:59:59.999999+00:00",
    }  # fmt: skip


def test_a_key_of_another_list_or_secret_does_not_fit() -> None:
    other = load_settings({"BETTER_AUTH_SECRET": SECRET[::-1]})
    assert cursor_key(other) != cursor_key(load_settings({"BETTER_AUTH_SECRET": SECRET}))
    for key in (list_key(b"k" * 32, "another list"), list_key(cursor_key(other), "a list")):
        assert read_cursor(write_cursor(LAST, ORDERS, key), ORDERS, KEY) is None


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
