"""How the service ends: what it says, and what does not keep it."""

import asyncio
import signal
from pathlib import Path

import pytest

from bench.http import request
from bench.reliability.program import Program, running_program

pytestmark = pytest.mark.slow

NOWHERE = "postgresql://somebody@127.0.0.1:1/none"
ENDING = "finishing the running requests, then stopping"


@pytest.mark.parametrize("number", [signal.SIGTERM, signal.SIGINT, signal.SIGHUP])
@pytest.mark.parametrize("workers", ["1", "2"])
async def test_a_signal_to_end_is_logged_once_and_ends_with_code_0(workers: str, number: signal.Signals) -> None:
    async with running_program("--wc", workers, ready=False, database_url=NOWHERE) as program:
        await program.ready(path="/health/live")
        program.process.send_signal(number)
        assert await program.ended() == 0
        assert program.log.count(f"{number.name}: {ENDING}") == 1


async def test_a_hangup_leaves_no_embedded_postgresql_behind() -> None:
    async with running_program() as program:
        pid = int(next((program.directory / "data").rglob("postmaster.pid")).read_text().split()[0])
        program.process.send_signal(signal.SIGHUP)
        assert await program.ended() == 0
        assert not is_running(pid)


@pytest.mark.parametrize("workers", ["1", "2"])
async def test_threads_that_work_for_nobody_do_not_keep_the_process(workers: str) -> None:
    async with running_program(
        "--wc", workers, ready=False, database_url=NOWHERE, litestar_app="tests.support.blocking_app:create_app"
    ) as program:
        await program.ready(path="/health/live")
        await leave_requests_behind(program, 12)  # more than there are threads
        program.terminate()
        assert await program.ended(25) == 0
        assert "does not end" not in program.log


async def leave_requests_behind(program: Program, count: int) -> None:
    for _ in range(count):
        connection = await program.connect()
        waiting = asyncio.create_task(connection.send(request("GET", "/block", None)))
        await asyncio.sleep(0.05)
        waiting.cancel()
        connection.close()


def is_running(pid: int) -> bool:
    try:
        return Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()[0] != "Z"
    except FileNotFoundError:
        return False
