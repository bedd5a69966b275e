"""The hooks for TanStack Query that docs/frontend.md shows, in a React page of another origin."""

import asyncio
import http.server
import json
import shutil
import threading
from collections.abc import AsyncIterator, Callable, Iterator
from functools import partial
from pathlib import Path
from typing import Any
from urllib.parse import quote

import pytest
from playwright.async_api import Route, expect

from tests.browser.conftest import Visiting
from tests.browser.visits import Visit
from tests.support.services import Caller, Service, Services
from tests.typescript.compiler import code_of, compiled, installed, run

APP = Path(__file__).with_name("hooks_app.tsx")
PAGE = """<!doctype html><meta charset="utf-8"><title>Hooks</title><link rel="icon" href="data:,">
<div id="app"></div><script type="module" src="bundle.js"></script>
"""


class Quiet(http.server.SimpleHTTPRequestHandler):
    def log_message(self, *_: Any) -> None: ...


@pytest.fixture(scope="module")
def hooks_origin(tmp_path_factory: pytest.TempPathFactory) -> Iterator[str]:
    """The origin of a React page, made of the page's two modules and the app of the test."""
    directory = tmp_path_factory.mktemp("hooks")
    (directory / "frontend.ts").write_text(code_of("frontend.md"), "utf-8")
    (directory / "hooks.ts").write_text(code_of("frontend.md", "tsx"), "utf-8")
    shutil.copy(APP, directory / "app.tsx")
    # As the bundlers of React apps resolve names.
    compiled(directory, directory / "frontend.ts", directory / "hooks.ts", module="esnext", moduleResolution="bundler")
    # In development React begins every effect twice.
    options = ["--bundle", "--jsx=automatic", "--format=esm", '--define:process.env.NODE_ENV="development"']
    run([installed("esbuild"), str(directory / "app.tsx"), *options, f"--outfile={directory / 'bundle.js'}"])
    (directory / "index.html").write_text(PAGE, "utf-8")
    with http.server.ThreadingHTTPServer(("127.0.0.1", 0), partial(Quiet, directory=str(directory))) as server:
        serving = threading.Thread(target=server.serve_forever, daemon=True)
        serving.start()
        yield f"http://localhost:{server.server_port}"
        server.shutdown()
        serving.join(10)


class HooksPage:
    """The page, and its user as other devices use the API."""

    def __init__(self, visit: Visit, elsewhere: Caller, another: Caller) -> None:
        self.visit = visit
        self.page = visit.page
        self.elsewhere = elsewhere
        self.another = another
        """The other user of the page."""

    async def shows(self, *titles: str) -> None:
        await expect(self.page.locator("li span")).to_have_text(list(titles))

    async def click(self, selector: str) -> None:
        await self.page.locator(selector).first.click()

    async def renders(self) -> int:
        return int(await self.page.locator("#renders").inner_text())

    async def waiting(self) -> int:
        """How many new tasks the page keeps for later."""
        script = "place => JSON.parse(localStorage.getItem(place) ?? '{\"mutations\": []}').mutations.length"
        return int(await self.page.evaluate(script, f"new tasks of {self.elsewhere.user}"))


@pytest.fixture
async def hooks(
    visiting: Visiting, hooks_origin: str, services: Services, someone: Callable[[str], str]
) -> AsyncIterator[HooksPage]:
    service: Service = services.shared(cors_origins=hooks_origin)
    caller = service.user(someone("hooks"))
    await caller.create("First")
    another = service.user(someone("another"))
    await another.create("Another's")
    users = [{"name": user, "token": service.token(user)} for user in (caller.user, another.user)]
    settings = json.dumps({"origin": service.url, "users": users})
    visit = await visiting(f"{hooks_origin}/index.html#{quote(settings)}", elsewhere=(service.url,), polls=True)
    page = HooksPage(visit, caller, another)
    await page.shows("First")
    yield page
    # The page's polls end before the browser closes it, so that none of them is cut off.
    await visit.page.goto("about:blank")


async def test_an_unchanged_list_is_not_rendered_again(hooks: HooksPage) -> None:
    async with hooks.page.expect_response(lambda answer: answer.status == 304):
        pass
    before = await hooks.renders()
    for _ in range(3):
        async with hooks.page.expect_response(lambda answer: answer.status == 304):
            pass
    assert await hooks.renders() == before
    await hooks.elsewhere.create("Second")
    await hooks.shows("First", "Second")


async def test_an_edit_is_shown_before_it_is_answered(hooks: HooksPage) -> None:
    release = await hold_back(hooks, "PATCH")
    await hooks.click(".rename")
    await hooks.shows("First!")
    assert [task["title"] for task in await hooks.elsewhere.tasks()] == ["First"]
    release()
    await expect(hooks.page.locator("#conflict")).to_be_empty()
    await hooks.shows("First!")
    assert [task["title"] for task in await hooks.elsewhere.tasks()] == ["First!"]


async def test_a_conflict_takes_the_edit_back_and_shows_the_other_version(hooks: HooksPage) -> None:
    release = await hold_back(hooks, "PATCH")
    await hooks.click(".rename")
    await hooks.shows("First!")
    [task] = await hooks.elsewhere.tasks()
    await hooks.elsewhere.patch(f"/{task['id']}", json={"title": "Theirs"})
    release()
    await hooks.shows("Theirs")
    await expect(hooks.page.locator("#conflict")).to_have_text("Theirs")


async def test_a_removed_task_comes_back(hooks: HooksPage) -> None:
    await hooks.click(".remove")
    await hooks.shows()
    await hooks.click("#undo")
    await hooks.shows("First")


async def test_what_is_created_without_a_network_is_sent_once_there_is_one(hooks: HooksPage) -> None:
    await hooks.visit.context.set_offline(True)
    await hooks.click("#create")
    await hooks.click("#create")
    await expect(hooks.page.locator("li")).to_have_count(1)
    assert await hooks.waiting() == 2
    await hooks.visit.context.set_offline(False)
    await hooks.shows("First", "New", "New")
    assert await hooks.waiting() == 0
    # The browser says of each poll that could not be sent that it was not.
    hooks.visit.complaints[:] = [one for one in hooks.visit.complaints if "net::ERR_" not in one]


async def test_a_creation_whose_answer_was_lost_survives_a_reload_and_happens_once(hooks: HooksPage) -> None:
    async def lose(route: Route) -> None:
        if route.request.method == "POST":
            await route.fetch()  # it happens, and nobody hears of it
        else:
            await route.continue_()

    await hooks.page.route("**/tasks", lose)
    await hooks.click("#create")
    while len(await hooks.elsewhere.tasks()) == 1:
        await hooks.page.wait_for_timeout(20)
    assert await hooks.waiting() == 1
    await hooks.page.unroute("**/tasks")
    await hooks.page.reload()
    await hooks.shows("First", "New")
    while await hooks.waiting():
        await hooks.page.wait_for_timeout(20)
    assert len(await hooks.elsewhere.tasks()) == 2


async def test_the_next_user_of_a_page_neither_sees_nor_sends_what_is_anothers(hooks: HooksPage) -> None:
    await hooks.visit.context.set_offline(True)
    await hooks.click("#create")
    assert await hooks.waiting() == 1
    await hooks.click("#switch")
    await hooks.shows()
    await hooks.visit.context.set_offline(False)
    await hooks.shows("Another's")
    await hooks.page.wait_for_timeout(500)
    assert [task["title"] for task in await hooks.another.tasks()] == ["Another's"]
    assert await hooks.waiting() == 1
    await hooks.click("#switch")
    await hooks.shows("First", "New")
    assert await hooks.waiting() == 0
    hooks.visit.complaints[:] = [one for one in hooks.visit.complaints if "net::ERR_" not in one]


async def hold_back(hooks: HooksPage, method: str) -> Callable[[], None]:
    """Requests of this method wait until what is returned is called."""
    released = asyncio.Event()

    async def hold(route: Route) -> None:
        if route.request.method == method:
            await released.wait()
        await route.continue_()

    await hooks.page.route("**/tasks/*", hold)
    return released.set
