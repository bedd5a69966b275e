"""What a description cannot say, said to Schemathesis: it loads this module before it runs.

Requests that are wrong on purpose are left as they are.
"""

import csv
import datetime as dt
import io
import os
import string
import uuid
from collections.abc import Iterator, Set
from typing import Any
from zoneinfo import available_timezones

import jsonschema_rs
import schemathesis
from hypothesis import strategies as st
from schemathesis import Case, HookContext
from schemathesis.core.failures import AcceptedNegativeData, Failure
from schemathesis.core.parameters import ParameterLocation
from schemathesis.core.transport import Response
from schemathesis.generation import GenerationMode
from schemathesis.openapi.checks import UseAfterFree

from taskservice import rules
from taskservice.tasks.schemas import TaskImport
from taskservice.tasks.validation import READ_ONLY

CURSORS = {"trash": os.environ["CURSOR_OF_TRASH"], "list": os.environ["CURSOR_OF_LIST"]}
"""Real ones, of the lists without a filter; empty if there can be none."""

IMPORTED = frozenset(TaskImport.__struct_fields__)
"""What an import reads, and other bodies may have without effect."""

PRINTABLE = frozenset(string.digits + string.ascii_letters + string.punctuation + " ")

_tag = st.one_of(st.integers(0, 50).map(str), st.text("abc!#~", max_size=5)).map('"{}"'.format)

# In UTC an instant has a year from 1 to 9999; with an offset it may have none.
_offsets = st.integers(-23 * 60, 23 * 60).map(lambda minutes: dt.timezone(dt.timedelta(minutes=minutes)))
_instants = st.datetimes(dt.datetime(1, 1, 2), dt.datetime(9999, 12, 30), timezones=_offsets)  # noqa: DTZ001

schemathesis.openapi.format("date-time", _instants.map(lambda moment: moment.isoformat()))
schemathesis.openapi.format("date-or-instant", st.one_of(st.dates(), _instants).map(lambda moment: moment.isoformat()))
schemathesis.openapi.format(
    "entity-tags", st.one_of(st.just("*"), st.lists(_tag, min_size=1, max_size=3).map(", ".join))
)
schemathesis.openapi.format("time-zone", st.sampled_from(sorted(available_timezones())))
schemathesis.openapi.format("idempotency-key", st.uuids().map(str))
schemathesis.openapi.format("cursor", st.sampled_from(sorted(CURSORS.values())))


def _csv_with(text: str) -> str:
    """A file with one task, whose title is what can be printed of this text."""
    title = "".join(filter(PRINTABLE.__contains__, text)).strip()[: rules.TITLE_MAX] or "a task"
    file = io.StringIO()
    csv.writer(file).writerows([["id", "title"], [str(uuid.uuid4()), title]])
    return file.getvalue()


def _past(task: dict[str, Any]) -> dict[str, str]:
    now = dt.datetime.now(dt.UTC)
    moments = {name: task[name] for name in ("created_at", "completed_at") if task.get(name)}
    return {name: now.isoformat() for name, text in moments.items() if dt.datetime.fromisoformat(text) > now}


def _settle_what_goes_together(case: Case[Any]) -> None:
    """What one part of a request says must fit what another says."""
    if case.method == "DELETE" and "task_id" not in (case.path_parameters or {}):
        # One of the two parameters is needed, and no more.
        case.query = {"completed": "true"} if "completed" in (case.query or {}) else {"confirm": "all"}
    if case.query and case.query.get("format") != "ics":
        case.query.pop("component", None)
    if case.method == "PUT" and case.headers and "If-None-Match" in case.headers:
        # It creates the task, which must have a title and no tag yet.
        case.headers.pop("If-Match", None)
        if not (isinstance(case.body, dict) and case.body.get("title")):
            del case.headers["If-None-Match"]


@schemathesis.hook
def before_call(context: HookContext, case: Case[Any], kwargs: dict[str, Any]) -> None:
    if case.meta is None or case.meta.generation.mode is not GenerationMode.POSITIVE:
        return
    if case.query and "cursor" in case.query:
        # A cursor belongs to one list with its filters.
        cursor = CURSORS["trash" if case.path.endswith("/trash") else "list"]
        case.query = {"cursor": cursor} if cursor else {}
    elif case.query and {"today", "overdue"}.isdisjoint(case.query.get("due") or ()):
        # A zone goes with the clock.
        case.query.pop("tz", None)
    _settle_what_goes_together(case)
    body: Any = case.body
    for task in _objects(body):
        # `completed` is another way to write `status`. Where both are given, they agree.
        if "status" in task and "completed" in task:
            task["completed"] = task["status"] == rules.COMPLETED
    if case.path.endswith("/import") and isinstance(body, list):
        # A task stands in a file once, and its past is past.
        case.body = [*{task["id"]: task | _past(task) for task in body}.values()]
    elif case.path.endswith("/import") and isinstance(body, str):
        # A schema says of CSV only that it is text.
        case.body = _csv_with(body)
    if case.headers and "Idempotency-Key" in case.headers:
        # A key stands for one request.
        case.headers["Idempotency-Key"] = str(uuid.uuid4())


restored: set[str] = set()
"""Tasks that were taken out of the trash: there again after their deletion, and rightly so."""


@schemathesis.hook
def after_call(context: HookContext, case: Case[Any], response: Response) -> None:
    if response.status_code == 200 and case.path.endswith("/restore"):
        restored.add(response.json()["id"])
    elif response.status_code == 200 and case.path.endswith("/batch"):
        restored.update(result["task"]["id"] for result in response.json()["results"] if "task" in result)


@schemathesis.hook
def filter_failure(context: HookContext, failure: Failure, case: Case[Any], response: Response) -> bool:
    if isinstance(failure, UseAfterFree):
        return (case.path_parameters or {}).get("task_id") not in restored
    if isinstance(failure, AcceptedNegativeData):
        return not _is_right_as_it_is_read(case)
    return True


def _objects(value: Any) -> Iterator[dict[str, Any]]:
    """Every object in a body, at any depth."""
    if isinstance(value, dict):
        yield value
    for part in value.values() if isinstance(value, dict) else value if isinstance(value, list) else ():
        yield from _objects(part)


def _is_right_as_it_is_read(case: Case[Any]) -> bool:
    """Whether only the body is wrong, and is right without the names that are ignored and the blanks around titles."""
    parts = case.meta.components if case.meta else {}
    if any(
        part.mode is GenerationMode.NEGATIVE for where, part in parts.items() if where is not ParameterLocation.BODY
    ):
        return False
    content = case.operation.definition.raw.get("requestBody", {}).get("content", {}).get(case.media_type, {})
    schema = content.get("schema")
    if schema is None:
        return False
    components = case.operation.schema.raw_schema["components"]
    validator = jsonschema_rs.validator_for({**schema, "components": components}, validate_formats=True)
    return validator.is_valid(_as_read(case.path, case.body))


def _as_read(path: str, body: Any) -> Any:
    if path.endswith("/batch") and isinstance(body, dict) and isinstance(body.get("operations"), list):
        read = [
            operation | {"data": _task_as_read(operation["data"], READ_ONLY)}
            if isinstance(operation, dict) and "data" in operation
            else operation
            for operation in body["operations"]
        ]
        return body | {"operations": read}
    if path.endswith("/import") and isinstance(body, list):
        return [_task_as_read(task, READ_ONLY - IMPORTED) for task in body]
    return _task_as_read(body, READ_ONLY)


def _task_as_read(task: Any, ignored: Set[str]) -> Any:
    if not isinstance(task, dict):
        return task
    title = task.get("title")
    trimmed = {"title": title.strip()} if isinstance(title, str) else {}
    return {name: value for name, value in task.items() if name not in ignored} | trimmed
