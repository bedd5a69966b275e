"""How many users one statement asks for, when many requests want their lists' tags at once."""

import asyncio
from collections.abc import Sequence
from typing import Any

import pytest

from taskservice.database.pool import Pool
from taskservice.database.server import DatabaseServer
from taskservice.tasks.list_tags import ListTags
from tests.support.services import Service, number_of

USERS = [f"tagged-{number}" for number in range(20)]


class Counting(Pool):
    """A pool that remembers for how many users each statement asked."""

    def __init__(self, service: Service) -> None:
        super().__init__(DatabaseServer(service.settings).connect, size=2, deadline=5)
        self.serving = True
        self.asked: list[int] = []

    async def fetch(
        self, sql: str, args: Sequence[Any], *, repeatable: bool = False, writer: str | None = None
    ) -> list[Any]:
        [users] = args
        self.asked.append(len(users))
        return await super().fetch(sql, args, repeatable=repeatable, writer=writer)


@pytest.mark.parametrize("shared", [True, False])
async def test_only_a_shared_statement_asks_for_several_users(service: Service, shared: bool) -> None:
    await service.execute("INSERT INTO users (id, revision) VALUES ($1, 7) ON CONFLICT DO NOTHING", USERS[0])
    pool = Counting(service)
    tags = ListTags(pool, shared=shared)
    found = await asyncio.gather(*(tags.of(user) for user in USERS))
    await pool.close()
    assert [number_of(tag) for tag in found] == [7] + [0] * (len(USERS) - 1)
    assert sum(pool.asked) == len(USERS)
    assert (max(pool.asked) > 1) is shared
