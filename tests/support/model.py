"""What a list should hold and in which order, said once more in plain Python (contract, section 6)."""

from collections.abc import Callable, Iterable
from datetime import UTC, datetime
from typing import Any

Task = dict[str, Any]

STATUSES = ["pending", "in_progress", "completed"]
PRIORITIES = ["low", "medium", "high"]
NEVER = datetime.max.replace(tzinfo=UTC)


def moment(text: str) -> datetime:
    """An instant, or a plain date as its midnight in UTC."""
    found = datetime.fromisoformat(text)
    return found if found.tzinfo else found.replace(tzinfo=UTC)


def due(task: Task) -> datetime | None:
    return moment(task["due_date"]) if task["due_date"] else None


SORT_KEYS: dict[str, Callable[[Task], Any]] = {
    "created": lambda task: moment(task["created_at"]),
    "updated": lambda task: moment(task["updated_at"]),
    "completed": lambda task: moment(task["completed_at"]) if task["completed_at"] else NEVER,
    "title": lambda task: task["title"].lower(),
    "due": lambda task: due(task) or NEVER,
    "priority": lambda task: PRIORITIES.index(task["priority"]),
    "status": lambda task: STATUSES.index(task["status"]),
}


def in_order(tasks: Iterable[Task], sort: str) -> list[Task]:
    """Sorted as `sort=` asks. Ties follow the first sort's direction, by id."""
    words = sort.split(",")
    ordered = sorted(tasks, key=lambda task: task["id"], reverse=words[0].startswith("-"))
    for word in reversed(words):
        key, downward = SORT_KEYS[word.removeprefix("-")], word.startswith("-")
        if downward:
            # Python's reverse keeps equal elements in place, which is what ties want.
            ordered.sort(key=key, reverse=True)
        else:
            ordered.sort(key=key)
    return ordered


def matches(task: Task, name: str, value: str, *, pending_is_open: bool) -> bool:
    """Whether a task passes one filter that does not look at the clock."""
    found: dict[str, Callable[[], bool]] = {
        "status": lambda: _has_status(task, value.split(","), pending_is_open=pending_is_open),
        "completed": lambda: task["completed"] is (value == "true"),
        "priority": lambda: task["priority"] in value.split(","),
        "due": lambda: ("none" if task["due_date"] is None else "any") in value.split(","),
        "ids": lambda: task["id"] in value.split(","),
        "q": lambda: value.lower() in task["title"].lower() or value.lower() in (task["description"] or "").lower(),
        "due_before": lambda: (at := due(task)) is not None and at < moment(value),
        "due_after": lambda: (at := due(task)) is not None and at > moment(value),
        "created_before": lambda: moment(task["created_at"]) < moment(value),
        "created_after": lambda: moment(task["created_at"]) > moment(value),
        "updated_before": lambda: moment(task["updated_at"]) < moment(value),
        "updated_after": lambda: moment(task["updated_at"]) > moment(value),
        "completed_before": lambda: task["completed"] and moment(task["completed_at"]) < moment(value),
        "completed_after": lambda: task["completed"] and moment(task["completed_at"]) > moment(value),
    }
    return found[name]()


def _has_status(task: Task, asked: list[str], *, pending_is_open: bool) -> bool:
    if "all" in asked or task["status"] in asked:
        return True
    return pending_is_open and "pending" in asked and not task["completed"]
