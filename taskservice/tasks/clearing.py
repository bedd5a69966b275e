"""Clears many tasks of a user in steps, so that it succeeds with any number of tasks."""

from collections.abc import Awaitable, Callable
from time import perf_counter
from typing import Final

from taskservice.database.pool import Pool
from taskservice.principal import Principal
from taskservice.tasks.clear_statements import Clearing
from taskservice.tasks.store import ClearedSome, TaskStore

STEP: Final = 10_000
"""Tasks per transaction, so that other requests do not wait long for the user's row."""


async def clear(pool: Pool, tasks: TaskStore, author: Principal, what: Clearing) -> ClearedSome:
    """Clear as much as fits into half of the deadline. Repeating the request continues."""

    async def step() -> ClearedSome:
        async with pool.transaction(writer=author.user_id) as transaction:
            return await tasks.within(transaction).clear_some(author, what, STEP)

    return await _repeat(step, pool.deadline / 2)


async def clear_in_transaction(tasks: TaskStore, author: Principal, what: Clearing, seconds: float) -> ClearedSome:
    """The same within one transaction, so that the kept answer commits together with the deletions."""
    return await _repeat(lambda: tasks.clear_some(author, what, STEP), seconds)


async def _repeat(step: Callable[[], Awaitable[ClearedSome]], seconds: float) -> ClearedSome:
    until = perf_counter() + seconds
    deleted = deleted_from_trash = 0
    while True:
        done = await step()
        deleted += done.deleted
        deleted_from_trash += done.deleted_from_trash
        if not done.remaining or perf_counter() >= until:
            return ClearedSome(deleted, deleted_from_trash, done.remaining)
