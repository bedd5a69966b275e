"""The API's description (OpenAPI 3.1): what Litestar generates from the handlers, completed by what they say."""

from collections.abc import Iterable
from dataclasses import dataclass, field, fields
from itertools import groupby
from typing import Any, Final

import msgspec
from litestar.handlers import HTTPRouteHandler
from litestar.openapi import OpenAPIConfig
from litestar.openapi.spec import Components, Contact, License, OpenAPI, Operation, SecurityScheme, Server, Tag
from litestar.types import Method

from taskservice import __version__, problems
from taskservice.api.described import Body, DescribedOperation, Kinds, OperationDetails
from taskservice.api.parameters import USER_ID, query_parameter
from taskservice.api.struct_schemas import REF, component
from taskservice.auth.middleware import NO_TOKEN
from taskservice.problems import (
    FieldError,
    Problem,
    ProblemDocument,
    Unauthenticated,
    Unavailable,
    catalogue,
    example_of,
)
from taskservice.settings import Settings
from taskservice.tasks.list_query import PATH_SURFACE, TOKEN_SURFACE
from taskservice.web.docs import DocumentPlugin, docs_router
from taskservice.web.problem_documents import MEDIA_TYPE

ABOUT: Final = """\
Every request carries a JWT (`Authorization: Bearer …`), and every user sees only their own tasks. `/api/tasks` serves
the token's user; `/api/{user_id}/tasks` is the same with the user's id in the path.

Every error is a problem document (RFC 9457) with a stable `code`; `errors` names all invalid fields at once.
Unknown fields and parameters are refused; the read-only fields of a task are accepted and ignored, so that a client
may send back what it read. A path that is not described here is a 404, another method on one that is a 405 with
`Allow`. `HEAD` is answered wherever `GET` is.
"""

TAGS: Final = [
    Tag(name="tasks", description="The tasks of the token's user."),
    Tag(name="user tasks", description="The same, with the user's id in the path."),
    Tag(name="health", description="For monitoring the service."),
]

Schema = dict[str, Any]

# ---- problems

COMMON: Final[Kinds] = (
    problems.BadRequest,
    problems.RequestTimeout,
    problems.UriTooLong,
    problems.HeadersTooLarge,
    problems.InternalError,
    problems.UnknownTransferCoding,
    Unauthenticated,
    Unavailable,
    problems.MalformedBody,
    problems.BodyTooLarge,
    problems.UnsupportedMediaType,
    problems.NotFound,
    problems.MethodNotAllowed,
)
"""What any operation may answer: described once, as the `default` answer of all of them."""

_HEADERS_OF: Final[dict[type[Problem], str]] = {
    Unauthenticated: "WWW-Authenticate",
    Unavailable: "Retry-After",
    problems.MethodNotAllowed: "Allow",
    problems.PreconditionFailed: "ETag",  # not that of a batch, which concerns many tasks
}
"""What a problem's answer may carry besides its document."""

# ---- headers of answers


def _header(description: str, **schema: Any) -> Schema:
    return {"description": description, "schema": {"type": "string"} | schema}


HEADERS: Final[dict[str, Schema]] = {
    "ETag": _header(
        "The task's state, or the list's. For `If-Match` and `If-None-Match`.",
        pattern=r'^"(0|[1-9][0-9]*)-[a-z0-9]{8}"$',
        examples=['"7-k3f9q2x1"'],
    ),
    "Link": _header(
        'The next page, `rel="next"`. Absent on the last one.',
        examples=['</api/tasks?sort=-created&limit=2&cursor=…>; rel="next"'],
    ),
    "X-Total-Count": _header("How many tasks the filters match.", pattern="^[0-9]+$", examples=["12"]),
    "X-Trash": _header("Says that the trash is off: deleted tasks are gone for good.", pattern="^off"),
    "Location": _header("The address of the new task.", examples=["/api/tasks/01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e"]),
    "Idempotency-Replayed": _header("This is the first answer, given again.", const="true"),
    "Content-Disposition": _header("A name for the file.", examples=['attachment; filename="tasks.json"']),
    "X-Request-ID": _header("The request's name in the log: the one that was sent, or a new one."),
    "WWW-Authenticate": _header(
        "What is wrong with the token (RFC 6750).",
        examples=['Bearer realm="taskservice", error="invalid_token", error_description="Token expired"'],
    ),
    "Retry-After": _header("Seconds to wait before trying again.", pattern="^[0-9]+$", examples=["2"]),
    "Allow": _header("The methods that there are.", examples=["GET, HEAD, POST, DELETE"]),
}


def openapi_config(settings: Settings) -> OpenAPIConfig:
    return DescriptionConfig(
        settings=settings,
        title="taskservice",
        version=__version__,
        description=ABOUT,
        contact=Contact(name="The maintainers of taskservice"),
        license=License(name="MIT", identifier="MIT"),
        components=Components(
            security_schemes={"bearer": SecurityScheme(type="http", scheme="bearer", bearer_format="JWT")}
        ),
        security=[{"bearer": []}],
        servers=[Server(url=settings.public_url or "/")],
        tags=TAGS,
        use_handler_docstrings=True,
        operation_id_creator=operation_id,
        render_plugins=[DocumentPlugin()],
        openapi_router=docs_router(),
    )


def operation_id(handler: HTTPRouteHandler, _method: Method, path: list[Any]) -> str:
    """`create_task` is `createTask`, and `createUserTask` where the user's id is in the path."""
    words = handler.handler_name.split("_")
    if any(getattr(part, "name", None) == "user_id" for part in path):
        words.insert(-1, "user")
    return words[0] + "".join(word.title() for word in words[1:])


@dataclass
class DescriptionConfig(OpenAPIConfig):
    """Litestar's configuration, with the settings of the service that is described."""

    settings: Settings = field(kw_only=True)

    def to_openapi_schema(self) -> OpenAPI:
        return Description(super().to_openapi_schema(), self.settings)


class Description(OpenAPI):
    """Completes what Litestar generated when the document is written."""

    def __init__(self, generated: OpenAPI, settings: Settings) -> None:
        super().__init__(**{each.name: getattr(generated, each.name) for each in fields(generated)})
        self._settings = settings

    def to_schema(self) -> Schema:
        document = super().to_schema()
        writer = _Writer(self._settings)
        for path, item in (self.paths or {}).items():
            for method, written in document["paths"][path].items():
                operation = getattr(item, method)
                writer.complete(path, operation, written)
        document["paths"] = {path: document["paths"][path] for path in sorted(document["paths"])}
        components = document["components"]
        components["schemas"] |= writer.schemas
        self._complete_schemas(components["schemas"])
        components["schemas"] = dict(sorted(components["schemas"].items()))
        components["headers"] = dict(sorted(writer.headers.items()))
        components["responses"] = dict(sorted(writer.responses.items()))
        return document

    def _complete_schemas(self, schemas: dict[str, Schema]) -> None:
        """What depends on the policies, and what is known only when all modules are loaded."""
        for schema in schemas.values():
            # The title repeats the component's name.
            schema.pop("title", None)
        schemas["ProblemCode"] = {
            "description": "What went wrong; stable. Each is explained at `/schema/problems/{code}`.",
            "type": "string",
            "enum": [kind.code for kind in catalogue()],
        }
        schemas["ProblemDocument"]["properties"]["code"] = _reference("schemas", "ProblemCode")
        for name in {"TaskCreate", "TaskChange", "TaskImport"} & schemas.keys():
            schemas[name]["properties"]["description"]["maxLength"] = self._settings.description_max
        if self._settings.title == "generated" and "TaskCreate" in schemas:
            del schemas["TaskCreate"]["required"]
            schemas["TaskCreate"]["properties"]["title"]["description"] += " Made from the description if it is absent."


class _Writer:
    """Completes operations, and remembers the components that they refer to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._unused: Kinds = (problems.UnknownUser,) if settings.users == "token" else ()
        self.responses: dict[str, Schema] = {}
        self.headers: dict[str, Schema] = {}
        self.schemas: dict[str, Schema] = {
            struct.__name__: component(struct) for struct in (ProblemDocument, FieldError)
        }

    def complete(self, path: str, operation: Operation, written: Schema) -> None:
        described = operation if isinstance(operation, DescribedOperation) else DescribedOperation
        details = described.details
        on_path = "{user_id}" in path
        public = operation.security == NO_TOKEN
        # A docstring has line breaks where its lines end.
        written["description"] = " ".join(written.get("description", "").split())
        del written["deprecated"]
        if public:
            written["security"] = []
        parameters = [_parameter(one) for one in written.get("parameters", ())]
        surface = PATH_SURFACE if on_path else TOKEN_SURFACE
        parameters += (query_parameter(name, surface) for name in details.get("query", ()))
        if parameters:
            written["parameters"] = parameters
        if "body" in details:
            written["requestBody"] = self._request_body(written, details["body"])
        is_repeatable = any(one["name"] == "Idempotency-Key" for one in parameters)
        # Litestar adds a 400 of its own wherever there are parameters.
        answers = {status: answer for status, answer in written["responses"].items() if status != "400"}
        for status, answer in answers.items():
            self._complete_answer(int(status), answer, details)
            if is_repeatable:
                answer["headers"] |= self._carried(["Idempotency-Replayed?"])
        if "leads_to" in details:
            next(iter(answers.values()))["links"] = _links(path, details["leads_to"])
        own = (*described.problems, problems.IdempotencyKeyReused) if is_repeatable else described.problems
        written["responses"] = answers | self._problems(own, on_path=on_path, public=public)

    def _request_body(self, written: Schema, body: Body) -> Schema:
        if body.list_of is not None:
            name = body.list_of.__name__
            self.schemas[name] = component(body.list_of)
            schema: Schema = {"type": "array", "items": _reference("schemas", name)}
        else:
            schema = written["requestBody"]["content"]["application/json"]["schema"]
        examples = {name: {"value": value} for name, value in body.examples.items()}
        content = {"schema": schema, "examples": examples}
        contents: Schema = dict.fromkeys(sorted(body.media_types), content)
        contents |= {kind: {"schema": {"type": "string"}, "example": text} for kind, text in body.texts.items()}
        return {"required": body.required, "content": contents}

    def _complete_answer(self, status: int, answer: Schema, details: OperationDetails) -> None:
        answer["headers"] = self._carried(details.get("headers", {}).get(status, ()))
        if status in {204, 304}:
            answer.pop("content", None)
        elif "files" in details:
            answer["content"] = {media_type: {"schema": schema} for media_type, schema in details["files"].items()}
        elif "example" in details and status < 300:
            answer["content"]["application/json"]["example"] = details["example"]

    def _carried(self, names: Iterable[str]) -> Schema:
        """The headers of an answer. `?` at the end of a name means that it is not always there."""
        found: Schema = {}
        for name in ("X-Request-ID", *names):
            header = name.removesuffix("?")
            if header == name:
                self.headers[header] = HEADERS[header] | {"required": True}
                found[header] = _reference("headers", header)
            else:
                self.headers[f"{header}-sometimes"] = HEADERS[header]
                found[header] = _reference("headers", f"{header}-sometimes")
        return found

    # ---- problems

    def _problems(self, own: Kinds, *, on_path: bool, public: bool) -> Schema:
        kinds = {kind for kind in own if kind not in COMMON}
        # Linters expect each operation to name an error of the client, and this is the likeliest one of a probe.
        kinds.add(problems.HeadersTooLarge if public else problems.ValidationFailed)
        if on_path:
            kinds.add(problems.PathOwnerMismatch)
        if on_path or self._settings.foreign_task == "404":
            kinds.discard(problems.ForeignTask)
        answers: Schema = {}
        ordered = sorted(kinds, key=lambda kind: (kind.status, kind.__name__))
        for status, some in groupby(ordered, key=lambda kind: kind.status):
            group = tuple(some)
            answers[str(status)] = self._response("Or".join(kind.__name__ for kind in group), group)
        answers["default"] = self._response("AnyOther", COMMON)
        return answers

    def _response(self, name: str, kinds: Kinds) -> Schema:
        """A reference to the answer that stands for any of these problems."""
        if name not in self.responses:
            # Each family as its members.
            coded = [kind for kind in catalogue() if issubclass(kind, kinds) and kind not in self._unused]
            self.responses[name] = {
                "description": "; ".join(f"`{kind.code}`: {kind.remedy}" for kind in coded),
                "headers": self._carried(sorted(f"{_HEADERS_OF[kind]}?" for kind in kinds if kind in _HEADERS_OF)),
                "content": {
                    MEDIA_TYPE: {
                        "schema": _reference("schemas", "ProblemDocument"),
                        "examples": {kind.code: {"value": msgspec.to_builtins(example_of(kind))} for kind in coded},
                    }
                },
            }
        return _reference("responses", name)


def _parameter(generated: Schema) -> Schema:
    """A parameter without what Litestar says twice, or of every parameter."""
    if generated["name"] == "user_id":
        return USER_ID
    generated["schema"].pop("description", None)
    return {key: value for key, value in generated.items() if value is not False}


def _links(path: str, operations: Iterable[str]) -> Schema:
    parameters = {"task_id": "$request.path.task_id" if "{task_id}" in path else "$response.body#/id"}
    if "{user_id}" in path:
        parameters["user_id"] = "$request.path.user_id"
        operations = [name.replace("Task", "UserTask") for name in operations]
    return {name: {"operationId": name, "parameters": parameters} for name in operations}


def _reference(section: str, name: str) -> Schema:
    return {"$ref": REF.format(name=name) if section == "schemas" else f"#/components/{section}/{name}"}
