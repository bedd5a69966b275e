"""The request class of all task routes: it collects what is wrong, so that a client learns all of it at once."""

import uuid
from functools import partial
from typing import Any, Final, Literal, cast

from litestar import Request
from litestar.datastructures import State
from litestar.types import Receive, Scope, Send

from taskservice.api.described import DescribedOperation
from taskservice.api.json_body import JSON, MERGE_PATCH, check_media_type, read_json
from taskservice.api.parameters import SENT_AS, words_of
from taskservice.api.service import TaskService
from taskservice.principal import Principal
from taskservice.problems import FieldError, TaskNotFound, ValidationFailed
from taskservice.tasks import validation
from taskservice.tasks.list_query import Surface
from taskservice.tasks.query_string import read_parameters
from taskservice.tasks.validation import Invalid

SURFACE: Final = "surface"
"""The key in a router's `opt` under which its `Surface` stands."""


class TaskRequest(Request[Principal, Any, State]):
    """A request about the tasks of its user. Handlers add to `errors` and call `refuse()` before they do anything."""

    __slots__ = ("document", "errors")

    def __init__(self, scope: Scope, receive: Receive, send: Send) -> None:
        super().__init__(scope, receive, send)
        self.document: Any = None
        self.errors: list[FieldError] = []

    @property
    def service(self) -> TaskService:
        return cast("TaskService", self.app.state.service)

    @property
    def owner(self) -> str:
        """The id of the user whose tasks the request is about: always the token's."""
        return self.user.user_id

    @property
    def surface(self) -> Surface:
        return cast("Surface", self.route_handler.opt[SURFACE])

    @property
    def names_user(self) -> bool:
        """Whether the user's id is in the path, as on the path surface."""
        return "user_id" in self.scope["path_params"]

    @property
    def reveals_foreign(self) -> bool:
        """Whether the answer may say that an id is another user's task."""
        return not self.names_user and self.service.settings.foreign_task == "403"

    def refuse(self) -> None:
        """Raise all that is wrong with the request, if anything is."""
        if self.errors:
            raise ValidationFailed(self.errors)

    def note(self, invalid: Invalid, field: str, location: Literal["query", "path", "header"]) -> None:
        self.errors.append(invalid.at(field, location))

    # ---- the query string and the path

    def query(self) -> dict[str, list[str]]:
        """The values of the parameters that the handler's `described(query=…)` names. Notes all others as errors."""
        query = self.scope["query_string"]
        if not query:
            return {}
        operation = cast("type[DescribedOperation]", self.route_handler.operation_class)
        allowed = [SENT_AS.get(name, name) for name in operation.details.get("query", ())]
        found, errors = read_parameters(query, allowed)
        self.errors += errors
        return found

    def choice(self, found: dict[str, list[str]], name: str) -> str:
        """The parameter's value, or its default. Notes a word that `api/parameters.py` does not list as an error."""
        allowed = words_of(name)
        word = found.get(name, allowed)[0]
        if word not in allowed:
            self.note(Invalid("one_of", f"must be one of {', '.join(allowed)}", allowed=allowed), name, "query")
        return word

    def read_task_id(self, text: str) -> uuid.UUID:
        """The task id in the path. Read it last: it raises whatever else is wrong with the request, too."""
        try:
            task_id = validation.identifier(text)
        except Invalid as invalid:
            if not self.names_user:
                self.note(invalid, "task_id", "path")
            self.refuse()
            raise TaskNotFound from None
        self.refuse()
        return task_id

    @property
    def address(self) -> str:
        """The path as it was sent, with a single slash in front: after two, a host would follow and get the token."""
        return "/" + self.scope["raw_path"].decode("ascii").lstrip("/")


# ---- `before_request` hooks. They run after the middleware, and raise 413, 415 and 400 in this order.

AnyRequest = Request[Any, Any, Any]
"""What Litestar says that hooks are given. With `request_class`, it is a `TaskRequest`."""


async def _parse(request: AnyRequest, media_types: frozenset[str]) -> None:
    raw = await request.body()
    check_media_type(request.scope, media_types)
    cast("TaskRequest", request).document = await read_json(raw)


takes_json: Final = partial(_parse, media_types=JSON)
"""Parses the JSON body of an operation that must have one."""
takes_merge_patch: Final = partial(_parse, media_types=MERGE_PATCH)
"""Parses the body of an operation that takes JSON merge patches too."""


async def may_take_merge_patch(request: AnyRequest) -> None:
    """Parses the body of an operation that works without one, too."""
    if await request.body():
        await takes_merge_patch(request)


async def ignores_body(request: AnyRequest) -> None:
    """Reads and discards the body of an operation that takes none, so that the limit on its size applies."""
    await request.body()
