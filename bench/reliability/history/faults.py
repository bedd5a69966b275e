"""What is broken while clients read and write, one method each."""

import asyncio
import random
import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Final

from bench.reliability.history.clients import Client
from bench.reliability.history.fleet import ALONE, POOLED, Fleet
from bench.reliability.history.record import Recorder

HOURS: Final = (3, -2, 1, -3, 0)

_OLDER: Final = (
    "SELECT id FROM users FOR UPDATE",  # in its turn, as every writer
    # What is in the trash has been there for 40 days, or for 100; so have tombstones.
    "UPDATE tasks SET deleted_at = deleted_at - CASE WHEN random() < 0.5 THEN interval '40 days' "
    "ELSE interval '100 days' END WHERE deleted_at IS NOT NULL AND random() < 0.6",
    "UPDATE tombstones SET deleted_at = deleted_at - interval '100 days' WHERE random() < 0.3",
)


class Faults:
    def __init__(self, fleet: Fleet, recorder: Recorder, clients: Sequence[Client], chance: random.Random) -> None:
        self._fleet = fleet
        self._recorder = recorder
        self._clients = clients
        self._chance = chance
        self._hours = 0

    @property
    def all(self) -> dict[str, Callable[[], Awaitable[None]]]:
        """In an order in which each kind of thing breaks early."""
        return {
            "PostgreSQL killed": self._kill_postgres,
            "worker killed": self._kill_worker,
            "replay paused": self._pause_replay,
            "old deletions purged": self._purge,
            "wire reset": self._reset_wire,
            "clock stepped": self._step_clock,
            "process killed": self._kill_process,
            "answer lost": self._lose_answer,
            "wire cut": self._cut_wire,
            "clients cut off": self._hang_up,
            "PgBouncer restarted": self._restart_pooler,
            "wire silent": self._silence_wire,
            "standby killed": self._kill_standby,
        }

    async def strike(self, kind: str) -> None:
        began = time.monotonic()
        await self.all[kind]()
        self._recorder.fault(kind, began)

    async def _kill_postgres(self) -> None:
        await self._fleet.postgres.kill()
        await asyncio.sleep(0.3)
        await self._fleet.postgres.start()

    async def _pause_replay(self) -> None:
        standby = self._fleet.standby
        assert standby is not None
        await standby.execute("SELECT pg_wal_replay_pause()")
        await asyncio.sleep(2)
        await standby.execute("SELECT pg_wal_replay_resume()")

    async def _kill_standby(self) -> None:
        standby = self._fleet.standby
        assert standby is not None
        standby.kill()
        await asyncio.sleep(1)
        await standby.start()

    async def _kill_worker(self) -> None:
        self._fleet.kill_worker(self._chance)

    async def _kill_process(self) -> None:
        await self._fleet.kill_server(self._chance.choice((ALONE, POOLED)))

    async def _reset_wire(self) -> None:
        for _ in range(20):
            self._fleet.wire.reset()
            await asyncio.sleep(0.05)

    async def _cut_wire(self) -> None:
        self._fleet.wire.cut()
        await asyncio.sleep(1)
        await self._fleet.wire.mend()

    async def _silence_wire(self) -> None:
        self._fleet.wire.silence()
        await asyncio.sleep(2)
        await self._fleet.wire.mend()

    async def _lose_answer(self) -> None:
        """Of a write in a transaction, or of one that is a single statement: the database did it, and nobody hears."""
        self._fleet.wire.lose_answer_after(self._chance.choice((b"COMMIT", b'"title"')))
        async with asyncio.timeout(60):
            await self._fleet.wire.lost.wait()

    async def _hang_up(self) -> None:
        for client in self._clients:
            client.caller.hang_up()

    async def _restart_pooler(self) -> None:
        await self._fleet.restart_pooler()

    async def _step_clock(self) -> None:
        self._fleet.clock.step(HOURS[self._hours % len(HOURS)] * 3600)
        self._hours += 1

    async def _purge(self) -> None:
        """Time passes for deletions, then `litestar purge` takes the oldest: the feed has to say what is missing."""
        async with self._fleet.postgres.postgres.connection() as connection, connection.transaction():
            for statement in _OLDER:
                await connection.execute(statement)
        await self._fleet.purge()
