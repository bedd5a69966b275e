"""One write to one task: what the request asks for, and the problems that refuse it."""

import uuid
from typing import Any

from taskservice.api.conditional import read_if_match
from taskservice.api.request import TaskRequest
from taskservice.problems import ForeignTask, PreconditionFailed, TaskNotFound
from taskservice.tasks.schemas import TaskCreate
from taskservice.tasks.store import Edited, Row, TaskStore
from taskservice.tasks.tags import row_tag
from taskservice.tasks.write_statements import Edit


def read_edit(request: TaskRequest, task_id: str, if_match: str | None, **what: Any) -> Edit:
    """What to do to the task of the path. Raises everything that is wrong with the request."""
    tags = read_if_match(request, if_match)
    return Edit(id=request.read_task_id(task_id), if_match=tags, **what)


async def apply_edit(request: TaskRequest, edit: Edit, tasks: TaskStore, *, erase: bool = False) -> Row:
    """The task's row after the edit. Raises 404, 403 or 412 where nothing was done."""
    done: Edited | None = (await (tasks.erase if erase else tasks.edit)(request.owner, [edit])).get(0)
    if done is None:
        raise await missing(request, edit.id, tasks)
    if not done.matched:
        raise PreconditionFailed(row_tag(done.row))
    return done.row


async def create_under(request: TaskRequest, task_id: uuid.UUID, create: TaskCreate, tasks: TaskStore) -> Row:
    """Within a transaction: the row of a new task under the client's own id. Raises 412 if the user has it already."""
    await tasks.take_turn(request.user)
    in_trash = (await tasks.existing(request.owner, [task_id])).get(task_id)
    if in_trash:
        raise PreconditionFailed(None, "A task with this id is in the trash")
    if in_trash is not None:
        row = await tasks.get_owned(request.owner, task_id)
        raise PreconditionFailed(row_tag(row), "A task with this id exists")
    (created,) = await tasks.create(request.user, [create], task_id=task_id)
    return created


async def missing(request: TaskRequest, task_id: uuid.UUID, tasks: TaskStore) -> TaskNotFound | ForeignTask:
    """Why the user has no such task."""
    if request.reveals_foreign and await tasks.belongs_to_another(request.owner, task_id):
        return ForeignTask()
    return TaskNotFound()
