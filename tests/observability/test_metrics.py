"""What Prometheus is told, and that the dashboard and the alerts ask only for that."""

import json
import re
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import yaml
from prometheus_client.parser import text_string_to_metric_families

from taskservice.auth.tokens import TokenVerifier
from taskservice.database.failures import Failure
from taskservice.database.pool import Pool
from taskservice.observability.metrics import Metrics, scrape
from taskservice.problems import Problem
from tests.web.small_app import client_of, settings_of, small_app

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"
FROM_PROMETHEUS = {"job", "instance"}
"""Labels that the scraper adds, and `up`, the series it makes itself."""


async def refuse(_: float) -> Any:
    raise ConnectionRefusedError


class Watched:
    """An application that counts, with a pool that cannot connect."""

    def __init__(self) -> None:
        settings = settings_of(metrics="true")
        self.pool = Pool(refuse, size=2, deadline=0.5)
        self.pool.serving = True
        self.verifier = TokenVerifier(settings)
        metrics = Metrics(self.pool, self.verifier)
        app, _ = small_app(settings, scrape, observe=metrics.observe)
        app.state.metrics = metrics
        self.client = client_of(app)

    async def scrape(self) -> dict[str, list[tuple[dict[str, str], float]]]:
        answer = await self.client.get("/metrics")
        assert answer.status_code == 200
        assert answer.headers["content-type"].startswith("text/plain; version=")
        series: dict[str, list[tuple[dict[str, str], float]]] = {}
        for family in text_string_to_metric_families(answer.text):
            for sample in family.samples:
                series.setdefault(sample.name, []).append((sample.labels, sample.value))
        return series


@pytest.fixture
async def watched() -> Any:
    watched = Watched()
    async with watched.client:
        yield watched


async def test_requests_are_counted_by_template_method_and_status(watched: Watched) -> None:
    for task in "abc":
        await watched.client.get(f"/api/tasks/{task}")
    await watched.client.get("/nowhere")
    await watched.client.get("/away")
    counted = {
        (labels["method"], labels["route"], labels["status"]): value
        for labels, value in (await watched.scrape())["taskservice_http_requests_total"]
    }
    assert counted == {
        ("GET", "/api/tasks/{task_id}", "200"): 3,
        ("GET", "unmatched", "404"): 1,
        ("GET", "/away", "503"): 1,
    }


async def test_latencies_fall_into_buckets(watched: Watched) -> None:
    for _ in range(5):
        await watched.client.get("/api/tasks/a")
    series = await watched.scrape()
    name = "taskservice_http_request_duration_seconds"
    buckets = [value for labels, value in series[f"{name}_bucket"] if labels["route"] == "/api/tasks/{task_id}"]
    assert buckets == sorted(buckets)
    assert buckets[-1] == 5
    assert [value for labels, value in series[f"{name}_count"] if labels["route"].startswith("/api")] == [5]
    assert 0 < next(value for labels, value in series[f"{name}_sum"] if labels["route"].startswith("/api")) < 5


async def test_made_up_methods_and_paths_make_no_series_of_their_own(watched: Watched) -> None:
    for number in range(30):
        await watched.client.request(f"MADEUP{number}", f"/made/up/{number}")
    requests = (await watched.scrape())["taskservice_http_requests_total"]
    assert [(labels["method"], labels["route"], value) for labels, value in requests] == [("other", "unmatched", 30)]


async def test_the_pool_and_its_failures_are_told(watched: Watched) -> None:
    with pytest.raises(Problem):
        await watched.pool.fetch("SELECT 1", ())
    series = await watched.scrape()
    assert {labels["state"]: value for labels, value in series["taskservice_database_connections"]} == {
        "in_use": 0,
        "idle": 0,
    }
    assert [value for _, value in series["taskservice_database_waiting"]] == [0]
    errors = {labels["kind"]: value for labels, value in series["taskservice_database_errors_total"]}
    assert set(errors) == {*(failure.value for failure in Failure), "pool_exhausted", "turn_timeout"}
    assert errors["disconnected"] >= 1


async def test_tokens_are_told_by_outcome(watched: Watched) -> None:
    with pytest.raises(Problem):
        await watched.verifier.verify(b"not.a.token")
    outcomes = {labels["outcome"]: value for labels, value in (await watched.scrape())["taskservice_tokens_total"]}
    assert outcomes == {"ok": 0, "invalid-token": 1}


async def test_the_charset_is_named_once(watched: Watched) -> None:
    assert (await watched.client.get("/metrics")).headers.get_list("content-type") == [
        "text/plain; version=0.0.4; charset=utf-8"
    ]


async def test_prometheus_may_ask_for_open_metrics(watched: Watched) -> None:
    answer = await watched.client.get("/metrics", headers={"Accept": "application/openmetrics-text; version=1.0.0"})
    assert answer.headers["content-type"].startswith("application/openmetrics-text")
    assert answer.text.endswith("# EOF\n")


# ---- the dashboard and the alerts


def dashboard_queries() -> Iterator[str]:
    dashboard = json.loads((OPERATIONS / "grafana-dashboard.json").read_text("utf-8"))
    for panel in dashboard["panels"]:
        for target in panel["targets"]:
            yield target["expr"]
    for annotation in dashboard["annotations"]["list"]:
        yield annotation["expr"]
    for variable in dashboard["templating"]["list"]:
        if variable["type"] == "query":
            metric, label = re.fullmatch(r"label_values\((\w+), (\w+)\)", variable["query"]["query"]).groups()  # type: ignore[union-attr]
            yield f"sum by ({label}) ({metric})"


def alert_queries() -> Iterator[str]:
    rules = yaml.safe_load((OPERATIONS / "alerts.yaml").read_text("utf-8"))
    for group in rules["groups"]:
        for rule in group["rules"]:
            yield rule["expr"]


def asked_of(query: str) -> Iterator[tuple[str, dict[str, str]]]:
    """The series a query asks for, and what it wants their labels to be."""
    bare = re.sub(r"\[[^\]]*\]", "", query)  # ranges
    by = re.findall(r"\bby \(([^)]*)\)", bare)
    bare = re.sub(r"\bby \([^)]*\)", "", bare)
    names = re.findall(r"([a-z_:]+)\s*(?:\{([^}]*)\})?", re.sub(r'"[^"]*"', '""', bare))
    literal = iter(re.findall(r'(\w+)\s*(?:=~|!~|!=|=)\s*"([^"]*)"', bare))
    grouped = {label.strip(): "" for labels in by for label in labels.split(",")}
    for name, matchers in names:
        if name.startswith(("taskservice_", "process_", "up")):
            yield name, dict(next(literal) for _ in re.findall(r'""', matchers)) | grouped


@pytest.mark.parametrize("query", [*dashboard_queries(), *alert_queries()])
async def test_every_query_asks_for_what_is_there(query: str, watched: Watched) -> None:
    await watched.client.get("/api/tasks/a")
    await watched.client.get("/away")
    series = await watched.scrape()
    asked = list(asked_of(query))
    assert asked, "no metric found in this query"
    for name, labels in asked:
        if name == "up":
            continue
        assert name in series, f"{name} is not in /metrics"
        told: dict[str, set[str]] = {}
        for sample, _ in series[name]:
            for label, value in sample.items():
                told.setdefault(label, set()).add(value)
        for label, wanted in labels.items():
            assert label in {*told, *FROM_PROMETHEUS}, f"{name} has no label {label}"
            if label in {"kind", "state"} and wanted:
                # These have a closed set of values, so a misspelt one would never match.
                assert set(wanted.split("|")) <= told[label]


def test_every_alert_is_explained() -> None:
    rules = yaml.safe_load((OPERATIONS / "alerts.yaml").read_text("utf-8"))
    names = {rule["alert"] for group in rules["groups"] for rule in group["rules"]}
    explained = set(re.findall(r"^### (\w+)$", (OPERATIONS / "README.md").read_text("utf-8"), re.MULTILINE))
    assert names == explained


async def test_every_metric_of_the_page_exists_and_every_one_of_ours_is_on_it(watched: Watched) -> None:
    await watched.client.get("/api/tasks/a")
    page = (OPERATIONS / "README.md").read_text("utf-8")
    written = set(re.findall(r"^\| (.*?) \|", page, re.MULTILINE))
    names = {name for cell in written for name in re.findall(r"`((?:taskservice|process)_\w+)`", cell)}
    families = {re.sub(r"_(bucket|count|sum)$", "", name) for name in await watched.scrape()}
    assert names <= families
    assert {name for name in families if name.startswith("taskservice_")} <= names
