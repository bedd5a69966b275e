"""Both pages show the whole API with no internet: every operation, and not one request to anybody else."""

from collections import Counter
from typing import Any

import httpx
import pytest
from playwright.async_api import expect

from tests.browser.conftest import Visiting
from tests.support.services import Service

METHODS = {"get", "put", "post", "delete", "patch", "head", "options"}


def described(service: Service) -> list[tuple[str, str, dict[str, Any]]]:
    """Method, path and the rest of every operation of the description."""
    document = httpx.get(f"{service.url}/schema/openapi.json", trust_env=False).json()
    return [
        (method, path, operation)
        for path, item in document["paths"].items()
        for method, operation in item.items()
        if method in METHODS
    ]


async def test_swagger_ui_shows_every_operation(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/schema/swagger")
    blocks = visit.page.locator(".opblock")
    await blocks.first.wait_for()
    await visit.picture("swagger-ui")
    shown = [
        (
            (await block.locator(".opblock-summary-method").inner_text()).strip().lower(),
            await block.locator(".opblock-summary-path, .opblock-summary-path__deprecated").get_attribute("data-path")
            or "",
        )
        for block in await blocks.all()
    ]
    assert sorted(shown) == sorted((method, path) for method, path, _ in described(service))
    own = [each for each in shown if "{user_id}" not in each[1]]
    assert own.index(("delete", "/api/tasks")) == max(at for at, (_, path) in enumerate(own) if path.startswith("/api"))


async def test_swagger_ui_can_open_every_operation_of_the_token_surface(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/schema/swagger")
    await visit.page.locator(".opblock").first.wait_for()
    for block in await visit.page.locator('.opblock:has([data-path^="/api/tasks"])').all():
        await block.locator(".opblock-summary-control").click()
        await expect(block.locator(".responses-wrapper")).to_be_visible()
        await block.locator(".opblock-summary-control").click()
    await expect(visit.page.locator(".errors-wrapper")).to_have_count(0)


async def test_scalar_shows_every_operation(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/schema/scalar")
    sidebar = visit.page.get_by_role("complementary")
    await sidebar.get_by_text("Introduction").wait_for()
    names = (await sidebar.inner_text()).splitlines()
    for summary, times in Counter(operation["summary"] for _, _, operation in described(service)).items():
        assert names.count(summary) == times
    assert names.index("Clear what is completed, or erase everything") > names.index("Restore a task")


@pytest.mark.parametrize("page", ["/schema/problems", "/schema/problems/validation-failed"])
async def test_problem_pages_are_styled_and_quiet(service: Service, visiting: Visiting, page: str) -> None:
    visit = await visiting(service.url + page)
    assert await visit.page.locator("h1").inner_text()
    assert await visit.page.locator("main").evaluate("main => getComputedStyle(main).maxWidth") != "none"


async def test_docs_leads_to_swagger_ui(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/docs")
    assert visit.page.url == f"{service.url}/schema/swagger"
    await visit.page.locator(".opblock").first.wait_for()


async def test_a_second_visit_loads_no_asset_again(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/schema/swagger")
    await visit.page.goto(f"{service.url}/schema/problems", wait_until="networkidle")
    await visit.page.goto(f"{service.url}/schema/swagger", wait_until="networkidle")
    transferred = await visit.page.evaluate(
        "performance.getEntriesByType('resource').filter((entry) => entry.name.includes('/schema/assets/'))"
        ".map((entry) => entry.transferSize)"
    )
    assert len(transferred) >= 4
    assert set(transferred) == {0}
