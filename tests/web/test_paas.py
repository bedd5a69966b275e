"""The Procfile of the page "paas.md" starts the service on the port that a platform chooses."""

import contextlib
import os
import subprocess
import time
from pathlib import Path

import httpx
import pytest

from bench.processes import free_port
from tests.docs.blocks import ROOT, blocks_of
from tests.support.services import SECRET

pytestmark = pytest.mark.slow


def commands() -> dict[str, str]:
    (block,) = [block for block in blocks_of("docs/operations/paas.md") if block.language == "procfile"]
    return dict(line.split(": ", 1) for line in block.text.splitlines())


def test_the_procfile_migrates_and_serves_on_the_platforms_port(empty_database_url: str, tmp_path: Path) -> None:
    port = free_port()
    environment = {
        "PATH": f"{ROOT / '.venv/bin'}:{os.environ['PATH']}",
        "PORT": str(port),
        "LITESTAR_APP": "taskservice.app:create_app",
        "TASKSERVICE_ENV": "production",
        "TASKSERVICE_MIGRATE": "false",
        "DATABASE_URL": empty_database_url,
        "BETTER_AUTH_SECRET": SECRET,
    }
    release = subprocess.run(
        commands()["release"], shell=True, cwd=tmp_path, env=environment, capture_output=True, text=True, check=False
    )
    assert release.returncode == 0, release.stderr
    web = subprocess.Popen(f"exec {commands()['web']}", shell=True, cwd=tmp_path, env=environment)
    try:
        assert answers(f"http://127.0.0.1:{port}/health/ready")
    finally:
        web.terminate()
        assert web.wait(30) == 0


def answers(url: str, seconds: float = 60) -> bool:
    deadline = time.monotonic() + seconds
    while time.monotonic() < deadline:
        with contextlib.suppress(httpx.HTTPError):
            if httpx.get(url, trust_env=False).status_code == 200:
                return True
        time.sleep(0.1)
    return False
