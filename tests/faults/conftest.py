"""A PostgreSQL of its own for what breaks it, and the service as an operator starts it."""

from collections.abc import AsyncIterator, Awaitable, Callable

import pytest

from bench.reliability.database import KillablePostgres, running_postgres, url_through, wired
from bench.reliability.program import Program, running_program
from bench.reliability.wire import Wire
from tests.support import needs
from tests.support.partitions import partition

QUICK_DEADLINE = 1.0

Split = Callable[[str], Awaitable[None]]


@pytest.fixture(scope="session")
def split(pytestconfig: pytest.Config) -> Split:
    """With `--partitions` makes the schema in an empty database, and partitions it."""

    async def split(url: str) -> None:
        if pytestconfig.getoption("partitions"):
            async with running_program(database_url=url):
                pass  # It migrates.
            await partition(url)

    return split


@pytest.fixture(scope="module")
def pgbouncer() -> str:
    """Its path, where it is installed."""
    return needs.program("pgbouncer")


@pytest.fixture(scope="module")
async def postgres(split: Split) -> AsyncIterator[KillablePostgres]:
    async with running_postgres() as postgres:
        await split(postgres.url)
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
