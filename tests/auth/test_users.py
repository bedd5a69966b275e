"""Policy `users = "registered"`: only who is in Better Auth's table is served."""

import asyncio
import logging
import time
from collections.abc import AsyncIterator, Sequence
from typing import Any

import asyncpg
import pytest

from taskservice.auth import users
from taskservice.auth.users import RegisteredUsers, UsersTableError, find_users_table, quoted
from taskservice.database.pool import Pool, Transaction
from taskservice.database.reconnect import Connection
from tests.support.better_auth import SIGN_UP, USERS_TABLE
from tests.support.postgres import ThrowawayPostgres
from tests.support.problems import assert_problem
from tests.support.services import Service, Services
from tests.support.stage import Stage

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def service(services: Services) -> AsyncIterator[Service]:
    service = services.start(users="registered")
    yield service
    await service.hang_up()
    service.stop()


async def test_a_registered_user_is_served(service: Service) -> None:
    await service.execute(SIGN_UP, "ann")
    assert (await service.user("ann").create())["user_id"] == "ann"


async def test_a_sound_token_is_not_enough(service: Service) -> None:
    response = await service.user("stranger").get()
    assert_problem(response, 401, "unknown-user", detail="Unknown user")
    assert 'error="invalid_token"' in response.headers["www-authenticate"]
    assert await service.rows("SELECT 1 FROM users WHERE id = 'stranger'") == []


async def test_a_refused_token_is_refused_as_ever(service: Service) -> None:
    response = await service.http.get("/api/tasks", headers={"Authorization": "Bearer x"})
    assert_problem(response, 401, "invalid-token", detail="Invalid token")


@pytest.mark.timing
async def test_who_signs_up_is_served_a_moment_later(service: Service) -> None:
    late = service.user("late")
    assert (await late.get()).status_code == 401
    await service.execute(SIGN_UP, "late")
    deadline = time.monotonic() + users.MISSING_SECONDS + 0.5
    while (await late.get()).status_code == 401:
        assert time.monotonic() < deadline


@pytest.mark.timing
async def test_a_deleted_user_is_refused_within_the_documented_time(
    service: Service, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(users, "FOUND_SECONDS", 1)
    gone = service.user("gone")
    await service.execute(SIGN_UP, "gone")
    assert (await gone.get()).status_code == 200
    await service.execute("""DELETE FROM "user" WHERE id = 'gone'""")
    deadline = time.monotonic() + users.FOUND_SECONDS + 0.5
    while (await gone.get()).status_code == 200:
        assert time.monotonic() < deadline
    assert_problem(await gone.get(), 401, "unknown-user")


async def test_not_every_request_asks_the_table(service: Service) -> None:
    ann = service.user("steady")
    await service.execute(SIGN_UP, "steady")
    await ann.get()
    await service.execute('ALTER TABLE "user" RENAME TO away')
    try:
        for _ in range(20):
            assert (await ann.get()).status_code == 200
        assert_problem(await service.user("somebody").get(), 503, "database-unavailable")
    finally:
        await service.execute('ALTER TABLE away RENAME TO "user"')
    await asyncio.to_thread(service.wait_until_ready)
    assert_problem(await service.user("somebody").get(), 401, "unknown-user")


async def test_a_missing_table_is_said_once_and_served_as_soon_as_it_is_there(
    services: Services, stage: Stage, database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        service = Service(stage, services.settings(database_url, users="registered"), database_url)
        await until_started(service)
        assert (await service.http.get("/health/ready")).status_code == 503
        assert (await service.user("ann").get()).status_code == 503
        said = [record.message for record in caplog.records if "TASKSERVICE_USERS_TABLE" in record.message]
    assert len(said) == 1
    assert 'there is no table "user" in this database' in said[0]
    await service.execute(USERS_TABLE)
    await service.execute(SIGN_UP, "ann")
    await asyncio.to_thread(service.wait_until_ready)
    assert (await service.user("ann").get()).status_code == 200
    await service.hang_up()
    service.stop()


async def until_started(service: Service) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        if (await service.http.get("/health/live")).status_code == 200:
            return


# ---- tables of every kind


@pytest.fixture(scope="module")
async def connection(postgres: ThrowawayPostgres) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(postgres.create_database())
    yield connection
    await connection.close()


async def is_in(connection: Connection, table: str, user_id: str) -> bool:
    fetch = Transaction(connection).fetch
    return await (await find_users_table(table, fetch)).has(user_id, fetch)


UUID = "0197a2b4-5a3b-7c1d-8e2f-1234567890ab"

KINDS: dict[str, tuple[str, str, list[str]]] = {
    "text": ("text", "pEu2S7yF", ["peu2s7yf", "pEu2S7yF ", "", "'; DROP TABLE x; --", "%", "pEu2S7y_"]),
    "varchar": ("varchar(40)", "pEu2S7yF", ["x", "pEu2S7yF "]),
    "char": ("char(8)", "pEu2S7yF", ["x"]),
    "uuid": ("uuid", UUID, ["x", UUID.upper(), UUID.replace("-", ""), "{" + UUID + "}", UUID[:-1] + "0"]),
    "smallint": ("smallint", "7", ["8", "07", "+7", " 7", "7.0", "70000", "x", "\u0667"]),
    "integer": ("integer", "7", ["8", "07", "2147483648", "-7", "1_0", "7e0"]),
    "bigint": ("bigint GENERATED BY DEFAULT AS IDENTITY", "7", ["8", "9" * 30]),
}


@pytest.mark.parametrize("kind", KINDS)
async def test_ids_of_every_type_are_found_and_only_as_they_are_written(connection: Connection, kind: str) -> None:
    definition, user_id, others = KINDS[kind]
    await connection.execute(f'CREATE TABLE "users {kind}" (id {definition} PRIMARY KEY)')
    await connection.execute(f"""INSERT INTO "users {kind}" VALUES ('{user_id}')""")
    assert await is_in(connection, f"users {kind}", user_id)
    for other in others:
        assert not await is_in(connection, f"users {kind}", other), other


@pytest.mark.parametrize("kind", ["text", "uuid", "integer"])
async def test_the_primary_key_is_used(connection: Connection, kind: str) -> None:
    definition, user_id, _ = KINDS[kind]
    await connection.execute(f'CREATE TABLE "many {kind}" (id {definition} PRIMARY KEY)')
    plans: list[str] = []

    async def explain(sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        await connection.execute("SET enable_seqscan = off")
        plans.append("\n".join(row[0] for row in await connection.fetch(f"EXPLAIN {sql}", *arguments)))
        return []

    await (await find_users_table(f"many {kind}", Transaction(connection).fetch)).has(user_id, explain)
    assert "Index Only Scan" in plans[0]


async def test_a_table_may_be_in_another_schema(connection: Connection) -> None:
    await connection.execute(
        "CREATE SCHEMA auth; CREATE TABLE auth.member (id text); INSERT INTO auth.member VALUES ('a')"
    )
    assert await is_in(connection, "auth.member", "a")


def test_names_are_always_quoted() -> None:
    assert quoted("user") == '"user"'
    assert quoted("auth.user") == '"auth"."user"'
    assert quoted('x" (id) --') == '"x"" (id) --"'


async def test_a_table_that_cannot_be_used_is_said_so(connection: Connection) -> None:
    await connection.execute("CREATE TABLE nameless (name text); CREATE TABLE locked (id text)")
    await connection.execute("REVOKE SELECT ON locked FROM CURRENT_USER")
    for table, said in (
        ("nowhere", 'there is no table "nowhere" in this database; run Better Auth\'s migration first'),
        ("user", 'there is no table "user"'),
        ("nameless", 'the table "nameless" has no column id'),
        ("locked", 'may not read "locked"; grant it SELECT'),
    ):
        with pytest.raises(UsersTableError, match="TASKSERVICE_USERS_TABLE: .*" + said):
            await find_users_table(table, Transaction(connection).fetch)


# ---- memory


def test_clients_cannot_fill_the_memory(monkeypatch: pytest.MonkeyPatch) -> None:
    async def connect(_: float) -> Connection:
        raise OSError

    monkeypatch.setattr(users, "REMEMBERED_MAX", 10)
    registered = RegisteredUsers("user", Pool(connect, size=1, deadline=1))
    for number in range(30):
        registered._remember(f"nobody-{number}", number % 2 == 0)
    assert len(registered._remembered) == 10
