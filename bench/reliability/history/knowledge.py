"""What is known of one user's changes: for each number of the counter which task it changed, how, and who asked for it.

A write that shows its task names its number. A deletion does not; the feed does, or the trash, or what is left when all
other numbers have owners. So each step is a number, or a range of numbers in which it must lie.
"""

import bisect
from collections import defaultdict
from collections.abc import Iterator, Sequence
from typing import Any, Final, NamedTuple

from msgspec import Struct

from bench.reliability.history.effects import Effect, Write, effects_of, writes_of
from bench.reliability.history.matching import matched, narrow
from bench.reliability.history.record import Call, History, Task, Version
from bench.reliability.history.times import Times
from bench.reliability.history.violations import Violation

LATE: Final = 10.0
"""How long after its answer, a lost one or a 5xx, a write may still happen."""
WIDEST_GAP: Final = 200
NEVER: Final = 1 << 62
NEW: Final = ""
"""A task that was made, and is in no answer."""


class Step(Struct):
    """What a number stands for."""

    number: int
    task: str
    removes: bool
    content: Task | None = None
    author: Effect | None = None


class Gap(NamedTuple):
    """Deletions that a page tells one after the other, and the numbers that they may have."""

    tasks: tuple[str, ...]
    between: range


class Knowledge:
    """Everything that can be said of one user's counter. `violations`: what already contradicts itself."""

    def __init__(self, user: str, calls: Sequence[Call], history: History) -> None:
        self.user = user
        self.calls = calls
        self.history = history
        self.violations: list[Violation] = []
        self.excused = 0
        self.writes = writes_of(calls)
        self._effects_of = {id(write): list(effects_of(write, history)) for write in self.writes}
        self.effects = [effect for effects in self._effects_of.values() for effect in effects]
        self.steps: dict[int, Step] = {}
        self._read_versions()
        self._find_authors()
        self.times = Times(self._seen(), self._written())
        self._pin_removals()
        self.loose: dict[Effect, range] = {}
        """Effects without a number, and where it may lie."""
        self.candidates: dict[int, list[Effect]] = {}
        """Who may have asked for a change, where no answer says it."""
        self.blanks: list[int] = []
        """Numbers of which no answer says which task they changed."""
        self._may_be_of: dict[int, set[str | None]] = {}
        """The tasks that each blank may be of; None: any that was there."""
        self._explain_the_rest()
        self._chain()
        self._narrow_blanks()

    def wrong(self, rule: str, message: str, *calls: Call) -> None:
        self.violations.append(Violation(rule, self.user, message, tuple(call.number for call in calls)))

    # ---- what answers show

    def shown(self, call: Call) -> Iterator[Version]:
        """The versions in an answer."""
        for place in call.versions:
            yield self.history.versions[place]
        for result in call.results:
            if result.version is not None:
                yield self.history.versions[result.version]
        for entry in call.entries:
            if isinstance(entry, int):
                yield self.history.versions[entry]

    def _read_versions(self) -> None:
        self._by_update: dict[tuple[str, str], int] = {}
        seen: set[int] = set()
        for call in self.calls:
            for version in self.shown(call):
                if id(version) in seen or version.number is None:
                    continue
                seen.add(id(version))
                step = Step(version.number, version.id, version.in_trash, version.task)
                known = self.steps.setdefault(version.number, step)
                if known.task != step.task or known.removes != step.removes:
                    self.wrong("one number, one change", f"{version.number} is a change of two tasks", call)
                elif _lasting(known.content) != _lasting(step.content):
                    self.wrong("one tag, one content", f"task {step.task} differs under the tag {version.number}", call)
                self._by_update[version.id, version.task["updated_at"]] = version.number

    def number_of(self, version: Version) -> int | None:
        """Also of a version whose answer does not say it."""
        return version.number or self._by_update.get((version.id, version.task["updated_at"]))

    def _seen(self) -> Iterator[tuple[float, int]]:
        for call in self.calls:
            if call.status == 304 and call.if_none_match is not None:
                yield call.ended, call.if_none_match
            if call.tag is not None:
                yield call.ended, call.tag
            if call.next is not None:
                yield call.ended, call.next
            numbers = [version.number for version in self.shown(call) if version.number is not None]
            if numbers:
                yield call.ended, max(numbers)

    def _written(self) -> Iterator[tuple[float, int]]:
        return ((step.author.write.began, step.number) for step in self.steps.values() if step.author)

    # ---- who took which number

    def _find_authors(self) -> None:
        claims: dict[int, list[Effect]] = defaultdict(list)
        for effect in self.effects:
            if effect.number is not None:
                claims[effect.number].append(effect)
        early = Times(self._seen(), ())
        for number, effects in claims.items():
            step = self.steps[number]
            sure = [effect for effect in effects if not effect.may_change_nothing]
            if len(sure) > 1:
                calls = [effect.write.first for effect in sure]
                self.wrong("one number, one change", f"{len(sure)} writes were told the number {number}", *calls)
            for effect in sure:
                step.author = effect
                if number > early.at_least(effect.write.began):
                    break
                what = f"a write took {number}, though that number or a later one had been seen before it began"
                self.wrong("order of time", what, effect.write.first)

    def _pin_removals(self) -> None:
        """Find the numbers of deletions by their places in pages of the feed."""
        pages = [call for call in self.calls if call.kind == "changes" and call.succeeded]
        gaps = list(dict.fromkeys(gap for page in pages for gap in self._gaps(page) if len(gap.between) <= WIDEST_GAP))
        for _ in range(3):
            gaps = [gap for gap in gaps if not self._fill(gap)]

    def _fill(self, gap: Gap) -> bool:
        """Give deletions that stand in a row the numbers that are free there, if there are just so many."""
        known = [step for step in map(self.steps.get, gap.between) if step is not None]
        removed = {step.task for step in known if step.removes}
        missing = [task for task in gap.tasks if task not in removed]
        free = [number for number in gap.between if number not in self.steps]
        if missing and len(free) == len(missing):
            for number, task in zip(free, missing, strict=True):
                self.steps[number] = Step(number, task, removes=True)
        return not missing or len(free) == len(missing)

    def _gaps(self, page: Call) -> Iterator[Gap]:
        """The deletions of a page, with the numbers between which they must lie."""
        assert page.next is not None
        after, waiting = page.since or 0, list[str]()
        for entry in page.entries:
            number = None if isinstance(entry, str) else self.history.versions[entry].number
            if isinstance(entry, str):
                waiting.append(entry)
            elif number is not None:
                if waiting:
                    yield Gap(tuple(waiting), range(after + 1, number))
                after, waiting = number, []
        if waiting and page.has_more:  # the page ends with one of them, and the token names it
            yield Gap((waiting.pop(),), range(page.next, page.next + 1))
            yield Gap(tuple(waiting), range(after + 1, page.next))
        elif waiting:
            yield Gap(tuple(waiting), range(after + 1, page.next + 1))

    def _explain_the_rest(self) -> None:
        highest = max([self.times.highest, *self.steps], default=0)
        for effect in self.effects:
            if effect.number is None:
                self.loose[effect] = self._range(effect, highest)
            elif effect.may_change_nothing:  # and is then told the number of somebody else's change
                self.loose[effect] = range(effect.number, effect.number + 1)
        orphans = [number for number in range(1, highest + 1) if self._needs_author(number)]
        takers: dict[int, list[Effect]] = {number: [] for number in orphans}
        choices: dict[Effect, list[int]] = {}
        for effect, where in self.loose.items():
            begin, end = bisect.bisect_left(orphans, where.start), bisect.bisect_left(orphans, where.stop)
            choices[effect] = [number for number in orphans[begin:end] if self.could_be(effect, number)]
            for number in choices[effect]:
                takers[number].append(effect)
        certain = {effect for effect in self.loose if effect.certain and effect.number is None}
        found = matched(takers)
        for number in orphans:
            if number not in found:
                what = f"of task {self.steps[number].task}" if number in self.steps else "of an unknown task"
                self.wrong("exactly once", f"the change {number} {what} was asked for by nobody, or once too often")
        placed = matched({effect: choices[effect] for effect in certain})
        for effect in certain - placed.keys():
            self.wrong(
                "no lost write",
                f"{effect.kind} of task {effect.task} was acknowledged, and no number is left for it",
                effect.write.first,
            )
        narrow(takers, choices, certain)
        self._assign(takers, found)

    def _assign(self, takers: dict[int, list[Effect]], found: dict[int, Effect]) -> None:
        for number, effects in takers.items():
            step = self.steps.get(number)
            only = effects[0] if len(effects) == 1 else None
            if step is None and only is not None and only.removes and only.task is not None:
                step = self.steps[number] = Step(number, only.task, removes=True)
            if step is not None:
                step.author = only or found.get(number)
                self.candidates[number] = effects
            else:
                self.blanks.append(number)
                self._may_be_of[number] = {NEW if effect.kind == "create" else effect.task for effect in effects}

    def _needs_author(self, number: int) -> bool:
        return number not in self.steps or self.steps[number].author is None

    def _range(self, effect: Effect, highest: int) -> range:
        write = effect.write
        lowest = self.times.at_least(write.began) + 1
        latest = max(call.ended for call in write.calls) + LATE if write.ended is None else write.ended
        highest = min(highest, self.times.at_most(latest))
        known = self.numbers_of(write)
        if known:  # one transaction takes numbers that follow each other
            size = len(self._effects_of[id(write)])
            lowest, highest = max(lowest, max(known) - size + 1), min(highest, min(known) + size - 1)
        return range(lowest, highest + 1)

    def numbers_of(self, write: Write) -> list[int]:
        """The numbers that a write is known to have taken."""
        return [
            effect.number
            for effect in self._effects_of[id(write)]
            if effect.number is not None and not effect.may_change_nothing
        ]

    def could_be(self, effect: Effect, number: int) -> bool:
        """Whether the step with this number may be this effect's."""
        step = self.steps.get(number)
        if step is None:
            return True
        if step.removes != effect.removes or (effect.task is not None and step.task != effect.task):
            return False
        content = step.content
        asked: dict[str, Any] = effect.fields
        return content is None or all(content[name] == value for name, value in asked.items() if name in content)

    # ---- tasks through time

    def _chain(self) -> None:
        self.of_task: dict[str, list[int]] = defaultdict(list)
        self.superseded: dict[int, int] = {}
        """By which number each is followed on the same task."""
        for number in sorted(self.steps):
            numbers = self.of_task[self.steps[number].task]
            if numbers:
                self.superseded[numbers[-1]] = number
            numbers.append(number)

    def _narrow_blanks(self) -> None:
        """A whole list that shows a task in an older version than a blank says that the blank is not that task's."""
        for call in self.calls:
            whole = call.kind == "list" and call.succeeded and not call.asked.keys() & {"limit", "status"}
            if not whole or not self.blanks:
                continue
            numbers = {version.id: self.number_of(version) or NEVER for version in self.shown(call)}
            for blank in self.blanks[: bisect.bisect_right(self.blanks, call.tag or 0)]:
                tasks = self._may_be_of[blank]
                shown_older = {task for task in tasks if task is not None and numbers.get(task, NEVER) < blank}
                if shown_older and shown_older == tasks:
                    self.wrong("no lost write", f"the change {blank} of {shown_older} is not in the list", call)
                tasks -= shown_older

    def followed_at(self, number: int) -> int:
        return self.superseded.get(number, NEVER)

    def last_step(self, task: str, number: int) -> Step | None:
        """The task's newest step up to a number."""
        numbers = self.of_task.get(task, [])
        place = bisect.bisect_right(numbers, number)
        return self.steps[numbers[place - 1]] if place else None

    def may_have_changed(self, task: str, after: int, upto: int) -> bool:
        """Whether a number in between, of which no answer says what it changed, may have been this task's."""
        begin, end = bisect.bisect_right(self.blanks, after), bisect.bisect_right(self.blanks, upto)
        return any(not self._may_be_of[number].isdisjoint((task, None)) for number in self.blanks[begin:end])


def _lasting(task: Task | None) -> Task | None:
    """Without what an operator's purge may move, and what only some answers carry."""
    return task and {name: value for name, value in task.items() if name not in ("deleted_at", "purge_at", "etag")}
