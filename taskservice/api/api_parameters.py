"""What may stand in a request's query and headers, and in an answer's headers: each said once, by its name."""

from typing import Any, Final, get_args

from taskservice import rules
from taskservice.api.api_schemas import REF, Schema
from taskservice.tasks import list_query
from taskservice.tasks.changes import TOKEN
from taskservice.tasks.export import FORMATS
from taskservice.tasks.filters import SORTS
from taskservice.tasks.importing import Existing
from taskservice.tasks.list_query import Surface

# No examples on optional parameters: the docs pages would fill them in and send them.

_SORT: Final = f"-?({'|'.join(SORTS)})"
_TAGS: Final = r'^(\*|(W/)?"[!#-~]*"(, ?(W/)?"[!#-~]*")*)$'


def _choice(*words: str) -> Schema:
    return {"type": "string", "enum": list(words), "default": words[0]}


def _any_of(items: Schema) -> Schema:
    return {"type": "array", "items": items}


def _moment(name: str) -> tuple[Schema, str]:
    what, _, side = name.partition("_")
    field = "due_date" if what == "due" else f"{what}_at"
    than = {"before": "earlier", "after": "later"}[side]
    schema = {"$ref": REF.format(name="DateOrInstant")}
    return schema, f"`{field}` is {than} than this. A date is its midnight in UTC."


_QUERY: Final[dict[str, tuple[Schema, str]]] = {
    "completed": ({"type": "boolean"}, "Another way to ask for the status."),
    "priority": (_any_of({"$ref": REF.format(name="Priority")}), "Any of these; repeated, or separated by comma."),
    "due": (
        {"type": "string", "enum": list(list_query.DUE)},
        "`none`: without a due date. `any`: with one. `overdue`, `today`: as the clock says in `tz`; what is completed "
        "is never overdue.",
    ),
    "tz": (
        {"type": "string", "format": "time-zone"},
        "The IANA time zone of `due=today` and `due=overdue`, such as `Europe/Berlin`; UTC without it.",
    ),
    **{name: _moment(name) for name in list_query.MOMENTS},
    "q": (
        {"type": "string", "minLength": 1, "maxLength": rules.SEARCH_MAX, "pattern": r"^[^\x00]*$"},
        "Part of the title or the description, in upper or lower case. `%` and `_` are ordinary characters.",
    ),
    "sort": (
        {
            "type": "string",
            "pattern": rf"^(?!.*\b([a-z]+)\b.*\b\1\b){_SORT}(,{_SORT})*$",
            "default": "created",
        },
        f"By {', '.join(f'`{name}`' for name in SORTS)}; `-` reverses. Several by comma, each once.",
    ),
    "limit": (
        {"type": "integer", "minimum": 1, "maximum": rules.LIST_LIMIT, "default": rules.LIST_LIMIT},
        "How many at most.",
    ),
    "cursor": (
        {"type": "string", "format": "cursor"},
        "Where the page starts: taken from the `Link` of the page before, of the same filters and sort.",
    ),
    "since": (
        {"type": "string", "pattern": f"^{TOKEN.pattern}$"},
        "`next` of the answer before. Without it: everything there is.",
    ),
    "format": (_choice(*FORMATS), "What kind of file."),
    "existing": (_choice(*get_args(Existing)), "What to do about tasks that are there already."),
    "dry_run": ({"type": "boolean", "default": False}, "Only say what would be done."),
    "permanent": ({"type": "boolean", "default": False}, "Delete for good."),
    "confirm": ({"type": "string", "enum": ["all"]}, "Says that this is no accident."),
}


def query_parameter(name: str, surface: Surface, *, required: bool) -> Schema:
    if name == "status":
        pending = "every task that is not completed" if surface.pending_is_open else "not yet begun"
        schema = _any_of({"type": "string", "enum": list(surface.statuses)})
        text = f"Any of these; repeated, or separated by comma. `pending`: {pending}."
    else:
        schema, text = _QUERY[name]
    parameter: Schema = {"name": name, "in": "query", "description": text, "schema": schema}
    if required:
        parameter["required"] = True
    if schema.get("type") == "array":
        parameter |= {"style": "form", "explode": True}
    return parameter


PARAMETERS: Final[dict[str, Schema]] = {
    "user_id": {
        "name": "user_id",
        "in": "path",
        "required": True,
        "description": "The token's own user, character by character.",
        "schema": {"type": "string", "minLength": 1, "maxLength": rules.USER_ID_MAX},
        "example": "alice",
    },
    "task_id": {
        "name": "task_id",
        "in": "path",
        "required": True,
        "description": "The task's `id`.",
        "schema": {"type": "string", "format": "uuid"},
    },
    "If-Match": {
        "name": "If-Match",
        "in": "header",
        "description": "The write happens only if the task's `ETag` is (one of) this; else 412 with the current one.",
        "schema": {"type": "string", "format": "entity-tags", "pattern": _TAGS},
    },
    "If-None-Match": {
        "name": "If-None-Match",
        "in": "header",
        "description": "The `ETag` of the answer that is there already: 304 if it still holds.",
        "schema": {"type": "string", "format": "entity-tags", "pattern": _TAGS},
    },
    "Idempotency-Key": {
        "name": "Idempotency-Key",
        "in": "header",
        "description": (
            f"A fresh name for this request, such as a UUID. Repeated with the same body within "
            f"{rules.IDEMPOTENCY_HOURS} hours it gives the first answer again and does nothing."
        ),
        "schema": {
            "type": "string",
            "format": "idempotency-key",
            "minLength": 1,
            "maxLength": rules.IDEMPOTENCY_KEY_MAX,
            "pattern": "^[ -~]+$",
        },
    },
}
"""Components: path parameters and request headers."""


def _header(description: str, **schema: Any) -> Schema:
    return {"description": description, "schema": {"type": "string"} | schema}


HEADERS: Final[dict[str, Schema]] = {
    "ETag": _header(
        "The task's state, or the list's. For `If-Match` and `If-None-Match`.",
        pattern=r'^"(0|[1-9][0-9]*)"$',
        examples=['"7"'],
    ),
    "Link": _header(
        'The next page, `rel="next"`. Absent on the last one.',
        examples=['</api/tasks?sort=-created&limit=2&cursor=…>; rel="next"'],
    ),
    "Location": _header("The address of the new task.", examples=["/api/tasks/01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e"]),
    "Idempotency-Replayed": _header("This is the first answer, given again.", enum=["true"]),
    "Content-Disposition": _header("A name for the file.", examples=['attachment; filename="tasks.json"']),
    "X-Request-ID": _header("The request's name in the log: the one that was sent, or a new one."),
    "WWW-Authenticate": _header(
        "What is wrong with the token (RFC 6750).",
        examples=['Bearer realm="taskservice", error="invalid_token", error_description="Token expired"'],
    ),
    "Retry-After": _header("Seconds to wait before trying again.", pattern="^[0-9]+$", examples=["2"]),
    "Allow": _header("The methods that there are.", examples=["GET, HEAD, POST, DELETE"]),
}
"""Components: headers of answers."""
