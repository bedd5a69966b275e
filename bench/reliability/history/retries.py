"""Every key took effect once, whoever repeated it, and says so the same way each time."""

from collections import defaultdict

from bench.reliability.history.knowledge import Knowledge
from bench.reliability.history.record import Call


def check_retries(known: Knowledge) -> None:
    for write in known.writes:
        if write.first.key is not None:
            _check_key(known, write.calls)
    _check_titles(known)


def _check_key(known: Knowledge, calls: list[Call]) -> None:
    for call in calls:
        if call.status == 409:
            known.wrong("a retry waits for the first answer", "refused, because the first request was under way", call)
    answers = [call for call in calls if call.succeeded]
    if not answers:
        return
    originals = [call for call in answers if not call.replayed]
    if len(originals) > 1:
        known.wrong("exactly once", f"{len(originals)} calls with one key were each carried out", *originals)
    said = [(call.status, call.tag, call.versions, call.results, call.count) for call in answers]
    if any(what != said[0] for what in said):
        known.wrong("a replay is the first answer", "calls with one key were answered differently", *answers)
    settled = min(call.ended for call in answers)
    for call in calls:
        if call.began > settled and not call.succeeded and not call.worth_repeating:
            known.wrong("a replay is the first answer", f"{call.status} for a key that was answered before", call)


def _check_titles(known: Knowledge) -> None:
    """A title is written once, to one task; so two tasks with one title are one write that happened twice."""
    holders: dict[str, set[str]] = defaultdict(set)
    for step in known.steps.values():
        if step.content is not None and not step.removes:
            holders[step.content["title"]].add(step.task)
    for title, tasks in holders.items():
        if len(tasks) > 1:
            known.wrong("exactly once", f"{len(tasks)} tasks have the title {title!r}")
