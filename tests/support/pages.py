"""Following the pages of a list, as a client does: by the `Link` header alone."""

import re
from collections.abc import AsyncIterator
from typing import Any

import httpx

from tests.support.services import Caller

NEXT = re.compile(r'<([^>]+)>; rel="next"')


def next_page(response: httpx.Response) -> str | None:
    """The target of the link to the next page, if there is one."""
    link = response.headers.get("link")
    if link is None:
        return None
    found = NEXT.fullmatch(link)
    assert found, link
    assert found[1].startswith("/api/")
    return found[1]


async def pages(caller: Caller, path: str = "", **params: Any) -> AsyncIterator[list[dict[str, Any]]]:
    """Page after page. A caller may change things in between."""
    response = await caller.get(path, params=params)
    while True:
        assert response.status_code == 200, response.text
        yield response.json()
        target = next_page(response)
        if target is None:
            return
        response = await caller.get(target)


async def all_pages(caller: Caller, path: str = "", **params: Any) -> list[dict[str, Any]]:
    return [task async for page in pages(caller, path, **params) for task in page]
