"""The fields of a task that clients write: how each one is checked and which columns keep it.

The statements, the readers of request bodies and the importer are made from this table. The SQL type of a field and
whether it may be empty come from its column in `models.py`.
"""

import datetime as dt
from collections.abc import Callable, Mapping
from operator import itemgetter
from typing import Any, Final

from msgspec import Struct, UnsetType

from taskservice.settings import Settings
from taskservice.tasks import validation
from taskservice.tasks.models import tasks
from taskservice.tasks.validation import Check


class TaskField(Struct, frozen=True):
    """One writable field. `to_columns` turns its value into column values where one column is not enough."""

    name: str
    check: Callable[[Settings], Check]
    columns: tuple[str, ...]
    to_columns: Callable[[Any], Mapping[str, Any]] | None = None

    @property
    def nullable(self) -> bool:
        """Whether `null` clears the field."""
        return bool(tasks.c[self.columns[0]].nullable)

    def values(self, value: Any) -> Mapping[str, Any]:
        return {self.name: value} if self.to_columns is None else self.to_columns(value)


def midnight(day: dt.date) -> dt.datetime:
    """How a plain date is stored and compared."""
    return dt.datetime(day.year, day.month, day.day, tzinfo=dt.UTC)


def _due_columns(due: dt.date | dt.datetime | UnsetType | None) -> Mapping[str, Any]:
    if isinstance(due, dt.date) and not isinstance(due, dt.datetime):
        return {"due_date": midnight(due), "due_all_day": True}
    return {"due_date": due, "due_all_day": False}


FIELDS: Final = (
    TaskField("title", lambda _: validation.title, ("title",)),
    TaskField("description", lambda settings: validation.description(settings.description_max), ("description",)),
    TaskField("status", lambda _: validation.status, ("status",)),
    TaskField("priority", lambda _: validation.priority, ("priority",)),
    TaskField("due_date", lambda _: validation.due_date, ("due_date", "due_all_day"), _due_columns),
)

WRITABLE_COLUMNS: Final = tuple(tasks.c[name] for field in FIELDS for name in field.columns)

COLUMNS: Final = tuple(column for column in tasks.c if column.name not in {"user_id", "completed"})
"""What statements read of a task. The user is known, and `completed` follows from `completed_at`."""

ROW: Final = (*(column.name for column in COLUMNS), "epoch")
"""What each row of a statement begins with: the task, and its user's epoch."""


def columns_of_row(*names: str) -> Callable[[Any], tuple[Any, ...]]:
    """A getter for some columns of a row. It looks their places up once: by name, a list of a thousand takes longer."""
    return itemgetter(*(ROW.index(name) for name in names))
