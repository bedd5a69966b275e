"""A span for each request once somebody has set OpenTelemetry up, and nothing of it before."""

import json
import os
import re
import subprocess
import sys
import time
from pathlib import Path

import httpx
import pytest

from tests.web.launched import ROOT, launched

pytestmark = pytest.mark.slow

PROGRAM = """
import asyncio, json, sys
from tests.web.small_app import client_of, settings_of, small_app
from taskservice.observability.tracing import traced

with_sdk = sys.argv[1] == "sdk"
if with_sdk:
    from opentelemetry import trace
    from opentelemetry.sdk.trace import TracerProvider
    from opentelemetry.sdk.trace.export import SimpleSpanProcessor
    from opentelemetry.sdk.trace.export.in_memory_span_exporter import InMemorySpanExporter
    spans = InMemorySpanExporter()
    provider = TracerProvider()
    provider.add_span_processor(SimpleSpanProcessor(spans))
    trace.set_tracer_provider(provider)

async def main():
    settings = settings_of()
    app, log = small_app(settings, within_log=[traced])
    if not with_sdk:
        assert traced(app) is app
        assert not [name for name in sys.modules if name.startswith("opentelemetry.sdk")]
    async with client_of(app) as client:
        parent = {"traceparent": "00-4bf92f3577b34da6a3ce929d0e0e4736-00f067aa0ba902b7-01"}
        await client.get("/api/tasks/17?q=private", headers=parent)
        await client.get("/away")
    log.flush()
    for span in spans.get_finished_spans() if with_sdk else ():
        print(json.dumps({
            "name": span.name,
            "kind": span.kind.name,
            "status": span.status.status_code.name,
            "trace": format(span.context.trace_id, "032x"),
            "parent": span.parent and format(span.parent.span_id, "016x"),
            "attributes": dict(span.attributes),
        }))

asyncio.run(main())
"""


def run(mode: str) -> list[dict[str, object]]:
    # In a process of its own: a tracer provider can be set once.
    done = subprocess.run(
        [sys.executable, "-c", PROGRAM, mode],
        capture_output=True,
        text=True,
        check=True,
        cwd=ROOT,
        env=os.environ | {"PYTHONPATH": str(ROOT)},
    )
    return [json.loads(line) for line in done.stdout.splitlines()]


def test_each_request_is_a_span_named_by_its_route_template() -> None:
    first_line, second_line, first, second = run("sdk")
    assert first["name"] == "GET /api/tasks/{task_id}"
    assert first["kind"] == "SERVER"
    assert first["trace"] == first_line["trace_id"] == "4bf92f3577b34da6a3ce929d0e0e4736"
    assert first["parent"] == "00f067aa0ba902b7"
    assert first["attributes"] == {
        "http.request.method": "GET",
        "url.path": "/api/tasks/17",
        "url.scheme": "http",
        "http.route": "/api/tasks/{task_id}",
        "http.response.status_code": 200,
        "taskservice.request_id": first_line["request_id"],
    }
    assert second["status"] == "ERROR"
    assert second["parent"] is None
    assert second["trace"] == second_line["trace_id"]


def test_without_the_sdk_nothing_is_wrapped_or_loaded() -> None:
    assert len(run("none")) == 2


def test_the_command_of_the_operations_page_makes_spans(database_url: str, tmp_path: Path) -> None:
    page = (ROOT / "docs" / "operations" / "README.md").read_text("utf-8")
    (command,) = re.findall(r"^(?:OTEL_\w+=\S+ )+(opentelemetry-instrument .+)$", page, re.MULTILINE)
    # Spans go to standard output here, as there is no collector.
    to_console = {
        "OTEL_TRACES_EXPORTER": "console",
        "OTEL_METRICS_EXPORTER": "none",
        "OTEL_LOGS_EXPORTER": "none",
        "OTEL_BSP_SCHEDULE_DELAY": "100",
    }
    with launched(command.split(), tmp_path, database_url, **to_console) as service:
        httpx.get(f"{service.url}/api/tasks/17", trust_env=False)
        until = time.monotonic() + 20
        while '"GET /api/tasks/{task_id}"' not in service.out:
            assert time.monotonic() < until, service.out
            time.sleep(0.1)
