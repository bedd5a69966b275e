"""A real browser: Debian's Chromium, driven by Playwright, which downloads none of its own."""

from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
from playwright.async_api import Browser, async_playwright, expect

from tests.browser.visits import Visit
from tests.support import needs

QUIET = [
    "--no-sandbox",
    "--disable-gpu",
    "--disable-quic",
    "--no-first-run",
    "--disable-background-networking",
    "--disable-component-update",
    "--disable-sync",
    "--disable-dev-shm-usage",
    # Not one name is looked up, so that nothing can leave this machine, whatever a page tries.
    "--host-resolver-rules=MAP * ~NOTFOUND, EXCLUDE 127.0.0.1, EXCLUDE localhost",
]

Visiting = Callable[..., Awaitable[Visit]]


@pytest.fixture(scope="session")
async def browser() -> AsyncIterator[Browser]:
    chromium = needs.program("chromium")
    expect.set_options(timeout=60_000)
    async with async_playwright() as playwright:
        browser = await playwright.chromium.launch(executable_path=chromium, args=QUIET)
        yield browser
        await browser.close()


@pytest.fixture
async def visiting(browser: Browser, request: pytest.FixtureRequest) -> AsyncIterator[Visiting]:
    """Opens pages like somebody with an empty profile. At the end nothing may have gone wrong in any of them.

    `SCREENSHOTS=directory` keeps what each page looked like at the end; `swagger-ui.png` among them is the README's.
    """
    visits: list[Visit] = []

    async def visit(url: str, *, elsewhere: tuple[str, ...] = (), **options: Any) -> Visit:
        visits.append(await Visit.begin(browser, url, elsewhere, **options))
        return visits[-1]

    yield visit
    for number, visit_ in enumerate(visits):
        await visit_.picture(f"{request.node.name}-{number}".replace("/", "_"))
        await visit_.context.close()
        visit_.assert_clean()
