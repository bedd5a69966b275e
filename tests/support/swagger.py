"""The documentation page, used as somebody uses it who has only that page and a token."""

import json
from typing import Any

from playwright.async_api import Locator, Page


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
