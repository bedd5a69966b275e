"""Erasing everything of a user: in steps, so that it succeeds however much there is."""

from time import perf_counter
from typing import Final

from taskservice.auth.tokens import Principal
from taskservice.database.pool import Pool
from taskservice.tasks.schemas import Cleared
from taskservice.tasks.store import TaskStore

STEP: Final = 10_000
"""Tasks a transaction, so that nobody waits long for the user's row."""


async def erase_all(pool: Pool, tasks: TaskStore, author: Principal) -> Cleared:
    """Erase as much as fits into half of the deadline and say how much is left. Repeating it goes on from there."""
    until = perf_counter() + pool.deadline / 2
    deleted = deleted_from_trash = 0
    while True:
        async with pool.transaction(writer=author.user_id) as transaction:
            step = await tasks.within(transaction).erase_some(author, STEP)
        deleted += step.deleted
        deleted_from_trash += step.deleted_from_trash
        if not step.remaining or perf_counter() >= until:
            return Cleared(deleted, deleted_from_trash, step.remaining)
