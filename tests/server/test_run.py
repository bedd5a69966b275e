"""`litestar run` as an operator meets it: what it says, how it fails, how it ends, what it survives."""

import asyncio
import contextlib
import json
import os
import signal
import socket
import subprocess
import sys
import time
from pathlib import Path
from typing import Any

import psutil
import pytest

from bench.http import request
from bench.processes import free_port
from bench.reliability.program import REPOSITORY, Program, running_program
from bench.tokens import SECRET

pytestmark = pytest.mark.slow

NOWHERE = "postgresql://somebody:a-secret-word@127.0.0.1:1/none"
READY = request("GET", "/health/ready", None)
LIVE = request("GET", "/health/live", None)

WAYS = {
    "litestar run": ["litestar", "run"],
    "two workers": ["litestar", "run", "--wc", "2"],
    "reload": ["litestar", "run", "--reload"],
    "uvicorn": ["uvicorn", "--factory", "taskservice.app:create_app"],
}


def start(way: list[str], directory: Path, **environment: str) -> "subprocess.CompletedProcess[str]":
    own = {"LITESTAR_APP": "taskservice.app:create_app", "PYTHONPATH": str(REPOSITORY), "PATH": os.environ["PATH"]}
    command = [sys.executable, "-m", *way, "--port", str(free_port())]
    return subprocess.run(
        command, cwd=directory, env=own | environment, capture_output=True, text=True, timeout=60, check=False
    )


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_bad_settings_are_one_line_each_and_no_traceback(way: list[str], tmp_path: Path) -> None:
    ended = start(
        way,
        tmp_path,
        TASKSERVICE_TITEL="generated",
        TASKSERVICE_DELETE="maybe",
        DATABASE_URL="mysql://u:a-secret-word@h/d",
    )
    assert ended.returncode not in (0, -signal.SIGTERM)
    assert ended.stderr.splitlines() == [
        "taskservice cannot start:",
        "TASKSERVICE_TITEL: no such setting, did you mean TASKSERVICE_TITLE?",
        "DATABASE_URL: must begin with postgresql:// or postgres://",
        "TASKSERVICE_DELETE: must be one of soft, hard",
    ]
    assert "a-secret-word" not in ended.stdout + ended.stderr


@pytest.mark.parametrize("way", WAYS.values(), ids=WAYS)
def test_a_bad_database_url_is_one_line_without_the_password(way: list[str], tmp_path: Path) -> None:
    ended = start(way, tmp_path, DATABASE_URL="mysql://u:a-secret-word@h/d", BETTER_AUTH_SECRET=SECRET)
    assert ended.returncode not in (0, -signal.SIGTERM)
    assert ended.stderr.splitlines()[1:] == ["DATABASE_URL: must begin with postgresql:// or postgres://"]
    assert "a-secret-word" not in ended.stdout + ended.stderr


def test_a_port_that_is_taken_is_said_in_one_line(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = taken.getsockname()[1]
        way = ["litestar", "run", "--port", str(port), "--host", "127.0.0.1"]
        command = [sys.executable, "-m", *way]
        own = {"LITESTAR_APP": "taskservice.app:create_app", "PYTHONPATH": str(REPOSITORY), "DATABASE_URL": NOWHERE}
        ended = subprocess.run(command, cwd=tmp_path, env=own, capture_output=True, text=True, timeout=60, check=False)
    assert ended.returncode == 1
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use" in ended.stderr
    assert "Traceback" not in ended.stderr


async def test_a_start_says_what_an_operator_needs_to_know() -> None:
    async with running_program(
        "--wc", "2", ready=False, database_url=NOWHERE, better_auth_url="http://localhost:3000",
        better_auth_secret="too-short", taskservice_delete="hard",
    ) as program:  # fmt: skip
        await program.ready(path="/health/live")
        said = program.log
    assert f"listens on  http://127.0.0.1:{program.port} with 2 workers" in said
    assert f"docs        http://127.0.0.1:{program.port}/docs" in said
    assert "database    postgresql://somebody:***@127.0.0.1:1/none" in said
    assert "tokens      HS256 with the shared secret, keys of http://localhost:3000/api/auth/jwks" in said
    assert "policies    delete = hard" in said
    assert "WARNING BETTER_AUTH_SECRET: shorter than 32 bytes" in said
    assert "a-secret-word" not in said
    assert "too-short" not in said


async def test_production_says_it_in_lines_of_json() -> None:
    async with running_program(ready=False, database_url=NOWHERE, taskservice_env="production") as program:
        await program.ready(path="/health/live")
        lines: list[dict[str, Any]] = [json.loads(line) for line in program.log.splitlines()]
    assert f"listens on: http://127.0.0.1:{program.port}" in lines[0]["message"]
    assert "database: postgresql://somebody:***@127.0.0.1:1/none" in lines[0]["message"]


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_sigterm_turns_readiness_off_first_and_ends_with_code_0(workers: str) -> None:
    async with running_program("--wc", workers, taskservice_drain_seconds="2") as program:
        program.terminate()
        await asyncio.sleep(0.7)
        ready, live = await program.once(READY), await program.once(LIVE)
        assert (ready.status, live.status) == (503, 200)
        assert b"about to stop" in ready.body
        assert await program.ended() == 0


async def test_ctrl_c_ends_it_as_well() -> None:
    async with running_program(ready=False, database_url=NOWHERE) as program:
        await program.ready(path="/health/live")
        program.process.send_signal(signal.SIGINT)
        assert await program.ended() == 0
        assert "Traceback" not in program.log


async def test_a_dead_worker_is_replaced_and_said() -> None:
    async with running_program("--wc", "2") as program:
        await asyncio.sleep(1)
        victim = program.workers()[0]
        victim.kill()
        await asyncio.sleep(1)
        workers = [worker.pid for worker in program.workers()]
        assert len(workers) == 2
        assert victim.pid not in workers
        assert f"worker {victim.pid} was killed by SIGKILL" in program.log


async def test_several_workers_migrate_an_empty_database_between_them() -> None:
    async with running_program("--wc", "4") as program:
        written = await asyncio.gather(
            *(program.once(request("POST", "/api/tasks", f"early-{number}", {"title": "x"})) for number in range(20))
        )
        # A worker that is not ready yet says so; none of them stumbles over what another one migrates.
        assert {answer.status for answer in written} <= {201, 503}
        assert "Traceback" not in program.log
        assert "usable" not in program.log


async def test_workers_do_not_outlive_the_process_that_started_them() -> None:
    async with running_program("--wc", "2", ready=False, database_url=NOWHERE) as program:
        await program.ready(path="/health/live")
        workers = program.workers()
        program.process.kill()
        _, alive = await asyncio.to_thread(psutil.wait_procs, workers, 10)
        assert not alive


async def test_reload_serves_the_changed_program(tmp_path: Path) -> None:
    watched = tmp_path / "some.py"
    watched.write_text("")
    async with running_program("--reload", "--reload-dir", str(tmp_path), database_url=NOWHERE, ready=False) as program:
        await program.ready(path="/health/live")
        before = _children(program)
        await asyncio.sleep(0.5)
        watched.write_text("changed = True")
        until = time.monotonic() + 20
        while before <= _children(program):
            assert time.monotonic() < until, program.log
            await asyncio.sleep(0.1)
        await program.ready(path="/health/live")
        program.terminate()
        assert await program.ended() == 0


def _children(program: Program) -> set[int]:
    return {child.pid for child in psutil.Process(program.process.pid).children()}


@pytest.mark.timing
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_the_embedded_postgresql_comes_back_when_it_is_killed(workers: str) -> None:
    async with running_program("--wc", workers) as program:
        write = request("POST", "/api/tasks", "survivor", {"title": "kept"})
        assert (await program.once(write)).status == 201
        postmaster = next((program.directory / "data").rglob("postmaster.pid")).read_text().split()[0]
        family = psutil.Process(int(postmaster))
        for process in [family, *family.children()]:
            with contextlib.suppress(psutil.NoSuchProcess):
                process.kill()
        began = time.monotonic()
        while (await program.once(request("GET", "/api/tasks", "survivor"))).status != 200:
            assert time.monotonic() - began < 5, program.log
        assert b"kept" in (await program.once(request("GET", "/api/tasks", "survivor"))).body


async def test_it_serves_a_unix_socket(tmp_path: Path) -> None:
    path = tmp_path / "socket"
    async with running_program("--uds", str(path), ready=False, database_url=NOWHERE) as program:
        until = time.monotonic() + 20
        while not path.exists():
            assert time.monotonic() < until, program.log
            await asyncio.sleep(0.05)
        reader, writer = await asyncio.open_unix_connection(path)
        writer.write(LIVE)
        assert (await reader.readline()).startswith(b"HTTP/1.1 200")
        writer.close()
        program.terminate()
        assert await program.ended() == 0
    assert not path.exists()


async def test_few_files_are_warned_about() -> None:
    async with running_program(ready=False, database_url=NOWHERE, files=1000) as program:
        await program.ready(path="/health/live")
        assert "WARNING only 1000 files may be open" in program.log
