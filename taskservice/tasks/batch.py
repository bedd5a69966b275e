"""Batches: up to a hundred operations, all or nothing, in few statements."""

import re
import uuid
from collections.abc import Iterator, Sequence
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from taskservice import rules
from taskservice.principal import Principal
from taskservice.problems import FieldError, ForeignTask, PreconditionFailed, Problem, TaskNotFound
from taskservice.tasks import validation
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.schemas import Completion, Task, TaskChange, TaskCreate, task_from
from taskservice.tasks.store import Edited, TaskStore
from taskservice.tasks.tags import TAG, row_tag
from taskservice.tasks.validation import Check, Fields, Invalid
from taskservice.tasks.write_statements import Edit

_TAG: Final = re.compile(TAG)

# ---- what a batch looks like


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


class BatchResult(Struct, frozen=True):
    """What one operation would have answered on its own."""

    status: int
    task: Task | UnsetType = UNSET
    etag: str | UnsetType = UNSET


class BatchAnswer(Struct, frozen=True):
    results: list[BatchResult]


class BatchOperation(Struct, frozen=True, kw_only=True):
    """One checked operation: it has either a task to create or an edit, which may erase the task."""

    index: int
    op: str
    create: TaskCreate | None = None
    edit: Edit | None = None
    erases: bool = False

    @property
    def task_id(self) -> uuid.UUID | None:
        return self.edit.id if self.edit else None


# ---- reading


def _if_match(value: Any) -> tuple[str, ...] | None:
    if value is None or value == "*":
        return None
    if not isinstance(value, str) or not _TAG.fullmatch(value):
        raise Invalid("entity_tag", 'must be an entity tag in double quotes, such as "7-k3f9q2x1"')
    return (value,)


def _anything(value: Any) -> Any:
    return value


_CHECKS: Final[dict[str, Check]] = {
    "op": _anything,
    "id": validation.identifier,
    "data": _anything,  # checked by `Bodies`, which knows the policies
    "permanent": validation.boolean,
    "if_match": _if_match,
}


def _fields_of(operation: type[Struct]) -> Fields:
    fields = msgspec.structs.fields(operation)
    checks = {name: _CHECKS[name] for name in ("op", *(field.name for field in fields))}
    return Fields(checks, required=[field.name for field in fields if field.required])


FIELDS_OF: Final = {
    str(operation.__struct_config__.tag): _fields_of(operation)
    for operation in (BatchCreate, BatchUpdate, BatchComplete, BatchDelete, BatchRestore)
}
OPERATIONS: Final = tuple(FIELDS_OF)


def read_batch(document: Any, bodies: Bodies, errors: list[FieldError], *, hard_delete: bool) -> list[BatchOperation]:
    """The operations, checked one by one; what is wrong with any of them goes to `errors`."""
    listed = Fields({"operations": _operations}, required=("operations",)).read(document, errors).get("operations", [])
    operations = [
        _read_operation(index, item, bodies, errors, hard_delete=hard_delete) for index, item in enumerate(listed)
    ]
    return [operation for operation in operations if operation is not None]


def _operations(value: Any) -> list[Any]:
    if not isinstance(value, list) or not 1 <= len(value) <= rules.BATCH_MAX:
        raise Invalid("length", f"must be an array of 1 to {rules.BATCH_MAX} operations", limit=rules.BATCH_MAX)
    return value


def _read_operation(
    index: int, item: Any, bodies: Bodies, errors: list[FieldError], *, hard_delete: bool
) -> BatchOperation | None:
    at = f"operations.{index}."
    known = len(errors)
    op = item.get("op") if isinstance(item, dict) else None
    if not isinstance(op, str) or op not in FIELDS_OF:
        message = f"must be one of {', '.join(OPERATIONS)}"
        errors.append(Invalid("one_of", message, allowed=OPERATIONS).at(at + "op", "body", index))
        return None
    values = FIELDS_OF[op].read(item, errors, at=at, index=index)
    if op == "create":
        if "data" not in values:
            return None
        create = bodies.read(TaskCreate, values["data"], errors, at=at + "data.", index=index)
        return None if create is None else BatchOperation(index=index, op=op, create=create)
    change: TaskChange | None = None
    toggle = False
    if op == "update" and "data" in values:
        change = bodies.read(TaskChange, values["data"], errors, at=at + "data.", index=index)
    elif op == "complete":
        toggle = "data" not in values
        if not toggle:
            completion = bodies.read(Completion, values["data"], errors, at=at + "data.", index=index)
            change = completion.as_change() if completion else None
    if len(errors) > known:
        return None
    edit = Edit(
        id=values["id"],
        change=change,
        toggle=toggle,
        from_trash=op == "restore" or bool(values.get("permanent")),
        to_trash=op == "delete",
        if_match=values.get("if_match"),
    )
    erases = op == "delete" and bool(hard_delete or values.get("permanent"))
    return BatchOperation(index=index, op=op, edit=edit, erases=erases)


# ---- running


async def run_batch(
    tasks: TaskStore, author: Principal, operations: Sequence[BatchOperation], *, reveals_foreign: bool
) -> BatchAnswer:
    """Run within a transaction: the first operation that fails raises, and the transaction undoes the others."""
    results: dict[int, BatchResult] = {}
    for wave in _waves(operations):
        await _create(tasks, author, [operation for operation in wave if operation.create], results)
        answers: list[tuple[BatchOperation, Edited | None]] = []
        for write, erases in ((tasks.edit, False), (tasks.erase, True)):
            part = [operation for operation in wave if operation.edit and operation.erases is erases]
            if part:
                found = await write(author.user_id, [operation.edit for operation in part if operation.edit])
                answers += [(operation, found.get(place)) for place, operation in enumerate(part)]
        for operation, answer in sorted(answers, key=lambda pair: pair[0].index):
            if answer is None or not answer.matched:
                raise await _failure(tasks, author.user_id, operation, answer, reveals_foreign=reveals_foreign)
            results[operation.index] = (
                BatchResult(204)
                if operation.op == "delete"
                else BatchResult(200, task_from(author.user_id, answer.row), row_tag(answer.row))
            )
    return BatchAnswer([results[index] for index in sorted(results)])


def _waves(operations: Sequence[BatchOperation]) -> Iterator[list[BatchOperation]]:
    """Operations on different tasks do not depend on each other; a task's second one waits for the next wave."""
    wave: list[BatchOperation] = []
    touched: set[uuid.UUID] = set()
    for operation in operations:
        if operation.task_id in touched:
            yield wave
            wave, touched = [], set()
        wave.append(operation)
        if operation.task_id is not None:
            touched.add(operation.task_id)
    yield wave


async def _create(
    tasks: TaskStore, author: Principal, wave: Sequence[BatchOperation], results: dict[int, BatchResult]
) -> None:
    if wave:
        rows = await tasks.create(author, [operation.create for operation in wave if operation.create])
        for operation, row in zip(wave, rows, strict=True):
            results[operation.index] = BatchResult(201, task_from(author.user_id, row), row_tag(row))


async def _failure(
    tasks: TaskStore, owner: str, operation: BatchOperation, answer: Edited | None, *, reveals_foreign: bool
) -> Problem:
    where = f"operations.{operation.index}"
    if answer is not None:
        current = row_tag(answer.row)
        stale = Invalid("if_match", f"the task stands at {current}")
        error = stale.at(f"{where}.if_match", "body", operation.index)
        return PreconditionFailed(errors=[msgspec.structs.replace(error, current=current)])
    foreign = reveals_foreign and operation.task_id and await tasks.belongs_to_another(owner, operation.task_id)
    problem: Problem = ForeignTask() if foreign else TaskNotFound()
    rule = "foreign_task" if foreign else "not_found"
    problem.errors = (Invalid(rule, problem.detail).at(f"{where}.id", "body", operation.index),)
    return problem
