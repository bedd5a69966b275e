"""One visit of a page, with everything that the browser noticed on the way."""

import os
import re
from pathlib import Path
from typing import Self
from urllib.parse import urlsplit

from playwright.async_api import Browser, BrowserContext, ConsoleMessage, Page, Request

REFUSALS = re.compile(r"Failed to load resource: the server responded with a status of [45]\d\d ")
"""Chromium's own word for every answer that is no success; tests look at those answers themselves."""


def origin_of(url: str) -> str:
    parts = urlsplit(url)
    return f"{parts.scheme}://{parts.netloc}"


class Visit:
    """`page`, and what must not have happened: errors, refusals by the policy, requests to anybody else."""

    def __init__(self, context: BrowserContext, page: Page, allowed: frozenset[str]) -> None:
        self.context = context
        self.page = page
        self.requests: list[str] = []
        self.complaints: list[str] = []
        self._allowed = allowed

    @classmethod
    async def begin(
        cls,
        browser: Browser,
        url: str,
        elsewhere: tuple[str, ...] = (),
        *,
        width: int = 1280,
        dark: bool = False,
        polls: bool = False,
        locale: str | None = None,
        timezone_id: str | None = None,
    ) -> Self:
        """Open a page that may talk to its own origin, and to those `elsewhere`. A page that polls is never idle."""
        context = await browser.new_context(
            viewport={"width": width, "height": 900},
            color_scheme="dark" if dark else "light",
            locale=locale,
            timezone_id=timezone_id,
        )
        context.set_default_timeout(60_000)
        page = await context.new_page()
        visit = cls(context, page, frozenset({origin_of(url), *elsewhere}))
        page.on("console", visit._on_console)
        page.on("pageerror", lambda error: visit.complaints.append(f"uncaught: {error}"))
        page.on("request", visit._on_request)
        await page.add_init_script(
            "addEventListener('securitypolicyviolation', (event) => "
            "console.error(`CSP: ${event.violatedDirective} ${event.blockedURI}`))"
        )
        await page.goto(url, wait_until="load" if polls else "networkidle")
        return visit

    async def picture(self, name: str) -> None:
        """Keep what the page looks like now, if `SCREENSHOTS` names a directory."""
        directory = os.environ.get("SCREENSHOTS")
        if directory:
            await self.page.screenshot(path=Path(directory) / f"{name}.png")

    def assert_clean(self) -> None:
        assert not self.complaints, "\n".join(self.complaints)

    def _is_allowed(self, url: str) -> bool:
        return url.startswith(("data:", "blob:")) or origin_of(url) in self._allowed

    def _on_console(self, message: ConsoleMessage) -> None:
        if message.type in {"error", "warning"} and not REFUSALS.match(message.text):
            self.complaints.append(f"{message.type}: {message.text}")

    def _on_request(self, request: Request) -> None:
        self.requests.append(request.url)
        if not self._is_allowed(request.url):
            self.complaints.append(f"asked elsewhere: {request.url}")
