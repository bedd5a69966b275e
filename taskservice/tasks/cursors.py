"""Cursors: the sort values and the id of a page's last row, signed for one list.

The key of the signature comes from the configured secret, so every worker and every process of a deployment reads the
cursors of the others, and no client can make one up.
"""

import base64
import hashlib
import hmac
import uuid
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from taskservice.database.moments import microseconds_of, moment
from taskservice.settings import Settings
from taskservice.tasks.filters import Order
from taskservice.tasks.models import TIMESTAMPTZ

_SIGNATURE_BYTES: Final = 8
_FROM_1970_TO_2000: Final = 946_684_800_000_000
"""Cursors count from 1970, as those of earlier releases do, which stay valid."""
_encode: Final = msgspec.msgpack.Encoder().encode


def cursor_key(settings: Settings) -> bytes:
    """The key that all processes with these settings share: from the first secret, else from the database's password.

    Without either (a development database, keys from a JWKS) anybody could sign a cursor. A cursor only says where a
    page of one's own tasks begins, and is checked like any other input.
    """
    password = settings.database.password if settings.database else None
    secret = settings.secrets[0] if settings.secrets else password or ""
    return hashlib.blake2b(secret.encode(), person=b"cursor key", digest_size=32).digest()


def list_key(key: bytes, list_identity: str) -> bytes:
    """The key for the cursors of one list, so that no other list accepts them."""
    return hashlib.blake2b(list_identity.encode(), key=key, digest_size=16).digest()


def write_cursor(last: Mapping[str, Any], orders: tuple[Order, ...], key: bytes) -> str:
    """Where the page after this row starts."""
    values = [_in_cursor(order, last[order.definition.column]) for order in orders]
    payload = _encode([*values, last["id"].bytes])
    return base64.urlsafe_b64encode(_signature(payload, key) + payload).rstrip(b"=").decode()


def position_after(last: Mapping[str, Any], orders: tuple[Order, ...]) -> dict[str, Any]:
    """The values that the SQL of the page after this row takes."""
    return {"after_id": last["id"], **{f"after_{order.sort}": last[order.definition.column] for order in orders}}


def read_cursor(text: str, orders: tuple[Order, ...], key: bytes) -> dict[str, Any] | None:
    """The values that a page's SQL takes from a cursor. None: it is not one of this list."""
    try:
        raw = base64.b64decode(text + "=" * (-len(text) % 4), altchars=b"-_", validate=True)
    except ValueError:
        return None
    signature, payload = raw[:_SIGNATURE_BYTES], raw[_SIGNATURE_BYTES:]
    if not hmac.compare_digest(signature, _signature(payload, key)):
        return None
    if base64.urlsafe_b64encode(raw).rstrip(b"=").decode() != text:
        return None
    return _values(payload, orders)


def _values(payload: bytes, orders: tuple[Order, ...]) -> dict[str, Any] | None:
    try:
        *sorted_by, task_id = msgspec.msgpack.decode(payload, type=list[Any])
        if not isinstance(task_id, bytes):
            return None
        values: dict[str, Any] = {"after_id": uuid.UUID(bytes=task_id)}
        for order, value in zip(orders, sorted_by, strict=True):
            values[f"after_{order.sort}"] = _sort_value(order, value)
    except (ValueError, TypeError, OverflowError, RecursionError):
        return None
    return values


def _in_cursor(order: Order, value: Any) -> Any:
    """A row's value as a cursor has it; `_sort_value` is the way back."""
    return value if value is None or order.definition.type is not TIMESTAMPTZ else value + _FROM_1970_TO_2000


def _sort_value(order: Order, value: Any) -> Any:
    """Raises `TypeError`, `ValueError` or `OverflowError` for what the column cannot hold."""
    if order.definition.type is TIMESTAMPTZ:
        return None if value is None else microseconds_of(moment(value - _FROM_1970_TO_2000))
    if not isinstance(value, str) or "\x00" in value:
        raise TypeError
    return value


def _signature(payload: bytes, key: bytes) -> bytes:
    return hashlib.blake2b(payload, key=key, digest_size=_SIGNATURE_BYTES).digest()
