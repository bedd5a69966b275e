"""Specification 004, number by number: the token surface, titles generated, descriptions of 500, soft deletion."""

import asyncio
import tomllib
from datetime import UTC, datetime, timedelta
from pathlib import Path
from urllib.parse import urlsplit

import pytest
from litestar import get

from tests.browser.conftest import Visiting
from tests.support.plans import CROWD, assert_the_indexes_serve_lists
from tests.support.problems import assert_problem
from tests.support.routes import NOBODYS, operations, operations_of
from tests.support.schema import index_columns
from tests.support.services import SECRET, Caller, Service, Services, SurfaceName
from tests.support.swagger import Swagger
from tests.support.tokens import bearer, expired, signed
from tests.support.wire import Wire

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]


@pytest.fixture(scope="session")
def service(services: Services) -> Service:
    return services.shared(title="generated", description_max=500, delete="soft", foreign_task="403")


@pytest.fixture
def surface() -> SurfaceName:
    return "token"


# User story 1: one's own tasks


async def test_us1_1_get_gives_only_ones_own_tasks(alice: Caller, bob: Caller) -> None:
    task = await alice.create()
    await bob.create()
    assert (await alice.get("/api/tasks")).json() == [task]


async def test_us1_2_post_assigns_the_user_id(alice: Caller) -> None:
    response = await alice.post("/api/tasks", json={"title": "t"})
    assert (response.status_code, response.json()["user_id"]) == (201, alice.user)


async def test_us1_3_another_users_task_is_403(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    assert_problem(await alice.get(f"/{task['id']}"), 403)


# User story 2: the life of a task


async def test_us2_1_a_created_task_has_user_id_and_current_timestamps(alice: Caller) -> None:
    task = await alice.create()
    assert task["user_id"] == alice.user
    assert abs(datetime.fromisoformat(task["created_at"]) - datetime.now(UTC)) < timedelta(seconds=10)
    assert task["created_at"] == task["updated_at"]


async def test_us2_2_put_updates_only_ones_own_task(alice: Caller, bob: Caller) -> None:
    mine, his = await alice.create(), await bob.create()
    assert (await alice.put(f"/{mine['id']}", json={"title": "new"})).json()["title"] == "new"
    assert_problem(await alice.put(f"/{his['id']}", json={"title": "new"}), 403)
    assert await bob.read(his["id"]) == his


async def test_us2_3_patch_complete_toggles_only_ones_own_task(alice: Caller, bob: Caller) -> None:
    mine, his = await alice.create(), await bob.create()
    assert (await alice.patch(f"/{mine['id']}/complete")).json()["completed"] is True
    assert_problem(await alice.patch(f"/{his['id']}/complete"), 403)
    assert await bob.read(his["id"]) == his


# User story 3: failures of authentication


async def test_us3_1_an_invalid_token_is_401(service: Service) -> None:
    for operation in operations(service.app):
        if not operation.public:
            answer = await service.http.request(operation.method, operation.path("a"), headers=bearer("invalid"))
            assert_problem(answer, 401, detail="Invalid token")


async def test_us3_2_an_expired_token_is_401(service: Service) -> None:
    for operation in operations(service.app):
        if not operation.public:
            answer = await service.http.request(operation.method, operation.path("a"), headers=bearer(expired("a")))
            assert_problem(answer, 401, detail="Token expired")


async def test_us3_3_no_header_is_401(service: Service) -> None:
    for operation in operations(service.app):
        if not operation.public:
            answer = await service.http.request(operation.method, operation.path("a"))
            assert_problem(answer, 401, detail="Missing authentication")


# Edge cases


async def test_edge1_a_task_that_does_not_exist_is_404(alice: Caller) -> None:
    assert_problem(await alice.get(f"/{NOBODYS}"), 404)


@pytest.mark.parametrize("token", [".", "..", "a.b.c", "a.b.c.d", "eyJ.eyJ.x", "é", signed({"sub": "a"}) + "x"])
async def test_edge2_malformed_tokens_are_401(service: Service, token: str) -> None:
    headers = {b"Authorization": f"Bearer {token}".encode()}
    assert_problem(await service.http.get("/api/tasks", headers=headers), 401)


async def test_edge3_another_users_task_id_is_403(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    for method, body in (("GET", None), ("PUT", {"title": "t"}), ("DELETE", None)):
        assert_problem(await alice.request(method, f"/{task['id']}", json=body), 403)


async def test_edge4_of_concurrent_writes_the_last_one_wins(alice: Caller) -> None:
    task = await alice.create()
    answers = await asyncio.gather(*(alice.put(f"/{task['id']}", json={"title": f"title {n}"}) for n in range(10)))
    last = max((answer.json() for answer in answers), key=lambda answered: answered["updated_at"])
    assert await alice.read(task["id"]) == last


async def test_edge5_a_database_failing_during_an_operation_is_503(severed: tuple[Service, Wire]) -> None:
    service, wire = severed
    alice = service.user("edge5")
    task = await alice.create()
    async with service.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM users WHERE id = 'edge5' FOR UPDATE")
        held = asyncio.create_task(alice.put(f"/{task['id']}", json={"title": "t"}))
        await asyncio.sleep(0.2)
        wire.cut()
        assert_problem(await held, 503)


# Functional requirements


async def test_fr001_every_endpoint_asks_for_a_token(alice: Caller) -> None:
    for operation in operations_of(alice):
        assert_problem(await alice.service.http.request(operation.method, operation.path("a")), 401)


async def test_fr002_better_auth_secret_verifies_tokens(alice: Caller) -> None:
    claims = {"sub": alice.user}
    assert (await alice.get(headers=bearer(signed(claims, secret=SECRET)))).status_code == 200
    assert_problem(await alice.get(headers=bearer(signed(claims, secret="x" * 40))), 401)


async def test_fr003_missing_invalid_and_expired_tokens_are_401(alice: Caller) -> None:
    for headers in ({}, bearer("x.y.z"), bearer(expired(alice.user))):
        assert_problem(await alice.service.http.get("/api/tasks", headers=headers), 401)


async def test_fr004_user_id_is_assigned_from_the_token(alice: Caller) -> None:
    task = await alice.create(user_id="somebody else")
    [row] = await alice.service.rows("SELECT user_id FROM tasks WHERE id = $1", task["id"])
    assert row["user_id"] == task["user_id"] == alice.user


async def test_fr005_ownership_is_verified_on_read_update_and_delete(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    for method, body in (("GET", None), ("PUT", {"title": "t"}), ("PATCH", {"title": "t"}), ("DELETE", None)):
        assert_problem(await alice.request(method, f"/{task['id']}", json=body), 403)
    assert await bob.tasks() == [task]


async def test_fr006_other_users_tasks_are_403(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    assert_problem(await alice.get(f"/{task['id']}"), 403, "foreign-task")


async def test_fr007_get_lists_the_tasks(alice: Caller) -> None:
    task = await alice.create()
    assert (await alice.get("/api/tasks")).json() == [task]


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ({}, "Untitled task"),
        ({"description": None}, "Untitled task"),
        ({"description": "Call the plumber"}, "Call the plumber"),
        ({"description": "\n  First line \nsecond line"}, "First line"),
        ({"description": "word " * 40}, ("word " * 12).strip()),
        ({"description": "x" * 100}, "x" * 60),
        ({"title": "given", "description": "d"}, "given"),
    ],
)
async def test_fr008_post_creates_and_generates_a_missing_title(
    alice: Caller, body: dict[str, str | None], title: str
) -> None:
    response = await alice.post("/api/tasks", json=body)
    assert (response.status_code, response.json()["title"]) == (201, title)


async def test_fr009_get_fetches_one_task(alice: Caller) -> None:
    task = await alice.create()
    assert (await alice.get(f"/api/tasks/{task['id']}")).json() == task


async def test_fr010_put_updates_a_task(alice: Caller) -> None:
    task = await alice.create()
    response = await alice.put(f"/api/tasks/{task['id']}", json={"description": "new"})
    assert (response.status_code, response.json()["description"]) == (200, "new")


async def test_fr011_delete_keeps_the_row_marked_as_deleted(alice: Caller) -> None:
    task = await alice.create()
    assert (await alice.delete(f"/{task['id']}")).status_code == 204
    assert_problem(await alice.get(f"/{task['id']}"), 404)
    assert await alice.tasks() == []
    [row] = await alice.service.rows("SELECT title, deleted_at FROM tasks WHERE id = $1", task["id"])
    assert row["title"] == task["title"]
    assert row["deleted_at"] is not None


async def test_fr012_patch_complete_toggles(alice: Caller) -> None:
    task = await alice.create()
    assert [(await alice.patch(f"/{task['id']}/complete")).json()["completed"] for _ in range(2)] == [True, False]


async def test_fr013_the_fields_are_stored_and_descriptions_have_at_most_500_characters(alice: Caller) -> None:
    task = await alice.create("t", description="d" * 500)
    [row] = await alice.service.rows("SELECT * FROM tasks WHERE id = $1", task["id"])
    assert {"id", "user_id", "title", "description", "completed", "created_at", "updated_at"} <= set(row.keys())
    assert row["description"] == "d" * 500
    [error] = assert_problem(await alice.post(json={"title": "t", "description": "d" * 501}), 422)["errors"]
    assert (error["field"], error["limit"]) == ("description", 500)


async def test_fr014_indexes_on_user_id_and_completed(service: Service) -> None:
    assert ["user_id", "completed"] in (await index_columns(service, "tasks")).values()


async def test_fr015_database_url_with_the_asyncpg_driver(services: Services, database_url: str) -> None:
    url = database_url.replace(urlsplit(database_url).scheme + "://", "postgresql+asyncpg://")
    service = services.start(database_url=database_url, DATABASE_URL=url)
    try:
        await service.user("alice").create()
        assert len(await service.rows("SELECT 1 FROM tasks")) == 1
    finally:
        await service.close()


async def test_fr016_it_can_be_tried_out_in_swagger_ui(service: Service) -> None:
    page = await service.http.get("/docs", follow_redirects=True)
    assert page.status_code == 200
    assert page.headers["content-type"].startswith("text/html")
    assert "swagger" in page.text.lower()
    description = (await service.http.get("/schema/openapi.json")).json()
    [scheme] = description["components"]["securitySchemes"].values()
    assert (scheme["type"], scheme["scheme"].lower()) == ("http", "bearer")


async def test_fr017_no_endpoint_lets_a_user_at_anothers_tasks(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    for caller in (alice, alice.on("path")):
        for operation in operations_of(caller):
            for path in (operation.path(alice.user, task["id"]), operation.path(bob.user, task["id"])):
                for body in (None, {"title": "mine"}, {"operations": [{"op": "delete", "id": task["id"]}]}):
                    answer = await alice.request(operation.method, path, json=body)
                    assert answer.status_code < 500
                    assert task["id"] not in answer.text.replace(path, "")
    assert await bob.tasks() == [task]


def test_fr018_uv_manages_the_dependencies() -> None:
    assert "uv pip compile" in (ROOT / "Makefile").read_text("utf-8")
    assert "via taskservice (pyproject.toml)" in (ROOT / "requirements.lock").read_text("utf-8")
    assert tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]["dependencies"]


# Success criteria


async def test_sc001_all_endpoints_enforce_isolation(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    for operation in operations_of(alice):
        if operation.of_one_task:
            assert_problem(
                await alice.request(operation.method, operation.path("", task["id"]), json=operation.body), 403
            )
    assert await bob.tasks() == [task]


async def test_sc002_swagger_ui_shows_answers_for_valid_invalid_and_expired_tokens(
    alice: Caller, visiting: Visiting
) -> None:
    task = await alice.create()
    swagger = Swagger((await visiting(f"{alice.service.url}/docs")).page)
    for token, expected, code in (
        (signed({"sub": alice.user}), 200, None),
        ("invalid", 401, "invalid-token"),
        (expired(alice.user), 401, "token-expired"),
    ):
        await swagger.authorize(token)
        status, shown, _ = await swagger.send("GET", "/api/tasks")
        assert status == expected
        assert (shown == [task]) if code is None else (shown["code"] == code)
        await swagger.log_out()


async def test_sc003_a_new_route_is_protected_without_asking_for_it(services: Services) -> None:
    @get("/api/brand-new")
    async def brand_new() -> str:
        return "secret"

    service = services.start()
    try:
        service.app.register(brand_new)
        assert_problem(await service.http.get("/api/brand-new"), 401)
        assert (await service.user("alice").get("/api/brand-new")).status_code == 200
    finally:
        await service.close()


async def test_sc004_401_for_unauthenticated_and_403_for_unauthorized(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    assert_problem(await alice.service.http.get(f"/api/tasks/{task['id']}"), 401)
    assert_problem(await alice.get(f"/{task['id']}"), 403)


async def test_sc005_all_operations_reach_postgresql(alice: Caller) -> None:
    async def stored() -> list[tuple[str, bool, bool]]:
        rows = await alice.service.rows("SELECT title, completed, deleted_at FROM tasks WHERE user_id = $1", alice.user)
        return [(row["title"], row["completed"], row["deleted_at"] is not None) for row in rows]

    task = await alice.create("one")
    assert await stored() == [("one", False, False)]
    await alice.put(f"/{task['id']}", json={"title": "two"})
    assert await stored() == [("two", False, False)]
    await alice.patch(f"/{task['id']}/complete")
    assert await stored() == [("two", True, False)]
    await alice.delete(f"/{task['id']}")
    assert await stored() == [("two", True, True)]


async def test_sc006_the_indexes_serve_the_list(services: Services, database_url: str) -> None:
    service = services.start(database_url=database_url)
    try:
        assert ["user_id", "completed"] in (await index_columns(service, "tasks")).values()
        await service.execute(CROWD)
        await assert_the_indexes_serve_lists(service)
    finally:
        await service.close()


async def test_tokens_of_the_command_line_live_24_hours(service: Service) -> None:
    now = datetime.now(UTC)
    for age, status in ((timedelta(hours=23, minutes=59), 200), (timedelta(hours=24, seconds=1), 401)):
        token = service.token("alice", now=now - age)
        assert (await service.http.get("/api/tasks", headers=bearer(token))).status_code == status
