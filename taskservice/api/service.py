"""What the handlers work with. `app.state.service` holds it, `TaskRequest.service` gives it."""

from typing import Final

from taskservice.database.pool import Pool
from taskservice.settings import Settings
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.cursors import cursor_key
from taskservice.tasks.revisions import Counters
from taskservice.tasks.store import TaskStore


class TaskService:
    """The tasks of all users, and the policies under which they are served."""

    def __init__(self, settings: Settings, pool: Pool, tasks: TaskStore) -> None:
        self.settings: Final = settings
        self.pool: Final = pool
        self.tasks: Final = tasks
        self.counters: Final = Counters(pool)
        self.bodies: Final = Bodies(settings)
        self.cursor_key: Final = cursor_key(settings)
        self.hard_delete: Final = settings.delete == "hard"
