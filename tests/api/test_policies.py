"""Every policy, under each of its values, on both surfaces (contract, section 1)."""

from typing import Any

import asyncpg
import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller, Service, Services, SurfaceName

pytestmark = pytest.mark.slow


def user_of(service: Service, surface: SurfaceName, someone: Any) -> Caller:
    return service.user(someone("policy"), surface)


async def test_title_required(services: Services, surface: SurfaceName, someone: Any) -> None:
    alice = user_of(services.shared(title="required"), surface, someone)
    assert fields_of(assert_problem(await alice.post(json={"description": "d"}), 422)) == {"title"}


@pytest.mark.parametrize(
    ("body", "title"),
    [
        ({}, "Untitled task"),
        ({"description": "   "}, "Untitled task"),
        ({"description": "x" * 60}, "x" * 60),
        ({"description": "x" * 61}, "x" * 60),
        ({"description": "a" * 30 + " " + "b" * 40}, "a" * 30),
        ({"description": "a" * 60 + " b"}, "a" * 60),
        ({"description": "- https://example.com/" + "p" * 70}, "- https://example.com/" + "p" * 38),
        ({"description": "word " * 20}, ("word " * 12).rstrip()),
        ({"description": "first\r\nsecond"}, "first"),
    ],
)
async def test_title_generated(
    services: Services, surface: SurfaceName, someone: Any, body: dict[str, Any], title: str
) -> None:
    alice = user_of(services.shared(title="generated"), surface, someone)
    task = (await alice.post(json=body)).json()
    assert (task["title"], task["description"]) == (title, body.get("description"))


async def test_a_generated_title_does_not_excuse_a_bad_one(
    services: Services, surface: SurfaceName, someone: Any
) -> None:
    alice = user_of(services.shared(title="generated"), surface, someone)
    for body in ({"title": ""}, {"title": None}, {"title": " ", "description": "d"}):
        assert fields_of(assert_problem(await alice.post(json=body), 422)) == {"title"}
    task = await alice.create("named", description="d")
    changed = (await alice.patch(f"/{task['id']}", json={"description": "other"})).json()
    assert changed["title"] == "named"


async def test_titles_are_generated_in_a_batch_too(services: Services, surface: SurfaceName, someone: Any) -> None:
    alice = user_of(services.shared(title="generated"), surface, someone)
    body = {"operations": [{"op": "create", "data": {"description": "Call the plumber"}}, {"op": "create", "data": {}}]}
    results = (await alice.post("/batch", json=body)).json()["results"]
    assert [result["task"]["title"] for result in results] == ["Call the plumber", "Untitled task"]


@pytest.mark.parametrize("longest", [1, 500, 1000, 10_000])
async def test_description_max(services: Services, surface: SurfaceName, someone: Any, longest: int) -> None:
    alice = user_of(services.shared(description_max=longest), surface, someone)
    task = await alice.create(description="d" * longest)
    for method, path in (("POST", ""), ("PUT", f"/{task['id']}"), ("PATCH", f"/{task['id']}")):
        body = {"title": "t", "description": "d" * (longest + 1)}
        [error] = assert_problem(await alice.request(method, path, json=body), 422)["errors"]
        assert (error["field"], error["rule"], error["limit"]) == ("description", "max_length", longest)


async def test_a_description_from_a_more_generous_time_can_stay(
    services: Services, surface: SurfaceName, database_url: str
) -> None:
    generous = services.start(database_url=database_url, description_max=1000)
    task = await generous.user("alice", surface).create(description="d" * 1000)
    await generous.close()
    strict = services.start(database_url=database_url, description_max=500)
    alice = strict.user("alice", surface)
    assert await alice.read(task["id"]) == task
    assert (await alice.patch(f"/{task['id']}", json={"title": "new"})).status_code == 200
    await strict.close()


@pytest.mark.parametrize(("delete", "rows"), [("soft", 1), ("hard", 0)])
async def test_delete(services: Services, surface: SurfaceName, someone: Any, delete: str, rows: int) -> None:
    alice = user_of(services.shared() if delete == "soft" else services.shared(delete="hard"), surface, someone)
    task = await alice.create()
    assert (await alice.delete(f"/{task['id']}")).status_code == 204
    assert_problem(await alice.get(f"/{task['id']}"), 404)
    assert len(await alice.service.rows("SELECT 1 FROM tasks WHERE id = $1", task["id"])) == rows
    assert len((await alice.get("/trash")).json()) == rows


@pytest.mark.parametrize(("foreign_task", "status"), [("403", 403), ("404", 404)])
async def test_foreign_task(
    services: Services, surface: SurfaceName, someone: Any, foreign_task: str, status: int
) -> None:
    service = services.shared() if foreign_task == "403" else services.shared(foreign_task="404")
    alice, bob = (user_of(service, surface, someone) for _ in range(2))
    task = await bob.create()
    for method, path, body in (
        ("GET", "", None), ("PUT", "", {"title": "t"}), ("PATCH", "", {"title": "t"}), ("PATCH", "/complete", None),
        ("DELETE", "", None), ("DELETE", "?permanent=true", None),
    ):  # fmt: skip
        answer = await alice.request(method, f"/{task['id']}{path}", json=body)
        assert_problem(answer, 404 if surface == "path" else status)


async def test_users_registered(services: Services, surface: SurfaceName) -> None:
    service = services.shared(users="registered")
    assert_problem(await service.user("nobody", surface).get(), 401, "unknown-user")


async def test_users_token_makes_the_reference_on_the_first_write(alice: Caller) -> None:
    users = "SELECT * FROM users WHERE id = $1"
    assert await alice.tasks() == []
    assert await alice.service.rows(users, alice.user) == []
    await alice.create()
    assert len(await alice.service.rows(users, alice.user)) == 1


async def test_users_table_may_have_another_name(services: Services, surface: SurfaceName, database_url: str) -> None:
    connection = await asyncpg.connect(database_url)
    await connection.execute('CREATE TABLE "My Users" (id text PRIMARY KEY); INSERT INTO "My Users" VALUES (\'ann\')')
    await connection.close()
    service = services.start(database_url=database_url, users="registered", users_table="My Users")
    try:
        assert (await service.user("ann", surface).get()).status_code == 200
        assert_problem(await service.user("eve", surface).get(), 401, "unknown-user")
    finally:
        await service.close()


async def test_cors_origins(services: Services, surface: SurfaceName, someone: Any) -> None:
    service = services.shared(
        env="production",
        cors_origins="https://app.example.test",
        cors_origin_regex=r"https://preview-[0-9]+\.example\.test",
    )
    alice = user_of(service, surface, someone)
    for origin, allowed in (
        ("https://app.example.test", True),
        ("https://preview-17.example.test", True),
        ("http://localhost:3000", False),
        ("https://preview-17.example.test.evil.test", False),
        ("https://evil.test/https://preview-17.example.test", False),
        ("https://preview-x.example.test", False),
        ("https://app.example.test.evil.test", False),
        ("null", False),
    ):
        answer = await alice.get("", headers={"Origin": origin})
        assert (answer.headers.get("access-control-allow-origin") == origin) is allowed, origin
