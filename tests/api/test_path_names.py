"""The path surface is there for every user, whatever characters an id has (contract, sections 1 and 3)."""

import pytest

from tests.support.problems import assert_problem
from tests.support.services import Service

IDS = [
    "a/b", "/", "a//b/", "tasks", "tasks/tasks", "trash", "50%", "a%2Fb", "%2F", "%74asks", "a b", "ü·名前",
    "auth0|5f7c", "a?b#c&d=e", "a;b,c:d@e", "x" * 255,
]  # fmt: skip


@pytest.mark.parametrize("user", IDS)
async def test_every_user_has_a_path_surface(service: Service, user: str) -> None:
    caller = service.user(user, "path")
    created = await caller.post(json={"title": "Buy milk"})
    assert created.status_code == 201
    task, location = created.json(), created.headers["location"]
    assert task["user_id"] == user
    assert (await caller.get(location)).json() == task
    assert (await caller.patch(f"/{task['id']}/complete")).json()["completed"] is True
    assert [found["id"] for found in await caller.tasks(limit=1, sort="-created")] == [task["id"]]
    following = (await caller.get("?limit=1")).links.get("next")
    assert following is None or (await caller.get(following["url"])).status_code == 200
    assert (await caller.delete(f"/{task['id']}")).status_code == 204
    assert task["id"] in [found["id"] for found in (await caller.get("/trash")).json()]
    assert (await caller.post("/batch", json={"operations": [{"op": "restore", "id": task["id"]}]})).status_code == 200
    assert_problem(await caller.get("/no-such-id"), 404, "task-not-found")


@pytest.mark.parametrize("user", IDS)
async def test_no_other_user_is_let_in(service: Service, user: str) -> None:
    root = service.user(user, "path").root
    for other in [other for other in [*IDS, "a", "b"] if other != user]:
        assert_problem(await service.user(other, "path").get(root), 403, "path-owner-mismatch")
    assert_problem(await service.http.get(root), 401, "missing-authentication")


async def test_a_name_is_compared_after_decoding_once(service: Service) -> None:
    assert (await service.user("tasks").get("/api/%74asks/tasks")).status_code == 200
    assert_problem(await service.user("a/b").get("/api/a%252Fb/tasks"), 403)
    assert_problem(await service.user("a/b").get("/api/a/b/tasks"), 404, "not-found")
