"""The failovers as a section of `docs/reliability.md`."""

from pathlib import Path
from typing import Any, Final

import msgspec

from bench.failover.cluster import LOOP_WAIT, PATRONI, TTL
from bench.failover.scenarios import SCENARIOS, WRITERS

FIGURES: Final = Path(__file__).with_name("figures.json")

INTRODUCTION: Final = f"""\
## The primary fails, and Patroni makes another one

`python -m bench.failover`

Two PostgreSQL servers under {PATRONI[0].replace("[etcd3]==", " ")} with Debian's etcd and HAProxy, ttl {TTL} s,
loop_wait {LOOP_WAIT} s, synchronous replication unless it says otherwise. {WRITERS} clients write through a service
whose `DATABASE_URL` leads through HAProxy, and {WRITERS} more through one whose `DATABASE_URL` names both hosts.
Neither is started again. How long nobody leads is Patroni's doing: a leader that is silent is believed in for ttl
seconds. `lost` are acknowledged writes that the new primary does not have; only asynchronous replication may lose any.

| what happened | way in | no write for | acknowledged | lost | hung |
|---|---|---:|---:|---:|---:|
"""


def read() -> dict[str, Any]:
    found: dict[str, Any] = msgspec.json.decode(FIGURES.read_bytes()) if FIGURES.exists() else {}
    return found


def section() -> str:
    """Nothing where nothing was measured."""
    figures = read()
    rows = [
        f"| {scenario.title} | {way} | {found['gap']:.1f} s | {found['acknowledged']:,} | {found['lost']:,} |"
        f" {found['hung']} |"
        for name, scenario in SCENARIOS.items()
        for way, found in figures.get(name, {}).items()
    ]
    return INTRODUCTION + "\n".join(rows) + "\n" if rows else ""
