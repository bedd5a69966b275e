"""Checks a history: the order of all writes is known from their numbers, so every answer has to fit into it.

What must hold is linearizability of the whole service: each user's list is one object, whose states are counted.
"""

from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import Final

from msgspec import Struct

from bench.reliability.history import chains, feeds, lists, retries
from bench.reliability.history.knowledge import Knowledge, Step
from bench.reliability.history.record import Call, History
from bench.reliability.history.violations import Violation


class Report(Struct):
    """What a check found, and how much it could see."""

    violations: list[Violation]
    changes: int
    blanks: int
    """Changes of which no answer says what they changed: superseded before a follower saw them."""
    excused: int
    """Answers that fit only because of such a change."""
    unknown_writes: int
    """Writes whose answer was lost or a 5xx."""
    settled_as_done: int
    """Those of them that turned out to have happened."""


def check(history: History) -> Report:
    by_user: dict[str, list[Call]] = defaultdict(list)
    for call in history.calls:
        by_user[call.user].append(call)
    report = Report([], 0, 0, 0, 0, 0)
    for user, calls in by_user.items():
        known = Knowledge(user, calls, history)
        for rule in RULES:
            rule(known)
        report.violations += known.violations
        report.changes += known.times.highest
        report.blanks += len(known.blanks)
        report.excused += known.excused
        unknown = [write for write in known.writes if write.ended is None and write.may_have_happened]
        done = {id(step.author.write) for step in known.steps.values() if step.author}
        report.unknown_writes += len(unknown)
        report.settled_as_done += sum(id(write) in done for write in unknown)
    report.violations += _shared_epochs(history)
    return report


def check_times(known: Knowledge) -> None:
    """Every list and every end of the feed stands at a number between what was seen before and what can have been."""
    groups = _transactions(known)
    for call in known.calls:
        state = _state_shown(call)
        if state is None:
            continue
        if state < known.times.at_least(call.began):
            own = max((known_number(known, other) for other in _before(known, call)), default=0)
            who = "this client itself" if own > state else "somebody"
            seen = known.times.at_least(call.began)
            known.wrong("no read from the past", f"{call.kind} shows {state}, {who} had seen {seen} before", call)
        elif state > known.times.at_most(call.ended):
            known.wrong("no read from the future", f"{call.kind} shows {state}, which nobody had asked for yet", call)
        elif state in groups:
            known.wrong("all or nothing", f"{call.kind} shows {state}, in the middle of a transaction", call)


def known_number(known: Knowledge, call: Call) -> int:
    """The highest number that an answer told its client."""
    numbers = [call.tag or 0, call.next or 0, *(version.number or 0 for version in known.shown(call))]
    return max(numbers)


def _before(known: Knowledge, call: Call) -> Iterator[Call]:
    return (other for other in known.calls if other.client == call.client and other.ended < call.began)


def _state_shown(call: Call) -> int | None:
    """The number of the state that an answer as a whole shows."""
    if call.kind == "list":
        return call.if_none_match if call.status == 304 else call.tag if call.succeeded else None
    if call.kind == "changes" and call.succeeded and not call.has_more:
        return call.next
    return None


def _transactions(known: Knowledge) -> set[int]:
    """Numbers at which no state can be seen, because the transaction that took them went on."""
    inner: set[int] = set()
    for write in known.writes:
        numbers = known.numbers_of(write)
        if len(numbers) > 1:
            inner.update(range(min(numbers), max(numbers)))
    return inner


def check_tasks(known: Knowledge) -> None:
    """Every answer about one task shows a version that it had while the call lasted."""
    for call in known.calls:
        if call.task is None or call.replayed or call.unknown:
            continue
        if call.kind == "get" and call.status in (200, 304):
            number = call.if_none_match if call.status == 304 else call.tag
            _had_version(known, call, number)
        elif call.status == 412 and call.tag is not None:
            if call.tag == call.if_match:
                known.wrong("conditions", f"412, though the task stands at {call.tag} as the condition asks", call)
            _had_version(known, call, call.tag)
        elif call.status == 404 and call.kind in ("get", "update", "toggle", "set", "delete"):
            _was(known, call, "not in the list", lambda step: step is None or step.removes)
        elif call.status == 412 and call.kind == "put_create":
            _was(known, call, "taken", lambda step: step is not None)
        elif call.succeeded and call.kind in ("set", "update") and call.tag is not None:
            _had_version(known, call, call.tag)


def _had_version(known: Knowledge, call: Call, number: int | None) -> None:
    step = known.steps.get(number or 0)
    if number is None or step is None or step.task != call.task:
        known.wrong("reads exist", f"{call.kind} shows version {number} of {call.task}, which never was", call)
    elif number > known.times.at_most(call.ended):
        known.wrong("no read from the future", f"{call.kind} shows {number}, which nobody had asked for yet", call)
    elif (next_number := known.followed_at(number)) <= known.times.at_least(call.began):
        known.wrong("no read from the past", f"{call.kind} shows {number}; {next_number} had been seen before", call)


def _was(known: Knowledge, call: Call, what: str, holds: Callable[[Step | None], bool]) -> None:
    """The task was so at some moment of the call."""
    assert call.task is not None
    lowest, highest = known.times.at_least(call.began), known.times.at_most(call.ended)
    first = known.last_step(call.task, lowest)
    steps = [first, *(known.steps[n] for n in known.of_task.get(call.task, ()) if lowest < n <= highest)]
    if any(holds(step) for step in steps):
        return
    if known.may_have_changed(call.task, first.number if first else 0, highest):
        known.excused += 1
        return
    known.wrong("reads exist", f"{call.kind} says {call.status}: task {call.task} was never {what} meanwhile", call)


def _shared_epochs(history: History) -> Iterator[Violation]:
    """Each user has one epoch, and no two users the same."""
    epochs: dict[str, set[str]] = defaultdict(set)
    for call in history.calls:
        if call.epoch is not None and call.tag != 0:
            epochs[call.user].add(call.epoch)
    for user, found in epochs.items():
        if len(found) > 1:
            yield Violation("one epoch", user, f"tags with {len(found)} epochs")
    for epoch, users in Counter(epoch for found in epochs.values() for epoch in found).items():
        if users > 1:
            yield Violation("one epoch", "", f"{users} users share the epoch {epoch}")


RULES: Final[Sequence[Callable[[Knowledge], None]]] = (
    check_times,
    check_tasks,
    chains.check_chains,
    lists.check_lists,
    lists.check_trash,
    feeds.check_feeds,
    retries.check_retries,
)
