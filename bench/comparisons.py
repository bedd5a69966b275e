"""The service compared with itself: two operations take turns on one server, and their ratio is what counts."""

import statistics

import msgspec

from bench.load import Cost, measure
from bench.operations import (
    BATCH,
    CREATE,
    CREATE_ALONE,
    GET,
    GET_BY_PATH,
    LIST_100,
    LIST_BY_PATH,
    NOT_MODIFIED,
    Operation,
    World,
)
from bench.postgres import Postgres
from bench.processes import Server
from bench.rounds import CONNECTIONS, clean_up


class Comparison(msgspec.Struct, frozen=True):
    """What `operation` costs relative to `to`, and the promise about it."""

    title: str
    operation: Operation
    to: Operation
    cpu_at_most: float
    """API process."""
    times: int = 1
    """How many of `to` one `operation` stands for."""
    p99_at_most: float | None = None


ALL = (
    Comparison("get on the path surface, to the token surface", GET_BY_PATH, GET, 1.10),
    Comparison("list 100 on the path surface, to the token surface", LIST_BY_PATH, LIST_100, 1.10),
    Comparison("list answered 304, to the full list of 100", NOT_MODIFIED, LIST_100, 0.20),
    Comparison("a batch of 100 creations, to 100 single ones", BATCH, CREATE, 0.10, times=100),
    Comparison("create, all by one user, to 100 users", CREATE_ALONE, CREATE, 1.30, p99_at_most=2.0),
)


class Compared(msgspec.Struct, frozen=True):
    """Medians of the ratios within the rounds. `spread`: half of largest minus smallest, relative."""

    title: str
    cpu: float
    spread: float
    database_cpu: float
    p99: float


def compare(
    comparison: Comparison, world: World, server: Server, postgres: Postgres, *, rounds: int, seconds: float
) -> Compared:
    pairs = []
    for number in range(rounds):
        both = [comparison.operation, comparison.to]
        # Who begins alternates, so that a machine that slows down favours neither.
        costs = {
            operation.name: _cost(operation, world, server, postgres, seconds)
            for operation in (both if number % 2 else reversed(both))
        }
        pairs.append((costs[comparison.operation.name], costs[comparison.to.name]))
    ratios = [ours.cpu / theirs.cpu / comparison.times for ours, theirs in pairs]
    median = statistics.median(ratios)
    return Compared(
        comparison.title,
        median,
        (max(ratios) - min(ratios)) / 2 / median,
        statistics.median(ours.database_cpu / theirs.database_cpu / comparison.times for ours, theirs in pairs),
        statistics.median(ours.report.p99 / theirs.report.p99 for ours, theirs in pairs),
    )


def _cost(operation: Operation, world: World, server: Server, postgres: Postgres, seconds: float) -> Cost:
    requests = operation.requests(world, server.port)
    cost = measure(server, postgres, requests, connections=CONNECTIONS, seconds=seconds)
    if operation.writes:
        clean_up(postgres)
    return cost
