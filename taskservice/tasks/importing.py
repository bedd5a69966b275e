"""Importing what `GET /export?format=json` gave: ids kept, all or nothing."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from taskservice import rules
from taskservice.auth.tokens import Principal
from taskservice.problems import FieldError, TaskExists
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.fields import FIELDS
from taskservice.tasks.read_statements import Ownership
from taskservice.tasks.schemas import TaskChange, TaskImport
from taskservice.tasks.store import TaskStore
from taskservice.tasks.validation import Invalid
from taskservice.tasks.write_statements import Edit

CHUNK: Final = 1000

Existing = Literal["skip", "update"]


class Imported(Struct, frozen=True):
    """What an import did, or with `dry_run` would do."""

    created: int
    updated: int
    skipped: int
    dry_run: bool


def read_import(document: Any, bodies: Bodies, errors: list[FieldError]) -> list[TaskImport]:
    """The tasks of a file; what is wrong with any of them goes to `errors`."""
    if not isinstance(document, list) or len(document) > rules.IMPORT_MAX:
        message = f"must be an array of at most {rules.IMPORT_MAX} tasks, as an export gives it"
        errors.append(Invalid("length", message, limit=rules.IMPORT_MAX).at("", "body"))
        return []
    found: list[TaskImport] = []
    seen: set[uuid.UUID] = set()
    for index, item in enumerate(document):
        task = bodies.read_import(item, errors, at=f"{index}.", index=index)
        if task is None:
            continue
        if task.id in seen:
            errors.append(Invalid("repeated", "stands twice in this file").at(f"{index}.id", "body", index))
        seen.add(task.id)
        found.append(task)
    return found


async def import_tasks(
    tasks: TaskStore, author: Principal, imports: Sequence[TaskImport], *, existing: Existing, dry_run: bool
) -> Imported:
    """Run within a transaction. Raises `TaskExists` if an id is another user's."""
    if not dry_run:
        await tasks.take_turn(author)
    ownership = await tasks.ownership(author.user_id, [task.id for task in imports])
    foreign = [task for task in imports if ownership.get(task.id) is Ownership.FOREIGN]
    if foreign:
        raise TaskExists(f"The id {foreign[0].id} is taken by a task that is not yours")
    new = [task for task in imports if task.id not in ownership]
    old = [task for task in imports if task.id in ownership]
    taken = old if existing == "update" else []
    if not dry_run:
        for created in _chunks(new):
            await tasks.create(author, created)
        for changed in _chunks(taken):
            await tasks.edit(author.user_id, [_edit(task, ownership[task.id]) for task in changed])
    return Imported(len(new), len(taken), len(old) - len(taken), dry_run)


def _edit(task: TaskImport, ownership: Ownership) -> Edit:
    change = TaskChange(**{field.name: getattr(task, field.name) for field in FIELDS})
    return Edit(id=task.id, change=change, from_trash=ownership is Ownership.TRASHED)


def _chunks(tasks: Sequence[TaskImport]) -> Iterator[Sequence[TaskImport]]:
    return (tasks[start : start + CHUNK] for start in range(0, len(tasks), CHUNK))
