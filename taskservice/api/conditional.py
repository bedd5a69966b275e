"""Conditional requests: reads `If-Match` and `If-None-Match`."""

import re
from typing import Final

from litestar.types import Scope
from msgspec import Struct

from taskservice.api.request import TaskRequest
from taskservice.tasks.validation import Invalid

_TAG: Final = re.compile(rb'[ \t,]*(W/)?("[\x21\x23-\x7e\x80-\xff]*")[ \t]*(?:,[ \t,]*|$)')
"""One tag, with the empty elements of the list around it, which mean nothing (RFC 9110, 5.6.1)."""
_NONE: Final = "If-None-Match"
_RULE: Final = 'must be entity tags in double quotes, such as "7-k3f9q2x1", or *'


def sent_as(scope: Scope, name: bytes) -> list[bytes]:
    """The values of all headers of this name."""
    return [value for key, value in scope["headers"] if key == name]


def read_if_match(request: TaskRequest, sent: str | None) -> tuple[str, ...] | None:
    """The tags at which a write may happen. None: at any.

    `sent` is what Litestar found: None, or one of several values; all of them are read here.
    """
    if sent is None:
        return None
    value = _all_values(request, b"if-match")
    if value.strip() == b"*":
        return None
    # Strong comparison: a weak tag matches nothing (RFC 9110, 13.1.1).
    return tuple(tag for weak, tag in _tags(request, value, "If-Match") if not weak)


def read_if_none_match(request: TaskRequest, sent: str | None) -> "Known | None":
    """The tags that the client has already. None: it has nothing, or does not say."""
    if sent is None:
        return None
    value = _all_values(request, b"if-none-match")
    if value.strip() == b"*":
        return Known(None)
    return Known(frozenset(tag for _, tag in _tags(request, value, _NONE)))


def asks_to_create(request: TaskRequest) -> bool:
    """Whether a PUT is to create its task: it says `If-None-Match: *`."""
    return _all_values(request, b"if-none-match").strip() == b"*"


def read_creates(request: TaskRequest, if_none_match: str | None, if_match: str | None) -> bool:
    """`asks_to_create`, and notes what the headers cannot mean on a PUT."""
    if if_none_match is None:
        return False
    creates = asks_to_create(request)
    if not creates:
        request.note(Invalid("one_of", "must be *: a PUT with it creates the task", allowed=("*",)), _NONE, "header")
    elif if_match is not None:
        request.note(
            Invalid("combination", "does not go with If-Match, which wants the task to exist"), _NONE, "header"
        )
    return creates


class Known(Struct, frozen=True):
    """Tags of the answers that a client holds. None stands for `*`: any answer."""

    tags: frozenset[str] | None

    def includes(self, tag: str) -> bool:
        return self.tags is None or tag in self.tags


def _all_values(request: TaskRequest, name: bytes) -> bytes:
    """Several headers of one name are one list."""
    return b",".join(sent_as(request.scope, name))


def _tags(request: TaskRequest, value: bytes, name: str) -> list[tuple[bool, str]]:
    found: list[tuple[bool, str]] = []
    place = 0
    while place < len(value):
        match = _TAG.match(value, place)
        if match is None:
            break
        found.append((match[1] is not None, match[2].decode("latin-1")))
        place = match.end()
    if place < len(value) or not found:
        request.note(Invalid("entity_tag", _RULE), name, "header")
    return found
