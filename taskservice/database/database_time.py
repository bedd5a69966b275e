"""How long the current request has waited for the database.

The pool and `tasks.list_tags` add to it, the access log reads it; neither knows the other. Around whatever waits:

    spent = spent_on_database.get()
    if spent is not None:
        spent.database_seconds += elapsed
"""

from contextvars import ContextVar
from typing import Final


class Spent:
    """Seconds that one request spent waiting for a connection and for answers."""

    __slots__ = ("database_seconds",)

    def __init__(self) -> None:
        self.database_seconds = 0.0


spent_on_database: Final[ContextVar[Spent | None]] = ContextVar("spent_on_database", default=None)
