"""Clients that write without end and remember what was acknowledged."""

import asyncio
import contextlib
import itertools
import time
from collections import Counter
from typing import Any, Self

from bench.http import Connection, request
from bench.reliability.program import Program


class Writers:
    """Each is a user of its own on a connection of its own. Afterwards every acknowledged task must be there."""

    def __init__(self, program: Program, count: int, *, patience: float = 10) -> None:
        self._program = program
        self._count = count
        self._patience = patience
        self._numbers = itertools.count()
        self._tasks: list[asyncio.Task[None]] = []
        self._stopping = False
        self.acknowledged: dict[str, str] = {}
        """Titles by id."""
        self.answers: Counter[int] = Counter()
        self.broken = 0
        """Connections that ended without an answer."""
        self.hung = 0
        self.refused: list[float] = []
        self.longest = 0.0
        self.last_success = 0.0
        self.longest_gap = 0.0
        """Seconds between two acknowledged writes."""
        self.without_retry_after = 0

    async def __aenter__(self) -> Self:
        self._tasks = [asyncio.create_task(self._write(f"writer-{number}")) for number in range(self._count)]
        return self

    async def __aexit__(self, *_: object) -> None:
        self._stopping = True
        await asyncio.gather(*self._tasks)

    async def until(self, acknowledged: int, seconds: float = 3600) -> None:
        async with asyncio.timeout(seconds):
            while len(self.acknowledged) < acknowledged:
                await asyncio.sleep(0.005)

    async def heal(self, seconds: float = 30) -> float:
        """Seconds from now to the next acknowledged write that began from now on."""
        began = time.monotonic()
        async with asyncio.timeout(seconds):
            while self.last_success < began:
                await asyncio.sleep(0.005)
        return time.monotonic() - began

    async def _write(self, user: str) -> None:
        connection: Connection | None = None
        while not self._stopping:
            title = f"{user} {next(self._numbers)}"
            began = time.monotonic()
            try:
                connection = connection or await self._program.connect()
                async with asyncio.timeout(self._patience):
                    answer = await connection.send(request("POST", "/api/tasks", user, {"title": title}))
            except TimeoutError:
                self.hung += 1
                connection = None
            except OSError:
                self.broken += 1
                connection = None
                await asyncio.sleep(0.02)
            else:
                self.longest = max(self.longest, time.monotonic() - began)
                self.answers[answer.status] += 1
                if answer.status == 201:
                    task: Any = answer.json()
                    self.acknowledged[task["id"]] = title
                    now = time.monotonic()
                    self.longest_gap = max(self.longest_gap, now - (self.last_success or now))
                    self.last_success = now
                elif "retry-after" not in answer.headers:
                    self.without_retry_after += 1
                if answer.status == 503:
                    await asyncio.sleep(0.02)
                if answer.headers.get("connection") == "close":
                    connection.close()
                    connection = None
        if connection is not None:
            with contextlib.suppress(OSError):
                connection.close()


def lost(writers: Writers, rows: list[Any]) -> int:
    """How many acknowledged tasks are not in the table, or not as they were acknowledged."""
    stored = {str(row["id"]): row["title"] for row in rows}
    return sum(stored.get(task_id) != title for task_id, title in writers.acknowledged.items())
