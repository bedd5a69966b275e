"""Conditional requests: what `If-Match` and `If-None-Match` ask for."""

import re
from typing import Final

from litestar.types import Scope
from msgspec import Struct

from taskservice.problems import FieldError
from taskservice.tasks.validation import Invalid

_TAG: Final = re.compile(rb'[ \t,]*(W/)?"([\x21\x23-\x7e\x80-\xff]*)"[ \t]*(?:,[ \t,]*|$)')
"""With the empty elements of the list around it, which mean nothing (RFC 9110, 5.6.1)."""
_OURS: Final = re.compile(rb'"([0-9]{1,18})"')
"""What nearly all clients send: the one tag that they were given."""
_RULE: Final = 'must be entity tags in double quotes, such as "7", or *'
_REVISION: Final = re.compile(rb"[0-9]{1,18}")


def sent_as(scope: Scope, name: bytes) -> list[bytes]:
    """The values of all headers of this name."""
    return [value for key, value in scope["headers"] if key == name]


def header(scope: Scope, name: bytes) -> bytes | None:
    """The header's value; several of one name are one list."""
    found = sent_as(scope, name)
    return b",".join(found) if found else None


def if_match(scope: Scope, errors: list[FieldError]) -> tuple[int, ...] | None:
    """The revisions at which a write may happen. None: at any."""
    value = header(scope, b"if-match")
    if value is None or value.strip() == b"*":
        return None
    # Strong comparison: a weak tag matches nothing (RFC 9110, 13.1.1).
    tags = [tag for weak, tag in _tags(value, "If-Match", errors) if not weak]
    return tuple(int(tag) for tag in tags if _REVISION.fullmatch(tag) and (tag == b"0" or tag[:1] != b"0"))


def if_none_match(scope: Scope, errors: list[FieldError]) -> "Known | None":
    """What the client has already. None: nothing, or it does not say."""
    value = header(scope, b"if-none-match")
    if value is None:
        return None
    if value.strip() == b"*":
        return Known(None)
    return Known(frozenset(tag for _, tag in _tags(value, "If-None-Match", errors)))


class Known(Struct, frozen=True):
    """Tags of answers that a client holds; None: whatever there is."""

    tags: frozenset[bytes] | None

    def includes(self, revision: int) -> bool:
        return self.tags is None or b"%d" % revision in self.tags


def _tags(value: bytes, name: str, errors: list[FieldError]) -> list[tuple[bytes | None, bytes]]:
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
        errors.append(Invalid("entity_tag", _RULE).at(name, "header"))
    return found
