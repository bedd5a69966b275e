"""One event loop in a thread of its own, on which the servers of a test session run.

Tests and servers do not share a loop: a test may block, and a server that blocks shows as a slow answer.
"""

import asyncio
import threading
from collections.abc import Callable, Coroutine
from typing import Any, TypeVar

import uvloop

Answer = TypeVar("Answer")


class Stage:
    """Runs coroutines for synchronous and asynchronous tests alike."""

    def __init__(self) -> None:
        self.loop = uvloop.new_event_loop()
        self._at_close: list[Callable[[], None]] = []
        self._thread = threading.Thread(target=self._run_loop, name="stage", daemon=True)
        self._thread.start()

    def run(self, work: Coroutine[Any, Any, Answer], seconds: float = 60) -> Answer:
        """Run `work` on the stage's loop and wait for its result, for `seconds` at most."""
        future = asyncio.run_coroutine_threadsafe(work, self.loop)
        try:
            return future.result(seconds)
        except TimeoutError:
            future.cancel()
            raise

    def at_close(self, end: Callable[[], None]) -> None:
        """Call `end` before the loop stops: what runs on the stage ends even if a test has forgotten it."""
        self._at_close.append(end)

    def close(self, seconds: float = 60) -> None:
        """End what still runs, then the loop. Fails where something does not end in time, and never waits for ever."""
        failures: list[BaseException] = []
        for end in reversed(self._at_close):
            try:
                end()
            except Exception as error:  # noqa: BLE001 (the others must end too)
                failures.append(error)
        try:
            self.run(self._cancel_tasks(), seconds)
        except TimeoutError:
            failures.append(TimeoutError(f"tasks ignore their cancellation: {asyncio.all_tasks(self.loop)}"))
        self.loop.call_soon_threadsafe(self.loop.stop)
        self._thread.join(seconds)
        if self._thread.is_alive():
            failures.append(TimeoutError("the stage's event loop does not close: a server on it is still open"))
        if failures:
            raise BaseExceptionGroup("not everything on the stage ended", failures)

    def _run_loop(self) -> None:
        # Closed in its own thread, too: uvloop waits there for every handle, and a test session must not wait with it.
        self.loop.run_forever()
        self.loop.close()

    async def _cancel_tasks(self) -> None:
        running = asyncio.all_tasks() - {asyncio.current_task()}
        for task in running:
            task.cancel()
        await asyncio.gather(*running, return_exceptions=True)
