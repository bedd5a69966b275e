"""`litestar purge`: what is past its time goes for good, and everybody who follows the feed still has a true copy."""

from typing import Any

from tests.support.better_auth import SIGN_UP, USERS_TABLE
from tests.support.commands import Operator
from tests.support.problems import assert_problem
from tests.support.services import Caller, Service


def purge(operator: Operator, *arguments: str, **environment: str) -> str:
    outcome = operator.litestar("purge", *arguments, **environment)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return outcome.out


async def let_days_pass(service: Service, days: int, title: str = "%") -> None:
    """For what lies in the trash under such a title, and for every tombstone."""
    await service.execute(
        "UPDATE tasks SET deleted_at = deleted_at - make_interval(days => $1) WHERE title LIKE $2", days, title
    )
    await service.execute("UPDATE tombstones SET deleted_at = deleted_at - make_interval(days => $1)", days)


async def deleted(caller: Caller, title: str) -> dict[str, Any]:
    task = await caller.create(title)
    assert (await caller.delete(f"/{task['id']}")).status_code == 204
    return task


async def changes(caller: Caller, since: str) -> list[tuple[str, str]]:
    answer = await caller.get("/changes", params={"since": since})
    assert answer.status_code == 200, answer.text
    return [
        (entry["type"], entry["task"]["title"] if "task" in entry else entry["id"])
        for entry in answer.json()["changes"]
    ]


async def position(caller: Caller) -> str:
    token: str = (await caller.get("/changes")).json()["next"]
    return token


async def test_trash_older_than_the_retention_goes(operator: Operator, service: Service) -> None:
    alice, bob = service.user("alice"), service.user("bob")
    await alice.create("live")
    await deleted(alice, "old")
    await deleted(bob, "old too")
    await deleted(alice, "young")
    await let_days_pass(service, 31, "old%")
    await let_days_pass(service, 29, "young")
    assert purge(operator) == "Removed 2 deleted tasks, 0 tombstones and 0 idempotency keys.\n"
    assert await alice.titles() == ["live"]
    assert [task["title"] for task in (await alice.get("/trash")).json()] == ["young"]
    assert (await bob.get("/trash")).json() == []


async def test_how_old_may_be_said_by_policy_or_option(operator: Operator, service: Service) -> None:
    alice = service.user("alice")
    for days in (1, 3, 8):
        await deleted(alice, f"{days} days")
        await let_days_pass(service, days, f"{days} days")
    assert purge(operator, TASKSERVICE_RETENTION_DAYS="7").startswith("Removed 1 deleted task,")
    assert purge(operator, "--older-than", "2").startswith("Removed 1 deleted task,")


async def test_a_reader_of_the_feed_hears_of_a_purged_deletion_once(operator: Operator, service: Service) -> None:
    alice = service.user("alice")
    before = await position(alice)
    task = await deleted(alice, "gone")
    after = await position(alice)
    await alice.create("later")
    assert purge(operator, "--older-than", "0").startswith("Removed 1 deleted task,")
    assert await changes(alice, before) == [("delete", task["id"]), ("upsert", "later")]
    assert await changes(alice, after) == [("upsert", "later")]
    assert (await alice.get("/changes")).json()["next"] == await position(alice)


async def test_old_tombstones_go_and_older_readers_have_to_begin_again(operator: Operator, service: Service) -> None:
    alice, bob = service.user("alice"), service.user("bob")
    # Who has seen nothing has nothing to forget, and never has to begin again.
    await alice.create("live")
    first = await position(alice)
    gone = await alice.create("gone")
    await alice.delete(f"/{gone['id']}?permanent=true")
    between = await position(alice)
    trashed = await deleted(alice, "trashed")
    await bob.create("bob's")
    his = await position(bob)
    await let_days_pass(service, 89)
    assert purge(operator) == "Removed 1 deleted task, 0 tombstones and 0 idempotency keys.\n"
    assert await changes(alice, first) == [("delete", gone["id"]), ("delete", trashed["id"])]
    await service.execute(
        "UPDATE tombstones SET deleted_at = now() - interval '91 days' WHERE task_id = $1", gone["id"]
    )
    assert purge(operator) == "Removed 0 deleted tasks, 1 tombstone and 0 idempotency keys.\n"
    assert_problem(await alice.get("/changes", params={"since": first}), 410, "resync-required")
    assert await changes(alice, between) == [("delete", trashed["id"])]
    assert await changes(bob, his) == []
    await alice.create("new")
    assert [entry["type"] for entry in (await alice.get("/changes")).json()["changes"]] == ["upsert", "upsert"]


async def test_spent_idempotency_keys_go(operator: Operator, service: Service) -> None:
    alice = service.user("alice")
    for key in ("old", "young"):
        await alice.post("", json={"title": key}, headers={"Idempotency-Key": key})
    await service.execute("UPDATE idempotency_keys SET created_at = now() - interval '25 hours' WHERE key = 'old'")
    assert purge(operator) == "Removed 0 deleted tasks, 0 tombstones and 1 idempotency key.\n"
    assert [row["key"] for row in await service.rows("SELECT key FROM idempotency_keys")] == ["young"]


async def test_more_than_a_batch_goes_in_one_call(operator: Operator, service: Service) -> None:
    alice = service.user("alice")
    await alice.create("live")
    await service.execute(
        "INSERT INTO tasks (id, user_id, title, revision, deleted_at) SELECT gen_random_uuid(), 'alice', 'x', n, "
        "now() - interval '200 days' FROM generate_series(2, 2501) n"
    )
    await service.execute("UPDATE users SET revision = 2501")
    # Deleted longer ago than deletions are told: the tombstone goes with the task.
    assert purge(operator) == "Removed 2,500 deleted tasks, 2,500 tombstones and 0 idempotency keys.\n"
    [row] = await service.rows("SELECT revision, forgotten FROM users")
    assert tuple(row) == (2501, 2501)
    assert await alice.titles() == ["live"]


async def test_a_user_who_is_busy_writing_is_left_for_the_next_purge(operator: Operator, service: Service) -> None:
    alice, bob = service.user("alice"), service.user("bob")
    for caller in (alice, bob):
        await deleted(caller, "old")
    async with service.connection() as writer, writer.transaction():
        await writer.execute("SELECT 1 FROM users WHERE id = 'alice' FOR NO KEY UPDATE")
        said = purge(operator, "--older-than", "0", TASKSERVICE_DATABASE_DEADLINE="1").splitlines()
    assert said == [
        "Removed 1 deleted task, 0 tombstones and 0 idempotency keys.",
        "Left 1 user who was busy writing for the next purge.",
    ]
    assert (await bob.get("/trash")).json() == []
    assert purge(operator, "--older-than", "0").startswith("Removed 1 deleted task,")


async def test_who_is_gone_from_the_users_table_goes_with_everything(operator: Operator, service: Service) -> None:
    alice, bob = service.user("alice"), service.user("bob")
    await service.execute(USERS_TABLE)
    for caller in (alice, bob):
        await deleted(caller, "trashed")
        await caller.post("", json={"title": "kept"}, headers={"Idempotency-Key": "k"})
        gone = await caller.create("gone")
        await caller.delete(f"/{gone['id']}?permanent=true")

    refused = operator.litestar("purge", "--orphans")
    assert refused.refused() == ['the table "user" is empty; nothing was removed']
    assert await alice.titles() == ["kept"]

    await service.execute(SIGN_UP, "alice")
    assert purge(operator, "--orphans").endswith("\nRemoved 1 user who is gone, with 2 tasks.\n")
    columns = {"users": "id", "tasks": "user_id", "tombstones": "user_id", "idempotency_keys": "user_id"}
    for table, column in columns.items():
        owners = {row[0] for row in await service.rows(f"SELECT {column} FROM {table}")}
        assert owners == {"alice"}, table
    assert await alice.titles() == ["kept"]
    assert len((await alice.get("/trash")).json()) == 1


def test_without_the_tables_it_says_so_in_one_line(operator: Operator, empty_database_url: str) -> None:
    [line] = operator.litestar("purge", "--orphans", DATABASE_URL=empty_database_url).refused()
    assert line.startswith('TASKSERVICE_USERS_TABLE: there is no table "user" in this database')
    [line] = operator.litestar("purge", DATABASE_URL=empty_database_url).refused()
    assert 'relation "tasks" does not exist' in line
    assert "litestar doctor" in line


def test_without_a_database_it_says_so_in_one_line(operator: Operator) -> None:
    [line] = operator.litestar("purge", DATABASE_URL="postgresql://u:hunter2@127.0.0.1:1/x").refused()
    assert line.startswith("the database cannot be purged: ConnectionRefusedError")


def test_a_negative_number_of_days_is_refused(operator: Operator) -> None:
    assert operator.litestar("purge", "--older-than", "-1").code == 2
