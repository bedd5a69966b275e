"""The recipes of docs/better-auth.md: compiled as they stand, served as Next.js would, and used by a person."""

import asyncio
import json
import re
import subprocess
from pathlib import Path
from typing import Any

import httpx
import pytest

from tests.e2e.better_auth.conftest import ONLY_KEYS, ONLY_SECRET, Pairs, caller, claims_of, the_life_of_a_task
from tests.e2e.better_auth.recipes import DOCS, compiled, recipe
from tests.e2e.better_auth.server import BETTER_AUTH_SECRET, BetterAuth, Person, require_node
from tests.support.problems import assert_problem
from tests.support.services import Caller, Service

pytestmark = pytest.mark.slow

AS_A_BROWSER = """
const [, module, origin, cookie] = process.argv;
const inNode = globalThis.fetch;
let asked = 0;
globalThis.fetch = (path, options) => (asked++, inNode(new URL(path, origin), { ...options, headers: { cookie } }));
const { token, forgetToken } = await import(module);
const [first, at_once] = await Promise.all([token(), token()]);
const again = await token();
const asked_once = asked === 1 && first === at_once && first === again;
await token(true);
const renewed = asked === 2;
forgetToken();
await token();
const asked_after_forgetting = asked === 3;
const on_its_way = token(true);
forgetToken();
await on_its_way;
await token();
const late_one_forgotten = asked === 5;
console.log(JSON.stringify({ token: again, asked_once, renewed, asked_after_forgetting, late_one_forgotten }));
"""


def built(number: int, directory: Path) -> Path:
    """A recipe as a project of its own, compiled."""
    require_node()
    for path, code in recipe(number).items():
        file = directory / path
        file.parent.mkdir(parents=True, exist_ok=True)
        file.write_text(code, "utf-8")
    return compiled(directory)


def assert_told_to_sign_in(response: httpx.Response) -> None:
    assert (response.status_code, response.json()) == (401, {"error": "Sign in first"})


async def test_recipe_1_the_jwt_plugin(pairs: Pairs, tmp_path: Path) -> None:
    project = built(1, tmp_path)
    server, service = await pairs.start(project=project, service=ONLY_KEYS)
    ann = await server.sign_up("Ann")
    token = await asyncio.to_thread(token_in_a_browser, project, server, ann)
    said = json.loads(token.stdout)
    await the_life_of_a_task(caller(service, said.pop("token"), ann.id))
    assert said.keys() == {"asked_once", "renewed", "asked_after_forgetting", "late_one_forgotten"}
    assert all(said.values()), said
    ann.cookies.clear()
    assert "Sign in first" in (await asyncio.to_thread(token_in_a_browser, project, server, ann)).stderr


def token_in_a_browser(project: Path, server: BetterAuth, person: Person) -> subprocess.CompletedProcess[str]:
    """What `token()` of the recipe does on a page of the app."""
    arguments = [str(project / "lib" / "token.js"), server.address, person.headers["Cookie"]]
    command = [require_node(), "--input-type=module", "--eval", AS_A_BROWSER, *arguments]
    return subprocess.run(command, capture_output=True, text=True, check=False)


async def test_recipe_2_a_route_with_the_shared_secret(pairs: Pairs, tmp_path: Path) -> None:
    server, service = await pairs.start(project=built(2, tmp_path), service=ONLY_SECRET)
    ann = await server.sign_up("Ann")
    token = (await server.http.get("/api/tasks-token", headers=ann.headers)).json()["token"]
    claims = claims_of(token)
    assert (claims["sub"], claims["email"], claims["exp"] - claims["iat"]) == (ann.id, ann.email, 900)
    await the_life_of_a_task(caller(service, token, ann.id))
    assert_told_to_sign_in(await server.http.get("/api/tasks-token"))


class ThroughTheApp(Caller):
    """A person whose browser talks to the app only, and keeps the cookies it is given."""

    def __init__(self, service: Service, server: BetterAuth, person: Person) -> None:
        super().__init__(service, person.id, "token", {})
        self.server = server
        self.person = person

    async def request(self, method: str, path: str = "", **options: Any) -> httpx.Response:
        headers = self.person.headers | options.pop("headers", {})
        response = await self.server.http.request(method, self.url(path), headers=headers, **options)
        self.person.keep_cookies(response)
        return response


async def test_recipe_3_the_cookie_cache(pairs: Pairs, tmp_path: Path) -> None:
    service = pairs.service(BETTER_AUTH_SECRET=BETTER_AUTH_SECRET)
    server = pairs.in_front_of(service, project=built(3, tmp_path), environ={"TASKS_URL": service.url})
    ann = await server.sign_up("Ann")
    browser = ThroughTheApp(service, server, ann)
    await the_life_of_a_task(browser)
    assert [row["user_id"] for row in await service.rows("SELECT user_id FROM tasks")] == [ann.id]
    # Problems, ETags and safe retries pass through as they are.
    assert_problem(await browser.post("", json={"title": ""}), 422, "validation-failed")
    key = {"Idempotency-Key": "one"}
    first, second = [await browser.post("", json={"title": "Once"}, headers=key) for _ in range(2)]
    assert (first.json(), second.headers["idempotency-replayed"]) == (second.json(), "true")
    tag = (await browser.get()).headers["etag"]
    assert (await browser.get(headers={"If-None-Match": tag})).status_code == 304
    # The cached session has run out, so the browser has dropped its cookie; the session itself goes on.
    old = ann.cookies.pop("better-auth.session_data")
    assert await browser.titles(status="completed") == ["Buy oat milk"]
    assert ann.cookies["better-auth.session_data"] not in {"", old}
    assert_told_to_sign_in(await server.http.get("/api/tasks"))
    assert_told_to_sign_in(await server.http.get("/api/tasks", headers={"Cookie": "better-auth.session_data="}))


async def test_a_long_session_is_put_together_from_its_cookies(pairs: Pairs, tmp_path: Path) -> None:
    service = pairs.service(BETTER_AUTH_SECRET=BETTER_AUTH_SECRET)
    server = pairs.in_front_of(service, project=built(3, tmp_path), environ={"TASKS_URL": service.url})
    ann = await server.sign_up("Ann" + "a" * 1500)
    assert {name for name in ann.cookies if "session_data" in name} > {"better-auth.session_data.1"}
    await the_life_of_a_task(ThroughTheApp(service, server, ann))


def test_every_recipe_is_run_here() -> None:
    numbers = re.findall(r"^## (\d)\. ", (DOCS / "better-auth.md").read_text("utf-8"), flags=re.MULTILINE)
    assert numbers == ["1", "2", "3"]
