"""The committed figures of the last full run, the targets, and the guard that holds a new run against them."""

from collections.abc import Sequence
from pathlib import Path

import msgspec

from bench import operations
from bench.candidates import ALL, Name
from bench.comparisons import Compared
from bench.crowds import Crowd
from bench.growth import Point
from bench.memory import Memory
from bench.rounds import Measured

FILE = Path(__file__).with_name("figures.json")
TOLERANCE = 1.25
TITLES: dict[Name, str] = {candidate.name: candidate.title for candidate in ALL}
YARDSTICKS: tuple[Name, ...] = ("limit", "go", "fastify", "fastapi")


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


class Expected(msgspec.Struct):
    """What the guard holds a new run against: the ratios of a full run on one kind of processor."""

    ratios: dict[str, dict[Name, float]] = {}
    """By operation and yardstick."""
    comparisons: dict[str, float] = {}
    """By title."""


class Figures(msgspec.Struct):
    """Everything a full run found out. Sections may stem from different runs on the same machine."""

    machine: dict[str, str] = {}
    versions: dict[str, str] = {}
    measured_on: str = ""
    operations: list[OperationFigures] = []
    comparisons: list[Compared] = []
    startup: dict[Name, float] = {}
    memory: dict[Name, Memory] = {}
    four_workers: int = 0
    """Bytes of the service with four workers."""
    tokens: dict[str, float] = {}
    crowds: list[CrowdFigures] = []
    growth: list[Point] = []
    expected: dict[str, Expected] = {}
    """By kind of processor: a ratio can be half as large again on another one."""


class Target(msgspec.Struct, frozen=True):
    operation: str
    to: Name
    at_most: float


MIXED = operations.MIXED.name
TARGETS = (
    Target("get", "fastapi", 0.20),
    Target("list 100", "fastapi", 0.17),
    Target("create", "fastapi", 0.17),
    Target("get", "limit", 1.60),
    Target("list 100", "limit", 1.20),
    Target("create", "limit", 1.75),
    Target("get", "fastify", 2.2),
    Target("list 100", "fastify", 1.0),
    Target("create", "fastify", 2.2),
    Target(MIXED, "fastify", 1.0),
)
READY_WITHIN_SECONDS = 1.0
MEMORY_AT_MOST_BYTES = 120_000_000
FOUR_WORKERS_AT_MOST_BYTES = 250_000_000
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


def expect(figures: Figures, processor: str) -> None:
    """Let the guard expect these figures on this kind of processor from now on."""
    figures.expected[processor] = Expected(
        {entry.operation: {to: ratio.median for to, ratio in entry.ratios.items()} for entry in figures.operations},
        {compared.title: compared.cpu for compared in figures.comparisons},
    )


def expected_on(processor: str, figures: Figures) -> Expected:
    """On a kind of processor that was never measured: of each ratio the largest."""
    if processor in figures.expected:
        return figures.expected[processor]
    largest = Expected()
    for found in figures.expected.values():
        for operation, ratios in found.ratios.items():
            before = largest.ratios.setdefault(operation, {})
            before |= {to: max(ratio, before.get(to, 0)) for to, ratio in ratios.items()}
        for title, cpu in found.comparisons.items():
            largest.comparisons[title] = max(cpu, largest.comparisons.get(title, 0))
    return largest


def commit(figures: Figures) -> None:
    def rounded(value: object) -> object:
        if isinstance(value, float):
            return float(f"{value:.4g}")
        if isinstance(value, dict):
            return {key: rounded(item) for key, item in value.items()}
        return [rounded(item) for item in value] if isinstance(value, list) else value

    plain = rounded(msgspec.to_builtins(figures))
    FILE.write_bytes(msgspec.json.format(msgspec.json.encode(plain), indent=2) + b"\n")


def regressions(new: Sequence[OperationFigures], old: Expected) -> list[str]:
    """One line for each ratio that got worse by more than a quarter."""
    lines = []
    for figures in new:
        for to, ratio in figures.ratios.items():
            was = old.ratios.get(figures.operation, {}).get(to)
            if was is not None and ratio.median > was * TOLERANCE:
                whose = f"the CPU time of {TITLES[to]}"
                lines.append(_worse(figures.operation, ratio.median, was, whose))
    return lines


def worse_comparisons(new: Sequence[Compared], old: Expected) -> list[str]:
    """The same for what is compared within the service."""
    return [
        _worse(compared.title, compared.cpu, was, "the CPU time")
        for compared in new
        if (was := old.comparisons.get(compared.title)) is not None and compared.cpu > was * TOLERANCE
    ]


def _worse(what: str, now: float, was: float, of: str) -> str:
    return f"{what}: {now:.2f} of {of}, was {was:.2f} ({now / was - 1:.0%} worse)"
