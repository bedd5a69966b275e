"""Which changes must have happened before a moment, and which cannot have."""

import bisect
from collections.abc import Iterable


class Times:
    """Bounds on a user's change counter, from what was seen and from when writes began."""

    def __init__(self, seen: Iterable[tuple[float, int]], written: Iterable[tuple[float, int]]) -> None:
        """`seen`: when an answer with this number had come. `written`: when the write that took it began."""
        self._seen_at: list[float] = []
        self._seen: list[int] = []
        highest = 0
        for at, number in sorted(seen):
            if number > highest:
                highest = number
                self._seen_at.append(at)
                self._seen.append(number)
        self.highest = highest
        self._begun_at: list[float] = []
        self._begun: list[int] = []
        lowest: int | None = None
        for at, number in sorted(written, reverse=True):
            if lowest is None or number < lowest:
                lowest = number
                self._begun_at.append(-at)
                self._begun.append(number)

    def at_least(self, moment: float) -> int:
        """The counter stood here or higher: somebody had seen it."""
        place = bisect.bisect_left(self._seen_at, moment)
        return self._seen[place - 1] if place else 0

    def at_most(self, moment: float) -> int:
        """The counter stood here or lower: the next number was taken by a write that had not begun."""
        place = bisect.bisect_left(self._begun_at, -moment)
        return self._begun[place - 1] - 1 if place else self.highest
