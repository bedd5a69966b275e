"""The log and the metrics around the real service, as an operator meets them."""

import json
import re
import time
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest
from litestar.routes import HTTPRoute

from tests.support.services import Service, Services
from tests.support.stage import Stage
from tests.web.launched import launched

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
def watched(services: Services) -> Service:
    return services.shared(metrics="true")


async def counted(service: Service) -> dict[tuple[str, str, str], float]:
    text = (await service.http.get("/metrics")).text
    pattern = r'taskservice_http_requests_total\{method="(.*?)",route="(.*?)",status="(.*?)"\} (\S+)'
    return {(method, route, status): float(value) for method, route, status, value in re.findall(pattern, text)}


async def test_metrics_are_off_unless_asked_for(service: Service) -> None:
    assert (await service.http.get("/metrics")).status_code == 404


async def test_metrics_need_no_token_and_name_routes_by_template(
    watched: Service, someone: Callable[[str], str]
) -> None:
    alice = watched.user(someone("alice"))
    before = await counted(watched)
    task = await alice.create()
    await alice.read(task["id"])
    await watched.http.head("/health/live")
    await watched.http.get("/api/tasks")
    after = await counted(watched)
    grown = {key: after[key] - before.get(key, 0) for key in after if after[key] != before.get(key, 0)}
    grown.pop(("GET", "/metrics", "200"))
    assert grown == {
        ("POST", "/api/tasks", "201"): 1,
        ("GET", "/api/tasks/{task_id}", "200"): 1,
        ("HEAD", "/health/live", "200"): 1,
        ("GET", "/api/tasks", "401"): 1,
    }
    known = {route.path_format for route in watched.app.routes if isinstance(route, HTTPRoute)}
    assert {route for _, route, _ in after} <= known | {"unmatched"}


async def test_verified_tokens_and_database_time_show(
    watched: Service, someone: Callable[[str], str], capsys: pytest.CaptureFixture[str]
) -> None:
    def tokens(text: str, outcome: str) -> float:
        found = re.search(rf'taskservice_tokens_total\{{outcome="{outcome}"\}} (\S+)', text)
        return float(found[1]) if found else 0

    before = (await watched.http.get("/metrics")).text
    await watched.user(someone("alice")).tasks()
    await watched.http.get("/api/tasks", headers={"Authorization": "Bearer nonsense"})
    after = (await watched.http.get("/metrics")).text
    assert tokens(after, "ok") == tokens(before, "ok") + 1
    assert tokens(after, "invalid-token") == tokens(before, "invalid-token") + 1
    assert 'taskservice_database_connections{state="idle"' in after


async def test_a_503_carries_its_request_id_and_the_log_its_cause(
    stage: Stage, services: Services, capsys: pytest.CaptureFixture[str]
) -> None:
    nowhere = "postgresql://nobody@127.0.0.1:1/none"
    service = Service(stage, services.settings(nowhere, env="production", database_deadline=1), nowhere)
    try:
        token = service.token("anybody")
        async with httpx.AsyncClient(base_url=service.url, trust_env=False) as http:
            answer = await http.get("/api/tasks", headers={"Authorization": f"Bearer {token}", "X-Request-ID": "r-503"})
    finally:
        service.stop()
    assert answer.status_code == 503
    assert answer.json()["request_id"] == answer.headers["x-request-id"] == "r-503"
    out = capsys.readouterr().out
    assert token not in out
    (line,) = [
        found
        for found in (json.loads(text) for text in out.splitlines() if text.startswith("{"))
        if found["logger"] == "taskservice.access" and found["request_id"] == "r-503"
    ]
    assert (line["level"], line["user_id"], line["route"]) == ("error", "anybody", "/api/tasks")
    assert line["error"][0].startswith("taskservice.problems.")
    assert len(line["error"]) >= 1


def test_production_says_nothing_but_json_and_one_scrape_answers_for_all_workers(
    database_url: str, tmp_path: Path
) -> None:
    command = ["litestar", "run", "--wc", "2"]
    workers: set[str] = set()
    with launched(command, tmp_path, database_url, TASKSERVICE_METRICS="true") as service:
        # A worker is known once it has written its figures, which it does each second.
        for _ in range(100):
            text = httpx.get(f"{service.url}/metrics", trust_env=False).text
            workers = set(re.findall(r'process_cpu_seconds_total\{worker="(\d+)"', text))
            if len(workers) == 2:
                break
            time.sleep(0.1)
        httpx.get(f"{service.url}/api/tasks", headers={"X-Request-ID": "to-be-found"}, trust_env=False)
    assert len(workers) == 2
    assert service.err == ""
    lines = [json.loads(line) for line in service.out.splitlines()]
    assert all({"time", "level", "logger"} <= line.keys() for line in lines)
    assert [line["status"] for line in lines if line.get("request_id") == "to-be-found"] == [401]
