"""`python -m bench.reliability [NAME…]`: measure the promises in full, and write them down.

Without names everything is measured, which takes about half an hour; figures that are not measured stay as they are.
"""

import asyncio
import os
import sys
import time
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Any, Final, NamedTuple

import msgspec

from bench.failover import table as failovers
from bench.reliability import attacks, fuzzing, mutations, scenarios
from bench.reliability.database import KillablePostgres, running_postgres
from bench.reliability.history.run import run_history

HERE: Final = Path(__file__).parent
FIGURES: Final = HERE / "figures.json"
DOCUMENT: Final = HERE.parents[1] / "docs" / "reliability.md"
MEBIBYTE: Final = 1 << 20

Row = tuple[str, str]


class Measurement(NamedTuple):
    title: str
    measure: Callable[[KillablePostgres], Awaitable[msgspec.Struct]]
    rows: Callable[[dict[str, Any]], list[Row]]
    explanation: str = ""


def _killed(what: str) -> Callable[[dict[str, Any]], list[Row]]:
    return lambda found: [
        (f"Writes acknowledged while {what} {found['kills']} times", f"{found['acknowledged']:,}"),
        ("Acknowledged writes lost", str(found["lost"])),
        ("Requests that hung", str(found["hung"])),
        ("Longest answer", _seconds(found["longest_answer"])),
        ("Longest time from there again to the next acknowledged write", _seconds(found["longest_to_heal"])),
    ]


def _outage(found: dict[str, Any]) -> list[Row]:
    answers = ", ".join(f"{count} of {status}" for status, count in found["answers"].items()) or "none"
    return [
        ("Answers other than 201", f"{answers}, {found['without_retry_after']} without `Retry-After`"),
        ("Requests that hung", str(found["hung"])),
        ("Longest answer (the deadline is 5 s)", _seconds(found["longest_answer"])),
        ("From mended to the next acknowledged write", _seconds(found["seconds_to_heal"])),
    ]


def _stopped(found: dict[str, Any]) -> list[Row]:
    return [
        ("Writes answered by 64 clients until the end", f"{found['answered']:,}"),
        ("Requests lost", str(found["lost"])),
        ("From SIGTERM to the end, exit code", f"{_seconds(found['seconds'])}, {found['exit_code']}"),
    ]


def _crowd(found: dict[str, Any]) -> list[Row]:
    return [
        (f"Requests of {found['clients']:,} clients that stay connected", f"{found['requests']:,}"),
        ("Errors", str(found["errors"])),
        ("Latency with all of them asking at once, p50 and p99", f"{_seconds(found['p50'])}, {_seconds(found['p99'])}"),
    ]


def _grown(what: str) -> Callable[[dict[str, Any]], list[Row]]:
    return lambda found: [(what, f"{(found['after'] - found['before']) / MEBIBYTE:.1f} MiB")]


def _pooled(found: dict[str, Any]) -> list[Row]:
    return [
        ("Requests of 40 clients over 5 server connections, every row checked", f"{found['requests']:,}"),
        ("Wrong rows", str(found["wrong"])),
        ("Errors", str(found["errors"])),
    ]


def _history(found: dict[str, Any]) -> list[Row]:
    faults = ", ".join(f"{kind} ({count})" for kind, count in found["faults"].items())
    unknown = f"{found['unknown_writes']:,}, of which {found['settled_as_done']:,} had happened"
    rows = [
        ("Calls of 24 clients of 3 users, changes of their lists", f"{found['calls']:,}, {found['changes']:,}"),
        (f"Faults: {sum(found['faults'].values())}", faults),
        ("Answers that no order of the writes explains", str(len(found["violations"]))),
        ("Writes whose answer was lost or a 503, settled by the feed", unknown),
        (
            "Changes that were superseded before any answer named them, answers that only these explain",
            f"{found['blanks']:,}, {found['excused']:,}",
        ),
        ("Duration", f"{found['seconds'] / 60:.0f} min"),
    ]
    if found.get("replica_reads"):
        rows.append(("Answers that a standby gave, at least", f"{found['replica_reads']:,}"))
    if found["left_out"]:
        rows.append(("Left out, because the service does not have it", ", ".join(found["left_out"])))
    return rows


def _seconds(value: float) -> str:
    return f"{value * 1000:.0f} ms" if value < 1 else f"{value:.1f} s"


HISTORY: Final = """
Writers of the same lists get in each other's way in every manner there is: create, `PUT` under their own id, update,
toggle, set, batch, delete, restore, erase, clear, import, with `If-Match` and without, retried and doubled under an
`Idempotency-Key`. Readers poll lists, pages, tasks and the trash with `If-None-Match`; followers resume the change feed
from any token that they ever saw. They ask three processes, one with two workers and one behind PgBouncer, each of them
itself or any of them through HAProxy. Two of them read from a standby.

Every acknowledged write names its number, so the order of all writes is known and each answer is checked against it:
time is kept, every page, task and 304 is a state that there was, no older than what anybody had seen before, no update
is lost, every key took effect once, every change and deletion is told to every token or it is 410, transactions are
seen whole, and a copy kept by the feed is the list. `tests/bench/history/` plants faults in recorded histories
and shows that each is found; `tests/faults/test_history.py` runs it for a minute and a half.
"""

MEASUREMENTS: Final = {
    "history": Measurement(
        "Every answer to a crowd, checked, while everything breaks",
        lambda postgres: run_history(postgres, calls=200_000, faults=24),
        _history,
        HISTORY,
    ),
    "kill-database": Measurement(
        "PostgreSQL is killed (`kill -9` of all its processes) while 16 clients write",
        lambda postgres: scenarios.database_killed(postgres, writes=100_000, kills=5),
        _killed("it was killed"),
    ),
    "kill-workers": Measurement(
        "One of two workers is killed (`kill -9`) while 16 clients write",
        lambda postgres: scenarios.workers_killed(postgres, writes=20_000, kills=10),
        _killed("workers were killed"),
    ),
    "pgbouncer": Measurement(
        "PgBouncer in transaction mode is in between",
        lambda postgres: scenarios.behind_pgbouncer(postgres, requests=100_000),
        _pooled,
    ),
    "refused": Measurement(
        "The database refuses connections for 20 seconds",
        lambda postgres: scenarios.outage(postgres, "refused", seconds=20),
        _outage,
    ),
    "reset": Measurement(
        "Every connection is reset, a hundred times a second, for 20 seconds",
        lambda postgres: scenarios.outage(postgres, "reset", seconds=20),
        _outage,
    ),
    "silent": Measurement(
        "Nothing gets through to the database for 20 seconds, and nobody says so",
        lambda postgres: scenarios.outage(postgres, "silent", seconds=20),
        _outage,
    ),
    "crowd": Measurement(
        "Many clients, default configuration",
        lambda postgres: scenarios.crowd(postgres, clients=1500, rounds=20),
        _crowd,
    ),
    "stop": Measurement("SIGTERM under load, one worker", scenarios.stopped_under_load, _stopped),
    "stop-workers": Measurement(
        "SIGTERM under load, two workers",
        lambda postgres: scenarios.stopped_under_load(postgres, workers=2),
        _stopped,
    ),
    "memory": Measurement(
        "Memory after many requests",
        lambda postgres: scenarios.memory_of_requests(postgres, requests=200_000),
        _grown("Growth over 200,000 requests, after 20,000 to warm up"),
    ),
    "large-body": Measurement(
        "A body of 50 MB is sent at it, with its length and without",
        scenarios.memory_of_a_large_body,
        _grown("Growth at most, while it is sent"),
    ),
}


async def measure(names: list[str]) -> None:
    figures: dict[str, Any] = msgspec.json.decode(FIGURES.read_bytes()) if FIGURES.exists() else {}
    for name in names:
        # A server for each: what one leaves behind must not slow the next one down.
        async with running_postgres() as postgres:
            began = time.monotonic()
            found = await MEASUREMENTS[name].measure(postgres)
            figures[name] = msgspec.to_builtins(found)
            print(f"{name}: {found} in {time.monotonic() - began:.0f} s", flush=True)
        FIGURES.write_bytes(msgspec.json.format(msgspec.json.encode(figures), indent=1) + b"\n")
        write_document()


def write_document() -> None:
    DOCUMENT.write_text(document(msgspec.json.decode(FIGURES.read_bytes())), "utf-8")


INTRODUCTION: Final = """\
# Reliability

What happens when things break, measured. Nothing here is imitated: a real PostgreSQL is killed, real connections are
cut, and `litestar run` serves as an operator starts it. Each figure was taken on a machine with {cores} cores that
ran the clients and the database as well, so times are upper bounds; counts of lost, wrong and hung must be 0 anywhere.

`tests/faults/` proves the same promises with small numbers on every run of the tests, and every single error of
PostgreSQL on top. What the service does about each is said in [the decision on the pool](decisions/{pool}).

Everything below is written by `python -m bench.reliability` and `python -m bench.failover`; the command under each
heading measures one table anew.
"""


def document(figures: dict[str, Any]) -> str:
    pool = next((HERE.parents[1] / "docs" / "decisions").glob("*-own-pool.md")).name
    parts = [INTRODUCTION.format(cores=os.cpu_count(), pool=pool)]
    for name, measurement in MEASUREMENTS.items():
        if name in figures:
            parts.append(f"## {measurement.title}\n\n`python -m bench.reliability {name}`\n{measurement.explanation}")
            rows = measurement.rows(figures[name])
            parts.append("| | |\n|---|---|\n" + "\n".join(f"| {what} | {value} |" for what, value in rows) + "\n")
    parts += [failovers.section(), attacks.SECTION, fuzzing.SECTION, mutations.SECTION]
    return "\n".join(parts)


if __name__ == "__main__":
    unknown = set(sys.argv[1:]) - set(MEASUREMENTS)
    if unknown:
        sys.exit(f"unknown: {', '.join(sorted(unknown))}; known: {', '.join(MEASUREMENTS)}")
    asyncio.run(measure(sys.argv[1:] or list(MEASUREMENTS)))
