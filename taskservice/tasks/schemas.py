"""What goes in and out over HTTP: msgspec Structs for tasks."""

import datetime as dt
import uuid
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from taskservice import rules
from taskservice.database.moments import moment
from taskservice.tasks.fields import columns_of_row

_BLANK: Final = r"\t-\r\x1c-\x1f \x85\xa0\u1680\u2000-\u200a\u2028\u2029\u202f\u205f\u3000"
"""What `str.strip` removes, for a pattern: `\\s` is something else in each dialect of regular expressions."""

Title = Annotated[
    str,
    Meta(
        min_length=1,
        max_length=rules.TITLE_MAX,
        pattern=rf"^[^\x00]*[^\x00{_BLANK}][^\x00]*$",
        description="Trimmed; not blank.",
        examples=["Buy milk"],
    ),
]
Description = Annotated[
    str,
    Meta(
        max_length=rules.DESCRIPTION_CEILING,
        pattern=r"^[^\x00]*$",
        description="Up to the length that the policy `description_max` allows.",
    ),
]
# msgspec knows no union of two types that are both strings in JSON, so these two say what they are in the schema.
DueDate = Annotated[
    Any,
    Meta(
        description=(
            "A plain date such as `2026-12-01`, the same day in every time zone, or an RFC 3339 instant, returned in "
            "UTC."
        ),
        examples=["2026-12-01", "2026-12-01T09:30:00.000000Z"],
        extra_json_schema={"type": "string", "format": "date-or-instant"},
    ),
]
Timestamp = Annotated[
    Any,
    Meta(
        description="UTC, to the microsecond.",
        examples=["2026-11-20T09:15:30.123456Z"],
        extra_json_schema={"type": "string", "format": "date-time"},
    ),
]


Tag = Annotated[str, Meta(description="Opaque; goes into `If-Match` as it is.", examples=['"7-k3f9q2x1"'])]


_encode: Final = msgspec.json.Encoder().encode


class Task(Struct, frozen=True, kw_only=False, gc=False):
    """A task, as every answer shows it."""

    id: uuid.UUID
    user_id: str
    title: str
    description: str | None
    status: rules.Status
    completed: bool
    priority: rules.Priority
    due_date: DueDate | None
    created_at: Timestamp
    updated_at: Timestamp
    completed_at: Timestamp | None
    etag: Tag


class TrashedTask(Task, frozen=True, gc=False):
    """A deleted task, with the moment from which `litestar purge` may remove it."""

    deleted_at: Timestamp
    purge_at: Timestamp


class TaskCreate(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that makes a task. Under the policy `title = "generated"` the title may be left out."""

    title: Title
    description: Description | None = None
    status: rules.Status = rules.DEFAULT_STATUS
    completed: bool | UnsetType = UNSET
    priority: rules.Priority = rules.DEFAULT_PRIORITY
    due_date: DueDate | None = None


class TaskImport(TaskCreate, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """A task as `GET /export?format=json` gave it: it keeps its id and its past, which cannot be in the future."""

    id: uuid.UUID
    created_at: Annotated[dt.datetime, Meta(tz=True)]
    completed_at: Annotated[dt.datetime, Meta(tz=True)] | None = None


class TaskChange(Struct, frozen=True, kw_only=True, forbid_unknown_fields=True):
    """The body that changes a task: what is absent stays, `null` clears what may be empty."""

    title: Title | UnsetType = UNSET
    description: Description | UnsetType | None = UNSET
    status: rules.Status | UnsetType = UNSET
    completed: bool | UnsetType = UNSET
    priority: rules.Priority | UnsetType = UNSET
    due_date: DueDate | UnsetType | None = UNSET


class Completion(Struct, frozen=True, forbid_unknown_fields=True):
    """The body of `PATCH …/complete`; without one the task toggles."""

    completed: bool

    def as_change(self) -> TaskChange:
        return TaskChange(completed=self.completed)


class Cleared(Struct, frozen=True):
    """How much was cleared. If something remains, repeating the request goes on.

    For completed tasks the other two are absent, unless some remain.
    """

    deleted: int
    deleted_from_trash: int | UnsetType = UNSET
    remaining: int | UnsetType = UNSET


_DAY_MICROSECONDS: Final = 86_400_000_000


def instant(microseconds: int) -> dt.datetime | str:
    """A row's moment for an answer: as text on a whole second, because msgspec would drop the fraction."""
    at = moment(microseconds)
    # Also msgspec, because it writes a moment in a third of the time that isoformat takes.
    return at if at.microsecond else _encode(at)[1:20].decode() + ".000000Z"


_stored: Final = columns_of_row(
    "id", "title", "description", "status", "priority", "due_date", "due_all_day", "created_at", "updated_at",
    "completed_at", "revision", "epoch",
)  # fmt: skip


def task_from(owner: str, row: Any) -> Task:
    """The task in a row of `fields.ROW`."""
    (
        task_id, title, description, status, priority, due, all_day, created, updated, completed, revision, epoch,
    ) = _stored(row)  # fmt: skip
    # A list has up to a thousand of these. Most were changed last when they were created or completed, and then one
    # moment serves for both; and positional arguments take less time than names.
    created_at = instant(created)
    updated_at = created_at if updated == created else instant(updated)
    return Task(
        task_id,
        owner,
        title,
        description,
        status,
        completed is not None,
        priority,
        None if due is None else moment(due).date() if all_day else instant(due),
        created_at,
        updated_at,
        None if completed is None else updated_at if completed == updated else instant(completed),
        f'"{revision}-{epoch}"',
    )


def trashed_from(owner: str, row: Any, retention_days: int) -> TrashedTask:
    deleted_at: int = row["deleted_at"]
    shown = msgspec.structs.asdict(task_from(owner, row))
    return TrashedTask(
        **shown, deleted_at=instant(deleted_at), purge_at=instant(deleted_at + retention_days * _DAY_MICROSECONDS)
    )
