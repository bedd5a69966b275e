"""The page at `/`: what a developer sees who opens the service's address in a browser for the first time."""

import datetime as dt
import os
import subprocess
from pathlib import Path
from zoneinfo import ZoneInfo

from playwright.async_api import expect

from taskservice.tasks.samples import SAMPLES
from tests.browser.conftest import Visiting
from tests.support import needs
from tests.support.services import Service
from tests.support.swagger import Swagger

MADE = "Buy milk"


async def test_the_page_says_that_the_service_is_ready(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/")
    await expect(visit.page.get_by_role("status").filter(has_text="Ready")).to_be_visible()


async def test_one_click_opens_swagger_ui_with_the_demo_users_token(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/")
    await visit.page.get_by_role("link", name="Use it in Swagger UI").click()
    await visit.page.locator(".auth-wrapper .authorize.locked").wait_for()
    status, tasks, _ = await Swagger(visit.page).send("GET", "/api/tasks")
    assert status == 200
    assert {task["user_id"] for task in tasks} <= {"demo"}


async def test_a_button_makes_sample_tasks_and_shows_them(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/")
    demo = service.user("demo")
    before = len(await demo.tasks())
    await visit.page.get_by_role("button", name="Make sample tasks").click()
    await expect(visit.page.locator("#tasks li")).to_have_count(6)
    made = (await demo.tasks())[before:]
    assert sorted(task["title"] for task in made) == sorted(sample.title for sample in SAMPLES)


async def test_due_times_are_shown_in_the_readers_language_and_time_zone(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/", locale="de-DE", timezone_id="Asia/Tokyo")
    await visit.page.get_by_role("button", name="Make sample tasks").click()
    tasks = visit.page.locator("#tasks li")
    moment = tasks.filter(has_text="Read the draft").locator("time")
    due = dt.datetime.fromisoformat(await moment.get_attribute("datetime") or "")
    await expect(moment).to_have_text(f"{due.astimezone(ZoneInfo('Asia/Tokyo')):%d.%m.%Y, %H:%M}")
    day = tasks.filter(has_text="Call grandma").locator("time")
    date = dt.date.fromisoformat(await day.get_attribute("datetime") or "")
    await expect(day).to_have_text(f"{date:%d.%m.%Y}")


async def test_what_the_service_refuses_is_said_on_the_page(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/")
    await visit.page.route("**/api/tasks/batch", lambda route: route.fulfill(status=503, json={"detail": "Not now"}))
    await visit.page.get_by_role("button", name="Make sample tasks").click()
    await expect(visit.page.locator("#outcome")).to_have_text("That did not work. 503: Not now")
    await expect(visit.page.get_by_role("button", name="Make sample tasks")).to_be_enabled()


async def test_the_lines_for_a_shell_work_when_pasted(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/")
    lines = await visit.page.locator("#curl").inner_text()
    assert run("bash", "-euc", lines).count(f'"title":"{MADE}"') >= 2


async def test_the_lines_of_typescript_work_when_pasted(service: Service, visiting: Visiting, tmp_path: Path) -> None:
    node = needs.node()
    visit = await visiting(f"{service.url}/")
    program = tmp_path / "try.mjs"
    program.write_text(await visit.page.locator("#typescript").inner_text(), "utf-8")
    output = run(node, str(program))
    assert "201" in output
    assert output.count(MADE) >= 2


async def test_a_button_copies_the_token(service: Service, visiting: Visiting) -> None:
    visit = await visiting(f"{service.url}/")
    await visit.context.grant_permissions(["clipboard-read", "clipboard-write"])
    await visit.page.get_by_role("button", name="Copy the token").click()
    await expect(visit.page.get_by_role("button", name="Copied")).to_be_visible()
    token = await visit.page.evaluate("navigator.clipboard.readText()")
    answer = await service.http.get("/api/tasks", headers={"Authorization": f"Bearer {token}"})
    assert answer.status_code == 200


def run(*command: str) -> str:
    environment = {name: value for name, value in os.environ.items() if not name.lower().endswith("_proxy")}
    done = subprocess.run(command, capture_output=True, text=True, check=False, timeout=60, env=environment)
    assert done.returncode == 0, done.stderr
    return done.stdout
