"""Specification 002, number by number: no routes of its own, so both surfaces serve it; tasks deleted for good."""

import asyncio
import statistics
import time
from pathlib import Path
from typing import Any

import asyncpg
import pytest
from sqlmodel import SQLModel

from taskservice.settings import SettingsError, load_settings
from taskservice.tasks import models
from tests.support.isolation import assert_statements_keep_users_apart
from tests.support.problems import assert_problem, fields_of
from tests.support.routes import NOBODYS, operations, operations_of
from tests.support.services import SECRET, Caller, Service, Services, SurfaceName
from tests.support.timing import timed_operations
from tests.support.tokens import bearer, expired, signed
from tests.support.trouble import BROKEN_TRIGGER
from tests.support.wire import Wire

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}
TASK_FIELDS = {
    "id", "user_id", "title", "description", "status", "completed", "priority", "due_date", "created_at", "updated_at",
    "completed_at", "etag",
}  # fmt: skip


@pytest.fixture(scope="session")
def service(services: Services) -> Service:
    return services.shared(delete="hard")


async def stored(alice: Caller) -> list[dict[str, Any]]:
    """This user's tasks as the database has them, past the service."""
    rows = await alice.service.rows("SELECT * FROM tasks WHERE user_id = $1 ORDER BY created_at, id", alice.user)
    return [dict(row) for row in rows]


def foreign(surface: SurfaceName) -> int:
    """The status for somebody else's task (contract, section 1)."""
    return 403 if surface == "token" else 404


# User story 1: secure access


async def test_us1_1_no_endpoint_answers_without_a_token(service: Service) -> None:
    protected = [operation for operation in operations(service.app) if not operation.public]
    assert len(protected) >= 18
    for operation in protected:
        assert_problem(await service.http.request(operation.method, operation.path("alice")), 401)


async def test_us1_2_with_a_sound_token_ones_own_data_is_200(alice: Caller) -> None:
    task = await alice.create()
    assert (await alice.get()).status_code == 200
    assert (await alice.get(f"/{task['id']}")).status_code == 200


async def test_us1_3_another_users_data_is_403(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    assert_problem(await alice.get(f"/api/tasks/{task['id']}"), 403)
    assert_problem(await alice.get(f"/api/{bob.user}/tasks"), 403)
    assert_problem(await alice.get(f"/api/{bob.user}/tasks/{task['id']}"), 403)


# User story 2: managing tasks


async def test_us2_1_a_created_task_is_stored_under_its_user(alice: Caller) -> None:
    task = await alice.create("Buy milk")
    [row] = await stored(alice)
    assert (str(row["id"]), row["user_id"], row["title"]) == (task["id"], alice.user, "Buy milk")


async def test_us2_2_the_list_holds_only_the_users_own_tasks(alice: Caller, bob: Caller) -> None:
    task = await alice.create()
    await bob.create()
    assert await alice.tasks() == [task]


async def test_us2_3_an_update_changes_that_task_and_no_other(alice: Caller, bob: Caller) -> None:
    changed, untouched, his = await alice.create("one"), await alice.create("two"), await bob.create("three")
    assert (await alice.put(f"/{changed['id']}", json={"title": "changed"})).status_code == 200
    assert [row["title"] for row in await stored(alice)] == ["changed", "two"]
    assert await alice.read(untouched["id"]) == untouched
    assert await bob.read(his["id"]) == his


async def test_us2_4_a_deletion_removes_that_task_and_no_other(alice: Caller, bob: Caller) -> None:
    removed, kept, his = await alice.create("one"), await alice.create("two"), await bob.create("three")
    assert (await alice.delete(f"/{removed['id']}")).status_code == 204
    assert [str(row["id"]) for row in await stored(alice)] == [kept["id"]]
    assert [str(row["id"]) for row in await stored(bob)] == [his["id"]]


# User story 3: persistence


async def test_us3_1_tasks_survive_a_restart(services: Services, database_url: str, surface: SurfaceName) -> None:
    service = services.start(database_url=database_url)
    task = await service.user("alice", surface).create("still here?")
    await service.close()
    service = services.start(database_url=database_url)
    assert await service.user("alice", surface).tasks() == [task]
    await service.close()


async def test_us3_2_updates_are_in_the_database(alice: Caller) -> None:
    task = await alice.create()
    await alice.put(f"/{task['id']}", json={"title": "updated", "priority": "high"})
    [row] = await stored(alice)
    assert (row["title"], row["priority"]) == ("updated", "high")


async def test_us3_3_deleted_tasks_are_not_in_the_database(alice: Caller) -> None:
    task = await alice.create()
    await alice.delete(f"/{task['id']}")
    assert await stored(alice) == []


# User story 4: validation


@pytest.mark.parametrize("body", [b"", b"{", b"title=milk", b"\xff\xfe", b"{'title': 'x'}", b'{"title": NaN}'])
async def test_us4_1_a_body_of_invalid_format_is_400(alice: Caller, body: bytes) -> None:
    assert_problem(await alice.post(content=body, headers=JSON), 400)


async def test_us4_2_missing_required_fields_are_named(alice: Caller) -> None:
    assert fields_of(assert_problem(await alice.post(json={"description": "d"}), 422)) == {"title"}


async def test_us4_3_answers_have_the_described_shape(alice: Caller) -> None:
    description = (await alice.service.http.get("/schema/openapi.json")).json()
    described = set(description["components"]["schemas"]["Task"]["properties"])
    task = await alice.create(due_date="2026-12-01")
    [listed] = await alice.tasks()
    assert set(task) == set(listed) == described == TASK_FIELDS


# Edge cases


async def test_edge1_a_request_whose_token_expires_meanwhile_is_finished(alice: Caller) -> None:
    task = await alice.create()
    token = signed({"sub": alice.user, "exp": int(time.time()) + 2})
    async with alice.service.connection() as connection:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", alice.user)
            held = asyncio.create_task(alice.put(f"/{task['id']}", json={"title": "t"}, headers=bearer(token)))
            await asyncio.sleep(2.1)
            assert not held.done()
        assert (await held).status_code == 200
    assert_problem(await alice.get(headers=bearer(token)), 401, detail="Token expired")


async def test_edge2_database_connection_failures_are_503(severed: tuple[Service, Wire], surface: SurfaceName) -> None:
    service, wire = severed
    wire.cut()
    assert_problem(await service.user("alice", surface).get(), 503)


async def test_edge3_a_resource_that_no_longer_exists_is_404(alice: Caller) -> None:
    task = await alice.create()
    await alice.delete(f"/{task['id']}")
    for method, path, body in (
        ("GET", "", None), ("PUT", "", {"title": "t"}), ("PATCH", "", {"title": "t"}), ("PATCH", "/complete", None),
        ("DELETE", "", None), ("POST", "/restore", None),
    ):  # fmt: skip
        assert_problem(await alice.request(method, f"/{task['id']}{path}", json=body), 404)


async def test_edge4_concurrent_requests_of_one_user_are_all_carried_out(alice: Caller) -> None:
    created = await asyncio.gather(*(alice.create(f"task {n}") for n in range(30)))
    assert len({task["id"] for task in created}) == len(await alice.tasks()) == 30


async def test_edge5_after_a_database_outage_the_service_heals(
    severed: tuple[Service, Wire], surface: SurfaceName
) -> None:
    service, wire = severed
    alice = service.user("alice", surface)
    task = await alice.create()
    wire.cut()
    assert_problem(await alice.get(f"/{task['id']}"), 503)
    assert (await service.http.get("/health/live")).status_code == 200
    assert_problem(await service.http.get("/health/ready"), 503)
    wire.mend()
    service.wait_until_ready(5)
    assert await alice.read(task["id"]) == task


# Functional requirements


async def test_fr001_tokens_are_verified_with_the_secret(alice: Caller) -> None:
    claims = {"sub": alice.user}
    assert (await alice.get(headers=bearer(signed(claims)))).status_code == 200
    assert_problem(await alice.get(headers=bearer(signed(claims, secret=SECRET + "x"))), 401)


async def test_fr002_isolation_is_in_the_queries(alice: Caller, bob: Caller, surface: SurfaceName) -> None:
    task = await bob.create()
    for method, path, body in (
        ("GET", "", None), ("PUT", "", {"title": "t"}), ("PATCH", "/complete", None), ("DELETE", "", None),
    ):  # fmt: skip
        answer = await alice.request(method, f"/{task['id']}{path}", json=body)
        assert_problem(answer, foreign(surface))
    assert await bob.tasks() == [task]
    await assert_statements_keep_users_apart(alice, bob)


async def test_fr003_users_see_and_manage_only_their_own(alice: Caller, bob: Caller) -> None:
    mine, his = await alice.create("hers"), await bob.create("his")
    assert (await alice.tasks(), await bob.tasks()) == ([mine], [his])
    assert (await alice.tasks(q="his"), await bob.tasks(q="hers")) == ([], [])


async def test_fr004_the_token_is_checked_before_anything_else(alice: Caller) -> None:
    http, root = alice.service.http, alice.root
    assert_problem(await http.post(root, content=b"{", headers=JSON), 401)
    assert_problem(await http.post(root, content=b"x" * 100_000, headers={"Content-Type": "text/plain"}), 401)
    assert_problem(await http.get(root, params={"nonsense": "1"}), 401)
    assert_problem(await http.get(f"{root}/malformed"), 401)


async def test_fr005_status_codes_are_the_proper_ones(
    services: Services, database_url: str, surface: SurfaceName
) -> None:
    service = services.start(database_url=database_url)
    try:
        alice = service.user("alice", surface)
        assert (await alice.post(json={"title": "t"})).status_code == 201
        assert (await alice.get()).status_code == 200
        assert_problem(await alice.post(content=b"{", headers=JSON), 400)
        assert_problem(await service.http.get(alice.root), 401)
        assert_problem(await alice.get("/api/bob/tasks"), 403)
        assert_problem(await alice.get(f"/{NOBODYS}"), 404)
        await service.execute(BROKEN_TRIGGER)
        assert_problem(await alice.post(json={"title": "t"}), 500)
    finally:
        await service.close()


async def test_fr006_postgresql_through_sqlmodel_tables(alice: Caller) -> None:
    assert issubclass(models.TaskModel, SQLModel)
    assert issubclass(models.UserModel, SQLModel)
    await alice.create()
    assert len(await alice.service.rows("SELECT * FROM tasks WHERE user_id = $1", alice.user)) == 1


async def test_fr007_the_methods_are_those_of_rest(alice: Caller) -> None:
    created = await alice.post(json={"title": "t"})
    location = created.headers["location"]
    assert (await alice.get(location)).json() == created.json()
    assert (await alice.put(location, json={"title": "t2"})).json()["title"] == "t2"
    assert (await alice.delete(location)).status_code == 204
    refused = await alice.request("DELETE", alice.root + "/trash")
    assert_problem(refused, 405)
    assert "GET" in refused.headers["allow"]


async def test_fr008_requests_and_answers_are_validated(alice: Caller) -> None:
    assert_problem(await alice.post(json={"title": "t", "priority": 3}), 422)
    task = await alice.create()
    assert set(task) == TASK_FIELDS
    assert [type(task[name]) for name in ("id", "title", "completed", "status")] == [str, str, bool, str]


def test_fr009_secrets_and_database_come_from_the_environment(tmp_path: Path) -> None:
    settings = load_settings({"DATABASE_URL": "postgresql://somewhere/db", "BETTER_AUTH_SECRET": SECRET})
    assert settings.database is not None
    assert (settings.database.host, settings.database.database, settings.secrets) == ("somewhere", "db", (SECRET,))
    for variable in (
        "DATABASE_URL", "NEON_DB_URL", "DATABASE_DIRECT_URL", "BETTER_AUTH_SECRET", "BETTER_AUTH_SECRETS",
    ):  # fmt: skip
        for key in (variable.lower(), variable):
            (tmp_path / "litestar.toml").write_text(f'[taskservice]\n{key} = "postgresql://u:hunter2@somewhere/db"\n')
            with pytest.raises(SettingsError) as refused:
                load_settings({"BETTER_AUTH_SECRET": SECRET}, tmp_path)
            assert refused.value.problems == [f"litestar.toml: [taskservice] {key}: no such setting"]


async def test_fr010_errors_are_handled_and_logged_with_their_cause(
    services: Services, database_url: str, capfd: pytest.CaptureFixture[str], surface: SurfaceName
) -> None:
    service = services.start(database_url=database_url)
    try:
        await service.execute(BROKEN_TRIGGER)
        document = assert_problem(await service.user("alice", surface).post(json={"title": "t"}), 500)
    finally:
        await service.close()
    logged = capfd.readouterr().out
    assert document["request_id"] in logged
    assert "a trigger that somebody broke" in logged


async def test_fr011_connections_are_pooled_and_bounded(
    services: Services, database_url: str, surface: SurfaceName
) -> None:
    service = services.start(database_url=database_url, database_connections=2)
    try:
        alice = service.user("alice", surface)
        count = "SELECT count(*) FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        pids = "SELECT pid FROM pg_stat_activity WHERE datname = current_database() AND pid <> pg_backend_pid()"
        await asyncio.gather(*(alice.create() for _ in range(20)))
        before = {row["pid"] for row in await service.rows(pids)}
        await asyncio.gather(*(alice.tasks() for _ in range(20)))
        assert {row["pid"] for row in await service.rows(pids)} == before
        assert (await service.rows(count))[0]["count"] <= 2
    finally:
        await service.close()


@pytest.mark.parametrize(
    "text",
    [
        "plain",
        "Ünïcödé",
        "日本語",
        "😀👩‍👩‍👧",
        'quote " and \\ backslash',
        "two\nlines\ttab",
        "<b>&amp;",
        "\u061c\u0639",
    ],
)
async def test_fr012_values_come_back_as_they_were_sent(alice: Caller, text: str) -> None:
    task = await alice.create(text, description=text, due_date="2026-12-01T10:30:00.123456+02:00")
    assert (task["title"], task["description"]) == (text, text)
    assert task["due_date"] == "2026-12-01T08:30:00.123456Z"
    assert await alice.read(task["id"]) == task


# Success criteria


async def test_sc001_the_server_runs_reliably(alice: Caller) -> None:
    answers = [await alice.post(json={"title": f"task {n}"}) for n in range(50)]
    answers += [await alice.post(content=b"rubbish") for _ in range(50)]
    answers += [await alice.service.http.get(alice.root) for _ in range(50)]
    assert {answer.status_code for answer in answers} <= {201, 400, 401, 415}
    assert (await alice.service.http.get("/health/live")).status_code == 200
    assert len(await alice.tasks()) == 50


async def test_sc002_all_routes_validate_their_bodies(alice: Caller) -> None:
    task = await alice.create()
    for method, path in (("POST", ""), ("PUT", f"/{task['id']}"), ("PATCH", f"/{task['id']}")):
        document = assert_problem(await alice.request(method, path, json={"title": 7, "status": "x"}), 422)
        assert fields_of(document) == {"title", "status"}
    assert_problem(await alice.patch(f"/{task['id']}/complete", json={"completed": "yes"}), 422)


async def test_sc003_the_token_is_required_on_every_protected_route(alice: Caller) -> None:
    for operation in operations_of(alice):
        for headers in ({}, bearer(expired(alice.user)), bearer("x")):
            answer = await alice.service.http.request(operation.method, operation.path(alice.user), headers=headers)
            assert_problem(answer, 401)


BREAKS = {
    "ck_tasks_completed_at": "UPDATE tasks SET completed_at = now() WHERE user_id = $1",
    "ck_tasks_description": "UPDATE tasks SET description = repeat('x', 10001) WHERE user_id = $1",
    "ck_tasks_due_all_day": "UPDATE tasks SET due_all_day = true WHERE user_id = $1",
    "ck_tasks_priority": "UPDATE tasks SET priority = 'urgent' WHERE user_id = $1",
    "ck_tasks_status": "UPDATE tasks SET status = 'done' WHERE user_id = $1",
    "ck_tasks_title": "UPDATE tasks SET title = ' ' WHERE user_id = $1",
    "ck_tasks_updated_at": "UPDATE tasks SET updated_at = created_at - interval '1 hour' WHERE user_id = $1",
    "ck_users_revision": "UPDATE users SET forgotten = revision + 1 WHERE id = $1",
    "fk_tasks_user_id_users": "DELETE FROM users WHERE id = $1",
    "pk_tasks": "INSERT INTO tasks (id, user_id, title, revision) SELECT id, user_id, title, 9 FROM tasks "
    "WHERE user_id = $1",
    "pk_users": "INSERT INTO users (id) VALUES ($1)",
}
"""What each constraint of users and tasks refuses."""


async def test_sc004_the_schema_relates_tasks_to_users(alice: Caller) -> None:
    constraints = await alice.service.rows(
        "SELECT conname AS name, pg_get_constraintdef(oid) AS definition FROM pg_constraint "
        "WHERE conrelid IN ('tasks'::regclass, 'users'::regclass) AND contype IN ('c', 'f', 'p')"
    )
    assert {row["name"] for row in constraints} == set(BREAKS)
    assert {row["definition"] for row in constraints if row["name"].startswith("fk_")} == {
        "FOREIGN KEY (user_id) REFERENCES users(id)"
    }
    task = await alice.create()
    for name, statement in BREAKS.items():
        with pytest.raises(asyncpg.IntegrityConstraintViolationError) as refused:
            await alice.service.execute(statement, alice.user)
        assert getattr(refused.value, "constraint_name", None) == name
    assert await alice.read(task["id"]) == task


async def test_sc005_create_read_update_delete(alice: Caller) -> None:
    task = await alice.create("one")
    assert await alice.read(task["id"]) == task
    assert (await alice.put(f"/{task['id']}", json={"title": "two"})).json()["title"] == "two"
    assert (await alice.delete(f"/{task['id']}")).status_code == 204
    assert await alice.tasks() == []


async def test_sc006_users_reach_only_their_own_data(alice: Caller, bob: Caller, surface: SurfaceName) -> None:
    his = await bob.create()
    assert_problem(await alice.get(f"/{his['id']}"), foreign(surface))
    assert await alice.tasks() == []


async def test_sc007_success_and_error_codes(alice: Caller) -> None:
    task = await alice.create()
    for expected, method, path, body in (
        (200, "GET", "", None),
        (201, "POST", "", {"title": "t"}),
        (200, "PATCH", f"/{task['id']}", {"title": "t2"}),
        (204, "DELETE", f"/{task['id']}", None),
        (404, "GET", f"/{task['id']}", None),
        (422, "POST", "", {}),
        (405, "PUT", "", {}),
    ):
        assert (await alice.request(method, path, json=body)).status_code == expected, (method, path)


async def test_sc008_a_database_failure_in_the_middle_is_answered(alice: Caller) -> None:
    await alice.create()
    kill = (
        "SELECT pg_terminate_backend(pid) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    for _ in range(5):
        await alice.service.execute(kill)
        answer = await alice.get()
        # Reads are safe to repeat, so a lost connection may go unnoticed; if it does not, it is a 503.
        assert answer.status_code in {200, 503}
        if answer.status_code == 503:
            assert_problem(answer, 503)
    assert (await alice.get()).status_code == 200


@pytest.mark.parametrize(
    "change",
    [
        "title = ''",
        "title = NULL",
        "title = repeat('x', 201)",
        "status = 'done'",
        "priority = 'urgent'",
        "user_id = 'nobody at all'",
    ],
)
async def test_sc009_the_database_itself_refuses_invalid_rows(alice: Caller, change: str) -> None:
    task = await alice.create()
    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        await alice.service.execute(f"UPDATE tasks SET {change} WHERE id = $1", task["id"])
    assert await alice.read(task["id"]) == task


@pytest.mark.timing
async def test_sc010_endpoints_stay_quick_while_others_work(alice: Caller, bob: Caller) -> None:
    measured = asyncio.Event()

    async def work() -> int:
        created = 0
        while not measured.is_set():
            await bob.create()
            created += 1
        return created

    background = asyncio.gather(*(work() for _ in range(4)))
    times = await timed_operations(alice, 10)
    measured.set()
    assert min(await background) > 10
    assert {name: taken for name, taken in times.items() if statistics.median(taken) >= 0.5} == {}
