"""Reads from replicas that are never older than reads from the primary.

While a replica reads a page, the primary is asked for one row: where the user's counter stands. Only if the replica's
snapshot stands exactly there is its answer given; else the primary reads the page, too. So an answer is right whatever
the client holds and whichever process it wrote through. Requests share the question to the primary (`list_tags`).

A snapshot ahead of the primary is not used either: a standby shows a commit before the primary does, and the next read
from the primary would go back in time. Reads that decide a write do not use replicas.
"""

import asyncio
from collections.abc import Awaitable, Callable
from contextvars import copy_context
from typing import Final, TypeVar
from uuid import UUID

from taskservice.database.database_time import counted, spent_on_database
from taskservice.database.failures import describe
from taskservice.database.replicas import Replica, Replicas
from taskservice.tasks.list_query import ListQuery
from taskservice.tasks.list_tags import ListTags
from taskservice.tasks.store import Changes, Page, Placed, Row, TaskStore

Found = TypeVar("Found", Page, Changes, Placed)

OUTCOMES: Final = ("replica", "behind", "failed", "left_out")
"""Who answered: a replica; or the primary, because the replica's snapshot was another one, because the replica failed,
or because none took part."""


class ReplicatedReads:
    """The reading methods of `TaskStore` that need not run on the primary."""

    def __init__(self, primary: TaskStore, tags: ListTags, replicas: Replicas) -> None:
        self._primary = primary
        self._tags = tags
        self._replicas = replicas
        self.outcomes: Final[dict[str, int]] = dict.fromkeys(OUTCOMES, 0)

    async def get_owned(self, owner: str, task_id: UUID) -> Row | None:
        return (await self._read(owner, lambda tasks: tasks.get_placed(owner, task_id))).row

    async def page(self, owner: str, query: ListQuery) -> Page:
        return await self._read(owner, lambda tasks: tasks.page(owner, query))

    async def changes(self, owner: str, since: int, *, limit: int, deletions_after: int) -> Changes:
        return await self._read(
            owner, lambda tasks: tasks.changes(owner, since, limit=limit, deletions_after=deletions_after)
        )

    async def _read(self, owner: str, read: Callable[[TaskStore], Awaitable[Found]]) -> Found:
        found = await self._from_replica(owner, read)
        return found if found is not None else await read(self._primary)

    async def _from_replica(self, owner: str, read: Callable[[TaskStore], Awaitable[Found]]) -> Found | None:
        """The answer of a replica, if its snapshot is the primary's. None: the primary has to read."""
        replica = self._replicas.choose()
        if replica is None:
            self.outcomes["left_out"] += 1
            return None
        context = copy_context()
        context.run(spent_on_database.set, None)  # it runs while we wait for the tag: that time counts once
        reading = asyncio.create_task(_ask(replica, read), context=context)
        try:
            tag = await self._tags.of(owner)
            found = await counted(reading)
        finally:
            reading.cancel()
        if found is None:
            self.outcomes["failed"] += 1
        elif found.tag != tag:
            replica.disagreed()
            self.outcomes["behind"] += 1
        else:
            replica.agreed()
            self.outcomes["replica"] += 1
            return found
        return None


async def _ask(replica: Replica, read: Callable[[TaskStore], Awaitable[Found]]) -> Found | None:
    try:
        return await read(TaskStore(replica.pool))
    except Exception as error:  # noqa: BLE001 (on any error the primary answers)
        replica.leave_out(describe(error.__cause__ or error))
        return None
