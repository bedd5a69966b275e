"""Who is let in from another origin, and that an operator learns of a page that was refused."""

import logging

import pytest

from taskservice.web.cors import WARNINGS_MAX, Origins
from tests.web.small_app import settings_of

HERE = b"api.example"


@pytest.fixture(autouse=True)
def warnings_are_logged(caplog: pytest.LogCaptureFixture) -> None:
    """Also in a process where services log errors only."""
    caplog.set_level(logging.WARNING, logger="taskservice")


def refused(caplog: pytest.LogCaptureFixture) -> list[str]:
    return [record.getMessage() for record in caplog.records if record.levelno == logging.WARNING]


@pytest.mark.parametrize(
    "origin", ["http://localhost:5173", "http://127.0.0.1:3000", "http://[::1]:8080", "https://localhost"]
)
def test_pages_of_this_machine_are_let_in_while_developing(origin: str) -> None:
    assert Origins(settings_of(env="development")).allow(origin.encode())
    assert not Origins(settings_of(env="production")).allow(origin.encode()) or origin == "http://localhost"


@pytest.mark.parametrize(
    "origin",
    [
        "http://localhost.evil.example",
        "http://127.0.0.1.evil.example",
        "http://evil.example/localhost",
        "null",
        "localhost",
    ],
)
def test_what_only_looks_like_this_machine_is_not_let_in(origin: str) -> None:
    assert not Origins(settings_of(env="development")).allow(origin.encode())


def test_a_refused_origin_is_named_once_with_the_setting_that_lets_it_in(caplog: pytest.LogCaptureFixture) -> None:
    origins = Origins(settings_of())
    for origin in (b"http://front.example", b"http://front.example", b"http://localhost:3000"):
        origins.warn_if_refused(origin, HERE)
    [line] = refused(caplog)
    assert "'http://front.example'" in line
    assert "TASKSERVICE_CORS_ORIGINS" in line


def test_the_services_own_pages_are_no_strangers(caplog: pytest.LogCaptureFixture) -> None:
    origins = Origins(settings_of(public_url="https://example.org/todo"))
    origins.warn_if_refused(b"https://example.org", b"127.0.0.1:8000")
    origins.warn_if_refused(b"https://api.example", HERE)
    assert refused(caplog) == []


def test_a_flood_of_origins_does_not_flood_the_log(caplog: pytest.LogCaptureFixture) -> None:
    origins = Origins(settings_of())
    for number in range(3 * WARNINGS_MAX):
        origins.warn_if_refused(b"http://%d.example" % number, HERE)
    assert len(refused(caplog)) == WARNINGS_MAX


def test_an_origin_cannot_write_lines_of_its_own_into_the_log(caplog: pytest.LogCaptureFixture) -> None:
    Origins(settings_of()).warn_if_refused(b"http://a.example\n2026 all is well" + b"x" * 5000, HERE)
    [line] = refused(caplog)
    assert "\n" not in line
    assert len(line) < 400
