"""What happens to the leader, one function each, while clients write through the service."""

import asyncio
import signal
from collections.abc import Awaitable, Callable
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench.failover.cluster import Cluster, Node, running_cluster, send
from bench.reliability.program import running_program
from bench.reliability.writers import Writers, lost

WRITERS: Final = 8
UNSENT_SECONDS: Final = 0.7


async def kill_postgres(cluster: Cluster, leader: Node) -> None:
    send(signal.SIGKILL, leader.postgres())


async def kill_both(cluster: Cluster, leader: Node) -> None:
    send(signal.SIGKILL, leader.everything())


async def switch_over(cluster: Cluster, leader: Node) -> None:
    await cluster.switch_over()


async def freeze(cluster: Cluster, leader: Node) -> None:
    send(signal.SIGSTOP, leader.everything())


async def kill_with_unsent_log(cluster: Cluster, leader: Node) -> None:
    """The senders of the log stand still for a moment, as when the network to the standby is slow."""
    senders = [process for process in leader.postgres() if "walsender" in " ".join(process.cmdline())]
    assert senders, [process.cmdline() for process in leader.postgres()]
    send(signal.SIGSTOP, senders)
    await asyncio.sleep(UNSENT_SECONDS)
    await kill_both(cluster, leader)


class Scenario(Struct, frozen=True):
    title: str
    strike: Callable[[Cluster, Node], Awaitable[None]]
    synchronous: bool = True
    thaws: bool = False


SCENARIOS: Final = {
    "kill-postgres": Scenario("`kill -9` of PostgreSQL", kill_postgres),
    "kill-both": Scenario("`kill -9` of PostgreSQL and Patroni", kill_both),
    "switchover": Scenario("planned switchover", switch_over),
    "freeze": Scenario("the leader freezes (SIGSTOP), and thaws when another one leads", freeze, thaws=True),
    "unsent": Scenario(f"log unsent for {UNSENT_SECONDS} s, then `kill -9` of both", kill_with_unsent_log),
    "unsent-asynchronous": Scenario("the same, replicated asynchronously", kill_with_unsent_log, synchronous=False),
}


class Found(Struct, frozen=True):
    """What one way in saw of one scenario."""

    gap: float
    """Seconds without an acknowledged write."""
    acknowledged: int
    lost: int
    hung: int


async def run(scenario: Scenario, patroni: Path) -> dict[str, Found]:
    """By the way in; both ways meet the same fault at the same time."""
    async with running_cluster(patroni, synchronous=scenario.synchronous) as cluster:
        async with (
            running_program(database_url=cluster.through_haproxy) as behind_haproxy,
            running_program(database_url=cluster.several_hosts) as with_hosts,
        ):
            ways = {"HAProxy": Writers(behind_haproxy, WRITERS), "several hosts": Writers(with_hosts, WRITERS)}
            async with ways["HAProxy"], ways["several hosts"]:
                await asyncio.sleep(3)
                leader, _other = await cluster.leader()
                for writers in ways.values():
                    writers.longest_gap = 0.0
                await scenario.strike(cluster, leader)
                await asyncio.gather(*(_healed(writers) for writers in ways.values()))
                if scenario.thaws:
                    send(signal.SIGCONT, leader.everything())
                    await asyncio.sleep(10)
                await asyncio.sleep(2)
        leader, _ = await cluster.leader()
        rows = await leader.rows("SELECT id, title FROM tasks")
    return {
        way: Found(writers.longest_gap, len(writers.acknowledged), lost(writers, rows), writers.hung)
        for way, writers in ways.items()
    }


async def _healed(writers: Writers, seconds: float = 90) -> None:
    """Until writes are acknowledged again. What was under way at the fault may be acknowledged a moment later."""
    await asyncio.sleep(1)
    await writers.heal(seconds)
