"""Reads the tags of users' lists, which every poll of an unchanged list needs.

Requests share statements: a request that comes while one runs is part of the next one. So no request gets a tag that
was read before it came.
"""

import asyncio
from contextvars import Context

from taskservice.database.database_time import counted
from taskservice.tasks.read_statements import TAGS
from taskservice.tasks.store import Queries
from taskservice.tasks.tags import entity_tag, epoch_before_first_write


class ListTags:
    """Reads the list tags of one worker's users.

    `shared`: requests share statements. Not on a sharded database, where one statement about several users has to wait
    for several servers.
    """

    def __init__(self, queries: Queries, *, shared: bool = True) -> None:
        self._queries = queries
        self._shared = shared
        self._asked: list[tuple[str, asyncio.Future[str]]] = []
        self._reading: asyncio.Task[None] | None = None

    async def of(self, user_id: str) -> str:
        """The tag of the user's list as of now."""
        if not self._shared:
            return (await self._read({user_id}))[user_id]
        answer: asyncio.Future[str] = asyncio.get_running_loop().create_future()
        self._asked.append((user_id, answer))
        if self._reading is None:
            # In a context of its own: it reads for many requests, and does not belong to the first of them.
            self._reading = asyncio.get_running_loop().create_task(self._read_for_all(), context=Context())
        return await counted(answer)

    async def _read_for_all(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, []
                try:
                    tags = await self._read({user_id for user_id, _ in asked})
                except Exception as error:  # noqa: BLE001 (the waiting requests raise it)
                    for _, answer in asked:
                        if not answer.done():  # a request that waited may have been cancelled
                            answer.set_exception(error)
                else:
                    for user_id, answer in asked:
                        if not answer.done():
                            answer.set_result(tags[user_id])
        finally:
            self._reading = None

    async def _read(self, user_ids: set[str]) -> dict[str, str]:
        rows = await self._queries.fetch(*TAGS.call(user_ids=list(user_ids)), repeatable=True)
        tags = {row["id"]: entity_tag(row["revision"], row["epoch"]) for row in rows}
        return {user_id: tags.get(user_id) or entity_tag(0, epoch_before_first_write(user_id)) for user_id in user_ids}
