"""What the start says about a database that is there but does not fit."""

import asyncpg
import pytest

from bench.reliability.database import KillablePostgres, running_postgres
from bench.reliability.program import running_program
from taskservice.database.checks import too_few_connections, wrong_schema

pytestmark = pytest.mark.slow


async def start_log(
    postgres: KillablePostgres, *options: str, ready: bool = True, connections: str = "10", schema: str = ""
) -> str:
    settings = {
        "database_url": f"postgresql://taskservice@/taskservice?host={postgres.socket.parent}",
        "taskservice_database_connections": connections,
        "taskservice_database_schema": schema,
    }
    async with running_program(*options, ready=ready, files=None, **settings) as program:
        if not ready:
            await program.ready(path="/health/live")
        return program.log


async def test_tables_of_another_application_are_named_once_and_left_alone() -> None:
    async with running_postgres() as postgres:
        await postgres.execute("CREATE TABLE users (id int)", "INSERT INTO users VALUES (1)")
        log = await start_log(postgres, ready=False)
        lines = [line for line in log.splitlines() if "not usable yet" in line]
        assert len(lines) == 1, log
        assert 'the schema "public" already has "users"' in lines[0]
        assert "Traceback" not in log
        assert await postgres.rows("SELECT id FROM users") == [(1,)]
        assert "TASKSERVICE_DATABASE_SCHEMA" in lines[0]
        log = await start_log(postgres, schema="own")
        assert "not usable yet" not in log
        assert await postgres.rows("SELECT count(*) FROM own.tasks") == [(0,)]


async def test_two_installations_share_a_database_in_schemas_of_their_own() -> None:
    async with running_postgres() as postgres:
        await start_log(postgres)
        await start_log(postgres, schema="other")
        assert await postgres.rows("SELECT count(*) FROM public.tasks, other.tasks") == [(0,)]


async def test_behind_a_pooler_the_schema_comes_from_the_role_and_the_log_says_how(database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    said = await wrong_schema(connection, "own")
    assert said is not None
    create, _, alter = said.partition("Run once: ")[2].partition("; ")
    await connection.execute(create)
    await connection.execute(alter)
    await connection.close()
    connection = await asyncpg.connect(database_url)
    assert await wrong_schema(connection, "own") is None
    await connection.execute(alter.partition(" SET ")[0] + " RESET search_path")
    await connection.close()


async def test_more_connections_than_the_database_allows_are_one_line_that_says_what_to_change() -> None:
    async with running_postgres() as postgres:
        log = await start_log(postgres, "--wc", "2", connections="60")
        lines = [line for line in log.splitlines() if "connections each" in line]
        assert len(lines) == 1, log
        assert "2 workers with 60 connections each are 120, and the server allows 97" in lines[0]
        assert "TASKSERVICE_DATABASE_CONNECTIONS=48" in lines[0]


@pytest.mark.parametrize(("pooled", "advice"), [(True, "default_pool_size"), (False, "put a pooler in between")])
async def test_the_advice_behind_a_pooler_is_another_one(database_url: str, pooled: bool, advice: str) -> None:
    connection = await asyncpg.connect(database_url)
    said = await too_few_connections(connection, workers=1000, each=10, pooled=pooled)
    enough = await too_few_connections(connection, workers=1, each=10, pooled=pooled)
    await connection.close()
    assert said is not None
    assert advice in said
    assert enough is None
