"""A PostgreSQL of its own for what breaks it, and the service as an operator starts it."""

from collections.abc import AsyncIterator

import pytest

from bench.reliability.database import KillablePostgres, running_postgres, url_through, wired
from bench.reliability.program import Program, running_program
from bench.reliability.wire import Wire
from tests.support import needs
from tests.support.partitions import partition

QUICK_DEADLINE = 1.0


@pytest.fixture(scope="module")
def pgbouncer() -> str:
    """Its path, where it is installed."""
    return needs.program("pgbouncer")


@pytest.fixture(scope="module")
async def postgres(pytestconfig: pytest.Config) -> AsyncIterator[KillablePostgres]:
    async with running_postgres() as postgres:
        if pytestconfig.getoption("partitions"):
            async with running_program(database_url=postgres.url):
                pass  # It migrates.
            await partition(postgres.url)
        yield postgres


@pytest.fixture(scope="module")
async def wire(postgres: KillablePostgres) -> AsyncIterator[Wire]:
    async with wired(postgres) as wire:
        yield wire


@pytest.fixture(scope="module")
async def program(wire: Wire) -> AsyncIterator[Program]:
    """Gives up on the database after a second, so that tests need not wait for longer."""
    async with running_program(
        database_url=url_through(wire.port),
        taskservice_database_deadline=str(QUICK_DEADLINE),
        taskservice_database_connections="4",
    ) as program:
        yield program
