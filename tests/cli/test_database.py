"""`litestar database …`: the schema by hand, as an operator does it who starts with TASKSERVICE_MIGRATE=false."""

import asyncpg
import pytest

from tests.support.commands import Operator
from tests.support.postgres import ThrowawayPostgres
from tests.support.services import Services


async def test_the_schema_goes_up_and_down_by_hand(
    operator: Operator, services: Services, empty_database_url: str
) -> None:
    operator.environment["DATABASE_URL"] = empty_database_url
    check = operator.litestar("database", "check")
    assert check.code == 1
    assert "Target database is not up to date" in "".join(check.refused())
    assert operator.litestar("database", "upgrade", "--no-prompt").code == 0
    check = operator.litestar("database", "check")
    assert (check.code, check.out.splitlines()[-1]) == (0, "No new upgrade operations detected.")
    service = services.start(database_url=empty_database_url, migrate="false")
    assert (await service.user("alice").create())["title"] == "Buy milk"
    await service.hang_up()
    service.stop()
    assert operator.litestar("database", "downgrade", "--no-prompt", "base").code == 0
    assert "the database has no schema yet" in operator.litestar("doctor").out


def test_a_missing_index_is_found(operator: Operator, postgres: ThrowawayPostgres, database_url: str) -> None:
    postgres.execute("DROP INDEX ix_tasks_feed", database_url)
    check = operator.litestar("database", "check")
    assert check.code == 1
    assert "ix_tasks_feed" in "".join(check.refused())


async def test_everything_can_be_dropped_and_made_anew(
    operator: Operator, services: Services, database_url: str
) -> None:
    assert operator.litestar("database", "drop-all", "--no-prompt").code == 0
    service = services.start(database_url=database_url)
    assert (await service.user("alice").create())["title"] == "Buy milk"
    await service.hang_up()
    service.stop()


async def test_a_script_of_the_migrations_makes_the_schema(
    operator: Operator, services: Services, empty_database_url: str
) -> None:
    script = operator.litestar("database", "upgrade", "--sql", "--no-prompt", DATABASE_URL=empty_database_url)
    assert script.code == 0
    connection = await asyncpg.connect(empty_database_url)
    # One statement after the other, as psql sends them: an index cannot be built concurrently among several.
    for statement in script.out[script.out.index("BEGIN;") :].split(";\n\n"):
        if statement.strip():
            await connection.execute(statement)
    await connection.close()
    service = services.start(database_url=empty_database_url, migrate="false")
    assert (await service.user("alice").create())["title"] == "Buy milk"
    await service.hang_up()
    service.stop()


@pytest.mark.parametrize(
    ("environment", "said"),
    [
        ({"DATABASE_URL": "postgresql://u:hunter2@127.0.0.1:1/x"}, "ConnectionRefusedError"),
        ({"TASKSERVICE_DATABASE_POOLER": "true"}, "DATABASE_DIRECT_URL: set it"),
    ],
)
def test_what_cannot_be_migrated_is_said_in_words(operator: Operator, environment: dict[str, str], said: str) -> None:
    outcome = operator.litestar("database", "upgrade", "--no-prompt", **environment)
    assert outcome.code == 1
    assert said in " ".join(outcome.refused())
    assert "hunter2" not in outcome.said


async def test_a_new_epoch_asks_first_and_says_what_clients_will_see(operator: Operator, services: Services) -> None:
    service = services.start(database_url=operator.environment["DATABASE_URL"])
    alice = service.user("alice")
    task = await alice.create()
    tag = (await alice.get(f"/{task['id']}")).headers["ETag"]
    asked = operator.litestar("database", "new-epoch")
    assert asked.code == 1
    assert "Every client will have to read its tasks anew" in "".join(asked.refused())
    assert (await alice.get(f"/{task['id']}")).headers["ETag"] == tag
    renewed = operator.litestar("database", "new-epoch", "--yes")
    assert (renewed.code, renewed.err) == (0, "")
    assert renewed.out.startswith("Renewed the epoch of 1 user.")
    for said in ("If-None-Match", "412", "410"):
        assert said in renewed.out
    answer = await alice.get(f"/{task['id']}")
    assert answer.headers["ETag"] != tag
    assert answer.json()["updated_at"] == task["updated_at"]
    await service.hang_up()
    service.stop()
