"""Scalar's own request client: the second way to try the API without writing a line."""

from collections.abc import Callable

from playwright.async_api import expect

from tests.browser.conftest import Visiting
from tests.support.services import Service


async def test_the_request_client_lists_tasks_with_a_token(
    service: Service, visiting: Visiting, someone: Callable[[str], str]
) -> None:
    alice = someone("alice")
    await service.user(alice).create("Seen through Scalar")
    visit = await visiting(f"{service.url}/schema/scalar")
    page = visit.page

    await page.get_by_label("Bearer Token").first.fill(service.token(alice))
    await page.get_by_role("complementary").get_by_text("List tasks").first.click()
    await page.get_by_role("button", name="Test Request (get /api/tasks)").click()
    client = page.get_by_role("dialog")
    await client.get_by_role("button", name="Send").first.click()
    await expect(client.get_by_text("200 OK")).to_be_visible()
    await expect(client.get_by_text("Seen through Scalar").first).to_be_visible()
    sent = [url for url in visit.requests if "/api/" in url]
    assert [url.partition("?")[0] for url in sent] == [f"{service.url}/api/tasks"]
