"""Who is shown the page at `/`, who gets JSON, and who never sees a token."""

import re

import httpx
import pytest

from tests.support.services import Service, Services

BROWSER = {"Accept": "text/html,application/xhtml+xml,application/xml;q=0.9,*/*;q=0.8"}
TOKEN = re.compile(r"eyJ[\w-]+\.[\w-]+\.[\w-]+")


async def home(service: Service, **headers: str) -> httpx.Response:
    return await service.http.get(
        "/", headers=BROWSER | {name.replace("_", "-"): value for name, value in headers.items()}
    )


@pytest.mark.parametrize("accept", ["*/*", "application/json", "application/json, text/html;q=0.5", "text/plain, */*"])
async def test_programs_get_json(service: Service, accept: str) -> None:
    answer = await service.http.get("/", headers={"Accept": accept})
    assert answer.json()["service"] == "taskservice"
    assert "accept" in answer.headers["vary"].lower()


async def test_browsers_get_a_page(service: Service) -> None:
    answer = await home(service)
    assert answer.headers["content-type"] == "text/html; charset=utf-8"
    assert "accept" in answer.headers["vary"].lower()
    assert "script-src 'self';" in answer.headers["content-security-policy"]
    assert not re.search(r"<script(?![^>]* src=)|\son\w+=", answer.text)


async def test_a_developer_at_this_machine_is_shown_a_token_that_works(service: Service) -> None:
    answer = await home(service)
    assert answer.headers["cache-control"] == "no-store"
    found = TOKEN.search(answer.text)
    assert found
    tasks = await service.http.get("/api/tasks", headers={"Authorization": f"Bearer {found[0]}"})
    assert tasks.status_code == 200


@pytest.mark.parametrize(
    "headers",
    [
        {"Origin": "http://localhost:3000"},
        {"Host": "attacker.example"},
        {"Host": "127.0.0.1.attacker.example:8000"},
        {"X_Forwarded_For": "203.0.113.7"},
        {"Via": "1.1 proxy"},
        {"Forwarded": "for=203.0.113.7"},
    ],
    ids=str,
)
async def test_whoever_may_be_elsewhere_is_shown_no_token(service: Service, headers: dict[str, str]) -> None:
    assert not TOKEN.search((await home(service, **headers)).text)


@pytest.mark.parametrize(
    "policies",
    [{"env": "production"}, {"public_url": "https://example.org/todo"}, {"users": "registered"}],
    ids=str,
)
async def test_whoever_is_to_be_known_otherwise_is_shown_no_token(services: Services, policies: dict[str, str]) -> None:
    answer = await home(services.shared(**policies))
    assert answer.status_code == 200
    assert not TOKEN.search(answer.text)
    assert "Make sample tasks" not in answer.text
    assert answer.headers["cache-control"] == "no-cache"


async def test_a_host_that_is_none_does_not_reach_the_page(service: Service) -> None:
    answer = await home(service, Host="x'$(reboot)'<script>")
    assert "reboot" not in answer.text
