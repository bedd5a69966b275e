"""Who goes with whom: a largest set of pairs in which nobody stands twice, and which pairs there is no way around."""

from collections.abc import Hashable, Mapping, Sequence, Set
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


def narrow(takers: dict[Left, list[Right]], choices: dict[Right, list[Left]], certain: Set[Right]) -> None:
    """Strike out what cannot be: each of `takers` needs one, each that is `certain` has to be with one."""
    waiting = [left for left, rights in takers.items() if len(rights) == 1]
    chosen = [right for right in certain if len(choices[right]) == 1]
    while waiting or chosen:
        if waiting:
            left = waiting.pop()
            if len(takers[left]) != 1:
                continue
            right = takers[left][0]
        else:
            right = chosen.pop()
            if len(choices[right]) != 1:
                continue
            left = choices[right][0]
        for other in [other for other in choices[right] if other != left]:
            choices[right].remove(other)
            takers[other].remove(right)
            if len(takers[other]) == 1:
                waiting.append(other)
        for rival in [rival for rival in takers[left] if rival != right]:
            takers[left].remove(rival)
            choices[rival].remove(left)
            if rival in certain and len(choices[rival]) == 1:
                chosen.append(rival)
