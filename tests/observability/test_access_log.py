"""One line for each request, every other logger in the same format, and a name for each request."""

import asyncio
import json
import logging
import re
from pathlib import Path
from typing import Any, cast

import httpx
import pytest

from taskservice.observability.access_log import RequestLog
from taskservice.observability.log_lines import AccessLine, MessageLine
from taskservice.observability.logging_setup import FLUSH_SECONDS, Log
from taskservice.web.problem_documents import problem_response
from tests.web.small_app import client_of, settings_of, small_app

TRACE = "4bf92f3577b34da6a3ce929d0e0e4736"


@pytest.fixture(autouse=True)
def _nothing_left_over(capsys: pytest.CaptureFixture[str]) -> None:
    """Lines of an earlier test may still have waited."""
    for handler in logging.getLogger().handlers:
        handler.flush()
    capsys.readouterr()


def lines(log: Log, capsys: pytest.CaptureFixture[str]) -> list[dict[str, Any]]:
    log.flush()
    return [json.loads(line) for line in capsys.readouterr().out.splitlines()]


@pytest.mark.parametrize(
    ("method", "path", "headers"),
    [
        ("GET", "/api/tasks/1", {}),
        ("GET", "/nowhere", {}),
        ("PUT", "/api/tasks/1", {}),
        ("GET", "/broken", {}),
        ("GET", "/away", {}),
        ("OPTIONS", "/api/tasks/1", {"Origin": "https://front.example", "Access-Control-Request-Method": "GET"}),
        ("OPTIONS", "/api/tasks/1", {"Origin": "https://evil.example", "Access-Control-Request-Method": "GET"}),
    ],
)
async def test_every_answer_carries_the_id_of_its_request_and_has_one_line(
    method: str, path: str, headers: dict[str, str], capsys: pytest.CaptureFixture[str]
) -> None:
    app, log = small_app(settings_of())
    async with client_of(app) as client:
        answer = await client.request(method, path, headers=headers)
    assert answer.headers.get_list("x-request-id") == [answer.headers["x-request-id"]]
    (line,) = lines(log, capsys)
    assert line["request_id"] == answer.headers["x-request-id"]
    assert (line["method"], line["path"], line["status"]) == (method, path, answer.status_code)


@pytest.mark.parametrize("given", ["a", "A-b_c.9", "x" * 128])
async def test_a_sane_id_of_the_client_is_kept(given: str) -> None:
    app, _ = small_app(settings_of())
    async with client_of(app) as client:
        answer = await client.get("/broken", headers={"X-Request-ID": given})
    assert answer.headers["x-request-id"] == given
    assert answer.json()["request_id"] == given


@pytest.mark.parametrize("given", ["", "x" * 129, "a b", "a\tb", "ä", 'a"b', "a\\b", "<script>"])
async def test_an_insane_id_is_replaced(given: str) -> None:
    app, _ = small_app(settings_of())
    async with client_of(app) as client:
        answer = await client.get("/api/tasks/1", headers=[(b"X-Request-ID", given.encode())])
    assert answer.headers["x-request-id"] not in {given, ""}
    assert answer.headers["x-request-id"].isascii()


async def test_requests_without_an_id_get_different_ones() -> None:
    app, _ = small_app(settings_of())
    async with client_of(app) as client:
        ids = {(await client.get("/api/tasks/1")).headers["x-request-id"] for _ in range(50)}
    assert len(ids) == 50


async def test_a_line_says_who_what_and_how_long_but_no_query_value_and_no_token(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app, log = small_app(settings_of())
    async with client_of(app) as client:
        await client.get(
            "/api/tasks/17?q=private&token=hush",
            headers={
                "Authorization": "Bearer hush",
                "Cookie": "session=hush",
                "X-Request-ID": "r1",
                "traceparent": f"00-{TRACE}-00f067aa0ba902b7-01",
            },
        )
    log.flush()
    out = capsys.readouterr().out
    assert "hush" not in out
    assert "private" not in out
    line = json.loads(out)
    assert line.pop("time").endswith("Z")
    assert line.pop("duration_ms") > 0
    assert line == {
        "level": "info",
        "logger": "taskservice.access",
        "method": "GET",
        "path": "/api/tasks/17",
        "route": "/api/tasks/{task_id}",
        "status": 200,
        "database_ms": 250.0,
        "user_id": "alice",
        "request_id": "r1",
        "client": "127.0.0.1",
        "trace_id": TRACE,
    }


@pytest.mark.parametrize(
    "given",
    [
        f"00-{'0' * 32}-00f067aa0ba902b7-01",
        f"00-{TRACE}-{'0' * 16}-01",
        f"ff-{TRACE}-00f067aa0ba902b7-01",
        f"00-{TRACE.upper()}-00f067aa0ba902b7-01",
        f"00-{TRACE}",
        "x" * 5000,
    ],
)
async def test_a_broken_traceparent_is_ignored(given: str, capsys: pytest.CaptureFixture[str]) -> None:
    app, log = small_app(settings_of())
    async with client_of(app) as client:
        assert (await client.get("/api/tasks/1", headers={"traceparent": given})).status_code == 200
    assert "trace_id" not in lines(log, capsys)[0]


async def test_a_500_is_logged_with_its_cause_and_place_but_without_values(capsys: pytest.CaptureFixture[str]) -> None:
    app, log = small_app(settings_of())
    async with client_of(app) as client:
        answer = await client.get("/broken")
    (line,) = lines(log, capsys)
    assert line["level"] == "error"
    assert line["request_id"] == answer.json()["request_id"]
    assert line["error"][0].startswith("RuntimeError: the bug is here (at ")
    assert line["error"][1].startswith("KeyError: 'missing' (at ")
    assert "in broken" in line["traceback"][-1]
    assert "secret title" not in json.dumps(line)


async def test_a_503_is_logged_with_its_cause_in_one_short_line(capsys: pytest.CaptureFixture[str]) -> None:
    app, log = small_app(settings_of())
    async with client_of(app) as client:
        await client.get("/away")
    (line,) = lines(log, capsys)
    assert [error.partition(" (")[0] for error in line["error"]] == [
        "taskservice.problems.DatabaseUnavailable: The database does not answer",
        "ConnectionRefusedError: connection refused",
    ]
    assert "traceback" not in line


async def test_probes_are_quiet_until_they_fail(capsys: pytest.CaptureFixture[str]) -> None:
    app, log = small_app(settings_of())
    async with client_of(app) as client:
        await client.get("/health/live")
        assert lines(log, capsys) == []
        await client.get("/health/ready")
    assert [line["path"] for line in lines(log, capsys)] == ["/health/ready"]


async def test_probes_are_logged_at_debug(capsys: pytest.CaptureFixture[str]) -> None:
    app, log = small_app(settings_of(log_level="debug"))
    async with client_of(app) as client:
        await client.get("/health/live")
    assert [(line["path"], line["level"]) for line in lines(log, capsys) if "path" in line] == [
        ("/health/live", "debug")
    ]


async def test_the_level_warning_keeps_only_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    app, log = small_app(settings_of(log_level="warning"))
    async with client_of(app) as client:
        answer = await client.get("/api/tasks/1")
        await client.get("/nowhere")
        await client.get("/away")
    assert answer.headers["x-request-id"]
    assert [line["status"] for line in lines(log, capsys)] == [503]


async def test_lines_come_out_by_themselves_and_at_once_after_trouble(capsys: pytest.CaptureFixture[str]) -> None:
    app, _ = small_app(settings_of())
    async with client_of(app) as client:
        await client.get("/api/tasks/1")
        assert capsys.readouterr().out == ""
        await asyncio.sleep(FLUSH_SECONDS * 4)
        assert json.loads(capsys.readouterr().out)["status"] == 200
        await client.get("/api/tasks/2")
        await client.get("/broken")
        assert [json.loads(line)["status"] for line in capsys.readouterr().out.splitlines()] == [200, 500]


async def test_a_request_that_is_given_up_before_its_answer_is_logged_as_499(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app, log = small_app(settings_of())
    async with client_of(app) as client:
        asking = asyncio.create_task(client.get("/slow"))
        await asyncio.sleep(0.05)
        asking.cancel()
        await asyncio.wait([asking])
    (line,) = lines(log, capsys)
    assert (line["path"], line["status"], line["level"]) == ("/slow", 499, "info")


@pytest.mark.parametrize("name", ["uvicorn", "uvicorn.error", "asyncpg", "taskservice", "some.library"])
def test_every_logger_speaks_json_in_production(name: str, capsys: pytest.CaptureFixture[str]) -> None:
    _, log = small_app(settings_of())
    logging.getLogger(name).warning("the %s is %s", "sky", "falling")
    (line,) = lines(log, capsys)
    assert (line["level"], line["logger"], line["message"]) == ("warning", name, "the sky is falling")


def test_an_exception_that_is_logged_comes_with_its_cause(capsys: pytest.CaptureFixture[str]) -> None:
    _, log = small_app(settings_of())
    try:
        int("no such thing")
    except ValueError:
        logging.getLogger("taskservice").exception("cannot go on")
    (line,) = lines(log, capsys)
    assert line["error"][0].startswith("ValueError: invalid literal")
    assert line["traceback"]


def test_uvicorn_does_not_log_requests_a_second_time() -> None:
    small_app(settings_of())
    assert not logging.getLogger("uvicorn.access").hasHandlers()


def test_configuring_again_does_not_say_everything_twice(capsys: pytest.CaptureFixture[str]) -> None:
    small_app(settings_of())
    _, log = small_app(settings_of())
    logging.getLogger("taskservice").info("once")
    assert len(lines(log, capsys)) == 1


async def test_development_is_for_eyes_and_a_path_cannot_forge_a_line(capsys: pytest.CaptureFixture[str]) -> None:
    app, log = small_app(settings_of(env="development"))
    async with client_of(app) as client:
        await client.get("/api/tasks/1%0A12:00:00 ERROR  forged%1B[2J")
        await client.get("/broken")
    log.flush()
    out = capsys.readouterr().out
    first, second, *rest = out.splitlines()
    assert "GET /api/tasks/1\\n12:00:00 ERROR  forged\\x1b[2J 200" in first
    assert "user=alice" in first
    assert "ERROR   GET /broken 500" in second
    assert rest[0].strip().startswith("RuntimeError: the bug is here")


async def test_a_lone_surrogate_or_a_very_long_path_is_no_reason_to_lose_a_line(
    capsys: pytest.CaptureFixture[str],
) -> None:
    app, log = small_app(settings_of())
    scope = {
        "type": "http",
        "method": "GET",
        "path": "/\udcff" + "a" * 10_000,
        "headers": [],
        "query_string": b"",
        "http_version": "1.1",
        "scheme": "http",
    }

    async def receive() -> Any:
        return {"type": "http.request", "body": b"", "more_body": False}

    async def send(_: Any) -> None: ...

    await app(scope, receive, send)  # type: ignore[arg-type]
    (line,) = lines(log, capsys)
    assert line["path"].startswith("/?aaa")
    assert len(line["path"]) < 600


async def test_a_log_that_cannot_be_written_fails_no_request(monkeypatch: pytest.MonkeyPatch) -> None:
    class Gone:
        @property
        def buffer(self) -> Any:
            raise BrokenPipeError

    app, _ = small_app(settings_of())
    monkeypatch.setattr("sys.stdout", Gone())
    async with client_of(app) as client:
        assert (await client.get("/away")).status_code == 503
        assert (await client.get("/api/tasks/1")).status_code == 200


def test_the_operations_page_explains_every_field() -> None:
    page = (Path(__file__).parents[2] / "docs" / "operations" / "README.md").read_text("utf-8")
    table = page.partition("| field | meaning |")[2].partition("\n\n")[0]
    explained = {
        name for cell in re.findall(r"^\| (`.*?) \|", table, re.MULTILINE) for name in re.findall(r"`(\w+)`", cell)
    }
    assert explained == {*AccessLine.__struct_fields__, *MessageLine.__struct_fields__}


async def test_a_line_names_the_code_of_the_problem_that_was_answered(capsys: pytest.CaptureFixture[str]) -> None:
    app, log = small_app(settings_of(), exception_handlers={Exception: problem_response})
    async with client_of(app) as client:
        answers = [await client.get("/nowhere"), await client.get("/away"), await client.get("/api/tasks/1")]
    assert [line.get("code") for line in lines(log, capsys)] == ["not-found", "database-unavailable", None]
    assert answers[0].json()["code"] == "not-found"


async def test_a_line_for_people_names_the_trace(capsys: pytest.CaptureFixture[str]) -> None:
    app, log = small_app(settings_of(env="development"))
    async with client_of(app) as client:
        await client.get("/api/tasks/1", headers={"traceparent": f"00-{TRACE}-00f067aa0ba902b7-01"})
    log.flush()
    assert f" trace={TRACE}" in capsys.readouterr().out


async def test_middleware_that_fails_is_a_500_in_the_one_shape(capsys: pytest.CaptureFixture[str]) -> None:
    async def fails(_scope: Any, _receive: Any, _send: Any) -> None:
        raise ValueError("secret title")

    _, log = small_app(settings_of())
    outermost = RequestLog(fails, log, public_url="https://example.org/todo")
    transport = httpx.ASGITransport(cast("Any", outermost))
    async with httpx.AsyncClient(transport=transport, base_url="http://service.example") as client:
        answer = await client.get("/api/tasks/1")
    assert (answer.status_code, answer.headers["content-type"]) == (500, "application/problem+json")
    assert answer.json()["request_id"] == answer.headers["x-request-id"]
    assert answer.json()["instance"] == "https://example.org/todo/api/tasks/1"
    (line,) = lines(log, capsys)
    assert (line["status"], line["level"]) == (500, "error")
    assert line["error"][0].startswith("ValueError")
