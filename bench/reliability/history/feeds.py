"""Every page of the change feed tells every change after its token, and a copy kept by it equals the list."""

from collections import defaultdict

from msgspec import Struct

from bench.reliability.history.knowledge import NEVER, Knowledge, Step
from bench.reliability.history.record import Call

Told = tuple[str, int | None]
"""A task, and the number of its version; None: it is gone."""


class Difference(Struct):
    """Where a page and the changes part."""

    tasks: set[str]
    what: str


def check_feeds(known: Knowledge) -> None:
    pages = {call.number: call for call in known.calls if call.kind == "changes"}
    for call in pages.values():
        if call.succeeded:
            _check_page(known, call, _unheard(known, call, pages))
        elif call.status == 410:
            _check_resync(known, call)
    _check_copies(known, pages)


def _unheard(known: Knowledge, call: Call, pages: dict[int, Call]) -> int:
    """Deletions up to this number need not be told: a first copy never held those tasks."""
    if not call.since:  # nor one that was empty
        return NEVER
    if call.first_page is None:
        return 0
    return known.times.at_most(pages[call.first_page].ended)


def _told(known: Knowledge, call: Call) -> list[Told]:
    told: list[Told] = []
    for entry in call.entries:
        if isinstance(entry, str):
            told.append((entry, None))
        else:
            version = known.history.versions[entry]
            told.append((version.id, known.number_of(version)))
    return told


def _check_page(known: Knowledge, call: Call, unheard: int) -> None:
    assert call.next is not None
    told = _told(known, call)
    if call.has_more:
        lowest, highest = max(known.times.at_least(call.began), call.next), known.times.at_most(call.ended)
    else:
        lowest = highest = call.next  # the state that it shows, which is checked as that of a list is
    what = f"it ends at {call.next}, which nobody had asked for yet"
    for state in range(lowest, highest + 1):
        difference = _difference(known, call, told, state, unheard)
        if difference is None:
            return
        if any(_may_differ(known, task, call.since or 0, state) for task in difference.tasks):
            known.excused += 1
            return
        what = difference.what
    known.wrong("every change is told", f"since {call.since} up to {call.next}: {what}", call)


def _difference(known: Knowledge, call: Call, told: list[Told], state: int, unheard: int) -> Difference | None:
    """How the page differs from what it must say if the user's tasks are as of `state`."""
    assert call.next is not None
    place = 0
    for number in range((call.since or 0) + 1, call.next + 1):
        step = known.steps.get(number)
        superseded = known.followed_at(number) <= state
        if step is None or (superseded and not _may_be_kept(known, told[place:], step, state, call.next)):
            continue
        if place < len(told) and told[place] == (step.task, None if step.removes else number):
            place += 1
        elif not superseded and not (step.removes and number <= unheard):
            what = f"the {_name(step)} is not told in its place"
            return Difference({step.task, *(task for task, _ in told[place : place + 1])}, what)
    if place < len(told):
        task, shown = told[place]
        return Difference({task}, f"{task} is told as {shown or 'gone'}, and was not so")
    return None


def _may_be_kept(known: Knowledge, told: list[Told], step: Step, state: int, upto: int) -> bool:
    """Whether this old deletion may be told all the same: the tombstone of an erased task outlives a new use of its id.

    No answer need have shown that use: the task may be gone again before anybody asks.
    """
    following = known.steps.get(known.followed_at(step.number))
    if not step.removes or following is None:
        return False
    if following.author is not None and following.author.kind == "restore":
        return False  # it was in the trash, which leaves nothing behind
    if following.removes and not known.may_have_changed(step.task, step.number, following.number):
        return False
    now = known.last_step(step.task, state)
    return told.count((step.task, None)) > (now is not None and now.removes and now.number <= upto)


def _may_differ(known: Knowledge, task: str, since: int, state: int) -> bool:
    """Whether a change that no answer names may be what the page tells of this task, or leaves out."""
    now = known.last_step(task, state)
    after = since if now is None else now.number
    if now is not None and now.author is not None and now.author.kind in ("import", "put_create"):
        after = since  # there may be a tombstone from before
    return known.may_have_changed(task, after, state)


def _name(step: Step) -> str:
    return f"{'deletion' if step.removes else 'version'} {step.number} of {step.task}"


def _check_resync(known: Knowledge, call: Call) -> None:
    """410 only where a purge has forgotten a deletion that the token does not cover."""
    purged = any(fault.kind == "old deletions purged" and fault.began < call.ended for fault in known.history.faults)
    since, upto = call.since or 0, known.times.at_most(call.ended)
    deleted = any(since < number <= upto and step.removes for number, step in known.steps.items())
    if not purged or not (deleted or known.blanks):
        known.wrong("no needless resync", f"410 for the token {since}, though nothing after it was forgotten", call)


def _check_copies(known: Knowledge, pages: dict[int, Call]) -> None:
    """A copy that was kept by the feed alone is the list, at the end of its last page."""
    copies: dict[int, list[Call]] = defaultdict(list)
    for call in pages.values():
        if call.copy is not None and call.succeeded:
            copies[call.copy].append(call)
    for calls in copies.values():
        copy: dict[str, int | None] = {}
        at_last: tuple[Call, dict[str, int | None]] | None = None
        for call in calls:
            for task, number in _told(known, call):
                if number is None:
                    copy.pop(task, None)
                else:
                    copy[task] = number
            if not call.has_more:
                at_last = call, dict(copy)
        if at_last is not None:
            _compare_copy(known, *at_last)


def _compare_copy(known: Knowledge, call: Call, copy: dict[str, int | None]) -> None:
    at = call.next or 0
    last_steps = (known.last_step(task, at) for task in known.of_task)
    live = {step.task: step.number for step in last_steps if step is not None and not step.removes}
    for task in live.keys() | copy.keys():
        if live.get(task) != copy.get(task):
            step = known.last_step(task, at)
            if known.may_have_changed(task, step.number if step else 0, at):
                known.excused += 1
            else:
                what = f"a copy has {copy.get(task)} of {task} at {at}, the list {live.get(task)}"
                known.wrong("the feed replayed is the list", what, call)
