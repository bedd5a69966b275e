"""Moments are numbers on the service's connections, and `datetime` in SQLAlchemy's sessions."""

import datetime as dt
from collections.abc import AsyncIterator

import pytest
import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncEngine

from taskservice.database.moments import Moment, as_parameter, microseconds_of, moment
from taskservice.database.server import DatabaseServer
from taskservice.database.session import new_engine
from taskservice.settings import load_settings
from tests.support.services import SECRET

MOMENTS = [
    dt.datetime.min.replace(tzinfo=dt.UTC),
    dt.datetime(1999, 12, 31, 23, 59, 59, 999_999, dt.UTC),
    dt.datetime(2000, 1, 1, tzinfo=dt.UTC),
    dt.datetime(2026, 1, 2, 3, 4, 5, 678_901, dt.timezone(dt.timedelta(hours=2))),
    dt.datetime.max.replace(tzinfo=dt.UTC),
]


@pytest.fixture
def server(database_url: str) -> DatabaseServer:
    return DatabaseServer(load_settings({"BETTER_AUTH_SECRET": SECRET, "DATABASE_URL": database_url}))


@pytest.fixture
async def engine(server: DatabaseServer) -> AsyncIterator[AsyncEngine]:
    engine = new_engine(server.connect)
    yield engine
    await engine.dispose()


async def test_a_moment_is_the_number_that_postgresql_has(server: DatabaseServer) -> None:
    connection = await server.connect()
    for at in MOMENTS:
        sql = "SELECT $1::timestamptz AS at, $1 = $2::text::timestamptz AS is_equal"
        found = await connection.fetchrow(sql, as_parameter(at), at.isoformat())
        assert found["is_equal"]
        assert found["at"] == microseconds_of(at)
        assert moment(found["at"]) == at
    await connection.close()


async def test_a_session_gives_and_takes_datetimes(engine: AsyncEngine) -> None:
    at = sa.bindparam("at", type_=Moment())
    later = at + dt.timedelta(days=1)
    async with engine.connect() as connection:
        for value in MOMENTS[:-1]:
            row = (await connection.execute(sa.select(at, sa.func.max(at), later, at < later), {"at": value})).one()
            assert row == (value, value, value + dt.timedelta(days=1), True)
        none = await connection.scalar(sa.select(sa.cast(sa.null(), Moment())))
    assert none is None


async def test_an_infinity_that_was_written_by_hand_is_the_end_of_the_calendar(server: DatabaseServer) -> None:
    connection = await server.connect()
    ends = await connection.fetchrow("SELECT '-infinity'::timestamptz, 'infinity'::timestamptz")
    assert [moment(end) for end in ends] == [MOMENTS[0], MOMENTS[-1]]
    beyond = await connection.fetchval("SELECT '10000-01-01'::timestamptz")
    with pytest.raises(OverflowError):
        moment(beyond)
    await connection.close()
