"""What may stand in a request's path, headers and query, as handlers declare it and the API's description shows it."""

from typing import Annotated, Any, Final, get_args

from litestar.params import HeaderParameter, PathParameter, SkipValidation

from taskservice import rules
from taskservice.tasks import list_query
from taskservice.tasks.changes import TOKEN
from taskservice.tasks.export import FORMATS
from taskservice.tasks.filters import SORTS
from taskservice.tasks.importing import Existing
from taskservice.tasks.list_query import Surface
from taskservice.tasks.tags import TAG

# ---- path and headers: types for the signatures of handlers, which read the values with readers of their own

_TAGS: Final = rf"^(\*|(W/)?{TAG}(, ?(W/)?{TAG})*)$"


def _text(**schema: Any) -> dict[str, Any]:
    """The schema of an optional header, which Litestar would show as a string or null."""
    return {"one_of": None, "type": "string", **schema}


TaskId = Annotated[SkipValidation[str], PathParameter(description="The task's `id`.", format="uuid")]

IfMatch = Annotated[
    SkipValidation[str | None],
    HeaderParameter(
        name="If-Match",
        description="The write happens only if the task's `ETag` is (one of) this; else 412 with the current one.",
        schema_extra=_text(format="entity-tags", pattern=_TAGS),
    ),
]
IfNoneMatch = Annotated[
    SkipValidation[str | None],
    HeaderParameter(
        name="If-None-Match",
        description="The `ETag` of the answer that is there already: 304 if it still holds.",
        schema_extra=_text(format="entity-tags", pattern=_TAGS),
    ),
]
IfNoneMatchOnPut = Annotated[
    SkipValidation[str | None],
    HeaderParameter(
        name="If-None-Match",
        description="`*`: create the task under this id; 412 if it is there already, in the trash too.",
        schema_extra=_text(pattern=r"^\*$"),
    ),
]
IdempotencyKeyHeader = Annotated[
    SkipValidation[str | None],
    HeaderParameter(
        name="Idempotency-Key",
        description=(
            f"A fresh name for this request, such as a UUID. Repeated with the same body within "
            f"{rules.IDEMPOTENCY_HOURS} hours it gives the first answer again and does nothing."
        ),
        schema_extra=_text(
            format="idempotency-key", min_length=1, max_length=rules.IDEMPOTENCY_KEY_MAX, pattern="^[ -~]+$"
        ),
    ),
]

USER_ID: Final[dict[str, Any]] = {
    "name": "user_id",
    "in": "path",
    "required": True,
    "description": "The token's own user, character by character.",
    "schema": {"type": "string", "minLength": 1, "maxLength": rules.USER_ID_MAX},
    "example": "alice",
}
"""`PathOwner` reads it, and no handler has it in its signature."""

# ---- the query: read by `tasks.list_query`, which notes all errors at once
# No examples, because the docs pages would fill them in and send them.

_SORT: Final = f"-?({'|'.join(SORTS)})"
_MOMENT: Final = (
    "A plain date such as `2026-12-01`, which is its midnight in UTC, or an RFC 3339 instant such as "
    "`2026-12-01T09:30:00Z`."
)


def _choice(*words: str) -> dict[str, Any]:
    return {"type": "string", "enum": list(words), "default": words[0]}


def _any_of(*words: str) -> dict[str, Any]:
    return {"type": "array", "items": {"type": "string", "enum": list(words)}}


def _moment(name: str) -> tuple[dict[str, Any], str]:
    what, _, side = name.partition("_")
    field = "due_date" if what == "due" else f"{what}_at"
    than = {"before": "earlier", "after": "later"}[side]
    return {"type": "string", "format": "date-or-instant"}, f"`{field}` is {than} than this. {_MOMENT}"


_QUERY: Final[dict[str, tuple[dict[str, Any], str]]] = {
    "completed": ({"type": "boolean"}, "Another way to ask for the status."),
    "priority": (_any_of(*rules.PRIORITIES), "Any of these; repeated, or separated by comma."),
    "due": (
        _any_of(*list_query.DUE),
        "Any of these; repeated, or separated by comma. `none`: without a due date. `any`: with one. `overdue`, "
        "`today`: as the clock says in `tz`; what is completed is never overdue.",
    ),
    "tz": (
        {"type": "string", "format": "time-zone"},
        "The IANA time zone of `due=today` and `due=overdue`, such as `Europe/Berlin`; UTC without it.",
    ),
    **{name: _moment(name) for name in list_query.MOMENTS},
    "ids": (
        {"type": "array", "items": {"type": "string", "format": "uuid"}, "minItems": 1, "maxItems": rules.IDS_MAX},
        f"Up to {rules.IDS_MAX} ids, separated by comma: those that are there.",
    ),
    "q": (
        {"type": "string", "minLength": 1, "maxLength": rules.SEARCH_MAX, "pattern": r"^[^\x00]*$"},
        "Part of the title or the description, in upper or lower case. `%` and `_` are ordinary characters.",
    ),
    "sort": (
        {"type": "string", "pattern": rf"^(?!.*\b([a-z]+)\b.*\b\1\b){_SORT}(,{_SORT})*$", "default": "created"},
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
    "count": (
        {"type": "boolean", "default": False},
        "Say in `X-Total-Count` how many tasks the filters match on all pages. The `Link` to the next page leaves it "
        "out.",
    ),
    "since": (
        {"type": "string", "pattern": f"^{TOKEN.pattern}$"},
        "`next` of the answer before. Without it: everything there is.",
    ),
    "format": (_choice(*FORMATS), "What kind of file."),
    "component": (_choice("todo", "event"), "What `format=ics` holds: to-dos, or events for tasks with a due date."),
    "existing": (_choice(*get_args(Existing)), "What to do about tasks that are there already."),
    "dry_run": ({"type": "boolean", "default": False}, "Only say what would be done."),
    "permanent": ({"type": "boolean", "default": False}, "Delete for good."),
    "clear_completed": ({"type": "boolean", "enum": [True]}, "Clear what is completed. Without `confirm`."),
    "confirm": (
        {"type": "string", "enum": ["all"]},
        "Erase everything: says that this is no accident. Without `completed`.",
    ),
}
SENT_AS: Final = {"clear_completed": "completed"}
"""The names of parameters that mean something else in another operation."""


def words_of(name: str) -> tuple[str, ...]:
    """The words that a parameter takes, its default first."""
    schema, _ = _QUERY[name]
    return tuple(schema.get("enum", ("false", "true")))


def query_parameter(name: str, surface: Surface) -> dict[str, Any]:
    """A parameter as the description shows it. `status` differs between the surfaces."""
    if name == "status":
        pending = "every task that is not completed" if surface.pending_is_open else "not yet begun"
        schema = _any_of(*surface.statuses)
        text = f"Any of these; repeated, or separated by comma. `pending`: {pending}."
    else:
        schema, text = _QUERY[name]
    parameter: dict[str, Any] = {"name": SENT_AS.get(name, name), "in": "query", "description": text, "schema": schema}
    if schema["type"] == "array":
        parameter |= {"style": "form", "explode": name != "ids"}
    return parameter
