"""What every operation takes and answers: the table that the API's description is made from.

One entry stands for both surfaces; `api_description` adds what a surface has for all of its operations.
"""

import uuid
from typing import Any, Final

from msgspec import Struct, to_builtins

from taskservice import problems, rules
from taskservice.api.api_schemas import EXAMPLE, BatchRequest
from taskservice.api.json_body import JSON, MERGE_PATCH
from taskservice.problems import Problem
from taskservice.tasks import list_query
from taskservice.tasks.batch import BatchAnswer
from taskservice.tasks.changes import ChangePage
from taskservice.tasks.export import FORMATS
from taskservice.tasks.importing import Imported
from taskservice.tasks.schemas import Cleared, Completion, Task, TaskChange, TaskCreate, TaskImport, TrashedTask
from taskservice.web.health import Health

Kinds = tuple[type[Problem], ...]
Files = dict[str, dict[str, Any]]


class Body(Struct, frozen=True):
    """What a request carries. `examples` by name; the first is what the docs pages fill in."""

    type: Any
    examples: dict[str, Any]
    media_types: frozenset[str] = JSON
    required: bool = True


class Answer(Struct, frozen=True):
    """One way to succeed. `type` None: without a body."""

    status: int
    meaning: str
    type: Any = None
    example: Any = None
    always: tuple[str, ...] = ()
    sometimes: tuple[str, ...] = ()
    files: Files | None = None
    """Media types and their schemas, where the answer is not one JSON document of `type`."""


class Operation(Struct, frozen=True, kw_only=True):
    """`names`: the operation's id on the token surface and on the path surface; generated clients call it so."""

    names: tuple[str, ...]
    summary: str
    description: str
    query: tuple[str, ...] = ()
    required: frozenset[str] = frozenset()
    headers: tuple[str, ...] = ()
    body: Body | None = None
    answers: tuple[Answer, ...]
    problems: Kinds = ()
    leads_to: tuple[str, ...] = ()
    """The operations that take the id of the task in the answer, or of the task in the path."""
    public: bool = False


# What goes together.

_READ: Final[Kinds] = (problems.TaskNotFound, problems.ForeignTask)
_WRITE: Final[Kinds] = (*_READ, problems.PreconditionFailed)
_BODY: Final[Kinds] = (problems.MalformedBody, problems.BodyTooLarge, problems.UnsupportedMediaType)
_RETRIED: Final[Kinds] = (problems.IdempotencyInFlight, problems.IdempotencyKeyReused)

_OF_TASK: Final = (
    "GET /{task_id}", "PUT /{task_id}", "PATCH /{task_id}", "PATCH /{task_id}/complete", "DELETE /{task_id}",
)  # fmt: skip

_TASK: Final = to_builtins(EXAMPLE)
_CHANGED: Final = Answer(200, "The task as it is now.", Task, _TASK, ("ETag",))
_CHANGES: Final = {
    "one field": {"priority": "high"},
    "several": {"title": "Buy oat milk", "status": "in_progress", "due_date": "2026-12-01T17:00:00Z"},
    "clear what may be empty": {"description": None, "due_date": None},
}
_ID: Final = str(EXAMPLE.id)
_OTHER_ID: Final = str(uuid.UUID("01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6f"))

OPERATIONS: Final[dict[str, Operation]] = {
    "GET /": Operation(
        names=("listTasks", "listUserTasks"),
        summary="List tasks",
        description=(
            'Filtered, sorted, a page at a time. While there is more, the header `Link` (`rel="next"`) leads to the '
            "next page; every task is seen exactly once, whatever is written meanwhile. With `If-None-Match` an "
            "unchanged list is a 304 without a body. `due=today` and `due=overdue` follow the clock and have no `ETag`."
        ),
        query=list_query.PARAMETERS,
        headers=("If-None-Match",),
        answers=(
            Answer(200, "The tasks.", list[Task], [_TASK], sometimes=("ETag", "Link")),
            Answer(304, "Nothing of the user's tasks has changed.", always=("ETag",)),
        ),
    ),
    "POST /": Operation(
        names=("createTask", "createUserTask"),
        summary="Create a task",
        description="With an `Idempotency-Key` the request may be repeated until it is answered: one task is created.",
        headers=("Idempotency-Key",),
        body=Body(
            TaskCreate,
            {
                "a title": {"title": "Buy milk"},
                "everything": {
                    "title": "Buy milk",
                    "description": "Two bottles",
                    "status": "pending",
                    "priority": "high",
                    "due_date": "2026-12-01",
                },
            },
        ),
        answers=(
            Answer(201, "The task.", Task, _TASK, always=("ETag", "Location"), sometimes=("Idempotency-Replayed",)),
        ),
        problems=(*_BODY, *_RETRIED),
        leads_to=_OF_TASK,
    ),
    "DELETE /": Operation(
        names=("deleteAllTasks", "deleteAllUserTasks"),
        summary="Erase everything",
        description="All tasks of the user, the trash included, for good. There is no way back.",
        query=("confirm",),
        required=frozenset({"confirm"}),
        answers=(Answer(200, "How much was erased.", Cleared, {"deleted": 12, "deleted_from_trash": 3}),),
    ),
    "GET /trash": Operation(
        names=("listTrash", "listUserTrash"),
        summary="List the trash",
        description=(
            "Deleted tasks that can be restored, newest first, each with the moment from which it may be removed for "
            'good. Empty under the policy `delete = "hard"`, which keeps nothing.'
        ),
        query=("limit", "cursor"),
        answers=(
            Answer(
                200,
                "The deleted tasks.",
                list[TrashedTask],
                [_TASK | {"deleted_at": "2026-11-21T08:00:00.000000Z", "purge_at": "2026-12-21T08:00:00.000000Z"}],
                sometimes=("Link",),
            ),
        ),
    ),
    "POST /batch": Operation(
        names=("runBatch", "runUserBatch"),
        summary="Run a batch",
        description=(
            f"Up to {rules.BATCH_MAX} operations in one transaction, all or nothing. If one fails, nothing has "
            "changed, and `errors` names its `index`. All operations that are invalid are named at once."
        ),
        headers=("Idempotency-Key",),
        body=Body(
            BatchRequest,
            {
                "one": {"operations": [{"op": "create", "data": {"title": "Buy milk"}}]},
                "one of each": {
                    "operations": [
                        {"op": "create", "data": {"title": "Buy milk"}},
                        {"op": "update", "id": _ID, "data": {"priority": "high"}, "if_match": '"7"'},
                        {"op": "complete", "id": _ID},
                        {"op": "delete", "id": _ID, "permanent": False},
                        {"op": "restore", "id": _OTHER_ID},
                    ]
                },
            },
        ),
        answers=(
            Answer(
                200,
                "What each operation would have answered on its own, in order.",
                BatchAnswer,
                {"results": [{"status": 201, "task": _TASK, "etag": '"1"'}, {"status": 204}]},
                sometimes=("Idempotency-Replayed",),
            ),
        ),
        problems=(*_BODY, *_RETRIED, *_WRITE),
    ),
    "GET /changes": Operation(
        names=("listChanges", "listUserChanges"),
        summary="Follow the changes",
        description=(
            "Everything created, changed and deleted since a token, in order, without gaps. Without `since`: every "
            "task there is, for a first copy. While `has_more`, ask again at once with `next`."
        ),
        query=("since", "limit"),
        answers=(
            Answer(
                200,
                "The changes, and the token to ask with next.",
                ChangePage,
                {
                    "changes": [
                        {"type": "upsert", "task": _TASK, "etag": '"7"'},
                        {"type": "delete", "id": _OTHER_ID, "deleted_at": "2026-11-21T08:00:00.000000Z"},
                    ],
                    "next": "8",
                    "has_more": False,
                },
            ),
        ),
        problems=(problems.ResyncRequired,),
    ),
    "GET /export": Operation(
        names=("exportTasks", "exportUserTasks"),
        summary="Export all tasks",
        description="As a file: JSON for `POST …/import`, CSV for spreadsheets, iCalendar (VTODO) for calendars.",
        query=("format",),
        answers=(
            Answer(
                200,
                "The file, streamed.",
                always=("Content-Disposition",),
                files={
                    form.media_type.partition(";")[0]: (
                        {"type": "array", "items": {"$ref": "#/components/schemas/Task"}}
                        if name == "json"
                        else {"type": "string"}
                    )
                    for name, form in FORMATS.items()
                },
            ),
        ),
    ),
    "POST /import": Operation(
        names=("importTasks", "importUserTasks"),
        summary="Import tasks",
        description=(
            f"Takes back what `format=json` exported, up to {rules.IMPORT_MAX} tasks, all or nothing. Tasks keep their "
            "ids and their past, which must not lie in the future. Of those that are there already, "
            "`existing=skip` leaves all as they are, in the trash too; `existing=update` changes them to what the "
            "file says and takes them out of the trash. With `dry_run=true` nothing is written, and the answer says "
            "what would be."
        ),
        query=("existing", "dry_run"),
        headers=("Idempotency-Key",),
        body=Body(list[TaskImport], {"one task": [_TASK]}),
        answers=(
            Answer(
                200,
                "How many tasks were created, updated and skipped.",
                Imported,
                {"created": 10, "updated": 0, "skipped": 2, "dry_run": False},
                sometimes=("Idempotency-Replayed",),
            ),
        ),
        problems=(*_BODY, *_RETRIED, problems.TaskExists),
    ),
    "GET /{task_id}": Operation(
        names=("getTask", "getUserTask"),
        summary="Get a task",
        description="With `If-None-Match` an unchanged task is a 304 without a body.",
        headers=("If-None-Match",),
        answers=(
            Answer(200, "The task.", Task, _TASK, ("ETag",)),
            Answer(304, "The task has not changed.", always=("ETag",)),
        ),
        problems=_READ,
    ),
    "PUT /{task_id}": Operation(
        names=("replaceTask", "replaceUserTask"),
        summary="Change a task",
        description=(
            "Absent fields stay as they are, `null` clears those that may be empty. Read-only fields are accepted and "
            "ignored, so a task may be sent back as it was read."
        ),
        headers=("If-Match",),
        body=Body(TaskChange, _CHANGES),
        answers=(_CHANGED,),
        problems=(*_BODY, *_WRITE),
    ),
    "PATCH /{task_id}": Operation(
        names=("updateTask", "updateUserTask"),
        summary="Change some fields of a task",
        description="Absent fields stay as they are, `null` clears those that may be empty.",
        headers=("If-Match",),
        body=Body(TaskChange, _CHANGES, MERGE_PATCH),
        answers=(_CHANGED,),
        problems=(*_BODY, *_WRITE),
    ),
    "PATCH /{task_id}/complete": Operation(
        names=("completeTask", "completeUserTask"),
        summary="Complete a task, or take it back",
        description="Without a body the task is toggled; with one it is set, however often that is repeated.",
        headers=("If-Match",),
        body=Body(
            Completion,
            {"complete": {"completed": True}, "take back": {"completed": False}},
            MERGE_PATCH,
            required=False,
        ),
        answers=(_CHANGED,),
        problems=(*_BODY, *_WRITE),
    ),
    "DELETE /{task_id}": Operation(
        names=("deleteTask", "deleteUserTask"),
        summary="Delete a task",
        description=(
            "Into the trash, from where it can be restored. With `permanent=true`, or under the policy "
            '`delete = "hard"`, for good.'
        ),
        query=("permanent",),
        headers=("If-Match",),
        answers=(Answer(204, "The task is deleted."),),
        problems=_WRITE,
        leads_to=("POST /{task_id}/restore", "GET /{task_id}"),
    ),
    "POST /{task_id}/restore": Operation(
        names=("restoreTask", "restoreUserTask"),
        summary="Restore a task",
        description="Takes a task out of the trash. A body is not looked at.",
        headers=("If-Match", "Idempotency-Key"),
        answers=(Answer(200, "The task, as it was.", Task, _TASK, ("ETag",), ("Idempotency-Replayed",)),),
        problems=(problems.BodyTooLarge, *_WRITE, *_RETRIED),
        leads_to=_OF_TASK,
    ),
}
"""By method and path below a surface."""

PUBLIC: Final[dict[str, Operation]] = {
    "GET /health/live": Operation(
        names=("isAlive",),
        summary="Is the process alive?",
        description="Answers without touching the database, so that a database that is away restarts nobody.",
        answers=(Answer(200, "It is.", Health, {"status": "alive"}),),
        public=True,
    ),
    "GET /health/ready": Operation(
        names=("isReady",),
        summary="Can requests be served?",
        description="One real query, two seconds at most. `/health` is the same.",
        answers=(Answer(200, "They can.", Health, {"status": "ready"}),),
        problems=(problems.NotReady,),
        public=True,
    ),
}
"""By method and path."""
