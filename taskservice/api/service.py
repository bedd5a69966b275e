"""What the handlers work with. `app.state.service` holds it, `TaskRequest.service` gives it."""

from typing import Final

from taskservice.api.import_slots import ImportSlots
from taskservice.database.pool import Pool
from taskservice.database.replicas import Replicas
from taskservice.settings import Settings
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.cursors import cursor_key
from taskservice.tasks.list_tags import ListTags
from taskservice.tasks.replicated_reads import ReplicatedReads
from taskservice.tasks.store import Reads, TaskStore


class TaskService:
    """The tasks of all users, and the policies under which they are served."""

    def __init__(self, settings: Settings, pool: Pool, tasks: TaskStore, replicas: Replicas | None) -> None:
        self.settings: Final = settings
        self.pool: Final = pool
        self.tasks: Final = tasks
        self.list_tags: Final = ListTags(pool, shared=not settings.database_sharded)
        self.replicated: Final = ReplicatedReads(tasks, self.list_tags, replicas) if replicas else None
        self.reads: Final[Reads] = self.replicated or tasks
        """For reads that decide no write."""
        self.bodies: Final = Bodies(settings)
        self.cursor_key: Final = cursor_key(settings)
        self.imports: Final = ImportSlots()
        self.hard_delete: Final = settings.delete == "hard"
