"""Clients that ask for large answers and do not read them: what they cost the service, and the clients beside them."""

import asyncio
import re
import socket
import time
from collections.abc import AsyncIterator, Callable
from contextlib import asynccontextmanager, closing
from typing import Any
from urllib.parse import urljoin, urlsplit

import pytest

from bench.http import request
from bench.reliability.program import Program, running_program
from taskservice.server.unsent import UNSENT_MAX
from tests.attack.conftest import MIB, Unheld
from tests.support.services import Service
from tests.support.talk import talking

pytestmark = pytest.mark.timing

CLIENTS = 300
LARGEST_ASSET = "scalar.standalone.js"


@pytest.fixture(scope="module")
async def program() -> AsyncIterator[Program]:
    async with running_program() as program:
        yield program


async def asset(program: Program) -> tuple[bytes, int]:
    """A request for the largest file that needs no token, and the size of its answer."""
    page = (await program.once(request("GET", "/schema/scalar", None))).body.decode()
    (source,) = re.findall(rf'src="([^"]*{LARGEST_ASSET})"', page)
    raw = request("GET", urljoin("/schema/scalar", source), None)
    answer = await program.once(raw)
    assert (answer.status, len(answer.body) > 4 * MIB) == (200, True)
    return raw, len(answer.body)


@asynccontextmanager
async def idle_readers(port: int, raw: bytes, count: int) -> AsyncIterator[list[socket.socket]]:
    """Clients that send the bytes and read nothing of what they get."""
    clients = []
    try:
        for _ in range(count):
            client = socket.socket()
            client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
            client.connect(("127.0.0.1", port))
            client.sendall(raw)
            clients.append(client)
            await asyncio.sleep(0.002)
        yield clients
    finally:
        for client in clients:
            client.close()


async def watch(program: Program, seconds: float) -> tuple[int, float]:
    """The most memory that the service took, and the longest that a request without any work had to wait."""
    memory, wait = 0, 0.0
    connection = await program.connect()
    with closing(connection):
        until = time.monotonic() + seconds
        while time.monotonic() < until:
            began = time.perf_counter()
            assert (await connection.send(request("GET", "/health/live", None))).status == 200
            wait = max(wait, time.perf_counter() - began)
            memory = max(memory, sum(process.memory_info().rss for process in program.workers()))
            await asyncio.sleep(0.02)
    return memory, wait


async def test_large_files_that_are_not_read_take_no_more_memory_than_the_limit(
    program: Program, within: Callable[[int, int], None]
) -> None:
    raw, _ = await asset(program)
    before, _ = await watch(program, 0.5)
    watching = asyncio.create_task(watch(program, 8))
    async with idle_readers(program.port, raw * 2, CLIENTS):
        memory, wait = await watching
    within(memory - before, UNSENT_MAX + 64 * MIB)
    assert wait < 0.5


async def test_large_lists_that_are_not_read_take_no_more_memory_than_the_limit(
    program: Program, within: Callable[[int, int], None]
) -> None:
    await fill(program, "hoarder")
    raw = request("GET", "/api/tasks", "hoarder")
    before, _ = await watch(program, 0.5)
    watching = asyncio.create_task(watch(program, 10))
    async with idle_readers(program.port, raw, 100):
        memory, _ = await watching
    within(memory - before, UNSENT_MAX + 64 * MIB)


async def fill(program: Program, user: str) -> None:
    """A list of about 7 MB."""
    task: dict[str, Any] = {"title": "t" * 200, "description": "\u0444" * 1000}
    for _ in range(30):
        operations = [{"op": "create", "data": task}] * 100
        answer = await program.once(request("POST", "/api/tasks/batch", user, {"operations": operations}))
        assert answer.status == 200


async def test_a_client_that_reads_slowly_gets_all_while_others_read_nothing(program: Program) -> None:
    raw, size = await asset(program)
    async with talking(program.port) as talk:
        talk.say(raw)
        status, headers = await talk.head()
        assert (status, int(headers["content-length"])) == (200, size)
        async with idle_readers(program.port, raw * 2, CLIENTS):
            read = 0
            while read < size:
                piece = await talk.reader.read(100_000)
                assert piece, f"dropped after {read} bytes"
                read += len(piece)
                await asyncio.sleep(0.02)


async def test_the_next_answer_waits_until_the_last_one_has_left(program: Program) -> None:
    raw, size = await asset(program)
    async with talking(program.port) as talk:
        talk.say(raw * 3 + request("GET", "/health/live", None))
        for _ in range(3):
            assert len((await talk.answer())[2]) == size
        assert (await talk.answer())[0] == 200


async def test_answers_that_are_not_read_do_not_hold_up_the_event_loop(service: Service, unheld: Unheld) -> None:
    page = (await service.http.get("/schema/scalar")).text
    (source,) = re.findall(rf'src="([^"]*{LARGEST_ASSET})"', page)
    port = urlsplit(service.url).port
    assert port is not None
    async with unheld(service), idle_readers(port, request("GET", source, None) * 2, CLIENTS):
        await asyncio.sleep(3)
