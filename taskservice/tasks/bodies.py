"""From a JSON document to the Struct of its operation, with all that is wrong with it at once."""

from typing import Any, Final, TypeVar

from msgspec import UNSET, Struct

from taskservice import rules
from taskservice.problems import FieldError
from taskservice.settings import Settings
from taskservice.tasks import validation
from taskservice.tasks.fields import FIELDS
from taskservice.tasks.schemas import Completion, TaskChange, TaskCreate, TaskImport
from taskservice.tasks.validation import Fields, Invalid

Body = TypeVar("Body", bound=Struct)


class Bodies:
    """Reads request bodies under the policies of one service."""

    def __init__(self, settings: Settings) -> None:
        completed = {"completed": validation.boolean}
        task = {field.name: field.check(settings) for field in FIELDS} | completed
        past = {"id": validation.identifier, "created_at": validation.past, "completed_at": validation.optional_past}
        self.fields: Final[dict[type[Struct], Fields]] = {
            TaskCreate: Fields(
                task, required=() if settings.title == "generated" else ("title",), ignored=validation.READ_ONLY
            ),
            TaskChange: Fields(task, ignored=validation.READ_ONLY),
            TaskImport: Fields(
                {**task, **past}, required=("id", "title", "created_at"), ignored=("user_id", "updated_at", "etag")
            ),
            Completion: Fields(completed, required=("completed",), ignored=validation.READ_ONLY),
        }

    def read(
        self, kind: type[Body], document: Any, errors: list[FieldError], *, at: str = "", index: int | None = None
    ) -> Body | None:
        """The body of this kind in a document. None if something is wrong with it, which `errors` then names."""
        known = len(errors)
        values = self.fields[kind].read(document, errors, at=at, index=index)
        _settle_status(values, errors, at, index)
        if len(errors) > known:
            return None
        if issubclass(kind, TaskCreate):
            if "title" not in values:
                values["title"] = rules.title_from(values.get("description"))
            if values.pop("completed", False):
                values["status"] = rules.COMPLETED
        return kind(**values)


def _settle_status(values: dict[str, Any], errors: list[FieldError], at: str, index: int | None) -> None:
    """`completed` is another way to write `status`: where both are given they must agree, and the status says more."""
    status, completed = values.get("status"), values.get("completed", UNSET)
    if status is None or completed is UNSET:
        return
    if (status == rules.COMPLETED) != completed:
        clash = Invalid("contradiction", f"contradicts status {status!r}; send one of the two")
        errors.append(clash.at(at + "completed", "body", index))
    del values["completed"]
