"""`python -m bench`: the full run, or with `--quick` the two-minute guard."""

import argparse
import datetime as dt
import sys
import tempfile
import time
from collections.abc import Callable, Collection, Iterator, Sequence
from contextlib import ExitStack, contextmanager
from pathlib import Path

import msgspec

from bench import (
    candidates,
    comparisons,
    crowds,
    document,
    figures,
    growth,
    machine,
    memory,
    operations,
    rounds,
    startup,
    token_checks,
)
from bench.candidates import Candidate
from bench.comparisons import Compared
from bench.figures import Figures, OperationFigures
from bench.fill import DATABASE, create_database
from bench.operations import World
from bench.postgres import Postgres, running_postgres
from bench.processes import Server

QUICK_ROUNDS = 3
QUICK_SECONDS = 1.0
TABLES = (1_000, 10_000, 100_000, 1_000_000, 5_000_000)
OWNERS = (10, 100, 1_000, 10_000, 100_000)
PAGES = (1, 10, 100, 500)


class Bench(msgspec.Struct, frozen=True):
    """A filled database and a directory for logs; servers are started when a section wants them."""

    postgres: Postgres
    world: World
    logs: Path
    rounds: int
    seconds: float
    candidates: Sequence[Candidate]

    @contextmanager
    def servers(self, *wanted: Candidate) -> Iterator[dict[Candidate, Server]]:
        with ExitStack() as stack:
            url = self.postgres.url(DATABASE)
            yield {
                candidate: stack.enter_context(candidates.running(candidate, url, self.logs)) for candidate in wanted
            }


def say(text: str) -> None:
    print(text, flush=True)


def describe(entry: OperationFigures) -> str:
    costs = ", ".join(f"{name} {line.cpu:.0f} µs" for name, line in entry.lines.items())
    ratios = ", ".join(
        f"{ratio.median:.2f} ± {ratio.median * ratio.spread:.2f} of the {to}" for to, ratio in entry.ratios.items()
    )
    return f"{entry.operation:25} {costs}; {ratios}"


def measure_operations(bench: Bench, names: set[str], *, turns: int, seconds: float) -> list[OperationFigures]:
    measured = []
    with bench.servers(*bench.candidates) as servers:
        chosen = [operation for operation in operations.ALL if operation.name in names]
        rounds.warm_up(bench.world, servers, bench.postgres, chosen)
        for operation in chosen:
            result = rounds.measure_operation(
                operation, bench.world, servers, bench.postgres, rounds=turns, seconds=seconds
            )
            measured.append(figures.operation_figures(result))
            say(describe(measured[-1]))
    return measured


def operations_section(bench: Bench, found: Figures) -> None:
    names = {operation.name for operation in operations.ALL}
    found.operations = measure_operations(bench, names, turns=bench.rounds, seconds=bench.seconds)


def compare(bench: Bench, titles: Collection[str], *, turns: int, seconds: float) -> list[Compared]:
    found = []
    with bench.servers(candidates.SERVICE) as servers:
        rounds.warm_up(bench.world, servers, bench.postgres, operations.QUICK)
        for comparison in comparisons.ALL:
            if comparison.title in titles:
                server = servers[candidates.SERVICE]
                found.append(
                    comparisons.compare(comparison, bench.world, server, bench.postgres, rounds=turns, seconds=seconds)
                )
                say(f"{comparison.title}: {found[-1].cpu:.3f} ± {found[-1].cpu * found[-1].spread:.3f}")
    return found


def comparisons_section(bench: Bench, found: Figures) -> None:
    titles = {comparison.title for comparison in comparisons.ALL}
    found.comparisons = compare(bench, titles, turns=bench.rounds, seconds=bench.seconds)


def startup_section(bench: Bench, found: Figures) -> None:
    found.startup = startup.seconds_to_ready(bench.candidates, bench.postgres.url(DATABASE), bench.logs, rounds=5)
    say(f"ready after {found.startup}")


def memory_section(bench: Bench, found: Figures) -> None:
    found.memory = {}
    for candidate in bench.candidates:
        with bench.servers(candidate) as servers:
            found.memory[candidate.name] = memory.resident(candidate, servers[candidate], bench.world)
        rounds.clean_up(bench.postgres)
        say(f"{candidate.name}: {found.memory[candidate.name]}")
    found.four_workers = memory.of_four_workers(bench.postgres.url(DATABASE), bench.world, bench.logs)
    rounds.clean_up(bench.postgres)
    say(f"four workers: {found.four_workers / 1e6:.0f} MB")


def tokens_section(_: Bench, found: Figures) -> None:
    found.tokens = token_checks.costs()
    say(f"token checks {found.tokens}")


def crowds_section(bench: Bench, found: Figures) -> None:
    found.crowds = []
    with bench.servers(*bench.candidates) as servers:
        for operation in (operations.GET, operations.LIST_100, operations.CREATE):
            seen = crowds.latencies(
                operation, bench.world, servers, bench.postgres, rounds=bench.rounds, seconds=bench.seconds
            )
            found.crowds += map(figures.crowd_figures, seen)
            for crowd in seen:
                who = f"{crowd.operation}, {crowd.connections} connections, {crowd.candidate}"
                say(f"{who}: p99 {crowd.p99 / 1000:.1f} ms")


def growth_section(bench: Bench, found: Figures) -> None:
    found.growth = []
    points = growth.grow(
        bench.postgres,
        bench.logs,
        tables=TABLES,
        owners=OWNERS,
        pages=PAGES,
        rounds=bench.rounds,
        seconds=bench.seconds,
    )
    for point in points:
        found.growth.append(point)
        say(f"{point.series} {point.size} {point.operation}: {point.cost:.0f} µs, p50 {point.p50:.0f} µs")


SECTIONS: dict[str, Callable[[Bench, Figures], None]] = {
    "operations": operations_section,
    "comparisons": comparisons_section,
    "startup": startup_section,
    "memory": memory_section,
    "tokens": tokens_section,
    "crowds": crowds_section,
    "growth": growth_section,
}


@contextmanager
def prepared(wanted: Sequence[Candidate], *, turns: int, seconds: float) -> Iterator[Bench]:
    with tempfile.TemporaryDirectory(prefix="bench-logs-") as logs, running_postgres() as postgres:
        create_database(postgres, DATABASE, operations.FILLINGS)
        world = operations.look_around(postgres, DATABASE)
        yield Bench(postgres, world, Path(logs), turns, seconds, candidates.runnable(wanted))


def quick() -> int:
    """Hold the ratios of a short run against the committed ones. A ratio that looks worse is measured once more.

    Beside the peers in Python only: what the service loses, it loses to all of them.
    """
    started = time.monotonic()
    old = figures.expected_on(machine.processor(), figures.committed())
    if not old.ratios:
        say("There are no committed figures to compare with: run `python -m bench` first.")
        return 2
    with prepared(candidates.IN_PYTHON, turns=QUICK_ROUNDS, seconds=QUICK_SECONDS) as bench:
        names = {operation.name for operation in operations.QUICK}
        new = measure_operations(bench, names, turns=bench.rounds, seconds=bench.seconds)
        titles = {comparison.title for comparison in comparisons.ALL}
        compared = compare(bench, titles, turns=bench.rounds, seconds=bench.seconds)
        worse = figures.regressions(new, old)
        worse_within = figures.worse_comparisons(compared, old)
        if worse or worse_within:
            say("Measured once more, longer, because of:\n  " + "\n  ".join(worse + worse_within))
        if worse:
            suspects = {entry.operation for entry in new if figures.regressions([entry], old)}
            new = measure_operations(bench, suspects, turns=5, seconds=2)
            worse = figures.regressions(new, old)
        if worse_within:
            titles = {entry.title for entry in compared if figures.worse_comparisons([entry], old)}
            compared = compare(bench, titles, turns=5, seconds=2)
            worse_within = figures.worse_comparisons(compared, old)
    say(f"{time.monotonic() - started:.0f} s")
    for line in worse + worse_within:
        say(line)
    return 1 if worse or worse_within else 0


def full(sections: list[str], *, turns: int, seconds: float) -> int:
    found = figures.committed()
    if not found.machine.get("processor", "").endswith(machine.processor()):
        found = Figures(expected=found.expected)  # a page tells of one machine
    with prepared(candidates.ALL, turns=turns, seconds=seconds) as bench:
        found.machine = machine.description()
        found.versions = machine.versions(bench.postgres.version)
        found.measured_on = dt.datetime.now(dt.UTC).date().isoformat()
        for name in sections:
            say(f"# {name}")
            SECTIONS[name](bench, found)
            figures.expect(found, machine.processor())
            # After each section, so that a run that is broken off has not been for nothing.
            figures.commit(found)
            document.write(figures.committed())
    return 0


def main() -> int:
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument("--quick", action="store_true", help="compare a short run with the committed figures")
    parser.add_argument("--sections", help=f"only these, by comma: {', '.join(SECTIONS)}")
    parser.add_argument("--rounds", type=int, default=5, help="of the full run; its median counts (default 5)")
    parser.add_argument("--seconds", type=float, default=4, help="of load in each turn of the full run (default 4)")
    parser.add_argument("--render", action="store_true", help="write docs/performance.md from the committed figures")
    options = parser.parse_args()
    if options.render:
        document.write(figures.committed())
        return 0
    if options.quick:
        return quick()
    sections = options.sections.split(",") if options.sections else list(SECTIONS)
    if unknown := set(sections) - SECTIONS.keys():
        parser.error(f"no such section: {', '.join(sorted(unknown))}")
    return full(sections, turns=options.rounds, seconds=options.seconds)


if __name__ == "__main__":
    sys.exit(main())
