"""What the clients asked and what they were told, in a form that can be checked later, and kept in a file."""

import re
import time
from collections.abc import Sequence
from pathlib import Path
from typing import Any, Final

import msgspec
from msgspec import Struct

_NUMBER: Final = re.compile(r'(?:W/)?"?(\d+)')

NO_ANSWER: Final = 0
"""The status of a call whose connection broke, or that was not answered in time."""
NOT_SENT: Final = -1
"""The status of a call that nobody listened to."""

Task = dict[str, Any]


class Version(Struct, frozen=True):
    """A task as an answer showed it. `number`: the change that made it so, where the answer says it."""

    number: int | None
    task: Task

    @property
    def id(self) -> str:
        return str(self.task["id"])

    @property
    def in_trash(self) -> bool:
        return "deleted_at" in self.task


class Result(Struct, frozen=True):
    """What one operation of a batch came to."""

    status: int
    version: int | None = None


class Call(Struct, kw_only=True, omit_defaults=True):
    """One request of one client, and the answer. Versions are named by their place in `History.versions`."""

    number: int
    user: str
    client: str
    server: str
    kind: str
    began: float
    ended: float = 0.0
    task: str | None = None
    asked: dict[str, Any] = {}
    if_match: int | None = None
    if_none_match: int | None = None
    key: str | None = None
    status: int = NO_ANSWER
    replayed: bool = False
    tag: int | None = None
    epoch: str | None = None
    versions: list[int] = []
    """Of a list, the trash, one task."""
    results: list[Result] = []
    count: int | None = None
    """How many tasks were cleared, or taken in by an import."""
    since: int | None = None
    """The number in the token that a page of the feed was asked with; None: the first page of a new copy."""
    first_page: int | None = None
    """The call that gave the first page, while a first copy is read."""
    copy: int | None = None
    """The first page of the copy that this page keeps in step; None after a jump back to an old token."""
    entries: list[int | str] = []
    """Of the feed: a version, or the id of a task that is gone."""
    next: int | None = None
    has_more: bool = False

    @property
    def succeeded(self) -> bool:
        return 200 <= self.status < 300

    @property
    def unknown(self) -> bool:
        """Whether the write may have happened or not."""
        return self.status == NO_ANSWER or self.status >= 500

    @property
    def worth_repeating(self) -> bool:
        return self.unknown or self.status == NOT_SENT


class Fault(Struct, frozen=True):
    """Something that was broken on purpose."""

    kind: str
    began: float
    ended: float


class History(Struct):
    calls: list[Call]
    versions: list[Version]
    faults: list[Fault]

    def save(self, path: Path) -> None:
        path.write_bytes(msgspec.json.encode(self))

    @classmethod
    def load(cls, path: Path) -> "History":
        return msgspec.json.decode(path.read_bytes(), type=cls)


class Recorder:
    """Collects a history while it happens."""

    def __init__(self) -> None:
        self.history = History([], [], [])
        self._places: dict[tuple[bytes, str | None], int] = {}

    def begin(self, user: str, client: str, server: str, kind: str, **asked: Any) -> Call:
        call = Call(
            number=len(self.history.calls),
            user=user,
            client=client,
            server=server,
            kind=kind,
            began=time.monotonic(),
            **asked,
        )
        self.history.calls.append(call)
        return call

    def version(self, raw: bytes, tag: str | None = None) -> int:
        """The place of a task that an answer showed; `tag` where the task itself does not carry it."""
        place = self._places.get((raw, tag))
        if place is None:
            task: Task = msgspec.json.decode(raw)
            place = self._places[raw, tag] = len(self.history.versions)
            self.history.versions.append(Version(number_of(task.get("etag") or tag), task))
        return place

    def fault(self, kind: str, began: float) -> None:
        self.history.faults.append(Fault(kind, began, time.monotonic()))


def number_of(tag: str | None) -> int | None:
    """The change number that a tag or a token of the service begins with. Only its own tests may look."""
    found = _NUMBER.match(tag) if tag else None
    return int(found[1]) if found else None


def epoch_of(tag: str) -> str | None:
    """What follows the number in a tag."""
    return tag.strip('"').partition("-")[2] or None


def kinds_of(faults: Sequence[Fault]) -> dict[str, int]:
    """How often each kind of fault happened."""
    counted: dict[str, int] = {}
    for fault in faults:
        counted[fault.kind] = counted.get(fault.kind, 0) + 1
    return counted
