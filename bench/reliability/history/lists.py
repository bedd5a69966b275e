"""Every list, page of a list and trash is what the user's tasks were at the number of its tag."""

from collections.abc import Callable, Iterable
from typing import Any, Final

from bench.reliability.history.knowledge import Knowledge, Step
from bench.reliability.history.record import Call, Task

PRIORITIES: Final = ("low", "medium", "high")
STATUSES: Final = ("pending", "in_progress", "completed")

KEYS: Final[dict[str, Callable[[Task], Any]]] = {
    "created": lambda task: task["created_at"],
    "updated": lambda task: task["updated_at"],
    "priority": lambda task: PRIORITIES.index(task["priority"]),
    "status": lambda task: STATUSES.index(task["status"]),
}


def check_lists(known: Knowledge) -> None:
    live: dict[str, Step] = {}
    number = 0
    for call in sorted((call for call in known.calls if call.kind == "list" and call.succeeded), key=_tag):
        while number < _tag(call):
            number += 1
            step = known.steps.get(number)
            if step is not None:
                if step.removes:
                    live.pop(step.task, None)
                else:
                    live[step.task] = step
        if call.asked.get("foreign") and call.if_none_match is None:
            continue
        _check_page(known, call, live)
    for call in known.calls:
        if call.kind == "list" and call.status == 304 and call.asked.get("foreign"):
            known.wrong("tags are a user's own", "304 for the tag of another user's list", call)


def check_trash(known: Knowledge) -> None:
    """What the trash shows is deleted at a moment of the call."""
    for call in known.calls:
        if call.kind != "trash" or not call.succeeded:
            continue
        lowest, highest = known.times.at_least(call.began), known.times.at_most(call.ended)
        for place in call.versions:
            version = known.history.versions[place]
            number = known.number_of(version)
            if number is None:
                continue
            if number > highest:
                known.wrong("no read from the future", f"the trash shows {number}, at most {highest} could be", call)
            elif (following := known.followed_at(number)) <= lowest:
                what = f"the trash shows {version.id} as of {number}; {following} had been seen before"
                known.wrong("no read from the past", what, call)


def _tag(call: Call) -> int:
    return call.tag or 0


def _check_page(known: Knowledge, call: Call, live: dict[str, Step]) -> None:
    asked = call.asked
    wanted = [step for step in live.values() if step.content is not None]
    if "status" in asked:
        wanted = [step for step in wanted if step.content is not None and step.content["status"] == asked["status"]]
    words = str(asked.get("sort", "created")).split(",")
    ordered = in_order((step.content for step in wanted if step.content is not None), words)
    if asked.get("after") is not None:
        last = known.history.versions[asked["after"]].task
        ordered = _after(ordered, last, words)
    expected = [(task["id"], task["updated_at"]) for task in ordered][: asked.get("limit", 1000)]
    tasks = [known.history.versions[place].task for place in call.versions]
    shown = [(task["id"], task["updated_at"]) for task in tasks]
    if shown == expected:
        return
    differing = {task for task, _ in set(shown) ^ set(expected)}
    suspects = differing if "limit" not in asked else set(live) | differing
    if any(_may_differ(known, task, _tag(call)) for task in suspects):
        known.excused += 1
        return
    if differing:
        what = _difference(known, call, sorted(differing)[0], dict(shown), dict(expected))
    else:
        what = "the order is wrong"
    known.wrong("pages exist", f"the list at {call.tag} {asked}: {what}", call)


def _difference(known: Knowledge, call: Call, task: str, shown: dict[str, str], expected: dict[str, str]) -> str:
    step = known.last_step(task, _tag(call))
    at = f"{'removed' if step.removes else 'written'} at {step.number}" if step else "never there"
    return f"task {task} is shown as of {shown.get(task)} instead of {expected.get(task)}; it was {at}"


def _may_differ(known: Knowledge, task: str, at: int) -> bool:
    step = known.last_step(task, at)
    return known.may_have_changed(task, step.number if step else 0, at)


def in_order(tasks: Iterable[Task], words: list[str]) -> list[Task]:
    """As `sort=` asks: ties go by id, in the direction of the first word."""
    ordered = sorted(tasks, key=lambda task: str(task["id"]), reverse=words[0].startswith("-"))
    for word in reversed(words):
        key, downward = KEYS[word.removeprefix("-")], word.startswith("-")
        ordered.sort(key=key, reverse=downward)  # which keeps equal elements in place
    return ordered


def _after(ordered: list[Task], last: Task, words: list[str]) -> list[Task]:
    """What follows the place where the last task of the page before stood, wherever that task is now."""

    def follows(task: Task) -> bool:
        return task is not last and in_order([task, last], words)[0] is last

    return [task for task in ordered if follows(task)]
