"""The committed figures of the last full run, the targets, and the guard that holds a new run against them."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench.candidates import Name
from bench.crowds import Crowd
from bench.growth import Point
from bench.memory import Memory
from bench.rounds import Measured

FILE = Path(__file__).with_name("figures.json")
TOLERANCE = 1.25
YARDSTICKS: tuple[Name, ...] = ("peer", "limit")


class Line(msgspec.Struct, frozen=True):
    """Medians of one candidate under one operation; times in microseconds."""

    cpu: float
    database_cpu: float
    per_second: float
    p50: float
    p99: float


class Ratio(msgspec.Struct, frozen=True):
    """CPU time of the service relative to a yardstick. `spread`: half of largest minus smallest, relative."""

    median: float
    spread: float


class OperationFigures(msgspec.Struct, frozen=True):
    operation: str
    lines: dict[Name, Line]
    ratios: dict[Name, Ratio]


class CrowdFigures(msgspec.Struct, frozen=True):
    candidate: Name
    operation: str
    connections: int
    per_second: float
    p50: float
    p99: float
    failed: int


class Figures(msgspec.Struct):
    """Everything a full run found out. Sections may stem from different runs on the same machine."""

    machine: dict[str, str] = {}
    versions: dict[str, str] = {}
    measured_on: str = ""
    operations: list[OperationFigures] = []
    startup: dict[Name, float] = {}
    memory: dict[Name, Memory] = {}
    tokens: dict[str, float] = {}
    crowds: list[CrowdFigures] = []
    growth: list[Point] = []


class Target(msgspec.Struct, frozen=True):
    operation: str
    to: Name
    at_most: float


TARGETS = (
    Target("get", "peer", 0.40),
    Target("list 100", "peer", 0.25),
    Target("create", "peer", 0.30),
    Target("update", "peer", 0.30),
    Target("toggle", "peer", 0.30),
    Target("get", "limit", 2.0),
    Target("list 100", "limit", 2.0),
    Target("create", "limit", 2.0),
)
NOT_MODIFIED_AT_MOST = 0.15
"""A list answered 304, relative to the full list of 100."""
BATCH_AT_MOST = 0.10
"""A batch of 100 creations, relative to 100 single ones."""
READY_WITHIN_SECONDS = 1.0
MEMORY_AT_MOST_BYTES = 120_000_000
GROWTH_AT_MOST = 1.2


def operation_figures(measured: Measured) -> OperationFigures:
    lines = {
        name: Line(
            cpu=measured.median(name, lambda cost: cost.cpu),
            database_cpu=measured.median(name, lambda cost: cost.database_cpu),
            per_second=measured.median(name, lambda cost: cost.report.per_second),
            p50=measured.median(name, lambda cost: cost.report.p50),
            p99=measured.median(name, lambda cost: cost.report.p99),
        )
        for name in measured.costs
    }
    ratios = {to: Ratio(ratio, measured.spread(to)) for to in YARDSTICKS if (ratio := measured.ratio(to)) is not None}
    return OperationFigures(measured.operation, lines, ratios)


def crowd_figures(crowd: Crowd) -> CrowdFigures:
    return CrowdFigures(
        crowd.candidate,
        crowd.operation,
        crowd.connections,
        crowd.per_second,
        crowd.p50,
        crowd.p99,
        crowd.failed,
    )


def committed() -> Figures:
    return msgspec.json.decode(FILE.read_bytes(), type=Figures) if FILE.exists() else Figures()


def commit(figures: Figures) -> None:
    def rounded(value: object) -> object:
        if isinstance(value, float):
            return float(f"{value:.4g}")
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        return [rounded(item) for item in value] if isinstance(value, list) else value

    plain = rounded(msgspec.to_builtins(figures))
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")


def regressions(new: Sequence[OperationFigures], old: Sequence[OperationFigures]) -> list[str]:
    """One line for each ratio that got worse by more than a quarter."""
    before = {(figures.operation, to): ratio.median for figures in old for to, ratio in figures.ratios.items()}
    lines = []
    for figures in new:
        for to, ratio in figures.ratios.items():
            was = before.get((figures.operation, to))
            if was is not None and ratio.median > was * TOLERANCE:
                worse = ratio.median / was - 1
                lines.append(
                    f"{figures.operation}: {ratio.median:.2f} of the {to}'s CPU time, was {was:.2f} ({worse:.0%} worse)"
                )
    return lines
