"""The whole API by clicking, as somebody does who has only the docs page and a token."""

import uuid
from collections.abc import Callable

from playwright.async_api import expect

from tests.browser.conftest import Visiting
from tests.support.services import Service
from tests.support.swagger import Swagger


async def test_the_life_of_a_task_by_clicking(
    service: Service, visiting: Visiting, someone: Callable[[str], str]
) -> None:
    alice, bob = someone("alice"), someone("bob")
    visit = await visiting(f"{service.url}/schema/swagger")
    swagger = Swagger(visit.page)

    status, problem, _ = await swagger.send("GET", "/api/tasks")
    assert (status, problem["code"]) == (401, "missing-authentication")

    await swagger.authorize(service.token(alice))
    status, task, _ = await swagger.send("POST", "/api/tasks", {"title": "Seen by a browser"})
    assert (status, task["title"], task["user_id"]) == (201, "Seen by a browser", alice)

    status, tasks, _ = await swagger.send("GET", "/api/tasks")
    assert (status, [found["id"] for found in tasks]) == (200, [task["id"]])

    status, done, _ = await swagger.send("PATCH", "/api/tasks/{task_id}/complete", task_id=task["id"])
    assert (status, done["completed"]) == (200, True)

    status, problem, _ = await swagger.send("POST", "/api/tasks", {"title": " ", "priority": "soon"})
    assert (status, {error["field"] for error in problem["errors"]}) == (422, {"title", "priority"})

    status, problem, _ = await swagger.send("GET", "/api/tasks/{task_id}", task_id=str(uuid.uuid4()))
    assert (status, problem["code"]) == (404, "task-not-found")

    status, problem, _ = await swagger.send("GET", "/api/{user_id}/tasks", user_id=bob)
    assert (status, problem["code"]) == (403, "path-owner-mismatch")

    status, _, _ = await swagger.send("DELETE", "/api/tasks/{task_id}", task_id=task["id"])
    assert status == 204
    status, problem, _ = await swagger.send("GET", "/api/tasks/{task_id}", task_id=task["id"])
    assert status == 404

    await visit.page.reload(wait_until="networkidle")
    await expect(visit.page.locator(".opblock").first).to_be_visible()
    assert await swagger.is_authorized()
    status, tasks, _ = await swagger.send("GET", "/api/tasks")
    assert (status, tasks) == (200, [])

    await swagger.log_out()
    status, problem, _ = await swagger.send("GET", "/api/tasks")
    assert (status, problem["code"]) == (401, "missing-authentication")


async def test_another_users_task_is_403_by_clicking(
    service: Service, visiting: Visiting, someone: Callable[[str], str]
) -> None:
    theirs = await service.user(someone("bob")).create()
    visit = await visiting(f"{service.url}/schema/swagger")
    swagger = Swagger(visit.page)
    await swagger.authorize(service.token(someone("alice")))
    status, problem, _ = await swagger.send("GET", "/api/tasks/{task_id}", task_id=theirs["id"])
    assert (status, problem["code"]) == (403, "foreign-task")
    status, problem, _ = await swagger.send("PUT", "/api/tasks/{task_id}", {"title": "Mine now"}, task_id=theirs["id"])
    assert (status, problem["code"]) == (403, "foreign-task")
