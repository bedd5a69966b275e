"""The change feed, with which a client keeps its own copy of the tasks."""

from litestar import Controller, get

from taskservice.api.described import OTHER_ID, TASK, described
from taskservice.api.request import TaskRequest
from taskservice.api.responses import Answer
from taskservice.problems import ResyncRequired
from taskservice.tasks.changes import ChangePage, change_page, read_position
from taskservice.tasks.query_string import read_limit


class ChangesController(Controller):
    path = "/changes"

    @get(
        "/",
        summary="Follow the changes",
        response_description="The changes, and the token to ask with next.",
        operation_class=described(
            ResyncRequired,
            query=("since", "limit"),
            example={
                "changes": [
                    {"type": "upsert", "task": TASK, "etag": '"7-k3f9q2x1"'},
                    {"type": "delete", "id": OTHER_ID, "deleted_at": "2026-11-21T08:00:00.000000Z"},
                ],
                "next": "8",
                "has_more": False,
            },
        ),
    )
    async def list_changes(self, request: TaskRequest) -> Answer[ChangePage]:
        """Everything created, changed and deleted since a token, in order, without gaps. Without `since`: every
        task there is, for a first copy. While `has_more`, ask again at once with `next`."""
        found = request.query()
        limit = read_limit(found, request.errors)
        position = read_position(found, request.errors)
        request.refuse()
        page = await request.service.reads.changes(
            request.owner, position.seen, limit=limit, deletions_after=position.deletions_after
        )
        return Answer(change_page(request.owner, position, page))
