"""How long each operation takes, as a client sees it, and how long the service's event loop is held up by it."""

import asyncio
import gc
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from tests.support.services import Caller, Service

HELD_MAX = 0.05
"""Seconds that the event loop may compute between two of its turns."""


@asynccontextmanager
async def held(service: Service) -> AsyncIterator[list[float]]:
    """How long the service's event loop computes between two of its turns. The processor's time, not the clock's.

    What the test process holds besides the service is left out of garbage collections, as `litestar run` leaves out
    what it has loaded.
    """
    gc.collect()
    gc.freeze()
    found = [0.0]

    async def beat() -> None:
        last = time.thread_time()
        while True:
            await asyncio.sleep(0.001)
            now = time.thread_time()
            found[0] = max(found[0], now - last)
            last = now

    beating = asyncio.run_coroutine_threadsafe(beat(), service.stage.loop)
    try:
        yield found
    finally:
        beating.cancel()
        gc.unfreeze()


async def timed(caller: Caller, method: str, path: str, body: Any = None) -> float:
    """The seconds of one request that succeeds."""
    started = time.perf_counter()
    response = await caller.request(method, path, json=body)
    taken = time.perf_counter() - started
    assert response.is_success, response.text
    return taken


async def timed_operations(caller: Caller, rounds: int) -> dict[str, list[float]]:
    """The seconds of every operation on tasks, as often as there are rounds."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        task = await caller.create()
        for name, method, path, body in (
            ("list", "GET", "", None),
            ("create", "POST", "", {"title": "t"}),
            ("read", "GET", f"/{task['id']}", None),
            ("update", "PUT", f"/{task['id']}", {"title": "t2"}),
            ("change", "PATCH", f"/{task['id']}", {"title": "t3"}),
            ("complete", "PATCH", f"/{task['id']}/complete", None),
            ("delete", "DELETE", f"/{task['id']}", None),
        ):
            times.setdefault(name, []).append(await timed(caller, method, path, body))
    return times
