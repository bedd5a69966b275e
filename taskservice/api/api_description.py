"""The API's description (OpenAPI 3.1): Litestar finds the routes, `api_operations` says what they do.

Handlers read queries and bodies themselves, so that everything wrong with them is told at once; Litestar cannot see
what they take. It is built when it is asked for, and nothing here is loaded before.
"""

import re
from collections.abc import Iterable
from dataclasses import fields
from typing import Any, Final

import msgspec
from litestar.openapi.spec import OpenAPI

from taskservice import problems, rules
from taskservice.api.api_operations import OPERATIONS, PUBLIC, Answer, Body, Kinds, Operation
from taskservice.api.api_parameters import HEADERS, PARAMETERS, query_parameter
from taskservice.api.api_schemas import Schema, schema_of, schemas
from taskservice.problems import FieldError, Problem, ProblemDocument, Unauthenticated, Unavailable, catalogue
from taskservice.settings import Settings
from taskservice.tasks.list_query import PATH_SURFACE, TOKEN_SURFACE, Surface
from taskservice.web.problem_documents import MEDIA_TYPE

ABOUT: Final = """\
Every request carries a JWT (`Authorization: Bearer …`), every user sees their own tasks only. `/api/tasks` serves the
token's user; `/api/{user_id}/tasks` is the same with the user's id in the path.

Every error is a problem document (RFC 9457) with a stable `code`; `errors` names all invalid fields at once.
Unknown fields and parameters are refused. A path that is not described here is a 404, another method on one that is
a 405 with `Allow`. `HEAD` is answered wherever `GET` is.
"""

SURFACES: Final = {"/api/tasks": TOKEN_SURFACE, "/api/{user_id}/tasks": PATH_SURFACE}

TAGS: Final = {
    TOKEN_SURFACE: {"name": "tasks", "description": "The tasks of the token's user."},
    PATH_SURFACE: {"name": "user tasks", "description": "The same, with the user's id in the path."},
    None: {"name": "health", "description": "For whoever watches over the service."},
}

_EVERYWHERE: Final[Kinds] = (
    problems.BadRequest,
    problems.RequestTimeout,
    problems.UriTooLong,
    problems.HeadersTooLarge,
    problems.InternalError,
)
_BEHIND_TOKEN: Final[Kinds] = (Unauthenticated, problems.ValidationFailed, Unavailable)

_HEADERS_OF: Final[dict[type[Problem], str]] = {
    Unauthenticated: "WWW-Authenticate",
    Unavailable: "Retry-After",
    problems.NotReady: "Retry-After",
    problems.IdempotencyInFlight: "Retry-After",
    problems.MethodNotAllowed: "Allow",
}
"""What a problem's answer always carries besides its document."""
_SOMETIMES_OF: Final[dict[type[Problem], str]] = {problems.PreconditionFailed: "ETag"}
"""A batch has no one task whose tag it could be."""

_UNROUTED: Final[Kinds] = (problems.NotFound, problems.MethodNotAllowed)
"""What no operation answers, but the service does where there is none."""


class Description(OpenAPI):
    """What Litestar found, with the operations of the table in place of what Litestar made of them."""

    def __init__(self, found: OpenAPI, settings: Settings) -> None:
        super().__init__(**{field.name: getattr(found, field.name) for field in fields(found)})
        self._settings = settings

    def to_schema(self) -> dict[str, Any]:
        document = super().to_schema()
        writer = _Writer(self._settings)
        for path, methods in document["paths"].items():
            for method in methods:
                found = find(method.upper(), path)
                if found is not None:
                    methods[method] = writer.operation(path, *found)
        document["info"]["description"] = ABOUT
        document["paths"] = {path: document["paths"][path] for path in sorted(document["paths"])}
        document["tags"] = list(TAGS.values())
        document["components"] |= writer.components()
        return document


def find(method: str, path: str) -> tuple[Operation, Surface | None] | None:
    """The entry of the table for a route, and the surface that the route is on."""
    for prefix, surface in SURFACES.items():
        if path.startswith(prefix):
            operation = OPERATIONS.get(f"{method} {path.removeprefix(prefix) or '/'}")
            return (operation, surface) if operation else None
    operation = PUBLIC.get(f"{method} {path}")
    return (operation, None) if operation else None


def _id(operation: Operation, surface: Surface | None) -> str:
    return operation.names[surface is PATH_SURFACE]


class _Writer:
    """Writes operations, and remembers the components that they refer to."""

    def __init__(self, settings: Settings) -> None:
        self._settings = settings
        self._responses: dict[str, Schema] = {}
        self._headers: dict[str, Schema] = {}
        for kind in _UNROUTED:
            self._problem_response((kind,))

    def operation(self, path: str, operation: Operation, surface: Surface | None) -> Schema:
        written: Schema = {
            "operationId": _id(operation, surface),
            "tags": [TAGS[surface]["name"]],
            "summary": operation.summary,
            "description": operation.description,
        }
        in_path = re.findall(r"{(\w+)}", path)
        parameters = [_reference("parameters", name) for name in (*in_path, *operation.headers)]
        if surface is not None:
            parameters += (
                query_parameter(name, surface, required=name in operation.required) for name in operation.query
            )
        if parameters:
            written["parameters"] = parameters
        if operation.body is not None:
            written["requestBody"] = _request_body(operation.body)
        written["responses"] = {
            **{str(answer.status): self._answer(answer) for answer in operation.answers},
            **self._problems(operation, surface),
        }
        if operation.leads_to:
            best = written["responses"][str(operation.answers[0].status)]
            best["links"] = _links(path, operation, surface)
        if operation.public:
            written["security"] = []
        return written

    def components(self) -> Schema:
        return {
            "schemas": schemas(self._settings),
            "parameters": PARAMETERS,
            "headers": dict(sorted(self._headers.items())),
            "responses": dict(sorted(self._responses.items())),
        }

    def _answer(self, answer: Answer) -> Schema:
        response: Schema = {"description": answer.meaning, "headers": self._carried(answer.always, answer.sometimes)}
        if answer.files is not None:
            response["content"] = {media_type: {"schema": schema} for media_type, schema in answer.files.items()}
        elif answer.type is not None:
            content = {"schema": schema_of(answer.type), "example": answer.example}
            response["content"] = {"application/json": content}
        return response

    def _carried(self, always: Iterable[str], sometimes: Iterable[str] = ()) -> Schema:
        found: Schema = {}
        for name in ("X-Request-ID", *always):
            self._headers[name] = HEADERS[name] | {"required": True}
            found[name] = _reference("headers", name)
        for name in sometimes:
            optional = f"{name}-sometimes"
            self._headers[optional] = HEADERS[name]
            found[name] = _reference("headers", optional)
        return found

    def _problems(self, operation: Operation, surface: Surface | None) -> Schema:
        kinds: list[type[Problem]] = [*_EVERYWHERE, *operation.problems]
        if surface is not None:
            kinds += _BEHIND_TOKEN
        if surface is PATH_SURFACE:
            kinds.append(problems.PathOwnerMismatch)
        if surface is PATH_SURFACE or self._settings.foreign_task == "404":
            kinds = [kind for kind in kinds if kind is not problems.ForeignTask]
        by_status: dict[int, list[type[Problem]]] = {}
        for kind in sorted(kinds, key=lambda kind: (kind.status, kind.__name__)):
            by_status.setdefault(kind.status, []).append(kind)
        return {str(status): self._problem_response(tuple(kinds)) for status, kinds in by_status.items()}

    def _problem_response(self, kinds: Kinds) -> Schema:
        name = "Or".join(kind.__name__ for kind in kinds)
        if name not in self._responses:
            carried = {_HEADERS_OF[kind] for kind in kinds if kind in _HEADERS_OF}
            always = carried if all(kind in _HEADERS_OF for kind in kinds) else set()
            sometimes = carried - always | {_SOMETIMES_OF[kind] for kind in kinds if kind in _SOMETIMES_OF}
            coded = [code for kind in kinds for code in self._coded(kind)]
            self._responses[name] = {
                "description": "; ".join(f"`{kind.code}`: {kind.remedy}" for kind in coded),
                "headers": self._carried(sorted(always), sorted(sometimes)),
                "content": {
                    MEDIA_TYPE: {
                        "schema": schema_of(ProblemDocument),
                        "examples": {kind.code: {"value": _example(kind)} for kind in coded},
                    }
                },
            }
        return _reference("responses", name)

    def _coded(self, kind: type[Problem]) -> Kinds:
        """A problem, or the problems of a family."""
        coded = [each for each in catalogue() if issubclass(each, kind)]
        if self._settings.users == "token":
            coded = [each for each in coded if each is not problems.UnknownUser]
        return tuple(coded)


def _request_body(body: Body) -> Schema:
    examples = {name: {"value": value} for name, value in body.examples.items()}
    content = {"schema": schema_of(body.type), "examples": examples}
    return {"required": body.required, "content": dict.fromkeys(sorted(body.media_types), content)}


def _links(path: str, operation: Operation, surface: Surface | None) -> Schema:
    task_id = "$request.path.task_id" if "{task_id}" in path else "$response.body#/id"
    parameters = {"user_id": "$request.path.user_id"} if surface is PATH_SURFACE else {}
    targets = [_id(OPERATIONS[target], surface) for target in operation.leads_to]
    return {name: {"operationId": name, "parameters": parameters | {"task_id": task_id}} for name in targets}


def _example(kind: type[Problem]) -> Schema:
    if issubclass(kind, problems.ValidationFailed):
        too_long = FieldError(
            field="title", location="body", rule="max_length", limit=rules.TITLE_MAX,
            message=f"must have at most {rules.TITLE_MAX} characters",
        )  # fmt: skip
        problem: Problem = kind([too_long])
    else:
        problem = kind()
    document = problem.document(instance="/api/tasks", request_id="01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e")
    shown: Schema = msgspec.to_builtins(document)
    return shown


def _reference(section: str, name: str) -> Schema:
    return {"$ref": f"#/components/{section}/{name}"}
