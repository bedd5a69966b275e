"""Who goes with whom: a largest set of pairs in which nobody stands twice."""

from collections.abc import Hashable, Mapping, Sequence
from typing import TypeVar

Left = TypeVar("Left", bound=Hashable)
Right = TypeVar("Right", bound=Hashable)


def matched(edges: Mapping[Left, Sequence[Right]]) -> dict[Left, Right]:
    """Whom each of the left is paired with; who is missing finds nobody, whatever the others do (Kuhn's algorithm)."""
    pairs: dict[Left, Right] = {}
    owners: dict[Right, Left] = {}
    for left in edges:
        _pair(left, edges, pairs, owners)
    return pairs


def _pair(
    newcomer: Left, edges: Mapping[Left, Sequence[Right]], pairs: dict[Left, Right], owners: dict[Right, Left]
) -> None:
    """Breadth first: somebody who is free, or whose owner can take somebody else."""
    asked_by: dict[Right, Left] = {}
    waiting = [newcomer]
    for left in waiting:
        for right in edges[left]:
            if right in asked_by:
                continue
            asked_by[right] = left
            if right in owners:
                waiting.append(owners[right])
                continue
            _hand_on(right, asked_by, pairs, owners)
            return


def _hand_on(free: Right, asked_by: Mapping[Right, Left], pairs: dict[Left, Right], owners: dict[Right, Left]) -> None:
    """Give the free one to who asked for it, what that one had to who asked for that, and so on."""
    given: Right | None = free
    while given is not None:
        taker = asked_by[given]
        former = pairs.get(taker)
        pairs[taker], owners[given] = given, taker
        given = former
