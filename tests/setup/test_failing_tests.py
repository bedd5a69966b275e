"""A test that fails ends the session, whatever it leaves running, and its report is printed."""

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


def test_a_service_that_a_failed_test_leaves_running_does_not_hang_the_session(tmp_path: Path) -> None:
    (tmp_path / "test_failing.py").write_text(LEAVES_A_SERVICE_BEHIND)
    options = ("--rootdir", str(tmp_path), "-c", str(ROOT / "pyproject.toml"), "-p", "tests.conftest")
    session = subprocess.run(
        [sys.executable, "-m", "pytest", *options, str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert session.returncode == 1, session.stdout + session.stderr
    assert "assert 200 == 500" in session.stdout
    assert "1 failed" in session.stdout
