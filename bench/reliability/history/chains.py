"""Every version of a task follows from the one before by what its author asked for: no update is lost."""

from collections.abc import Iterator
from typing import Final

from bench.reliability.history.effects import Effect
from bench.reliability.history.knowledge import Knowledge, Step
from bench.reliability.history.record import Task

NOWHERE, LISTED, REMOVED = "never there", "in the list", "in the trash or gone"

BEFORE: Final = {
    "create": (NOWHERE,),
    "put_create": (NOWHERE, REMOVED),
    "import": (NOWHERE, LISTED, REMOVED),
    "update": (LISTED,),
    "toggle": (LISTED,),
    "set": (LISTED,),
    "delete": (LISTED,),
    "clear": (LISTED,),
    "restore": (REMOVED,),
    "erase": (LISTED, REMOVED),
}
"""Where a task may have been before each kind of write."""


def check_chains(known: Knowledge) -> None:
    for task, numbers in known.of_task.items():
        before: Step | None = None
        shown: Step | None = None  # the newest with a content: a deletion whose content no answer shows changes none
        for number in numbers:
            step = known.steps[number]
            authors = known.candidates.get(number) or ([step.author] if step.author else [])
            content = None if shown is None else shown.content
            reasons = [next(_reasons_against(author, before, content, step), None) for author in authors]
            if reasons and None not in reasons:
                if known.may_have_changed(task, shown.number if shown else 0, number):
                    known.excused += 1
                else:
                    calls = [author.write.first for author in authors]
                    known.wrong("no lost update", f"task {task} at {number}: {reasons[0]}", *calls)
            before = step
            if step.content is not None:
                shown = step


def _reasons_against(author: Effect, before: Step | None, previous: Task | None, step: Step) -> Iterator[str]:
    """Why this write cannot have led from the one step to the other."""
    state = NOWHERE if before is None else REMOVED if before.removes else LISTED
    if state not in BEFORE[author.kind]:
        yield f"{author.kind} of a task that was {state}"
    if author.if_match is not None and before is not None and author.if_match != before.number:
        yield f"{author.kind} at {before.number}, on the condition that it be {author.if_match}"
    if author.kind == "clear" and previous is not None and not previous["completed"]:
        yield "cleared, though it was not completed"
    if step.content is not None and not step.removes:
        yield from _differences(author, previous, step.content, keeps_its_past=state == LISTED)


def _differences(author: Effect, previous: Task | None, content: Task, *, keeps_its_past: bool) -> Iterator[str]:
    if content["completed"] is not (content["status"] == "completed"):
        yield "completed and status contradict each other"
    if previous is None and author.kind not in ("create", "put_create", "import"):
        return  # restored from a deletion: no answer shows what it was
    expected = author.after(previous)
    wrong = {name: content[name] for name, value in expected.items() if content[name] != value}
    if wrong:
        yield f"after {author.kind} it has {wrong} instead of { {name: expected[name] for name in wrong} }"
    if keeps_its_past and previous is not None:
        if content["updated_at"] <= previous["updated_at"]:
            yield "updated_at did not move forward"
        if content["created_at"] != previous["created_at"]:
            yield "created_at moved"
