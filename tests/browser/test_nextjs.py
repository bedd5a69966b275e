"""The app of docs/nextjs.md, made by following the page, and used by a person in Chromium.

What Next.js would do is done by the tools that the other tests have: it is compiled by TypeScript, bundled by esbuild
and served by `tests/e2e/better_auth/server.mjs`.
"""

import json
import os
import shutil
import subprocess
import sys
from collections.abc import AsyncIterator
from pathlib import Path

import pytest
from dotenv import dotenv_values
from playwright.async_api import Page, expect

from taskservice.settings import load_settings
from tests.browser.conftest import Visiting
from tests.docs.blocks import ROOT, blocks_of
from tests.e2e.better_auth.recipes import compiled, files_in, recipe
from tests.e2e.better_auth.server import NODE_MODULES, BetterAuth, require_node
from tests.support.postgres import ThrowawayPostgres
from tests.support.services import Service, Services

pytestmark = pytest.mark.slow

INSTALL, SETTINGS, MODULES, _START = (block.text for block in blocks_of("docs/nextjs.md") if block.language == "sh")
PASSWORD = "correct horse battery"

MAIN = """
import { StrictMode } from "react";
import { createRoot } from "react-dom/client";
import Page from "./app/page";

createRoot(document.getElementById("app")!).render(<StrictMode><Page /></StrictMode>);
"""
HOME = """
const page = `<!doctype html><meta charset="utf-8"><title>To do</title><link rel="icon" href="data:,">
<div id="app"></div><script type="module" src="/bundle.js"></script>`;
export const GET = () => new Response(page, { headers: { "content-type": "text/html" } });
"""
BUNDLE = """
import { readFileSync } from "node:fs";
const file = new URL("../../../bundle.js", import.meta.url);
export const GET = () => new Response(readFileSync(file), { headers: { "content-type": "text/javascript" } });
"""


class Reader:
    """Somebody with a clone of this repository, `taskservice`, and the new app beside it, `todo`."""

    def __init__(self, directory: Path) -> None:
        self.clone, self.app = directory / "taskservice", directory / "todo"
        (self.clone / ".venv").mkdir(parents=True)
        self.app.mkdir()
        (self.clone / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
        (self.clone / "docs").symlink_to(ROOT / "docs")
        shutil.copy(ROOT / "litestar.toml", self.clone)

    def paste(self, text: str) -> None:
        kept = {name: os.environ[name] for name in ("HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
        environ = kept | {"PATH": os.defpath, "TASKSERVICE": "../taskservice"}
        done = subprocess.run(
            ["bash", "-euo", "pipefail", "-c", text],
            cwd=self.app,
            env=environ,
            capture_output=True,
            text=True,
            check=False,
        )
        assert done.returncode == 0, done.stderr

    def follow(self) -> None:
        """Everything on the page that makes a file of the app."""
        self.paste(MODULES)
        page = (ROOT / "docs" / "nextjs.md").read_text("utf-8")
        for path, code in (recipe(1) | files_in(page) | {"main.tsx": MAIN}).items():
            (self.app / path).parent.mkdir(parents=True, exist_ok=True)
            (self.app / path).write_text(code, "utf-8")

    def bundle(self, service: Service) -> None:
        defined = {"NODE_ENV": "development", "NEXT_PUBLIC_TASKS_URL": service.url}
        options = [f"--define:process.env.{name}={json.dumps(value)}" for name, value in defined.items()]
        command = [str(NODE_MODULES / ".bin" / "esbuild"), "main.tsx", "--bundle", "--format=esm", "--jsx=automatic"]
        done = subprocess.run(
            [*command, *options, "--outfile=bundle.js"], cwd=self.app, capture_output=True, text=True, check=False
        )
        assert done.returncode == 0, done.stderr


@pytest.fixture
async def app(
    services: Services, postgres: ThrowawayPostgres, migrated_template: str, tmp_path: Path
) -> AsyncIterator[tuple[BetterAuth, Service]]:
    """The app, and the service that trusts it, on one database."""
    require_node()
    reader = Reader(tmp_path)
    reader.follow()
    built = compiled(reader.app)
    for path, code in {"home": HOME, "bundle.js": BUNDLE}.items():
        (built / "app" / path).mkdir()
        (built / "app" / path / "route.js").write_text(code, "utf-8")
    database_url = postgres.create_database(template=migrated_template)
    server = BetterAuth(database_url, built)
    try:
        service = services.start(database_url=database_url, BETTER_AUTH_URL=server.address, BETTER_AUTH_SECRET="")
        reader.bundle(service)
        yield server, service
        await service.hang_up()
        service.stop()
        await server.hang_up()
    finally:
        server.stop()


async def enter(page: Page, email: str, button: str, password: str = PASSWORD) -> None:
    await page.get_by_placeholder("E-mail address").fill(email)
    await page.get_by_placeholder("Password").fill(password)
    await page.get_by_role("button", name=button).click()


async def test_people_sign_up_and_each_sees_their_own_tasks(
    app: tuple[BetterAuth, Service], visiting: Visiting
) -> None:
    server, service = app
    visit = await visiting(f"{server.address}/home", elsewhere=(service.url,), polls=True)
    page = visit.page
    tasks = page.get_by_role("listitem")
    await enter(page, "ann@example.test", "Sign up")
    await page.get_by_placeholder("What is to be done?").fill("Buy milk")
    await page.get_by_role("button", name="Add").click()
    await expect(tasks).to_have_count(1)
    await page.get_by_label("Buy milk").click()
    await expect(page.get_by_label("Buy milk")).to_be_checked()
    await page.get_by_role("button", name="Delete").click()
    await expect(tasks).to_have_count(0)
    await page.get_by_role("button", name="Undo").click()
    await expect(page.get_by_label("Buy milk")).to_be_checked()
    await page.get_by_role("button", name="Sign out").click()

    await enter(page, "bob@example.test", "Sign up")
    await page.get_by_text("bob@example.test").wait_for()
    async with page.expect_response(lambda answer: answer.url.startswith(service.url) and answer.status in (200, 304)):
        pass
    await expect(tasks).to_have_count(0)
    await page.get_by_role("button", name="Sign out").click()

    await enter(page, "ann@example.test", "Sign in", "not her password")
    await expect(page.get_by_role("alert")).to_have_text("Invalid email or password")
    await enter(page, "ann@example.test", "Sign in")
    await expect(page.get_by_label("Buy milk")).to_be_checked()
    assert [row["title"] for row in await service.rows("SELECT title FROM tasks")] == ["Buy milk"]
    await page.goto("about:blank")


def test_both_sides_get_their_settings(tmp_path: Path) -> None:
    reader = Reader(tmp_path)
    reader.paste(SETTINGS)
    said = dotenv_values(reader.app / ".env")
    assert said["DATABASE_URL"] == f"postgresql://taskservice@/taskservice?host={_quoted(reader)}&port=5432"
    assert len(said["BETTER_AUTH_SECRET"] or "") >= 32
    settings = load_settings({}, reader.clone)
    assert settings.better_auth_url == said["BETTER_AUTH_URL"]
    assert settings.secrets == ()


def _quoted(reader: Reader) -> str:
    return str(reader.clone / ".data" / "postgresql" / "cluster").replace("/", "%2F")
