"""From a JSON document to the Struct of its operation, with all that is wrong with it at once."""

from typing import Any

from msgspec import UNSET

from taskservice import rules
from taskservice.problems import FieldError
from taskservice.settings import Settings
from taskservice.tasks import validation
from taskservice.tasks.fields import FIELDS
from taskservice.tasks.schemas import TaskChange, TaskCreate, TaskImport
from taskservice.tasks.validation import Fields, Invalid


class Bodies:
    """Reads request bodies under the policies of one service."""

    def __init__(self, settings: Settings) -> None:
        task = {field.name: field.check(settings) for field in FIELDS} | {"completed": validation.boolean}
        required = () if settings.title == "generated" else ("title",)
        self._create = Fields(task, required=required, ignored=validation.READ_ONLY)
        self._change = Fields(task, ignored=validation.READ_ONLY)
        past = {"id": validation.identifier, "created_at": validation.past, "completed_at": validation.optional_past}
        self._import = Fields(
            {**task, **past}, required=("id", "title", "created_at"), ignored=("user_id", "updated_at", "etag")
        )
        self._completion = Fields(
            {"completed": validation.boolean}, required=("completed",), ignored=validation.READ_ONLY
        )

    def read_completion(
        self, document: Any, errors: list[FieldError], *, at: str = "", index: int | None = None
    ) -> TaskChange | None:
        known = len(errors)
        values = self._completion.read(document, errors, at=at, index=index)
        return TaskChange(**values) if len(errors) == known else None

    def read_create(
        self, document: Any, errors: list[FieldError], *, at: str = "", index: int | None = None
    ) -> TaskCreate | None:
        known = len(errors)
        values = self._create.read(document, errors, at=at, index=index)
        _settle_status(values, errors, at, index)
        if len(errors) > known:
            return None
        if "title" not in values:
            values["title"] = rules.title_from(values.get("description"))
        if values.pop("completed", False):
            values["status"] = rules.COMPLETED
        return TaskCreate(**values)

    def read_import(self, document: Any, errors: list[FieldError], *, at: str, index: int) -> TaskImport | None:
        known = len(errors)
        values = self._import.read(document, errors, at=at, index=index)
        _settle_status(values, errors, at, index)
        if len(errors) > known:
            return None
        if values.pop("completed", False):
            values["status"] = rules.COMPLETED
        return TaskImport(**values)

    def read_change(
        self, document: Any, errors: list[FieldError], *, at: str = "", index: int | None = None
    ) -> TaskChange | None:
        known = len(errors)
        values = self._change.read(document, errors, at=at, index=index)
        _settle_status(values, errors, at, index)
        return TaskChange(**values) if len(errors) == known else None


def _settle_status(values: dict[str, Any], errors: list[FieldError], at: str, index: int | None) -> None:
    """`completed` is another way to write `status`: where both are given they must agree, and the status says more."""
    status, completed = values.get("status"), values.get("completed", UNSET)
    if status is None or completed is UNSET:
        return
    if (status == rules.COMPLETED) != completed:
        clash = Invalid("contradiction", f"contradicts status {status!r}; send one of the two")
        errors.append(clash.at(at + "completed", "body", index))
    del values["completed"]
