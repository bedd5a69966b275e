"""A database URL with several hosts: the one that takes writes is used, whatever happened to the others."""

import asyncio
import signal
import time
from collections.abc import AsyncIterator

import pytest

from bench.reliability.program import Program, running_program
from taskservice.database.failures import describe
from taskservice.database.hosts import NoHostTakesWrites
from taskservice.database.server import open_connection
from taskservice.database.url import read_database_url
from tests.faults.test_database_failures import write
from tests.support.replicated import Replicated, replicated

pytestmark = pytest.mark.timing


@pytest.fixture
async def servers() -> AsyncIterator[Replicated]:
    async with replicated() as servers:
        yield servers


async def keep_writing(program: Program, acknowledged: list[str], stop: asyncio.Event) -> None:
    number = 0
    while not stop.is_set():
        number += 1
        title = f"{id(stop)}-{asyncio.current_task()}-{number}"[:200]
        if (await program.once(write("writer", title))).status == 201:
            acknowledged.append(title)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["is killed", "freezes"])
async def test_when_the_primary_fails_the_service_goes_on_with_the_promoted_standby(
    servers: Replicated, fault: signal.Signals
) -> None:
    async with running_program(database_url=servers.url, taskservice_database_deadline="1") as program:
        acknowledged: list[str] = []
        stop = asyncio.Event()
        writers = [asyncio.create_task(keep_writing(program, acknowledged, stop)) for _ in range(4)]
        await asyncio.sleep(1)
        servers.primary.signal(fault)
        await asyncio.sleep(2)
        before = len(acknowledged)
        assert before
        await servers.promote_standby()
        promoted = time.monotonic()
        while len(acknowledged) == before:
            assert time.monotonic() - promoted < 3
            await asyncio.sleep(0.02)
        await asyncio.sleep(0.5)
        stop.set()
        await asyncio.gather(*writers)
    kept = set(await servers.standby.value("SELECT array_agg(title) FROM tasks WHERE user_id = 'writer'"))
    assert not set(acknowledged) - kept


async def test_a_host_that_is_frozen_keeps_nobody_waiting(servers: Replicated) -> None:
    servers.standby.signal(signal.SIGSTOP)
    began = time.monotonic()
    connection = await open_connection(read_database_url(servers.url))
    assert time.monotonic() - began < 1
    assert await connection.fetchval("SHOW transaction_read_only") == "off"
    await connection.close()


async def test_when_no_host_takes_writes_each_is_named_with_its_reason(servers: Replicated) -> None:
    servers.primary.signal(signal.SIGKILL)
    await asyncio.sleep(0.2)
    with pytest.raises(NoHostTakesWrites) as refusal:
        await open_connection(read_database_url(servers.url))
    said = describe(refusal.value)
    assert f"127.0.0.1:{servers.standby.port}: read-only" in said
    assert f"127.0.0.1:{servers.primary.port}: ConnectionRefusedError" in said
