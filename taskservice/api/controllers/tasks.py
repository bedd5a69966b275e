"""Lists, and single tasks: create, read, change, complete, delete."""

from typing import Any, Final, cast
from urllib.parse import urlencode

from litestar import Controller, delete, get, patch, post, put
from litestar.openapi.datastructures import ResponseSpec
from litestar.params import JSONBody
from msgspec import UNSET

from taskservice.api.conditional import read_creates, read_if_none_match
from taskservice.api.described import OF_TASK, READ, TASK, WRITE, Body, described
from taskservice.api.dto import BodyDTO, PutDTO
from taskservice.api.edits import apply_edit, create_under, missing, read_edit
from taskservice.api.idempotency import once, read_idempotency_key
from taskservice.api.json_body import MERGE_PATCH
from taskservice.api.parameters import IdempotencyKeyHeader, IfMatch, IfNoneMatch, IfNoneMatchOnPut, TaskId
from taskservice.api.request import TaskRequest, may_take_merge_patch, takes_json, takes_merge_patch
from taskservice.api.responses import Answer, Header, etag_header, task_answer
from taskservice.tasks.clear_statements import COMPLETED_FOR_GOOD, COMPLETED_TO_TRASH, EVERYTHING, Clearing
from taskservice.tasks.clearing import clear, clear_in_transaction
from taskservice.tasks.list_query import PARAMETERS, ListQuery, read_list_query
from taskservice.tasks.schemas import Cleared, Completion, Task, TaskChange, TaskCreate, task_from
from taskservice.tasks.store import ClearedSome, Page, Row, TaskStore
from taskservice.tasks.tags import row_tag
from taskservice.tasks.validation import Invalid

CHANGED: Final = "The task as it is now."
CREATED_HEADERS: Final = ("ETag", "Location")
CHANGES: Final[dict[str, Any]] = {
    "one field": {"priority": "high"},
    "several": {"title": "Buy oat milk", "status": "in_progress", "due_date": "2026-12-01T17:00:00Z"},
    "clear what may be empty": {"description": None, "due_date": None},
}


class TaskController(Controller):
    @get(
        "/",
        summary="List tasks",
        response_description="The tasks.",
        responses={
            304: ResponseSpec(None, description="Nothing of the user's tasks has changed.", generate_examples=False)
        },
        operation_class=described(
            query=PARAMETERS, headers={200: ("ETag?", "Link?", "X-Total-Count?"), 304: ("ETag",)}, example=[TASK]
        ),
    )
    async def list_tasks(self, request: TaskRequest, if_none_match: IfNoneMatch = None) -> Answer[list[Task]]:
        """Filtered, sorted, a page at a time. While there is more, the header `Link` (`rel="next"`) leads to the
        next page; every task is seen exactly once, whatever is written meanwhile. With `If-None-Match` an unchanged
        list is a 304 without a body. `due=today` and `due=overdue` follow the clock and have no `ETag`."""
        service, owner = request.service, request.owner
        known = read_if_none_match(request, if_none_match)
        query = read_list_query(request.scope["query_string"], request.surface, service.cursor_key, request.errors)
        if known is not None and not query.follows_clock:
            tag = await service.list_tags.of(owner)
            if known.includes(tag):
                return Answer.not_modified(tag)
        page = await service.reads.page(owner, query)
        headers = next_page(request, query, page)
        if not query.follows_clock:
            headers += (etag_header(page.tag),)
        if page.total is not None:
            headers += ((b"x-total-count", b"%d" % page.total),)
        return Answer([task_from(owner, row) for row in page.rows], 200, *headers)

    @post(
        "/",
        summary="Create a task",
        response_description="The task.",
        dto=BodyDTO[TaskCreate],
        before_request=takes_json,
        operation_class=described(
            headers={201: CREATED_HEADERS},
            body=Body(
                {
                    "a title": {"title": "Buy milk"},
                    "everything": {
                        "title": "Buy milk",
                        "description": "Two bottles",
                        "status": "pending",
                        "priority": "high",
                        "due_date": "2026-12-01",
                    },
                }
            ),
            example=TASK,
            leads_to=OF_TASK,
        ),
    )
    async def create_task(
        self, request: TaskRequest, data: JSONBody[TaskCreate], idempotency_key: IdempotencyKeyHeader = None
    ) -> Answer[Task]:
        """With an `Idempotency-Key` the request may be repeated until it is answered: one task is created."""
        request.query()
        key = await read_idempotency_key(request, idempotency_key)
        request.refuse()

        async def work(tasks: TaskStore) -> Answer[Task]:
            (row,) = await tasks.create(request.user, [data])
            return created_answer(request, row, request.address.rstrip("/"))

        return await once(request, key, work)

    @delete(
        "/",
        status_code=200,
        summary="Clear what is completed, or erase everything",
        response_description="How much was deleted.",
        operation_class=described(
            query=("clear_completed", "confirm"),
            example={"deleted": 12},
        ),
    )
    async def delete_all_tasks(
        self, request: TaskRequest, idempotency_key: IdempotencyKeyHeader = None
    ) -> Answer[Cleared]:
        """One of two parameters says what. `completed=true`: all completed tasks, into the trash, or for good under the
        policy `delete = "hard"`. `confirm=all`: all tasks of the user, the trash included, for good; there is no way
        back.

        `remaining` says how many are left where there were too many for one request: repeat it until there are none,
        each time with a new `Idempotency-Key`, if any.
        """
        completed = _asks_for_completed(request)
        key = await read_idempotency_key(request, idempotency_key)
        request.refuse()
        service, user = request.service, request.user
        what = EVERYTHING
        if completed:
            what = COMPLETED_FOR_GOOD if service.hard_delete else COMPLETED_TO_TRASH
        if key is None:
            return _cleared(await clear(service.pool, service.tasks, user, what), what)

        async def work(tasks: TaskStore) -> Answer[Cleared]:
            return _cleared(await clear_in_transaction(tasks, user, what, service.pool.deadline / 2), what)

        return await once(request, key, work)

    @get(
        "/{task_id:str}",
        summary="Get a task",
        response_description="The task.",
        responses={304: ResponseSpec(None, description="The task has not changed.", generate_examples=False)},
        operation_class=described(*READ, headers={200: ("ETag",), 304: ("ETag",)}, example=TASK),
    )
    async def get_task(self, request: TaskRequest, task_id: TaskId, if_none_match: IfNoneMatch = None) -> Answer[Task]:
        """With `If-None-Match` an unchanged task is a 304 without a body."""
        request.query()
        known = read_if_none_match(request, if_none_match)
        wanted = request.read_task_id(task_id)
        row = await request.service.reads.get_owned(request.owner, wanted)
        if row is None:
            raise await missing(request, wanted, request.service.tasks)
        tag = row_tag(row)
        if known is not None and known.includes(tag):
            return Answer.not_modified(tag)
        return task_answer(request, row)

    @put(
        "/{task_id:str}",
        summary="Change a task, or create it under an id of one's own",
        response_description=CHANGED,
        responses={201: ResponseSpec(Task, description="The task is created.", generate_examples=False)},
        dto=PutDTO,
        before_request=takes_json,
        operation_class=described(
            *WRITE,
            headers={200: ("ETag",), 201: CREATED_HEADERS},
            body=Body(CHANGES),
            example=TASK,
        ),
    )
    async def replace_task(
        self,
        request: TaskRequest,
        task_id: TaskId,
        data: JSONBody[TaskChange | TaskCreate],
        if_match: IfMatch = None,
        if_none_match: IfNoneMatchOnPut = None,
        idempotency_key: IdempotencyKeyHeader = None,
    ) -> Answer[Task]:
        """Absent fields stay as they are, `null` clears those that may be empty. Read-only fields are accepted and
        ignored, so a task may be sent back as it was read.

        With `If-None-Match: *` it creates the task under the UUID in the path, which the client has made, perhaps
        offline. The body is that of a POST then. If the task is there already, that is a 412, and nothing happens."""
        if not read_creates(request, if_none_match, if_match):
            return await change_task(request, task_id, if_match, idempotency_key, change=data)
        request.query()
        key = await read_idempotency_key(request, idempotency_key)
        wanted, create = request.read_task_id(task_id), cast("TaskCreate", data)

        async def work(tasks: TaskStore) -> Answer[Task]:
            row = await create_under(request, wanted, create, tasks)
            return created_answer(request, row, request.address.rstrip("/").rpartition("/")[0])

        return await once(request, key, work, always_transact=True)

    @patch(
        "/{task_id:str}",
        summary="Change some fields of a task",
        response_description=CHANGED,
        dto=BodyDTO[TaskChange],
        before_request=takes_merge_patch,
        operation_class=described(*WRITE, headers={200: ("ETag",)}, body=Body(CHANGES, MERGE_PATCH), example=TASK),
    )
    async def update_task(
        self,
        request: TaskRequest,
        task_id: TaskId,
        data: JSONBody[TaskChange],
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKeyHeader = None,
    ) -> Answer[Task]:
        """Absent fields stay as they are, `null` clears those that may be empty."""
        return await change_task(request, task_id, if_match, idempotency_key, change=data)

    @patch(
        "/{task_id:str}/complete",
        summary="Complete or reopen a task",
        response_description=CHANGED,
        dto=BodyDTO[Completion],
        before_request=may_take_merge_patch,
        operation_class=described(
            *WRITE,
            headers={200: ("ETag",)},
            body=Body(
                {"complete": {"completed": True}, "take back": {"completed": False}}, MERGE_PATCH, required=False
            ),
            example=TASK,
        ),
    )
    async def complete_task(
        self,
        request: TaskRequest,
        task_id: TaskId,
        data: JSONBody[Completion | None] = None,
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKeyHeader = None,
    ) -> Answer[Task]:
        """Without a body the task is toggled: repeat that with an `Idempotency-Key` only. With a body it is set,
        however often that is repeated."""
        change = data.as_change() if data else None
        return await change_task(request, task_id, if_match, idempotency_key, toggle=data is None, change=change)

    @delete(
        "/{task_id:str}",
        summary="Delete a task",
        response_description="The task is deleted.",
        operation_class=described(
            *WRITE,
            query=("permanent",),
            leads_to=("restoreTask", "getTask"),
        ),
    )
    async def delete_task(
        self,
        request: TaskRequest,
        task_id: TaskId,
        if_match: IfMatch = None,
        idempotency_key: IdempotencyKeyHeader = None,
    ) -> Answer[None]:
        """Into the trash, from where it can be restored. With `permanent=true`, or under the policy
        `delete = "hard"`, for good."""
        permanent = request.choice(request.query(), "permanent") == "true"
        key = await read_idempotency_key(request, idempotency_key)
        edit = read_edit(request, task_id, if_match, to_trash=True, from_trash=permanent)

        async def work(tasks: TaskStore) -> Answer[None]:
            await apply_edit(request, edit, tasks, erase=permanent or request.service.hard_delete)
            return Answer(None, 204)

        return await once(request, key, work)


def _asks_for_completed(request: TaskRequest) -> bool:
    """Whether what is completed is to go, or everything. Notes what is wrong with the parameters."""
    found = request.query()
    if "completed" in found and "confirm" in found:
        request.note(Invalid("combination", "does not go with confirm: send one of the two"), "completed", "query")
    elif "completed" in found:
        if found["completed"] != ["true"]:
            request.note(Invalid("one_of", "must be true", allowed=("true",)), "completed", "query")
    elif found.get("confirm") != ["all"]:
        message = (
            "must be confirmed with confirm=all: every task is erased for good, the trash included "
            "(completed=true instead clears what is completed)"
        )
        request.note(Invalid("one_of", message, allowed=("all",)), "confirm", "query")
    return "completed" in found


def _cleared(done: ClearedSome, what: Clearing) -> Answer[Cleared]:
    if what is EVERYTHING:
        return Answer(Cleared(done.deleted, done.deleted_from_trash, done.remaining))
    return Answer(Cleared(done.deleted, remaining=done.remaining or UNSET))


async def change_task(
    request: TaskRequest, task_id: str, if_match: str | None, idempotency_key: str | None, **what: Any
) -> Answer[Task]:
    """Do what the `Edit` says to the task in the path, and show the task."""
    request.query()
    key = await read_idempotency_key(request, idempotency_key)
    edit = read_edit(request, task_id, if_match, **what)

    async def work(tasks: TaskStore) -> Answer[Task]:
        return task_answer(request, await apply_edit(request, edit, tasks))

    return await once(request, key, work)


def created_answer(request: TaskRequest, row: Row, collection: str) -> Answer[Task]:
    """The answer that shows a new task, with its address below that of the collection."""
    location = request.service.settings.address(f"{collection}/{row['id']}")
    return task_answer(request, row, 201, (b"location", location.encode("ascii")))


def next_page(request: TaskRequest, query: ListQuery, page: Page) -> tuple[Header, ...]:
    """The `Link` to the next page, if there is one."""
    if page.next_cursor is None:
        return ()
    parameters = [*query.asked, ("limit", str(query.limit)), ("cursor", page.next_cursor)]
    # A client may have left a bracket as it is, which would end the link.
    path = request.address.replace(">", "%3E")
    address = request.service.settings.address(f"{path}?{urlencode(parameters)}")
    return ((b"link", f'<{address}>; rel="next"'.encode("ascii")),)
