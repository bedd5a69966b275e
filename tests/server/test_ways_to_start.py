"""Ways to start the service other than with `--port`."""

import asyncio
import contextlib
import json
import os
import subprocess
import sys
import time
from collections.abc import Iterator
from pathlib import Path

import httpx
import pytest

from bench.http import request
from bench.processes import free_port
from bench.reliability.program import REPOSITORY, running_program
from bench.tokens import SECRET, token

pytestmark = pytest.mark.slow

NOWHERE = "postgresql://somebody@127.0.0.1:1/none"


@contextlib.contextmanager
def started(command: list[str], directory: Path, **environment: str) -> Iterator[None]:
    own = {"PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"], "BETTER_AUTH_SECRET": SECRET}
    with (directory / "log").open("wb") as log:
        process = subprocess.Popen(
            [sys.executable, "-m", *command], cwd=directory, env=own | environment, stdout=log, stderr=log
        )
        try:
            yield
        finally:
            process.terminate()
            process.wait(40)


async def answer_of(url: str, **headers: str) -> httpx.Response:
    until = time.monotonic() + 60
    async with httpx.AsyncClient(trust_env=False) as client:
        while True:
            with contextlib.suppress(httpx.TransportError):
                response = await client.get(url, headers=headers)
                if response.status_code != 503:
                    return response
            assert time.monotonic() < until
            await asyncio.sleep(0.1)


@pytest.mark.parametrize(
    "toml", ["", "[litestar]\napp = 'taskservice.app:create_app'\nport = 1\n"], ids=["alone", "beside litestar.toml"]
)
async def test_the_port_that_a_platform_sets_is_served(tmp_path: Path, toml: str) -> None:
    (tmp_path / "litestar.toml").write_text(toml)
    port = str(free_port())
    with started(["litestar", "run"], tmp_path, PORT=port, DATABASE_URL=NOWHERE):
        assert (await answer_of(f"http://127.0.0.1:{port}/health/live")).status_code == 200


async def test_the_port_of_litestar_wins_over_that_of_a_platform(tmp_path: Path) -> None:
    port = str(free_port())
    (tmp_path / "litestar.toml").write_text("")
    with started(["litestar", "run"], tmp_path, LITESTAR_PORT=port, PORT="1", DATABASE_URL=NOWHERE):
        assert (await answer_of(f"http://127.0.0.1:{port}/health/live")).status_code == 200


async def test_uvicorn_serves_the_application_by_its_attribute(tmp_path: Path) -> None:
    port = str(free_port())
    data = str(tmp_path / "data")
    with started(["uvicorn", "taskservice.asgi:app", "--port", port], tmp_path, TASKSERVICE_DATA_DIR=data):
        url = f"http://127.0.0.1:{port}"
        assert (await answer_of(f"{url}/health/ready")).status_code == 200
        tasks = await answer_of(f"{url}/api/tasks", Authorization=f"Bearer {token('alice')}")
        assert (tasks.status_code, tasks.json()) == (200, [])


@pytest.mark.parametrize(("trusted", "client"), [("127.0.0.1", "203.0.113.7"), (None, "127.0.0.1")])
async def test_the_log_names_the_client_that_a_trusted_proxy_names(trusted: str | None, client: str) -> None:
    options = ["--forwarded-allow-ips", trusted] if trusted else []
    async with running_program(
        *options, ready=False, database_url=NOWHERE, taskservice_env="production", taskservice_log_level="debug"
    ) as program:
        await program.ready(path="/health/live")
        raw = request("GET", "/nowhere", None)
        forwarded = raw.replace(b"\r\n", b"\r\nx-forwarded-for: 203.0.113.7\r\n", 1)
        assert (await program.once(forwarded)).status == 404
        await asyncio.sleep(0.5)
        lines = [json.loads(line) for line in program.log.splitlines()]
    assert [line["client"] for line in lines if line.get("path") == "/nowhere"] == [client]
