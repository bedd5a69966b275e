"""Imports what an export wrote: keeps ids, writes all tasks or none."""

import uuid
from collections.abc import Iterator, Sequence
from typing import Any, Final, Literal

from msgspec import Struct

from taskservice import rules
from taskservice.principal import Principal
from taskservice.problems import FieldError
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.fields import FIELDS
from taskservice.tasks.schemas import TaskChange, TaskImport
from taskservice.tasks.store import TaskStore
from taskservice.tasks.validation import Invalid
from taskservice.tasks.write_statements import Edit

CREATED_AT_ONCE: Final = 1000
CHANGED_AT_ONCE: Final = 200
"""Tasks a statement. All that is done for one statement is done between two turns of the event loop, and to change a
task takes longer than to create one."""

Existing = Literal["skip", "update"]


class Imported(Struct, frozen=True):
    """What an import did, or with `dry_run` would do."""

    created: int
    updated: int
    skipped: int
    dry_run: bool


class ImportReader:
    """Reads the tasks of a file one by one. What is wrong with any of them goes to `errors`."""

    def __init__(self, bodies: Bodies, errors: list[FieldError]) -> None:
        self.tasks: list[TaskImport] = []
        self._bodies = bodies
        self._errors = errors
        self._ids: set[uuid.UUID] = set()
        self._index = 0

    def read(self, item: Any, problem: Invalid | None = None) -> bool:
        """Read a task, or note the `problem` that stands in its place. Whether the file may have another one."""
        index = self._index
        if index == rules.IMPORT_MAX:
            self.refuse()
            return False
        self._index += 1
        if problem is not None:
            self._errors.append(problem.at("", "body", index))
            return True
        task = self._bodies.read(TaskImport, item, self._errors, at=f"{index}.", index=index)
        if task is not None:
            if task.id in self._ids:
                repeated = Invalid("repeated", "appears twice in this file")
                self._errors.append(repeated.at(f"{index}.id", "body", index))
            self._ids.add(task.id)
            self.tasks.append(task)
        return True

    def refuse(self) -> None:
        """Note that the file is not an array, or has too many tasks."""
        message = f"must be an array of at most {rules.IMPORT_MAX} tasks, as an export gives it"
        self._errors.append(Invalid("length", message, limit=rules.IMPORT_MAX).at("", "body"))


async def import_tasks(
    tasks: TaskStore, author: Principal, imports: Sequence[TaskImport], *, existing: Existing, dry_run: bool
) -> Imported:
    """Run within a transaction."""
    if not dry_run:
        await tasks.take_turn(author)
    known = await tasks.existing(author.user_id, [task.id for task in imports])
    new = [task for task in imports if task.id not in known]
    old = [task for task in imports if task.id in known]
    taken = old if existing == "update" else []
    if not dry_run:
        for created in _chunks(new, CREATED_AT_ONCE):
            await tasks.create(author, created)
        for changed in _chunks(taken, CHANGED_AT_ONCE):
            await tasks.edit(author.user_id, [_edit(task, in_trash=known[task.id]) for task in changed])
    return Imported(len(new), len(taken), len(old) - len(taken), dry_run)


def _edit(task: TaskImport, *, in_trash: bool) -> Edit:
    change = TaskChange(**{field.name: getattr(task, field.name) for field in FIELDS})
    return Edit(id=task.id, change=change, from_trash=in_trash)


def _chunks(tasks: Sequence[TaskImport], size: int) -> Iterator[Sequence[TaskImport]]:
    return (tasks[start : start + size] for start in range(0, len(tasks), size))
