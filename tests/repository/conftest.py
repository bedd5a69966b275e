"""A pool on a fresh database, as commands have one."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from taskservice.database.pool import Pool
from taskservice.database.server import DatabaseServer
from taskservice.database.session import Sessions, sessions_of
from taskservice.settings import load_settings
from tests.support.services import SECRET

DEADLINE = 2.0


@pytest.fixture
async def pool(database_url: str, tmp_path: Path) -> AsyncIterator[Pool]:
    environment = {"DATABASE_URL": database_url, "BETTER_AUTH_SECRET": SECRET, "TASKSERVICE_DATABASE_DEADLINE": "2"}
    server = DatabaseServer(load_settings(environment, directory=tmp_path))
    pool = Pool(server.connect, size=2, deadline=DEADLINE)
    pool.serving = True
    yield pool
    await pool.close()


@pytest.fixture
def sessions(pool: Pool) -> Sessions:
    return sessions_of(pool)
