"""Says on a handler what its signature cannot: problems, headers, examples, and where an answer leads.

    @get("/{task_id:str}", operation_class=described(*READ, headers={200: ("ETag",), 304: ("ETag",)}))

Litestar makes an `Operation` of the handler, and `api/openapi.py` completes it when the document is asked for.
"""

import datetime as dt
import uuid
from collections.abc import Collection, Mapping, Sequence
from typing import Any, ClassVar, Final, TypedDict, Unpack

from litestar.openapi.spec import Operation
from msgspec import Struct, to_builtins

from taskservice import problems
from taskservice.api.json_body import JSON
from taskservice.problems import Problem
from taskservice.tasks.schemas import Task

Kinds = tuple[type[Problem], ...]

# ---- problems that go together

READ: Final[Kinds] = (problems.TaskNotFound, problems.ForeignTask)
WRITE: Final[Kinds] = (*READ, problems.PreconditionFailed)

# ---- examples

TASK: Final[dict[str, Any]] = to_builtins(
    Task(
        id=uuid.UUID("01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e"),
        user_id="alice",
        title="Buy milk",
        description=None,
        status="pending",
        completed=False,
        priority="medium",
        due_date=dt.date(2026, 12, 1),
        created_at=dt.datetime(2026, 11, 20, 9, 15, 30, 123456, dt.UTC),
        updated_at=dt.datetime(2026, 11, 20, 9, 15, 30, 123456, dt.UTC),
        completed_at=None,
        etag='"7-k3f9q2x1"',
    )
)
ID: Final[str] = TASK["id"]
OTHER_ID: Final = "01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6f"

OF_TASK: Final = ("getTask", "replaceTask", "updateTask", "completeTask", "deleteTask")
"""The operations that take the id of a task that exists."""


class Body(Struct, frozen=True):
    """Examples of a request's body. The docs pages fill in the first one."""

    examples: Mapping[str, Any]
    media_types: Collection[str] = JSON
    required: bool = True
    list_of: type[Struct] | None = None
    """Where the handler reads the body itself, so that Litestar does not know its type."""
    texts: Mapping[str, str] = {}
    """An example for each further media type, whose bodies are plain text."""


class OperationDetails(TypedDict, total=False):
    """What a handler may say about its operation."""

    headers: Mapping[int, Sequence[str]]
    """Those of an answer, by its status; `?` at the end of a name means that it is not always there."""
    query: Sequence[str]
    """The parameters, by their names in `api/parameters.py`. `TaskRequest.query` reads these and refuses others."""
    body: Body
    example: Any
    files: Mapping[str, Any]
    """The media types of a download, and their schemas."""
    leads_to: Sequence[str]
    """The operations that take the id of the task in the answer, or of the task in the path."""


class DescribedOperation(Operation):
    """The operation of a handler, with what the handler says about it."""

    problems: ClassVar[Kinds] = ()
    """Those that only some operations have."""
    details: ClassVar[OperationDetails] = {}


def described(*kinds: type[Problem], **more: Unpack[OperationDetails]) -> type[DescribedOperation]:
    """The `operation_class` of a handler: which problems it has, and what else there is to say about it."""

    class OperationOfHandler(DescribedOperation):
        problems = kinds
        details = more

    return OperationOfHandler
