"""What a batch looks like on the wire. `tasks.batch` reads it operation by operation."""

import uuid
from typing import Annotated

from msgspec import UNSET, Meta, Struct, UnsetType

from taskservice import rules
from taskservice.tasks.schemas import Completion, TaskChange, TaskCreate
from taskservice.tasks.tags import TAG

EntityTag = Annotated[
    str,
    Meta(
        pattern=rf"^(\*|{TAG})$",
        description="The operation happens only if the task's `ETag` is this.",
        examples=['"7-k3f9q2x1"'],
    ),
]


class BatchCreate(Struct, tag_field="op", tag="create", forbid_unknown_fields=True):
    """As `POST`."""

    data: TaskCreate


class BatchUpdate(Struct, tag_field="op", tag="update", forbid_unknown_fields=True, kw_only=True):
    """As `PATCH /{task_id}`."""

    id: uuid.UUID
    data: TaskChange
    if_match: EntityTag | UnsetType | None = UNSET


class BatchComplete(Struct, tag_field="op", tag="complete", forbid_unknown_fields=True, kw_only=True):
    """As `PATCH /{task_id}/complete`."""

    id: uuid.UUID
    data: Completion | UnsetType = UNSET
    if_match: EntityTag | UnsetType | None = UNSET


class BatchDelete(Struct, tag_field="op", tag="delete", forbid_unknown_fields=True, kw_only=True):
    """As `DELETE /{task_id}`."""

    id: uuid.UUID
    permanent: bool = False
    if_match: EntityTag | UnsetType | None = UNSET


class BatchRestore(Struct, tag_field="op", tag="restore", forbid_unknown_fields=True, kw_only=True):
    """As `POST /{task_id}/restore`."""

    id: uuid.UUID
    if_match: EntityTag | UnsetType | None = UNSET


class BatchRequest(Struct, forbid_unknown_fields=True):
    """Operations that happen together or not at all."""

    operations: Annotated[
        list[BatchCreate | BatchUpdate | BatchComplete | BatchDelete | BatchRestore],
        Meta(min_length=1, max_length=rules.BATCH_MAX),
    ]
