"""An operator of a service that runs on a database of its own."""

from collections.abc import AsyncIterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.commands import Operator
from tests.support.services import SECRET, Service, Services


@pytest.fixture
def operator(tmp_path: Path, database_url: str) -> Operator:
    data = str(tmp_path / "data")
    return Operator(tmp_path, DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET, TASKSERVICE_DATA_DIR=data)


@pytest_asyncio.fixture
async def service(services: Services, database_url: str) -> AsyncIterator[Service]:
    """On the operator's database."""
    service = services.start(database_url=database_url)
    yield service
    await service.hang_up()
    service.stop()
