"""The whole API by clicking, as somebody does who has only the docs page and a token."""

import json
import uuid
from collections.abc import Callable
from typing import Any

from playwright.async_api import Locator, Page, expect

from tests.browser.conftest import Visiting
from tests.support.services import Service


class Swagger:
    """The page, by what a person does on it."""

    def __init__(self, page: Page) -> None:
        self.page = page

    async def authorize(self, token: str) -> None:
        await self.page.locator(".auth-wrapper .authorize").click()
        dialog = self.page.locator(".dialog-ux")
        await dialog.locator("input").fill(token)
        await dialog.locator("button.authorize").click()
        await dialog.locator("button.btn-done").click()

    async def log_out(self) -> None:
        await self.page.locator(".auth-wrapper .authorize").click()
        dialog = self.page.locator(".dialog-ux")
        await dialog.get_by_role("button", name="Remove authorization").click()
        await dialog.locator("button.btn-done").click()

    async def is_authorized(self) -> bool:
        return await self.page.locator(".auth-wrapper .authorize.locked").count() == 1

    async def send(
        self, method: str, path: str, body: Any = None, **parameters: str
    ) -> tuple[int, Any, dict[str, str]]:
        """Open the operation, fill it in, press Execute, read the answer: status, body, headers."""
        block = self.page.locator(f".opblock-{method.lower()}").filter(
            has=self.page.locator(f'.opblock-summary-path[data-path="{path}"]')
        )
        if await block.locator(".execute").count() == 0:
            await block.locator(".opblock-summary-control").click()
        for name, value in parameters.items():
            await block.locator(f'tr[data-param-name="{name}"] input').fill(value)
        area = block.locator("textarea.body-param__text")
        if await area.count():
            await area.fill("" if body is None else json.dumps(body))
        clear = block.locator(".btn-clear")
        if await clear.count():
            await clear.click()
        await block.locator(".execute").click()
        return await self._answer(block)

    async def _answer(self, block: Locator) -> tuple[int, Any, dict[str, str]]:
        live = block.locator(".live-responses-table tbody .response")
        await live.wait_for()
        status = int((await live.locator(".response-col_status").inner_text()).split()[0])
        shown = live.locator(".response-col_description .highlight-code code")
        texts = [await text.inner_text() for text in await shown.all()]
        headers = dict(
            line.strip().split(": ", 1)
            for line in (await live.locator(".headerline").all_inner_texts())
            if ": " in line
        )
        return status, json.loads(texts[0]) if texts and texts[0][:1] in "[{" else None, headers


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
