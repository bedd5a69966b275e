"""Whose time it is that goes by while the database is waited for."""

import asyncio

from taskservice.database.database_time import Spent, spent_on_database
from taskservice.database.pool import Pool
from taskservice.database.server import DatabaseServer
from taskservice.tasks.list_tags import ListTags
from tests.support.services import Service


async def test_everybody_who_waits_for_one_reading_has_waited(service: Service) -> None:
    pool = Pool(DatabaseServer(service.settings).connect, size=1, deadline=5)
    pool.serving = True
    tags = ListTags(pool)

    async def waited() -> float:
        spent = Spent()
        spent_on_database.set(spent)
        await tags.of("nobody")
        return spent.database_seconds

    times = await asyncio.gather(*(waited() for _ in range(5)))
    await pool.close()
    assert min(times) > 0
