"""What a container or a pooler needs to reach: the test session's PostgreSQL on a TCP port."""

from collections.abc import Iterator

import pytest

from tests.image import relay
from tests.support.postgres import ThrowawayPostgres
from tests.support.stage import Stage


@pytest.fixture(scope="session")
def database_port(stage: Stage, postgres: ThrowawayPostgres) -> Iterator[int]:
    server = stage.run(relay.listen(postgres.socket))
    yield server.sockets[0].getsockname()[1]
    stage.loop.call_soon_threadsafe(server.close)
