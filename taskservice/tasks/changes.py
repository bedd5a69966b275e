"""The change feed's token: how far a reader has read, and which deletions it does not need."""

import re
import uuid
from collections.abc import Mapping
from typing import Final

from msgspec import Struct

from taskservice.problems import FieldError, ResyncRequired
from taskservice.tasks.schemas import Task, Timestamp, instant, task_from
from taskservice.tasks.store import Changes
from taskservice.tasks.tags import EPOCH_LENGTH, row_tag
from taskservice.tasks.validation import Invalid

TOKEN: Final = re.compile(rf"(0|[1-9][0-9]{{0,17}})(?:-(0|[1-9][0-9]{{0,17}}))?(?:\.([a-z0-9]{{{EPOCH_LENGTH}}}))?")
"""Tokens of release 1.0.0 have no epoch: they are read, and then asked to resync."""


class Upsert(Struct, frozen=True, tag_field="type", tag="upsert"):
    """This is the task now."""

    task: Task
    etag: str


class Deletion(Struct, frozen=True, tag_field="type", tag="delete"):
    """The task is gone, or in the trash."""

    id: uuid.UUID
    deleted_at: Timestamp


class ChangePage(Struct, frozen=True):
    changes: list[Upsert | Deletion]
    next: str
    has_more: bool


_NEVER: Final = 2**63 - 1


class Position(Struct, frozen=True):
    """`seen`: every change up to this number was read. `complete_from`: a first copy that began at this number holds
    no task that was deleted before, so those deletions may be forgotten while it is still being read. `epoch`: the
    user's, when the token was given."""

    seen: int = 0
    complete_from: int = 0
    epoch: str | None = None
    first: bool = False

    def after(self, page: Changes) -> "Position":
        if page.has_more:
            complete_from = page.revision if self.first else self.complete_from
            return Position(page.rows[-1]["revision"], complete_from, page.epoch)
        return Position(page.revision, epoch=page.epoch)

    def check(self, page: Changes) -> None:
        """Raises `ResyncRequired` if deletions after this position were purged, or if its epoch is another one."""
        if self.seen == 0 and self.complete_from == 0:
            return  # Nothing has been read, so nothing can have been missed.
        if self.epoch != page.epoch or not page.forgotten <= max(self.seen, self.complete_from) <= page.revision:
            raise ResyncRequired

    @property
    def deletions_after(self) -> int:
        """A first copy gets the deletions since it began, and no earlier ones."""
        return _NEVER if self.first else self.complete_from

    @property
    def token(self) -> str:
        place = f"{self.seen}-{self.complete_from}" if self.complete_from > self.seen else str(self.seen)
        return f"{place}.{self.epoch}"


def read_position(found: Mapping[str, list[str]], errors: list[FieldError]) -> Position:
    """The reader's position, from `since` in the query."""
    if "since" not in found:
        return Position(first=True)
    token = TOKEN.fullmatch(found["since"][0])
    if token is None:
        message = "is not a token of this feed: take it from `next` of an earlier answer"
        errors.append(Invalid("token", message).at("since", "query"))
        return Position()
    return Position(int(token[1]), int(token[2] or 0), token[3])


def change_page(owner: str, position: Position, page: Changes) -> ChangePage:
    position.check(page)
    entries: list[Upsert | Deletion] = [
        Upsert(task_from(owner, row), row_tag(row))
        if row["deleted_at"] is None
        else Deletion(row["id"], instant(row["deleted_at"]))
        for row in page.rows
    ]
    return ChangePage(entries, position.after(page).token, page.has_more)
