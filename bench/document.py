"""Writes `docs/performance.md` and its chart from the figures."""

from collections.abc import Iterable, Sequence

from bench import comparisons, operations
from bench import figures as kept
from bench.candidates import Name
from bench.chart import Bar, Group, draw
from bench.figures import Figures, OperationFigures
from bench.processes import REPOSITORY

PAGE = REPOSITORY / "docs" / "performance.md"
CHART = REPOSITORY / "docs" / "performance.svg"
COLOURS: dict[Name, str] = {
    "service": "#1f6feb",
    "limit": "#8c959f",
    "go": "#1a7f37",
    "fastify": "#8250df",
    "fastapi": "#d29922",
}

HEAD = """# Performance

What a request costs, beside four other programs that do the same work: they run in the same minutes on the same
PostgreSQL, over the same table of 100 000 tasks, check the input and the HS256 token of each request, and answer with
the same JSON.

- **the limit**: [`limit.py`](../bench/peers/limit.py), bare ASGI with asyncpg and msgspec: what Python can do.
- **Go**: [`bench/peers/go`](../bench/peers/go/main.go), net/http and pgx: what a compiled language can do.
- **Fastify**: [`server.js`](../bench/peers/fastify/server.js), JSON schemas, postgres.js and fast-jwt on Node.js.
- **FastAPI**: [`fastapi_sqlmodel.py`](../bench/peers/fastapi_sqlmodel.py), SQLModel entities and an AsyncSession on
  asyncpg, as their manuals teach it.

All but FastAPI take the next number of the user's change counter with each write and show an ETag in each task. None of
them has the rest of what the service does: strict reading of every header and parameter, all errors of a request in one
answer, `Idempotency-Key`, limits of time and size, an access log, CORS, deadlines for the database and a way back after
an outage.

The measure is CPU time (user and system) of the API process per request, by 32 keep-alive connections, with one worker
and ten database connections each; uvloop and httptools in Python, `GOMAXPROCS=1` in Go. Candidates take turns; a ratio
is taken within a round, and the median over the rounds is shown, ± half the distance between the largest and the
smallest. The service runs as it is shipped, with its access log; the others run without one.

Microseconds do not carry over to other machines, and ratios only roughly: on another kind of processor they were up to
half as large again. Made by `make bench`; `python -m bench --quick` is the guard that runs in CI. It expects the
figures of its own kind of processor.

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
            if ratio is None:
                row.append("not offered")
                continue
            at_most = targets.get((entry.operation, to))
            wanted = "" if at_most is None else f", {verdict(ratio.median, at_most)}"
            row.append(f"{ratio.median:.2f} ± {ratio.median * ratio.spread:.2f}{wanted}")
        yield row


def cost_rows(figures: Figures) -> Iterable[Sequence[str]]:
    for entry in figures.operations:
        for name, line in entry.lines.items():
            yield (
                f"{entry.operation}: {kept.TITLES[name]}",
                count(line.cpu),
                count(line.database_cpu),
                count(line.per_second),
                f"{line.p50 / 1000:.1f}",
                f"{line.p99 / 1000:.1f}",
            )


def comparison_rows(figures: Figures) -> Iterable[Sequence[str]]:
    wanted = {comparison.title: comparison for comparison in comparisons.ALL}
    for compared in figures.comparisons:
        comparison = wanted[compared.title]
        p99 = f"{compared.p99:.2f}"
        if comparison.p99_at_most is not None:
            p99 += f", {verdict(compared.p99, comparison.p99_at_most)}"
        cpu = f"{compared.cpu:.3f} ± {compared.cpu * compared.spread:.3f}"
        yield (
            compared.title,
            f"{cpu}, {verdict(compared.cpu, comparison.cpu_at_most)}",
            f"{compared.database_cpu:.2f}",
            p99,
        )


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
    legend = [(colour, kept.TITLES[name]) for name, colour in COLOURS.items()]
    return draw("CPU time of the API process per request (shorter is better)", legend, groups)


CHOOSING = """## What to make of it

One core carries this many requests a second, by the CPU time that a request costs the API process. PostgreSQL needs
its own on top: see *database* in the figures below.
"""

PRICE = """Python is the price where a request does little besides being a request: a single task read or written. There
the time goes into the interpreter's way through routing, headers, the token and the log, which Go and Node.js go
faster. Where a request carries much data, as a list does, most of the time is spent in compiled parts (the driver, the
JSON encoder), and the distance shrinks. A front end mostly lists, so of these rows the mixed one is the one to go by.

- Take **this service** for what it does beyond the work that is compared here. A core more costs less than writing
  that again.
- Take **Go** where API processes are the larger part of the bill, and somebody is there who writes the rest.
- A service in **FastAPI with SQLModel entities** costs several times as much for the same requests; it is what this
  one replaces, not what it competes with.
- Whatever you take, writes reach **PostgreSQL's** limit first: each takes a lock on the user's row, some indexes and a
  flush of the log, and these cost the same in any language.

[Decision 20](decisions/0020-goals-that-are-not-reached.md) says where a request's time goes, and what the goals that
are missed below would cost.
"""


def core_rows(figures: Figures) -> Iterable[Sequence[str]]:
    chosen = (operations.GET, operations.LIST_100, operations.CREATE, operations.MIXED)
    found = {entry.operation: entry.lines for entry in figures.operations}
    for operation in chosen:
        lines = found.get(operation.name, {})
        if lines:
            yield (
                operation.name,
                *(count(1e6 / lines[name].cpu) if name in lines else "not measured" for name in kept.TITLES),
            )


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
            CHOOSING,
            table(["", *kept.TITLES.values()], core_rows(figures)) + "\n",
            PRICE,
            "## Ratios of CPU time per request\n",
            table(["service relative to", *(kept.TITLES[name] for name in kept.YARDSTICKS)], ratio_rows(figures))
            + "\n",
            "## Figures\n\nDatabase: CPU time of PostgreSQL's processes per request.\n",
            table(["", "API µs", "database µs", "requests/s", "p50 ms", "p99 ms"], cost_rows(figures)) + "\n",
        ]
    if figures.comparisons:
        parts += [
            "## The service beside itself\n\nOne operation relative to another one, in turns on one server.\n",
            table(["", "API", "database", "p99"], comparison_rows(figures)) + "\n",
        ]
    if figures.startup or figures.memory or figures.tokens:
        parts += ["## Start-up, memory, token checks\n", table(["", "", "wanted"], odds_and_ends(figures)) + "\n"]
    if figures.crowds:
        rows = [
            (
                f"{crowd.operation}, {crowd.connections} connections: {kept.TITLES[crowd.candidate]}",
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
        yield f"ready after process start: {kept.TITLES[name]}", f"{seconds:.2f} s", wanted
    for name, memory in figures.memory.items():
        wanted = f"{verdict(memory.afterwards / 1e6, kept.MEMORY_AT_MOST_BYTES / 1e6)} MB" if name == "service" else ""
        label = f"resident memory of the worker after {count(memory.requests)} requests: {kept.TITLES[name]}"
        yield label, f"{memory.afterwards / 1e6:.0f} MB (at start {memory.at_start / 1e6:.0f})", wanted
    if figures.four_workers:
        wanted = f"{verdict(figures.four_workers / 1e6, kept.FOUR_WORKERS_AT_MOST_BYTES / 1e6)} MB"
        label = f"{kept.TITLES['service']} with four workers, what they share counted once"
        yield label, f"{figures.four_workers / 1e6:.0f} MB", wanted
    for algorithm, microseconds in figures.tokens.items():
        yield f"token check, {algorithm}", f"{microseconds:.1f} µs", ""


def write(figures: Figures) -> None:
    PAGE.parent.mkdir(exist_ok=True)
    PAGE.write_text(page(figures))
    if figures.operations:
        CHART.write_text(chart(figures))
