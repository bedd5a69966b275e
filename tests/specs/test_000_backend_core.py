"""Specification 000, number by number: the token surface, tasks deleted for good, foreign tasks 403."""

import asyncio
import statistics
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest

from tests.support.better_auth import SIGN_UP
from tests.support.problems import assert_problem, fields_of
from tests.support.routes import NOBODYS, operations
from tests.support.services import SECRET, Caller, Service, Services, SurfaceName
from tests.support.timing import timed_operations
from tests.support.tokens import bearer, expired, signed, unlimited
from tests.support.wire import Wire

pytestmark = pytest.mark.slow

BODY = {"title": "Buy milk", "description": "Two bottles"}


@pytest.fixture(scope="session")
def service(services: Services) -> Service:
    return services.shared(delete="hard", foreign_task="403")


@pytest.fixture
def surface() -> SurfaceName:
    return "token"


# User story 1: create


async def test_us1_1_a_task_is_created_under_the_tokens_user(alice: Caller) -> None:
    response = await alice.post(json=BODY)
    assert response.status_code == 201
    stored = await alice.service.rows(
        "SELECT user_id, title, description FROM tasks WHERE id = $1", response.json()["id"]
    )
    assert [tuple(row) for row in stored] == [(alice.user, "Buy milk", "Two bottles")]


async def test_us1_2_creating_without_a_token_is_401(service: Service) -> None:
    assert_problem(await service.http.post("/api/tasks", json=BODY), 401)
    assert_problem(await service.http.post("/api/tasks", json=BODY, headers=bearer("no.such.token")), 401)


async def test_us1_3_creating_without_a_title_is_422_naming_it(alice: Caller) -> None:
    document = assert_problem(await alice.post(json={"description": "of what?"}), 422, "validation-failed")
    assert fields_of(document) == {"title"}


# User story 2: list


async def test_us2_1_the_list_holds_only_the_users_tasks(alice: Caller, bob: Caller) -> None:
    mine = [await alice.create(title) for title in ("one", "two")]
    await bob.create("three")
    assert await alice.tasks() == mine


async def test_us2_2_without_tasks_the_list_is_empty_and_200(alice: Caller) -> None:
    response = await alice.get()
    assert (response.status_code, response.json()) == (200, [])


async def test_us2_3_two_users_each_see_their_own(alice: Caller, bob: Caller) -> None:
    hers, his = await alice.create("hers"), await bob.create("his")
    assert await alice.tasks() == [hers]
    assert await bob.tasks() == [his]


# User story 3: read one


async def test_us3_1_an_owned_task_is_returned_in_full(alice: Caller) -> None:
    fields = BODY | {"status": "in_progress", "priority": "high", "due_date": "2026-12-01"}
    task = (await alice.post(json=fields)).json()
    assert await alice.read(task["id"]) == task
    assert task | fields == task


async def test_us3_2_an_id_that_does_not_exist_is_404(alice: Caller) -> None:
    assert_problem(await alice.get(f"/{NOBODYS}"), 404, detail="Task not found")


async def test_us3_3_foreign_task_is_403(alice: Caller, bob: Caller) -> None:
    task = await bob.create("his")
    assert_problem(await alice.get(f"/{task['id']}"), 403, "foreign-task")


# User story 4: update


async def test_us4_1_an_update_is_kept_and_refreshes_the_timestamp(alice: Caller) -> None:
    task = await alice.create()
    changes = {"title": "Buy bread", "status": "completed", "priority": "low", "due_date": "2026-12-24T18:00:00Z"}
    response = await alice.put(f"/{task['id']}", json=changes)
    assert response.status_code == 200
    kept = await alice.read(task["id"])
    assert kept["title"] == "Buy bread"
    assert (kept["status"], kept["priority"], kept["due_date"][:16]) == ("completed", "low", "2026-12-24T18:00")
    assert kept["updated_at"] > task["updated_at"]


async def test_us4_2_updating_a_foreign_task_is_403(alice: Caller, bob: Caller) -> None:
    task = await bob.create("his")
    assert_problem(await alice.put(f"/{task['id']}", json={"title": "mine now"}), 403)
    assert await bob.read(task["id"]) == task


async def test_us4_3_an_invalid_status_is_422_with_what_is_allowed(alice: Caller) -> None:
    task = await alice.create()
    document = assert_problem(await alice.put(f"/{task['id']}", json={"status": "done"}), 422, "validation-failed")
    [error] = document["errors"]
    assert (error["field"], error["allowed"]) == ("status", ["pending", "in_progress", "completed"])


# User story 5: delete


async def test_us5_1_a_deleted_task_is_gone(alice: Caller) -> None:
    task = await alice.create()
    assert (await alice.delete(f"/{task['id']}")).status_code == 204
    assert_problem(await alice.get(f"/{task['id']}"), 404)
    assert await alice.service.rows("SELECT 1 FROM tasks WHERE id = $1", task["id"]) == []


async def test_us5_2_deleting_a_foreign_task_is_403_and_leaves_it_whole(alice: Caller, bob: Caller) -> None:
    task = await bob.create("his")
    assert_problem(await alice.delete(f"/{task['id']}"), 403)
    assert await bob.read(task["id"]) == task


async def test_us5_3_deleting_an_id_that_does_not_exist_is_404(alice: Caller) -> None:
    assert_problem(await alice.delete(f"/{NOBODYS}"), 404)


# User story 6: tokens


async def test_us6_1_the_user_comes_out_of_a_valid_token(service: Service) -> None:
    for claim in ("sub", "user_id"):
        response = await service.http.post(
            "/api/tasks", json=BODY, headers=bearer(signed({claim: f"carol by {claim}"}))
        )
        assert response.json()["user_id"] == f"carol by {claim}"


async def test_us6_2_an_expired_token_is_401_token_expired(service: Service) -> None:
    assert_problem(await service.http.get("/api/tasks", headers=bearer(expired("alice"))), 401, detail="Token expired")


@pytest.mark.parametrize(
    "token",
    [
        "not-a-token",
        "a.b.c",
        signed({"sub": "alice"}, secret="another secret of more than 32 bytes"),
        signed({"sub": "x"})[:-2],
    ],
    ids=["no token", "three parts", "another secret", "cut off"],
)
async def test_us6_3_a_malformed_token_or_signature_is_401_invalid_token(service: Service, token: str) -> None:
    assert_problem(await service.http.get("/api/tasks", headers=bearer(token)), 401, detail="Invalid token")


async def test_us6_4_no_authorization_header_is_401_missing_authentication(service: Service) -> None:
    assert_problem(await service.http.get("/api/tasks"), 401, detail="Missing authentication")


# Edge cases


async def test_edge1_a_title_of_more_than_1000_characters_is_refused(alice: Caller) -> None:
    document = assert_problem(await alice.post(json={"title": "x" * 1001}), 422)
    assert [(error["field"], error["limit"]) for error in document["errors"]] == [("title", 200)]
    assert await alice.tasks() == []


async def test_edge2_of_concurrent_updates_the_last_one_wins_whole(alice: Caller) -> None:
    task = await alice.create()
    writes = [{"title": f"title {n}", "description": f"description {n}"} for n in range(20)]
    answers = await asyncio.gather(*(alice.put(f"/{task['id']}", json=write) for write in writes))
    assert {answer.status_code for answer in answers} == {200}
    last = max((answer.json() for answer in answers), key=lambda answered: answered["updated_at"])
    kept = await alice.read(task["id"])
    assert kept == last
    assert {"title": kept["title"], "description": kept["description"]} in writes


async def test_edge3_a_database_that_cannot_be_reached_is_503(severed: tuple[Service, Wire]) -> None:
    service, wire = severed
    alice = service.user("alice")
    wire.cut()
    document = assert_problem(await alice.get(), 503, "database-unavailable")
    assert document["detail"]


async def test_edge4_a_user_unknown_to_the_system_is_401(services: Services) -> None:
    service = services.shared(delete="hard", users="registered")
    await service.execute(SIGN_UP, "known")
    assert (await service.user("known").get()).status_code == 200
    assert_problem(await service.user("unknown").get(), 401, "unknown-user")


@pytest.mark.parametrize("task_id", ["42", "not-a-uuid", "0197-", "0" * 31, "%00"])
async def test_edge5_a_malformed_task_id_is_422(alice: Caller, task_id: str) -> None:
    document = assert_problem(await alice.get(f"/{task_id}"), 422)
    assert [(error["field"], error["location"]) for error in document["errors"]] == [("task_id", "path")]


# Functional requirements


async def test_fr001_every_endpoint_verifies_tokens_with_the_shared_secret(service: Service) -> None:
    sound = signed({"sub": "alice"})
    forged = signed({"sub": "alice"}, secret=SECRET[::-1])
    for operation in operations(service.app):
        if not operation.public:
            path = operation.path("alice")
            assert_problem(await service.http.request(operation.method, path, headers=bearer(forged)), 401)
            answer = await service.http.request(operation.method, path, headers=bearer(sound))
            assert answer.status_code != 401, operation


async def test_fr002_identity_comes_from_the_token_alone(alice: Caller, bob: Caller) -> None:
    response = await alice.post(json=BODY | {"user_id": bob.user}, params={})
    assert response.json()["user_id"] == alice.user
    assert_problem(await alice.post(json=BODY, params={"user_id": bob.user}), 422)
    assert await bob.tasks() == []


async def test_fr003_ownership_is_enforced_on_every_operation(alice: Caller, bob: Caller) -> None:
    task = await bob.create("his")
    for method, path, body in (
        ("GET", f"/{task['id']}", None),
        ("PUT", f"/{task['id']}", {"title": "mine"}),
        ("PATCH", f"/{task['id']}", {"title": "mine"}),
        ("PATCH", f"/{task['id']}/complete", None),
        ("DELETE", f"/{task['id']}", None),
    ):
        assert_problem(await alice.request(method, path, json=body), 403)
    assert await bob.read(task["id"]) == task


async def test_fr004_post_creates_a_task(service: Service) -> None:
    response = await service.user("fr004").post("/api/tasks", json=BODY)
    assert response.status_code == 201
    assert response.headers["location"] == f"/api/tasks/{response.json()['id']}"


async def test_fr005_get_lists_the_tasks(alice: Caller) -> None:
    task = await alice.create()
    response = await alice.get("/api/tasks")
    assert (response.status_code, response.json()) == (200, [task])


async def test_fr006_get_reads_one_task(alice: Caller) -> None:
    task = await alice.create()
    response = await alice.get(f"/api/tasks/{task['id']}")
    assert (response.status_code, response.json()) == (200, task)


async def test_fr007_put_updates_a_task(alice: Caller) -> None:
    task = await alice.create()
    response = await alice.put(f"/api/tasks/{task['id']}", json={"title": "Buy bread"})
    assert (response.status_code, response.json()["title"]) == (200, "Buy bread")


async def test_fr008_delete_deletes_a_task(alice: Caller) -> None:
    task = await alice.create()
    response = await alice.delete(f"/api/tasks/{task['id']}")
    assert (response.status_code, response.content) == (204, b"")


async def test_fr009_everything_is_kept_in_postgresql(alice: Caller) -> None:
    task = await alice.create("Buy milk", description="d", status="in_progress", priority="high", due_date="2026-12-01")
    [row] = await alice.service.rows("SELECT *, version() AS server FROM tasks WHERE id = $1", task["id"])
    assert row["server"].startswith("PostgreSQL")
    assert (row["title"], row["description"], row["status"], row["priority"]) == (
        "Buy milk",
        "d",
        "in_progress",
        "high",
    )
    assert row["due_date"].isoformat().startswith("2026-12-01")


async def test_fr010_status_codes_are_the_appropriate_ones(
    alice: Caller, bob: Caller, severed: tuple[Service, Wire]
) -> None:
    created = await alice.post(json=BODY)
    task, foreign = created.json(), await bob.create()
    assert created.status_code == 201
    assert (await alice.get()).status_code == 200
    assert_problem(await alice.post(content=b"{", headers={"Content-Type": "application/json"}), 400)
    assert_problem(await alice.service.http.get("/api/tasks"), 401)
    assert_problem(await alice.get(f"/{foreign['id']}"), 403)
    assert_problem(await alice.get(f"/{NOBODYS}"), 404)
    assert_problem(await alice.put(f"/{task['id']}", json={"title": ""}), 422)
    service, wire = severed
    wire.cut()
    assert_problem(await service.user("alice").get(), 503)


async def test_fr011_all_input_is_validated_and_every_wrong_field_named(alice: Caller) -> None:
    wrong: dict[str, Any] = {
        "title": 5, "description": ["d"], "status": "done", "priority": None, "due_date": "tomorrow", "colour": "red"
    }  # fmt: skip
    document = assert_problem(await alice.post(json=wrong), 422)
    assert fields_of(document) == set(wrong)
    assert fields_of(assert_problem(await alice.get(params={"limit": "0", "sort": "x"}), 422)) == {"limit", "sort"}


async def test_fr012_a_task_has_these_attributes_and_values(alice: Caller) -> None:
    task = await alice.create()
    assert (task["description"], task["status"], task["priority"], task["due_date"]) == (
        None,
        "pending",
        "medium",
        None,
    )
    for status in ("pending", "in_progress", "completed"):
        assert (await alice.create(status=status))["status"] == status
    for priority in ("low", "medium", "high"):
        assert (await alice.create(priority=priority))["priority"] == priority
    assert {"created_at", "updated_at"} <= set(task)


async def test_fr013_the_server_sets_both_timestamps(alice: Caller) -> None:
    before = datetime.now(UTC) - timedelta(seconds=5)
    task = await alice.create(created_at="2001-01-01T00:00:00Z", updated_at="2001-01-01T00:00:00Z")
    assert before < datetime.fromisoformat(task["created_at"]) <= datetime.fromisoformat(task["updated_at"])
    changed = (await alice.patch(f"/{task['id']}", json={"title": "Buy bread"})).json()
    assert changed["updated_at"] > task["updated_at"]
    assert changed["created_at"] == task["created_at"]


# Success criteria


@pytest.mark.timing
async def test_sc001_the_five_endpoints_answer_within_500_ms(alice: Caller) -> None:
    times = await timed_operations(alice, 10)
    assert {"create", "list", "read", "update", "delete"} <= set(times)
    assert {name: taken for name, taken in times.items() if statistics.median(taken) >= 0.5} == {}


async def test_sc002_every_request_without_a_sound_token_is_401(service: Service) -> None:
    unsound = [
        {},
        {"Authorization": ""},
        {"Authorization": "Basic YWxpY2U6c2VjcmV0"},
        {"Authorization": "Bearer"},
        bearer(expired("alice")),
        bearer(signed({"sub": "alice"}, secret="", algorithm="none")),
        bearer(unlimited({"sub": "alice"})),
    ]
    for operation in operations(service.app):
        if not operation.public:
            for headers in unsound:
                answer = await service.http.request(operation.method, operation.path("alice"), headers=headers)
                assert_problem(answer, 401)


async def test_sc003_every_access_to_a_foreign_task_is_403(alice: Caller, bob: Caller) -> None:
    task = await bob.create("his")
    attempts = 0
    for operation in operations(alice.service.app):
        if operation.of_one_task and operation.template.startswith("/api/tasks"):
            answer = await alice.request(operation.method, operation.path(alice.user, task["id"]), json=operation.body)
            assert_problem(answer, 403)
            attempts += 1
    assert attempts >= 5
    assert await bob.read(task["id"]) == task


async def test_sc004_100_concurrent_requests_without_an_error(alice: Caller) -> None:
    answers = await asyncio.gather(*(alice.post(json={"title": f"task {n}"}) for n in range(100)))
    assert {answer.status_code for answer in answers} == {201}
    assert sorted(await alice.titles()) == sorted(f"task {n}" for n in range(100))


async def test_sc005_answers_have_content_types_and_one_structure(alice: Caller) -> None:
    task = await alice.create()
    for path in ("", f"/{task['id']}"):
        assert (await alice.get(path)).headers["content-type"] == "application/json"
    [listed] = await alice.tasks()
    assert listed == await alice.read(task["id"]) == task
    assert_problem(await alice.get(f"/{NOBODYS}"), 404)
    assert_problem(await alice.get("/nonsense/nonsense"), 404)


@pytest.mark.parametrize(
    ("body", "field", "rule"),
    [
        ({}, "title", "required"),
        ({"title": ""}, "title", None),
        ({"title": "x" * 201}, "title", "max_length"),
        ({"title": 1}, "title", "type"),
        ({"title": "t", "description": "x" * 1001}, "description", "max_length"),
        ({"title": "t", "status": "x"}, "status", "one_of"),
        ({"title": "t", "priority": "x"}, "priority", "one_of"),
        ({"title": "t", "due_date": "x"}, "due_date", None),
        ({"title": "t", "extra": 1}, "extra", None),
    ],
)
async def test_sc006_a_validation_error_names_field_and_rule(
    alice: Caller, body: dict[str, Any], field: str, rule: str | None
) -> None:
    [error] = assert_problem(await alice.post(json=body), 422)["errors"]
    assert error["field"] == field
    assert error["rule"]
    assert rule in {None, error["rule"]}
    assert error["message"]


async def test_sc007_it_serves_without_any_front_end(services: Services) -> None:
    service = services.start(delete="hard")
    try:
        assert (await service.http.get("/health/ready")).status_code == 200
        assert (await service.user("alice").post(json=BODY)).status_code == 201
    finally:
        await service.close()
