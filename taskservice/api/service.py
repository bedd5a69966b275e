"""What the handlers work with. `app.state.service` holds it, `TaskRequest.service` gives it."""

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from taskservice.database.pool import Pool
from taskservice.database.replicas import Replicas
from taskservice.problems import Overloaded
from taskservice.settings import Settings
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.cursors import cursor_key
from taskservice.tasks.list_tags import ListTags
from taskservice.tasks.replicated_reads import ReplicatedReads
from taskservice.tasks.store import Reads, TaskStore

IMPORTS_AT_ONCE: Final = 2
"""How many imports one worker reads and writes at a time."""
IMPORT_WAIT_SECONDS: Final = 5
"""How long a further import waits before it is answered 503."""


class ImportSlots:
    """Bounds the imports in progress, because each may hold the largest body there is."""

    def __init__(self) -> None:
        self._free = asyncio.Semaphore(IMPORTS_AT_ONCE)

    @asynccontextmanager
    async def take(self) -> AsyncIterator[None]:
        """Waits for a slot, without a byte of the body in memory."""
        try:
            await asyncio.wait_for(self._free.acquire(), IMPORT_WAIT_SECONDS)
        except TimeoutError:
            raise Overloaded("Other imports are in progress") from None
        try:
            yield
        finally:
            self._free.release()


class TaskService:
    """The tasks of all users, and the policies under which they are served."""

    def __init__(self, settings: Settings, pool: Pool, tasks: TaskStore, replicas: Replicas | None = None) -> None:
        self.settings: Final = settings
        self.pool: Final = pool
        self.tasks: Final = tasks
        self.list_tags: Final = ListTags(pool)
        self.replicated: Final = ReplicatedReads(tasks, self.list_tags, replicas) if replicas else None
        self.reads: Final[Reads] = self.replicated or tasks
        """For reads that decide no write."""
        self.bodies: Final = Bodies(settings)
        self.cursor_key: Final = cursor_key(settings)
        self.imports: Final = ImportSlots()
        self.hard_delete: Final = settings.delete == "hard"
