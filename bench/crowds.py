"""Latency when many clients are connected at once: every one of them waits for its answer and asks again."""

import statistics
from collections.abc import Mapping

import msgspec

from bench.candidates import Candidate, Name
from bench.load import Report, put_under_load
from bench.operations import Operation, World
from bench.postgres import Postgres
from bench.processes import Server
from bench.rounds import clean_up

CROWDS = (100, 1000)


class Crowd(msgspec.Struct, frozen=True):
    """Reports of the rounds, of one candidate under one operation from so many connections."""

    candidate: Name
    operation: str
    connections: int
    reports: list[Report]

    @property
    def p50(self) -> float:
        return statistics.median(report.p50 for report in self.reports)

    @property
    def p99(self) -> float:
        return statistics.median(report.p99 for report in self.reports)

    @property
    def per_second(self) -> float:
        return statistics.median(report.per_second for report in self.reports)

    @property
    def failed(self) -> int:
        return sum(report.refused + report.broken for report in self.reports)


def latencies(
    operation: Operation,
    world: World,
    servers: Mapping[Candidate, Server],
    postgres: Postgres,
    *,
    rounds: int,
    seconds: float,
) -> list[Crowd]:
    reports: dict[tuple[Name, int], list[Report]] = {}
    for _ in range(rounds):
        for connections in CROWDS:
            for candidate, server in servers.items():
                prepared = operation.requests(world, server.port)
                report = put_under_load(server.port, prepared, connections=connections, seconds=seconds)
                reports.setdefault((candidate.name, connections), []).append(report)
                if operation.writes:
                    clean_up(postgres)
    return [Crowd(name, operation.name, connections, seen) for (name, connections), seen in reports.items()]
