"""Faults planted in a recorded history: each is what a broken service would have answered."""

import copy
from collections import Counter
from collections.abc import Callable, Iterator
from typing import NamedTuple

from msgspec.structs import replace

from bench.reliability.history.knowledge import NEVER, Knowledge
from bench.reliability.history.record import Call, History, Version


class Plant(NamedTuple):
    """A fault, and the rule that must name it."""

    name: str
    put_in: Callable[[History], None]
    rule: str


def knowledge(history: History) -> Iterator[Knowledge]:
    """Of each user."""
    for user in dict.fromkeys(call.user for call in history.calls):
        yield Knowledge(user, [call for call in history.calls if call.user == user], history)


def add(history: History, call: Call) -> None:
    history.calls.append(replace(call, number=len(history.calls), key=None))


def dropped_change(history: History) -> None:
    call, place = _told_at_the_end(history, removed=False)
    del call.entries[place]


def untold_deletion(history: History) -> None:
    call, place = _told_at_the_end(history, removed=True)
    del call.entries[place]


def _told_at_the_end(history: History, *, removed: bool) -> tuple[Call, int]:
    """Where a page tells the last change of a task. Other pages tell it as well, so that its number stays known."""
    for known in knowledge(history):
        pages = [call for call in known.calls if call.kind == "changes" and call.since and call.first_page is None]
        told: dict[str, list[tuple[Call, int]]] = {}
        for call in pages:
            for place, entry in enumerate(call.entries):
                task = entry if isinstance(entry, str) else history.versions[entry].id
                last = known.steps[known.of_task[task][-1]] if task in known.of_task else None
                if (
                    last is not None
                    and last.removes == isinstance(entry, str) == removed
                    and (call.since or 0) < last.number <= (call.next or 0)
                    and not known.may_have_changed(task, 0, NEVER)
                ):
                    told.setdefault(task, []).append((call, place))
        for task, places in told.items():
            if len(places) > 3 and (
                removed or known.number_of(history.versions[_version(places[-1])]) == known.of_task[task][-1]
            ):
                return places[-1]
    raise LookupError


def _version(told: tuple[Call, int]) -> int:
    entry = told[0].entries[told[1]]
    assert isinstance(entry, int)
    return entry


def stale_304(history: History) -> None:
    known, call = _late_list(history)
    call.status, call.tag, call.versions = 304, None, []
    call.if_none_match = known.times.at_least(call.began) - 1


def list_from_the_past(history: History) -> None:
    known, call = _late_list(history)
    call.tag = known.times.at_least(call.began) - 1


def list_from_the_future(history: History) -> None:
    for known in knowledge(history):
        for call in known.calls:
            if call.kind == "list" and call.tag and known.times.at_most(call.ended) + 1 < known.times.highest:
                call.tag = known.times.at_most(call.ended) + 1
                return
    raise LookupError


def _late_list(history: History) -> tuple[Knowledge, Call]:
    for known in knowledge(history):
        for call in reversed(known.calls):
            if call.kind == "list" and call.succeeded and known.times.at_least(call.began) > 20:
                return known, call
    raise LookupError


def stale_task(history: History) -> None:
    """The 304 of one task, in a version that somebody has seen replaced before."""
    for known in knowledge(history):
        for number, step in known.steps.items():
            if step.removes or known.followed_at(number) == NEVER:
                continue
            for call in known.calls:
                if (
                    call.kind == "get"
                    and call.task == step.task
                    and call.status in (200, 304)
                    and known.times.at_least(call.began) >= known.followed_at(number)
                ):
                    call.status, call.if_none_match, call.tag, call.versions = 304, number, number, []
                    return
    raise LookupError


def lost_update(history: History) -> None:
    """A new title is acknowledged; the next write of the task starts from the old one."""
    for known in knowledge(history):
        for numbers in known.of_task.values():
            for first, second, third in zip(numbers, numbers[1:], numbers[2:], strict=False):
                before, written, after = (known.steps[number] for number in (first, second, third))
                if not (before.content and written.content and after.content and written.author and after.author):
                    continue
                if (
                    written.author.kind == "update"
                    and "title" in written.author.fields
                    and after.author.kind == "toggle"
                ):
                    _retitle(history, written.task, third, written.content["title"], before.content["title"])
                    return
    raise LookupError


def _retitle(history: History, task: str, since: int, title: str, instead: str) -> None:
    for place, version in enumerate(history.versions):
        if version.id == task and version.number and version.number >= since and version.task["title"] == title:
            history.versions[place] = Version(version.number, {**version.task, "title": instead})


def doubled_toggle(history: History) -> None:
    """One step more than anybody asked for."""
    for known in knowledge(history):
        told = Counter(effect.number for effect in known.effects)
        for effect in known.effects:
            call = effect.write.first
            # A write that changed nothing may have been told the same number, and could have asked for the step.
            if call.kind == "toggle" and call.key is None and effect.number is not None and told[effect.number] == 1:
                history.calls.remove(call)
                return
    raise LookupError


def doubled_key(history: History) -> None:
    """Two calls with the same key, and two tasks."""
    first, second = _creations(history)[:2]
    first.key = second.key = "the same"
    second.asked = first.asked


def _creations(history: History) -> list[Call]:
    """Those of one user without a key."""
    created = [call for call in history.calls if call.kind == "create" and call.succeeded and call.key is None]
    return [call for call in created if call.user == created[0].user]


def other_replay(history: History) -> None:
    """A retry is told about another task than the first answer was."""
    calls = [call for call in history.calls if call.kind == "create" and call.replayed]
    other = next(
        call for call in history.calls if call.kind == "create" and call.user == calls[0].user and call.succeeded
    )
    calls[0].versions = other.versions if other.key != calls[0].key else [0]


def retry_that_does_not_wait(history: History) -> None:
    """The same key twice at once: the second is turned away."""
    first = next(call for call in history.calls if call.kind == "create" and call.succeeded and call.key)
    history.calls.append(replace(first, number=len(history.calls), status=409, tag=None, epoch=None, versions=[]))


def page_that_never_was(history: History) -> None:
    """One task of a list in an older version than all others."""
    for known in knowledge(history):
        older = {
            step.number: numbers for numbers in known.of_task.values() for step in map(known.steps.get, numbers) if step
        }
        for call in known.calls:
            if call.kind != "list" or not call.succeeded or call.asked.get("limit"):
                continue
            for place, version in enumerate(call.versions):
                number = known.number_of(history.versions[version])
                numbers = older.get(number or 0, [])
                earlier = [
                    n for n in numbers if n < (number or 0) and not known.steps[n].removes and known.steps[n].content
                ]
                if earlier:
                    call.versions[place] = next(
                        at for at, shown in enumerate(history.versions)
                        if shown.id == history.versions[version].id and shown.number == earlier[-1]
                    )  # fmt: skip
                    return
    raise LookupError


def page_without_a_task(history: History) -> None:
    call = next(
        call for call in history.calls if call.kind == "list" and len(call.versions) > 3 and "limit" not in call.asked
    )
    del call.versions[1]


def torn_batch(history: History) -> None:
    """A list that shows half of a batch."""
    for known in knowledge(history):
        for write in known.writes:
            numbers = known.numbers_of(write)
            if write.answer is not None and len(numbers) > 1:
                template = next(call for call in known.calls if call.kind == "list" and call.succeeded)
                during = replace(template, began=write.began, ended=write.answer.ended, tag=min(numbers), asked={})
                add(history, during)
                return
    raise LookupError


def lost_write(history: History) -> None:
    """The last erasure was acknowledged, and did not happen."""
    known = next(knowledge(history))
    task = next(task for task, numbers in known.of_task.items() if not known.steps[numbers[-1]].removes)
    template = next(call for call in known.calls if call.kind == "erase" and call.succeeded)
    end = history.calls[-1].ended
    add(history, replace(template, task=task, began=end + 1, ended=end + 2))


def broken_condition(history: History) -> None:
    call = next(
        call
        for call in history.calls
        if call.kind in ("update", "toggle") and call.succeeded and call.if_match is not None
    )
    assert call.if_match is not None
    call.if_match -= 1


def needless_resync(history: History) -> None:
    call = next(call for call in reversed(history.calls) if call.kind == "changes" and call.since is not None)
    add(history, replace(call, status=410, next=None, entries=[], copy=None))


def foreign_tag_that_fits(history: History) -> None:
    call = next(call for call in history.calls if call.kind == "list" and call.succeeded)
    call.status, call.if_none_match, call.asked = 304, call.tag, {"foreign": True}


def clock_that_went_back(history: History) -> None:
    """A change is dated before the one that it follows."""
    for known in knowledge(history):
        for number, later in known.superseded.items():
            first, second = known.steps[number].content, known.steps[later].content
            if first and second and not known.steps[number].removes and not known.steps[later].removes:
                for place, version in enumerate(history.versions):
                    if version.id == second["id"] and version.number == later:
                        moved = {**version.task, "updated_at": first["updated_at"]}
                        history.versions[place] = Version(later, moved)
                return
    raise LookupError


PLANTS = (
    Plant("a dropped change", dropped_change, "every change is told"),
    Plant("an untold deletion", untold_deletion, "every change is told"),
    Plant("a stale 304 of the list", stale_304, "no read from the past"),
    Plant("a stale 304 of a task", stale_task, "no read from the past"),
    Plant("a list from the past", list_from_the_past, "no read from the past"),
    Plant("a list from the future", list_from_the_future, "no read from the future"),
    Plant("a lost update", lost_update, "no lost update"),
    Plant("a lost write", lost_write, "no lost write"),
    Plant("a doubled toggle", doubled_toggle, "exactly once"),
    Plant("a doubled key", doubled_key, "exactly once"),
    Plant("another answer to a retry", other_replay, "a replay is the first answer"),
    Plant("a retry that is turned away", retry_that_does_not_wait, "a retry waits for the first answer"),
    Plant("a page that never existed", page_that_never_was, "pages exist"),
    Plant("a page without a task", page_without_a_task, "pages exist"),
    Plant("half a batch", torn_batch, "all or nothing"),
    Plant("a write on a condition that did not hold", broken_condition, "no lost update"),
    Plant("a needless resync", needless_resync, "no needless resync"),
    Plant("a tag of another user that fits", foreign_tag_that_fits, "tags are a user's own"),
    Plant("a clock that went back", clock_that_went_back, "no lost update"),
)


def planted(history: History, plant: Plant) -> History:
    """A copy of the history with the fault in it."""
    broken = copy.deepcopy(history)
    plant.put_in(broken)
    return broken
