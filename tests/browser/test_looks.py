"""Every page can be read on a phone and on a desktop, in the light and in the dark."""

import json
from typing import Any

import pytest
from playwright.async_api import Page

from tests.browser.conftest import Visiting
from tests.support.services import Service

PHONE = 390
PAGES = ["/", "/schema/swagger", "/schema/scalar", "/schema/problems", "/schema/problems/validation-failed"]
OURS = ".bar *, .hint, .hint *, main.home *, main.text *"
SCHEMES = pytest.mark.parametrize("dark", [False, True], ids=["light", "dark"])

CONTRASTS = """(selector) => {
  const channels = (color) => (color.match(/[\\d.]+/g) || []).map(Number);
  const luminance = ([r, g, b]) => {
    const linear = (c) => (c <= 10.3 ? c / 3294.6 : ((c / 255 + 0.055) / 1.055) ** 2.4);
    const [x, y, z] = [r, g, b].map(linear);
    return 0.2126 * x + 0.7152 * y + 0.0722 * z;
  };
  const ground = (element) => {
    for (let at = element; at; at = at.parentElement) {
      const color = channels(getComputedStyle(at).backgroundColor);
      if (color.length === 3 || color[3] === 1) return color;
    }
    return [255, 255, 255];
  };
  const hasText = (element) => [...element.childNodes].some((node) => node.nodeType === 3 && node.data.trim());
  return [...document.querySelectorAll(selector)]
    .filter((element) => hasText(element) && element.checkVisibility())
    .map((element) => {
      const both = [channels(getComputedStyle(element).color), ground(element)].map(luminance);
      const [low, high] = both.sort((a, b) => a - b);
      return { text: element.textContent.trim().slice(0, 40), contrast: (high + 0.05) / (low + 0.05) };
    });
}"""


async def sideways(page: Page) -> int:
    """By how many pixels the page can be scrolled sideways."""
    found: int = await page.evaluate("document.documentElement.scrollWidth - document.documentElement.clientWidth")
    return found


@SCHEMES
@pytest.mark.parametrize("path", PAGES)
async def test_text_stands_out_from_its_background(service: Service, visiting: Visiting, path: str, dark: bool) -> None:
    visit = await visiting(service.url + path, dark=dark)
    found: list[dict[str, Any]] = await visit.page.evaluate(CONTRASTS, OURS)
    assert len(found) >= 5
    faint = [each for each in found if each["contrast"] < 4.5]
    assert not faint, json.dumps(faint, indent=1)


@SCHEMES
@pytest.mark.parametrize("path", PAGES)
async def test_a_page_follows_the_light_of_the_system(
    service: Service, visiting: Visiting, path: str, dark: bool
) -> None:
    visit = await visiting(service.url + path, dark=dark)
    ground = await visit.page.evaluate("getComputedStyle(document.body).backgroundColor")
    channels = [int(channel) for channel in ground.removeprefix("rgb(").rstrip(")").split(",")]
    assert max(channels) < 64 if dark else min(channels) > 192


@pytest.mark.parametrize("path", PAGES)
async def test_a_page_is_no_wider_than_a_phone(service: Service, visiting: Visiting, path: str) -> None:
    visit = await visiting(service.url + path, width=PHONE)
    assert await sideways(visit.page) == 0


async def test_an_open_operation_of_swagger_ui_is_no_wider_than_a_phone(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/schema/swagger", width=PHONE)
    await visit.page.locator(".opblock").first.wait_for()
    for path in ("/api/tasks", "/api/tasks/{task_id}"):
        for block in await visit.page.locator(f'.opblock:has([data-path="{path}"])').all():
            await block.locator(".opblock-summary-control").click()
            await block.locator(".responses-wrapper").wait_for()
            assert await sideways(visit.page) == 0
            await block.locator(".opblock-summary-control").click()


async def test_an_open_operation_of_scalar_is_no_wider_than_a_phone(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/schema/scalar#tag/tasks", width=PHONE)
    await visit.page.get_by_role("heading", name="Create a task").first.scroll_into_view_if_needed()
    assert await sideways(visit.page) == 0
