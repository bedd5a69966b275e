"""One run: a crowd on a fleet, faults one after the other, then quiet, and what everything has come to."""

import asyncio
import contextlib
import itertools
import random
import time
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Final

from msgspec import Struct

from bench.reliability.database import KillablePostgres
from bench.reliability.history.abilities import Abilities, probe
from bench.reliability.history.caller import Caller, Ports
from bench.reliability.history.check import check
from bench.reliability.history.clients import Board, Client, Follower, Reader, Writer
from bench.reliability.history.faults import Faults
from bench.reliability.history.fleet import running_fleet
from bench.reliability.history.record import Recorder, kinds_of

USERS: Final = 3
WRITERS, READERS, WANDERERS = 4, 2, 1

LEDGER: Final = (1, 2)
"""Pages this small name the number of every change that they show."""


class Crowd:
    """The clients of a few users, without end, until they are told to stop."""

    def __init__(self, recorder: Recorder, ports: Ports, abilities: Abilities, seed: int) -> None:
        self.recorder = recorder
        self._ports = ports
        self._seed = seed
        self._ending = asyncio.Event()
        self._boards = {f"user-{number}": Board(abilities) for number in range(USERS)}
        self.ledgers = [Follower(self._caller(user, "ledger"), limits=LEDGER) for user in self._boards]
        self.clients: list[Client] = list(self.ledgers)
        for user, board in self._boards.items():
            self.clients += [Writer(self._caller(user, f"writer-{n}"), board) for n in range(WRITERS)]
            self.clients += [Reader(self._caller(user, f"reader-{n}"), board) for n in range(READERS)]
            self.clients += [
                Follower(self._caller(user, f"wanderer-{n}"), limits=(1, 60), wanders=0.1) for n in range(WANDERERS)
            ]

    def _caller(self, user: str, name: str) -> Caller:
        chance = random.Random(f"{self._seed} {user} {name}")
        return Caller(self.recorder, self._ports, user, f"{user}-{name}", chance)

    @property
    def calls(self) -> int:
        return len(self.recorder.history.calls)

    @contextlib.asynccontextmanager
    async def at_work(self) -> AsyncIterator[None]:
        async with asyncio.TaskGroup() as group:
            for client in self.clients:
                group.create_task(self._work(client))
            try:
                yield
            finally:
                self._ending.set()

    async def _work(self, client: Client) -> None:
        while not self._ending.is_set():
            await client.act()
            if client.caller.refused:  # else a crowd that is refused at once would ask all the more often
                await asyncio.sleep(0.05)

    async def settle(self) -> None:
        """When all is quiet: every follower to the end of its feed, then the lists."""
        for ledger in self.ledgers:
            caller = ledger.caller
            async with asyncio.timeout(120):
                while True:
                    page = await ledger.page()
                    if page.succeeded and not page.has_more:
                        break
                    if not page.succeeded:
                        await asyncio.sleep(0.1)
            for path, kind in (("", "list"), ("/trash", "trash")):
                await caller.call(kind, "GET", caller.base() + path)

    async def share_tags(self) -> None:
        """Let readers try the list tags of other users, which must fit nowhere."""
        tags: dict[str, str] = {}
        for ledger in self.ledgers:
            reply = await ledger.caller.call("list", "GET", "/api/tasks")
            if reply.tag is not None:
                tags[ledger.caller.user] = reply.tag
        for user, board in self._boards.items():
            board.others_tags = [tag for other, tag in tags.items() if other != user]


class Outcome(Struct, frozen=True):
    """A run in figures."""

    calls: int
    changes: int
    faults: dict[str, int]
    violations: list[str]
    unknown_writes: int
    settled_as_done: int
    blanks: int
    excused: int
    left_out: list[str]
    replica_reads: int
    seconds: float


@contextlib.asynccontextmanager
async def _kept(recorder: Recorder, path: Path | None) -> AsyncIterator[None]:
    """The record goes into a file, also that of a run that broke off."""
    try:
        yield
    finally:
        if path is not None:
            recorder.history.save(path)


async def run_history(
    postgres: KillablePostgres,
    *,
    faults: int,
    calls: int | None = None,
    seconds: float | None = None,
    seed: int | None = None,
    keep: Path | None = None,
) -> Outcome:
    """Until so many calls were made, or for so long, with the faults spread over it. `keep`: where the record goes."""
    seed = time.time_ns() if seed is None else seed
    recorder = Recorder()
    async with _kept(recorder, keep), running_fleet(postgres) as fleet:
        abilities = await probe(fleet.ports)
        crowd = Crowd(recorder, fleet.ports, abilities, seed)
        breaking = Faults(fleet, recorder, crowd.clients, random.Random(seed))
        began = time.monotonic()

        def progress() -> float:
            if calls is not None:
                return crowd.calls / calls
            assert seconds is not None
            return (time.monotonic() - began) / seconds

        async with crowd.at_work():
            for turn, kind in enumerate(itertools.islice(itertools.cycle(breaking.all), faults), start=1):
                while progress() < turn / (faults + 1):
                    await asyncio.sleep(0.05)
                if turn == 1 and abilities.epochs:
                    await crowd.share_tags()
                await breaking.strike(kind)
            while progress() < 1:
                await asyncio.sleep(0.05)
        took = time.monotonic() - began
        await crowd.settle()
        replica_reads = await fleet.replica_reads()
    history = recorder.history
    report = await asyncio.to_thread(check, history)
    return Outcome(
        calls=len(history.calls),
        changes=report.changes,
        faults=kinds_of(history.faults),
        violations=[str(violation) for violation in report.violations],
        unknown_writes=report.unknown_writes,
        settled_as_done=report.settled_as_done,
        blanks=report.blanks,
        excused=report.excused,
        left_out=abilities.missing,
        replica_reads=replica_reads,
        seconds=took,
    )
