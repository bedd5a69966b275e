"""Writes `docs/performance.md` and its chart from the figures."""

from collections.abc import Iterable, Sequence

from bench import figures as kept
from bench.candidates import ALL, Name
from bench.chart import Bar, Group, draw
from bench.figures import Figures, OperationFigures
from bench.processes import REPOSITORY

PAGE = REPOSITORY / "docs" / "performance.md"
CHART = REPOSITORY / "docs" / "performance.svg"
COLOURS: dict[Name, str] = {"service": "#1f6feb", "peer": "#d29922", "limit": "#8c959f"}
TITLES: dict[Name, str] = {candidate.name: candidate.title for candidate in ALL}

HEAD = """# Performance

What a request costs the API process, beside two yardsticks that run in the same minutes on the same PostgreSQL, over
the same table of 100 000 tasks of 100 users, with the same HS256 token verified on each request and the same JSON out:

- **the peer**: [`fastapi_sqlmodel.py`](../bench/peers/fastapi_sqlmodel.py), FastAPI with SQLModel entities and an
  AsyncSession on asyncpg, as their manuals teach it. It has no change counter, ETags or change feed.
- **the limit**: [`limit.py`](../bench/peers/limit.py), bare ASGI with asyncpg and msgspec, tokens checked by hand:
  what the machine can do with the service's queries, change counter included.

The measure is CPU time (user and system) of the API process per request, by 32 keep-alive connections, one worker and
ten database connections each, uvloop and httptools for all. Candidates take turns; a ratio is taken within a round,
and the median over the rounds is shown, ± half the distance between the largest and the smallest. The service runs as
it is shipped, with its access log; the yardsticks run without one. Ratios carry over to other machines, microseconds
do not.

Made by `make bench`; `python -m bench --quick` is the guard that runs in CI.

![CPU time per request](performance.svg)
"""


def table(head: Sequence[str], rows: Iterable[Sequence[str]]) -> str:
    """The first column is text, all others are figures."""
    ruler = "|".join(["---", *("---:" for _ in head[1:])])
    return "\n".join(["| " + " | ".join(head) + " |", f"|{ruler}|", *("| " + " | ".join(row) + " |" for row in rows)])


def count(value: float) -> str:
    return f"{value:,.0f}".replace(",", " ")


def verdict(value: float, at_most: float) -> str:
    return f"≤ {at_most:g} {'✓' if value <= at_most else '✗'}"


def by_name(figures: Figures) -> dict[str, OperationFigures]:
    return {entry.operation: entry for entry in figures.operations}


def ratio_rows(figures: Figures) -> Iterable[Sequence[str]]:
    targets = {(target.operation, target.to): target.at_most for target in kept.TARGETS}
    for entry in figures.operations:
        row = [entry.operation]
        for to in kept.YARDSTICKS:
            ratio = entry.ratios.get(to)
            row.append("not offered" if ratio is None else f"{ratio.median:.2f} ± {ratio.median * ratio.spread:.2f}")
            at_most = targets.get((entry.operation, to))
            row.append("" if ratio is None or at_most is None else verdict(ratio.median, at_most))
        yield row


def cost_rows(figures: Figures) -> Iterable[Sequence[str]]:
    for entry in figures.operations:
        for name, line in entry.lines.items():
            yield (
                f"{entry.operation}: {TITLES[name]}",
                count(line.cpu),
                count(line.database_cpu),
                count(line.per_second),
                f"{line.p50 / 1000:.1f}",
                f"{line.p99 / 1000:.1f}",
            )


def inner_rows(figures: Figures) -> Iterable[Sequence[str]]:
    """The service compared with itself."""
    entries = by_name(figures)

    def cpu(operation: str) -> float:
        return entries[operation].lines["service"].cpu

    if {"list not modified", "list 100"} <= entries.keys():
        share = cpu("list not modified") / cpu("list 100")
        yield "list answered 304, to the full list of 100", f"{share:.3f}", verdict(share, kept.NOT_MODIFIED_AT_MOST)
    if {"batch of 100", "create"} <= entries.keys():
        share = cpu("batch of 100") / (100 * cpu("create"))
        yield "a batch of 100 creations, to 100 single ones", f"{share:.3f}", verdict(share, kept.BATCH_AT_MOST)


def chart(figures: Figures) -> str:
    """Relative to the slowest of each operation, because a list of 1000 and a toggle share no scale."""
    groups = []
    for entry in figures.operations:
        slowest = max(line.cpu for line in entry.lines.values())
        groups.append(
            Group(
                entry.operation,
                [Bar(line.cpu / slowest, f"{count(line.cpu)} µs", COLOURS[name]) for name, line in entry.lines.items()],
            )
        )
    legend = [(COLOURS[name], TITLES[name]) for name in COLOURS]
    return draw("CPU time of the API process per request (shorter is better)", legend, groups)


def growth_parts(figures: Figures) -> Iterable[str]:
    heads = {
        "table": ("Tasks in the table", "Every user has 1000 tasks."),
        "user": ("Tasks of one user", "In a table with the users of the other sizes."),
        "page": ("Pages into a list of 100 000 tasks", "A hundred tasks a page."),
    }
    for series, (title, note) in heads.items():
        points = [point for point in figures.growth if point.series == series]
        if not points:
            continue
        sizes = sorted({point.size for point in points})
        rows = []
        for operation in dict.fromkeys(point.operation for point in points):
            costs = {point.size: point for point in points if point.operation == operation}
            change = costs[sizes[-1]].cost / costs[sizes[0]].cost
            row = [operation, *(f"{count(costs[size].cost)} ({count(costs[size].p50)})" for size in sizes)]
            row += [f"{change:.2f} {verdict(change, kept.GROWTH_AT_MOST) if series != 'user' else ''}".strip()]
            rows.append(row)
        yield f"### {title}\n\n{note}\n"
        yield table(["", *(count(size) for size in sizes), "last to first"], rows) + "\n"


def page(figures: Figures) -> str:
    parts = [HEAD]
    if figures.operations:
        parts += [
            "## Ratios of CPU time per request\n",
            table(["service relative to", "peer", "wanted", "limit", "wanted"], ratio_rows(figures)) + "\n",
            table(["the service relative to itself", "ratio", "wanted"], inner_rows(figures)) + "\n",
            "## Figures\n\nDatabase: CPU time of PostgreSQL's processes per request.\n",
            table(["", "API µs", "database µs", "requests/s", "p50 ms", "p99 ms"], cost_rows(figures)) + "\n",
        ]
    if figures.startup or figures.memory or figures.tokens:
        parts += ["## Start-up, memory, token checks\n", table(["", "", "wanted"], odds_and_ends(figures)) + "\n"]
    if figures.crowds:
        rows = [
            (
                f"{crowd.operation}, {crowd.connections} connections: {TITLES[crowd.candidate]}",
                count(crowd.per_second),
                f"{crowd.p50 / 1000:.1f}",
                f"{crowd.p99 / 1000:.1f}",
                str(crowd.failed),
            )
            for crowd in figures.crowds
        ]
        parts += ["## Many clients at once\n", table(["", "requests/s", "p50 ms", "p99 ms", "failed"], rows) + "\n"]
    if figures.growth:
        parts.append(
            "## As the work grows\n\nCPU time of the service and PostgreSQL together per request in microseconds, and "
            "in brackets the median latency, by four connections.\n"
        )
        parts += growth_parts(figures)
    parts += [
        "## Measured with\n",
        table(["", ""], (*figures.machine.items(), *figures.versions.items(), ("date", figures.measured_on))) + "\n",
    ]
    return "\n".join(parts)


def odds_and_ends(figures: Figures) -> Iterable[Sequence[str]]:
    for name, seconds in figures.startup.items():
        wanted = verdict(seconds, kept.READY_WITHIN_SECONDS) + " s" if name == "service" else ""
        yield f"ready after process start: {TITLES[name]}", f"{seconds:.2f} s", wanted
    for name, memory in figures.memory.items():
        wanted = f"{verdict(memory.afterwards / 1e6, kept.MEMORY_AT_MOST_BYTES / 1e6)} MB" if name == "service" else ""
        label = f"resident memory of the worker after {count(memory.requests)} requests: {TITLES[name]}"
        yield label, f"{memory.afterwards / 1e6:.0f} MB (at start {memory.at_start / 1e6:.0f})", wanted
    for algorithm, microseconds in figures.tokens.items():
        yield f"one {algorithm} token check", f"{microseconds:.1f} µs", ""


def write(figures: Figures) -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(figures))
    if figures.operations:
        CHART.write_text(chart(figures))
