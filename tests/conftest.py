"""What every test may ask for: a real PostgreSQL, and the real service on it, over HTTP.

`database_url` is a fresh, migrated database; `services` starts services with any policies; `service` is the one with
the default policies. Tests share services and keep apart by users of their own (`someone` makes names).
"""

import itertools
import tempfile
from collections.abc import AsyncIterator, Callable, Iterator
from pathlib import Path

import pytest
import pytest_asyncio

from tests.support.partitions import partition
from tests.support.postgres import ThrowawayPostgres
from tests.support.services import SURFACES, Caller, Service, Services, SurfaceName
from tests.support.stage import Stage
from tests.support.wire import Wire

pytest_plugins = ["tests.plugins.alone", "tests.plugins.at_once", "tests.plugins.measured", "tests.plugins.skipped"]

Wired = tuple[Service, Wire]


def pytest_addoption(parser: pytest.Parser) -> None:
    parser.addoption("--conformance", action="store_true", help="write docs/conformance.md from what the tests came to")
    parser.addoption("--partitions", action="store_true", help="run on a schema that is partitioned by user")


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(items: list[pytest.Item]) -> None:
    """Mark what drives a browser, and what starts our commands as processes, so that no file has to."""
    for item in items:
        fixtures = getattr(item, "fixturenames", ())
        if "browser" in fixtures:
            item.add_marker("browser")
        if "operator" in fixtures:
            item.add_marker("slow")


@pytest.fixture(scope="session")
def stage() -> Iterator[Stage]:
    stage = Stage()
    yield stage
    stage.close()


@pytest.fixture(scope="session")
def postgres(stage: Stage) -> Iterator[ThrowawayPostgres]:
    # Not under pytest's own directory: a socket's path may have 107 characters only.
    with tempfile.TemporaryDirectory(prefix="tasks-") as directory:
        server = ThrowawayPostgres(stage, Path(directory))
        yield server
        server.stop()


@pytest.fixture(scope="session")
def migrated_template(
    stage: Stage, postgres: ThrowawayPostgres, tmp_path_factory: pytest.TempPathFactory, pytestconfig: pytest.Config
) -> str:
    """The name of a database that the service itself has migrated; others are copies of it."""
    url = postgres.create_database()
    services = Services(stage, postgres, "template1", tmp_path_factory.mktemp("data"))
    services.start(database_url=url).stop()
    if pytestconfig.getoption("partitions"):
        stage.run(partition(url))
    return postgres.name_of(url)


@pytest.fixture
def database_url(postgres: ThrowawayPostgres, migrated_template: str) -> str:
    """A fresh database with the schema in it."""
    return postgres.create_database(template=migrated_template)


@pytest.fixture
def empty_database_url(postgres: ThrowawayPostgres) -> str:
    """A fresh database with nothing in it."""
    return postgres.create_database()


@pytest_asyncio.fixture(scope="session")
async def services(
    stage: Stage,
    postgres: ThrowawayPostgres,
    migrated_template: str,
    tmp_path_factory: pytest.TempPathFactory,
    pytestconfig: pytest.Config,
) -> AsyncIterator[Services]:
    sharded = bool(pytestconfig.getoption("partitions"))
    services = Services(stage, postgres, migrated_template, tmp_path_factory.mktemp("data"), sharded=sharded)
    yield services
    await services.stop()


@pytest.fixture(scope="session")
def service(services: Services) -> Service:
    """With the default policies."""
    return services.shared()


@pytest_asyncio.fixture(scope="session")
async def wired(
    stage: Stage, postgres: ThrowawayPostgres, services: Services, migrated_template: str
) -> AsyncIterator[Wired]:
    own = postgres.create_database(template=migrated_template)
    wire = Wire(stage, postgres.socket)
    through = f"postgresql://postgres@127.0.0.1:{wire.port}/{postgres.name_of(own)}?sslmode=disable"
    service = services.start(database_url=own, DATABASE_URL=through, database_deadline="1")
    yield service, wire
    await service.close()
    wire.cut()


@pytest.fixture
def severed(wired: Wired) -> Iterator[Wired]:
    """A service and the wire to its database, to be cut. Whole again before and after the test."""
    service, wire = wired
    yield wired
    wire.mend()
    service.wait_until_ready()


@pytest.fixture(scope="session")
def someone() -> Callable[[str], str]:
    """Makes a user id that no other test has."""
    numbers = itertools.count(1)
    return lambda name: f"{name}-{next(numbers)}"


TOKEN_SURFACE, PATH_SURFACE = SURFACES


@pytest.fixture(params=[TOKEN_SURFACE, pytest.param(PATH_SURFACE, marks=pytest.mark.twin)])
def surface(request: pytest.FixtureRequest) -> SurfaceName:
    """Both surfaces, one after the other."""
    name: SurfaceName = request.param
    return name


@pytest.fixture
def alice(service: Service, surface: SurfaceName, someone: Callable[[str], str]) -> Caller:
    return service.user(someone("alice"), surface)


@pytest.fixture
def bob(service: Service, surface: SurfaceName, someone: Callable[[str], str]) -> Caller:
    return service.user(someone("bob"), surface)
