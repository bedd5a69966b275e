"""Conditional requests: reads `If-Match` and `If-None-Match`."""

import re
from typing import Final

from litestar.types import Scope
from msgspec import Struct

from taskservice.api.request import TaskRequest
from taskservice.tasks.validation import Invalid

_TAG: Final = re.compile(rb'[ \t,]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,[ \t,]*|$)')
"""One tag, with the empty elements of the list around it, which mean nothing (RFC 9110, 5.6.1)."""
_OURS: Final = re.compile(rb'"([0-9]{1,18})"')
"""Nearly all clients send the one tag that they were given."""
_RULE: Final = 'must be entity tags in double quotes, such as "7", or *'
_REVISION: Final = re.compile(rb"[0-9]{1,18}")


def sent_as(scope: Scope, name: bytes) -> list[bytes]:
    """The values of all headers of this name."""
    return [value for key, value in scope["headers"] if key == name]


def read_if_match(request: TaskRequest, sent: str | None) -> tuple[int, ...] | None:
    """The revisions at which a write may happen. None: at any.

    `sent` is what Litestar found: None, or one of several values; all of them are read here.
    """
    if sent is None:
        return None
    value = _all_values(request, b"if-match")
    if value.strip() == b"*":
        return None
    # Strong comparison: a weak tag matches nothing (RFC 9110, 13.1.1).
    tags = [tag for weak, tag in _tags(request, value, "If-Match") if not weak]
    return tuple(int(tag) for tag in tags if _REVISION.fullmatch(tag) and (tag == b"0" or tag[:1] != b"0"))


def read_if_none_match(request: TaskRequest, sent: str | None) -> "Known | None":
    """The tags that the client has already. None: it has nothing, or does not say."""
    if sent is None:
        return None
    value = _all_values(request, b"if-none-match")
    if value.strip() == b"*":
        return Known(None)
    return Known(frozenset(tag for _, tag in _tags(request, value, "If-None-Match")))


class Known(Struct, frozen=True):
    """Tags of the answers that a client holds. None stands for `*`: any answer."""

    tags: frozenset[bytes] | None

    def includes(self, revision: int) -> bool:
        return self.tags is None or b"%d" % revision in self.tags


def _all_values(request: TaskRequest, name: bytes) -> bytes:
    """Several headers of one name are one list."""
    return b",".join(sent_as(request.scope, name))


def _tags(request: TaskRequest, value: bytes, name: str) -> list[tuple[bytes | None, bytes]]:
    ours = _OURS.fullmatch(value)
    if ours is not None:
        return [(None, ours[1])]
    found: list[tuple[bytes | None, bytes]] = []
    place = 0
    while place < len(value):
        match = _TAG.match(value, place)
        if match is None:
            break
        found.append((match[1], match[2]))
        place = match.end()
    if place < len(value) or not found:
        request.note(Invalid("entity_tag", _RULE), name, "header")
    return found
