"""Deleted tasks: list them, take them back."""

from typing import Final

from litestar import Controller, get, post

from taskservice.api.controllers.tasks import change_task, next_page
from taskservice.api.described import OF_TASK, TASK, WRITE, described
from taskservice.api.parameters import IdempotencyKeyHeader, IfMatch, TaskId
from taskservice.api.request import TaskRequest, ignores_body
from taskservice.api.responses import Answer
from taskservice.tasks.list_query import TRASH_PARAMETERS, read_trash_query
from taskservice.tasks.schemas import Task, TrashedTask, trashed_from

TRASH_IS_OFF: Final = (b"x-trash", b"off: the policy is delete = hard, deleted tasks are gone for good")
TRASHED: Final = TASK | {"deleted_at": "2026-11-21T08:00:00.000000Z", "purge_at": "2026-12-21T08:00:00.000000Z"}


class TrashController(Controller):
    @get(
        "/trash",
        summary="List the trash",
        response_description="The deleted tasks.",
        operation_class=described(query=TRASH_PARAMETERS, headers={200: ("Link?", "X-Trash?")}, example=[TRASHED]),
    )
    async def list_trash(self, request: TaskRequest) -> Answer[list[TrashedTask]]:
        """Deleted tasks that can be restored, newest first, each with the moment from which it may be removed for
        good. Empty under the policy `delete = "hard"`, which keeps nothing."""
        service, owner = request.service, request.owner
        query = read_trash_query(request.scope["query_string"], service.cursor_key)
        # Not from a replica: a purge takes no number of the counter, so a replica's page could not be checked.
        page = await service.tasks.page(owner, query)
        days = service.settings.retention_days
        headers = next_page(request, query, page)
        if service.hard_delete:
            headers += (TRASH_IS_OFF,)
        return Answer([trashed_from(owner, row, days) for row in page.rows], 200, *headers)

    @post(
        "/{task_id:str}/restore",
        status_code=200,
        summary="Restore a task",
        response_description="The task, as it was.",
        before_request=ignores_body,
        operation_class=described(
            *WRITE,
            headers={200: ("ETag",)},
            example=TASK,
            leads_to=OF_TASK,
        ),
    )
    async def restore_task(
        self,
        request: TaskRequest,
        task_id: TaskId,
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKeyHeader = None,
    ) -> Answer[Task]:
        """Takes a task out of the trash. A body is not looked at."""
        return await change_task(request, task_id, if_match, idempotency_key, from_trash=True)
