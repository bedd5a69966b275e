"""The shapes of the API's description: made from the Structs and rules that requests are read and answered with."""

import datetime as dt
import json
import uuid
from typing import Annotated, Any, Final

import msgspec
from msgspec import UNSET, Meta, Struct, UnsetType

from taskservice import rules
from taskservice.problems import ProblemDocument, catalogue
from taskservice.settings import Settings
from taskservice.tasks import validation
from taskservice.tasks.batch import BatchAnswer
from taskservice.tasks.changes import ChangePage
from taskservice.tasks.importing import Imported
from taskservice.tasks.schemas import Cleared, Completion, Task, TaskChange, TaskCreate, TaskImport, TrashedTask
from taskservice.web.health import Health

Schema = dict[str, Any]

REF: Final = "#/components/schemas/{name}"

EXAMPLE: Final = Task(
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
)

NAMED: Final[dict[str, Schema]] = {
    "Status": {"type": "string", "enum": list(rules.STATUSES)},
    "Priority": {"type": "string", "enum": list(rules.PRIORITIES)},
    "DateOrInstant": {
        "description": "A plain date, the same day in every time zone, or an RFC 3339 instant.",
        # No examples: filters use it too, and Scalar would fill them in and send them.
        "anyOf": [{"type": "string", "format": "date"}, {"type": "string", "format": "date-time"}],
    },
    "ProblemCode": {
        "description": "What went wrong; stable. Each is explained at `/schema/problems/{code}`.",
        "type": "string",
        "enum": [kind.code for kind in catalogue()],
    },
}
"""Schemas that are no Struct of their own."""

# ---- batches are read operation by operation (`tasks.batch`); these say what is read there

EntityTag = Annotated[
    str,
    Meta(
        pattern=r'^(\*|"(0|[1-9][0-9]{0,17})")$',
        description="The operation happens only if the task's `ETag` is this.",
        examples=['"7"'],
    ),
]


class BatchCreate(Struct, tag_field="op", tag="create", forbid_unknown_fields=True):
    """As `POST`."""

    data: TaskCreate


class BatchUpdate(Struct, tag_field="op", tag="update", forbid_unknown_fields=True, kw_only=True):
    """As `PATCH /{task_id}`."""

    id: uuid.UUID
    data: TaskChange
    if_match: EntityTag | UnsetType | None = UNSET


class BatchComplete(Struct, tag_field="op", tag="complete", forbid_unknown_fields=True, kw_only=True):
    """As `PATCH /{task_id}/complete`."""

    id: uuid.UUID
    data: Completion | UnsetType = UNSET
    if_match: EntityTag | UnsetType | None = UNSET


class BatchDelete(Struct, tag_field="op", tag="delete", forbid_unknown_fields=True, kw_only=True):
    """As `DELETE /{task_id}`."""

    id: uuid.UUID
    permanent: bool = False
    if_match: EntityTag | UnsetType | None = UNSET


class BatchRestore(Struct, tag_field="op", tag="restore", forbid_unknown_fields=True, kw_only=True):
    """As `POST /{task_id}/restore`."""

    id: uuid.UUID
    if_match: EntityTag | UnsetType | None = UNSET


class BatchRequest(Struct, forbid_unknown_fields=True):
    """Operations that happen together or not at all."""

    operations: Annotated[
        list[BatchCreate | BatchUpdate | BatchComplete | BatchDelete | BatchRestore],
        Meta(min_length=1, max_length=rules.BATCH_MAX),
    ]


# ---- all of them


def schema_of(kind: Any) -> Schema:
    """A reference to a Struct, or an array of them."""
    schema = msgspec.json.schema_components([kind], ref_template=REF)[0][0]
    return dict(schema)


def schemas(settings: Settings) -> dict[str, Schema]:
    """Every named schema, under the policies of one service."""
    answers = (Task, TrashedTask, BatchAnswer, ChangePage, Imported, Cleared, ProblemDocument, Health)
    bodies = (TaskCreate, TaskChange, TaskImport, Completion, BatchRequest)
    _, found = msgspec.json.schema_components((*answers, *bodies), ref_template=REF)
    named = {name: _with_names(schema) for name, schema in found.items()}
    named["ProblemDocument"]["properties"]["code"] = _reference("ProblemCode")
    for kind in (TaskCreate, TaskChange, TaskImport, Completion):
        _close(named[kind.__name__], validation.READ_ONLY)
    for kind in (TaskCreate, TaskChange, TaskImport):
        schema = named[kind.__name__]
        schema["properties"]["description"]["anyOf"][0]["maxLength"] = settings.description_max
        schema["not"] = _CONTRADICTION
    for name, schema in named.items():
        if name.startswith("Batch") or name in {"TaskCreate", "TaskImport"}:
            _say_defaults(schema)
    if settings.title == "generated":
        del named["TaskCreate"]["required"]
        named["TaskCreate"]["properties"]["title"]["description"] += " Made from the description if it is absent."
    return dict(sorted((named | NAMED).items()))


_CONTRADICTION: Final[Schema] = {
    "description": "`completed` is another way to write `status`: where both are given they agree.",
    "required": ["status", "completed"],
    "anyOf": [
        {"properties": {"status": {"const": rules.COMPLETED}, "completed": {"const": False}}},
        {
            "properties": {
                "status": {"enum": [status for status in rules.STATUSES if status != rules.COMPLETED]},
                "completed": {"const": True},
            }
        },
    ],
}


def _close(schema: Schema, ignored: frozenset[str]) -> None:
    """Unknown names are refused; read-only ones are passed over, whatever they hold."""
    for name in sorted(ignored - set(schema["properties"])):
        schema["properties"][name] = {"description": "Read-only: accepted, and ignored."}
    schema["additionalProperties"] = False


def _say_defaults(schema: Schema) -> None:
    """In words: generators of typed clients take a property with `default` for one that is always there."""
    for written in schema["properties"].values():
        if "default" in written:
            default = written.pop("default")
            if default is not None:
                said = written.get("description", "")
                written["description"] = f"{said} `{json.dumps(default)}` if absent.".strip()


def _with_names(value: Any) -> Any:
    """The same schema with references for what has a name, and without what says nothing."""
    if isinstance(value, list):
        return [_with_names(item) for item in value]
    if not isinstance(value, dict):
        return value
    for name, schema in NAMED.items():
        if "anyOf" in schema and value.get("anyOf") == schema["anyOf"]:
            return _reference(name)
        if "enum" in value and set(value["enum"]) == set(schema.get("enum", ())):
            return _reference(name) | {key: value[key] for key in ("default",) if key in value}
    shown = {key: _with_names(item) for key, item in value.items() if item != [] and not _is_name(key, item)}
    if "enum" in shown:
        shown = {"type": "string"} | shown
    return shown


def _is_name(key: str, item: Any) -> bool:
    # The title of a Struct repeats its name; a property called `title` is a schema.
    return key == "title" and isinstance(item, str)


def _reference(name: str) -> Schema:
    return {"$ref": REF.format(name=name)}
