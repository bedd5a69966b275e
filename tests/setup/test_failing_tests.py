"""A failing test is reported when it fails, and ends with the session, whatever it leaves running."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
LEAVES_A_SERVICE_BEHIND = """
from tests.support.services import Service

async def test_that_fails(stage, services, empty_database_url):
    service = Service(stage, services.settings(empty_database_url), empty_database_url)
    assert (await service.http.get("/health/live")).status_code == 500
"""
FAILS_FIRST = """
def test_first():
    print("what the test has printed")
    assert 1 + 1 == 3

def test_second():
    pass
"""


def session_of(directory: Path, module: str) -> "subprocess.CompletedProcess[str]":
    """A session with these tests and all of tests/conftest.py, without the options of this session."""
    (directory / "test_module.py").write_text(module)
    options = ("--rootdir", str(directory), "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest", "--verbose")
    return subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(directory)],
        cwd=ROOT,
        env={name: value for name, value in os.environ.items() if name != "PYTEST_ADDOPTS"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )


def test_a_service_that_a_failed_test_leaves_running_does_not_hang_the_session(tmp_path: Path) -> None:
    session = session_of(tmp_path, LEAVES_A_SERVICE_BEHIND)
    assert session.returncode == 1, session.stdout + session.stderr
    assert "assert 200 == 500" in session.stdout
    assert "1 failed" in session.stdout


def test_a_failure_is_reported_before_the_next_test_runs_and_only_once(tmp_path: Path) -> None:
    said = session_of(tmp_path, FAILS_FIRST).stdout
    before, after = said.split("test_second PASSED")
    assert before.count("E       assert (1 + 1) == 3") == 1, said
    assert "what the test has printed" in before
    assert "E       assert" not in after
    assert "FAILED" in after
