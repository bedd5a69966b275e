"""What each write does to which task, and what a task then looks like."""

from collections import defaultdict
from collections.abc import Iterable, Iterator
from typing import Any, Final

from msgspec import Struct

from bench.reliability.history.record import Call, History, Task, number_of

DEFAULTS: Final = {"description": None, "status": "pending", "priority": "medium"}
WRITES: Final = frozenset(
    {"create", "put_create", "update", "toggle", "set", "delete", "erase", "restore", "batch", "clear", "import"}
)
REMOVALS: Final = frozenset({"delete", "erase", "clear"})
MANY: Final = 60
"""More than a list ever has completed tasks: so many may a clearing have removed whose answer was lost."""


class Write(Struct):
    """One intention of a client, however often it was sent: all calls with the same key are one."""

    calls: list[Call]

    @property
    def first(self) -> Call:
        return self.calls[0]

    @property
    def answer(self) -> Call | None:
        """A success, the original one rather than a replay."""
        successes = [call for call in self.calls if call.succeeded]
        return min(successes, key=lambda call: call.replayed, default=None)

    @property
    def began(self) -> float:
        return min(call.began for call in self.calls)

    @property
    def ended(self) -> float | None:
        """When it had happened at the latest; None: perhaps not at all, or later."""
        return min((call.ended for call in self.calls if call.succeeded), default=None)

    @property
    def may_have_happened(self) -> bool:
        return any(call.succeeded or call.unknown for call in self.calls)


class Effect(Struct, eq=False):
    """One step that a write takes, or may take. `task` is None where only the feed can say which."""

    write: Write
    kind: str
    task: str | None
    fields: dict[str, Any] = {}
    if_match: int | None = None
    number: int | None = None
    """The number of the task's version that the answer showed."""

    @property
    def certain(self) -> bool:
        return self.write.ended is not None

    @property
    def removes(self) -> bool:
        return self.kind in REMOVALS

    @property
    def may_change_nothing(self) -> bool:
        return self.kind in ("set", "update") and "title" not in self.fields

    def after(self, before: Task | None) -> Task:
        """The fields of the task after this step."""
        if self.kind in ("create", "put_create", "import"):
            return {**DEFAULTS, **self.fields}
        assert before is not None
        fields = {name: before[name] for name in ("title", *DEFAULTS)}
        if self.kind == "toggle":
            fields["status"] = "pending" if fields["status"] == "completed" else "completed"
        elif self.kind == "set":
            if self.fields["completed"]:
                fields["status"] = "completed"
            elif fields["status"] == "completed":
                fields["status"] = "pending"
        elif self.kind == "update":
            fields |= self.fields
        return fields


def writes_of(calls: Iterable[Call]) -> list[Write]:
    """The writes of one user."""
    keyed: dict[str, Write] = {}
    found: list[Write] = []
    for call in calls:
        if call.kind not in WRITES:
            continue
        if call.key is not None and call.key in keyed:
            keyed[call.key].calls.append(call)
            continue
        write = Write([call])
        found.append(write)
        if call.key is not None:
            keyed[call.key] = write
    return found


def effects_of(write: Write, history: History) -> Iterator[Effect]:
    if not write.may_have_happened:
        return
    call, answer = write.first, write.answer
    if call.kind == "batch":
        yield from _of_batch(write, history)
    elif call.kind == "import":
        for task in call.asked["tasks"]:
            fields = {name: task[name] for name in ("title", *DEFAULTS)}
            yield Effect(write, "import", task["id"], fields)
    elif call.kind == "clear":
        count = MANY if answer is None else answer.count or 0
        yield from (Effect(write, "clear", None) for _ in range(count))
    else:
        version = history.versions[answer.versions[0]] if answer and answer.versions else None
        task = call.task or (version.id if version else None)
        number = version.number if version else None
        yield Effect(write, call.kind, task, call.asked, call.if_match, number)


def _of_batch(write: Write, history: History) -> Iterator[Effect]:
    answer = write.answer
    for place, operation in enumerate(write.first.asked["operations"]):
        result = answer.results[place] if answer else None
        version = history.versions[result.version] if result and result.version is not None else None
        kind, fields = operation["op"], operation.get("data") or {}
        if kind == "complete":
            kind = "set" if fields else "toggle"
        elif kind == "delete" and operation.get("permanent"):
            kind = "erase"
        task = operation.get("id") or (version.id if version else None)
        number = version.number if version else None
        yield Effect(write, kind, task, fields, number_of(operation.get("if_match")), number)


def by_task(effects: Iterable[Effect]) -> dict[str | None, list[Effect]]:
    found: dict[str | None, list[Effect]] = defaultdict(list)
    for effect in effects:
        found[effect.task].append(effect)
    return found
