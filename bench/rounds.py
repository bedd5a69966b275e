"""The measurement itself: all candidates stand on one database and take turns, round after round.

A ratio is taken within a round, where both had the same machine, and its median over the rounds is what counts:
noise that comes and goes hits both sides of a round or shows in the spread.
"""

import statistics
from collections.abc import Callable, Mapping, Sequence

import msgspec

from bench.agreement import check
from bench.candidates import Candidate, Name
from bench.fill import DATABASE
from bench.load import Cost, measure
from bench.operations import WRITERS, Operation, World
from bench.postgres import Postgres
from bench.processes import Server

CONNECTIONS = 32


class Measured(msgspec.Struct, frozen=True):
    """One operation: the turns of each candidate, in the order of the rounds."""

    operation: str
    costs: dict[Name, list[Cost]]

    def median(self, name: Name, figure: Callable[[Cost], float]) -> float:
        return statistics.median(figure(cost) for cost in self.costs[name])

    def cpu(self, name: Name) -> float:
        return self.median(name, lambda cost: cost.cpu)

    def ratios(self, to: Name) -> list[float]:
        return [ours.cpu / theirs.cpu for ours, theirs in zip(self.costs["service"], self.costs[to], strict=True)]

    def ratio(self, to: Name) -> float | None:
        """The median of the rounds' ratios of CPU time; none where the other does not offer the operation."""
        if to not in self.costs or "service" not in self.costs:
            return None
        return statistics.median(self.ratios(to))

    def spread(self, to: Name) -> float:
        """Half the distance between the smallest and the largest ratio, relative to the median."""
        ratios = self.ratios(to)
        return (max(ratios) - min(ratios)) / 2 / statistics.median(ratios)


def clean_up(postgres: Postgres) -> None:
    """Take away what the last turn created and left dead, so that the next one finds the table as it was."""
    postgres.execute(
        DATABASE,
        [
            # Filled tasks are months old; whatever is younger, a turn has made.
            f"""DELETE FROM tasks WHERE created_at > now() - interval '1 hour'
                AND user_id IN (SELECT id FROM users WHERE starts_with(id, '{WRITERS.prefix}-'))""",
            "VACUUM tasks",
            "VACUUM users",
        ],
    )


def measure_operation(
    operation: Operation,
    world: World,
    servers: Mapping[Candidate, Server],
    postgres: Postgres,
    *,
    rounds: int,
    seconds: float,
) -> Measured:
    able = {candidate: server for candidate, server in servers.items() if operation.offered_by(candidate)}
    check(operation, world, able)
    costs: dict[Name, list[Cost]] = {candidate.name: [] for candidate in able}
    order = list(able.items())
    for number in range(rounds):
        # The order turns round, so that nobody always follows the same neighbour.
        for candidate, server in order[number % len(order) :] + order[: number % len(order)]:
            requests = operation.requests(world, server.port)
            cost = measure(server, postgres, requests, connections=CONNECTIONS, seconds=seconds)
            costs[candidate.name].append(cost)
            if operation.writes:
                clean_up(postgres)
    return Measured(operation.name, costs)


def warm_up(
    world: World, servers: Mapping[Candidate, Server], postgres: Postgres, operations: Sequence[Operation]
) -> None:
    """Everything once, so that statements are prepared and caches filled before anybody is measured."""
    for candidate, server in servers.items():
        for operation in operations:
            if operation.offered_by(candidate):
                measure(server, postgres, operation.requests(world, server.port), connections=CONNECTIONS, seconds=1)
    clean_up(postgres)
