"""Where users' change counters stand: what every poll of an unchanged list asks for.

Many ask at once, so they share: whoever asks while a statement is under way is in the next one. Nobody is told a number
that was read before they asked.
"""

import asyncio
from collections.abc import Iterable, Iterator
from contextvars import Context
from time import perf_counter
from typing import Final

import sqlalchemy as sa
from sqlalchemy.dialects import postgresql

from taskservice.database.database_time import spent_on_database
from taskservice.database.pool import Pool
from taskservice.database.statements import Statement
from taskservice.tasks.models import users

_COUNTERS: Final = Statement(
    sa.select(users.c.id, users.c.revision).where(
        users.c.id == sa.any_(sa.bindparam("user_ids", type_=postgresql.ARRAY(sa.Text)))
    )
)


class Counters:
    """Reads the counters of one worker's users."""

    def __init__(self, pool: Pool) -> None:
        self._pool = pool
        self._asked: dict[str, list[asyncio.Future[int]]] = {}
        self._reading: asyncio.Task[None] | None = None

    async def of(self, user_id: str) -> int:
        """The user's number as of now; 0 for somebody who never wrote."""
        answer: asyncio.Future[int] = asyncio.get_running_loop().create_future()
        self._asked.setdefault(user_id, []).append(answer)
        if self._reading is None:
            # In a context of its own: it reads for many, and is not the doing of the one who came first.
            self._reading = asyncio.get_running_loop().create_task(self._read(), context=Context())
        spent, started = spent_on_database.get(), perf_counter()
        try:
            return await answer
        finally:
            if spent is not None:
                spent.database_seconds += perf_counter() - started

    async def _read(self) -> None:
        try:
            while self._asked:
                asked, self._asked = self._asked, {}
                try:
                    found = dict(
                        await self._pool.fetch(_COUNTERS.sql, _COUNTERS.args(user_ids=list(asked)), repeatable=True)
                    )
                except Exception as error:  # noqa: BLE001 (it belongs to those who asked)
                    for answer in _still_awaited(asked, asked):
                        answer.set_exception(error)
                else:
                    for user_id in asked:
                        for answer in _still_awaited(asked, (user_id,)):
                            answer.set_result(found.get(user_id, 0))
        finally:
            self._reading = None


def _still_awaited(
    asked: dict[str, list[asyncio.Future[int]]], user_ids: Iterable[str]
) -> Iterator[asyncio.Future[int]]:
    """Without those whose request was given up meanwhile."""
    return (answer for user_id in user_ids for answer in asked[user_id] if not answer.done())
