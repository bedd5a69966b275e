"""One event loop in a thread of its own, on which the servers of a test session run.

Tests and servers do not share a loop: a test may block, and a server that blocks shows as a slow answer.
"""

import asyncio
import threading
from collections.abc import Coroutine
from typing import Any, TypeVar

import uvloop

Answer = TypeVar("Answer")


class Stage:
    """Runs coroutines for synchronous and asynchronous tests alike."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._thread = threading.Thread(target=self.loop.run_forever, name="stage", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Answer], seconds: float = 60) -> Answer:
        """Carry it out there and wait for what it gives."""
        return asyncio.run_coroutine_threadsafe(work, self.loop).result(seconds)

    def close(self) -> None:
        self.run(self._end_what_still_runs())
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join()
        self.loop.close()

    async def _end_what_still_runs(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
