"""A database URL with several hosts: the one that takes writes is used, whatever happened to the others."""

import asyncio
import itertools
import signal
import time
from collections.abc import AsyncIterator

import pytest

from bench.reliability.program import Program, running_program
from bench.reliability.replicated import Replicated, replicated
from taskservice.database.failures import describe
from taskservice.database.hosts import NoHostTakesWrites
from taskservice.database.server import open_connection
from taskservice.settings.database_url import read_database_url
from tests.faults.conftest import Split
from tests.faults.test_database_failures import write

pytestmark = pytest.mark.timing


UNSENT_SECONDS = 0.7


@pytest.fixture
async def servers(split: Split) -> AsyncIterator[Replicated]:
    async with replicated() as servers:
        await split(servers.primary.url)
        yield servers


@pytest.fixture
async def asynchronous_servers(split: Split) -> AsyncIterator[Replicated]:
    async with replicated(synchronous=False) as servers:
        await split(servers.primary.url)
        yield servers


async def keep_writing(program: Program, name: str, acknowledged: list[str], stop: asyncio.Event) -> None:
    for number in itertools.count():
        if stop.is_set():
            return
        title = f"{name} {number}"
        if (await program.once(write("writer", title))).status == 201:
            acknowledged.append(title)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["is killed", "freezes"])
async def test_when_the_primary_fails_the_service_goes_on_with_the_promoted_standby(
    servers: Replicated, fault: signal.Signals
) -> None:
    assert not await fail_over(servers, fault)


@pytest.mark.parametrize("fault", [signal.SIGKILL, signal.SIGSTOP], ids=["is killed", "freezes"])
async def test_synchronous_replication_loses_nothing_that_the_standby_has_not_heard_of(
    servers: Replicated, fault: signal.Signals
) -> None:
    assert not await fail_over(servers, fault, unsent=UNSENT_SECONDS)


async def test_asynchronous_replication_loses_it(asynchronous_servers: Replicated) -> None:
    """So these tests can see a loss."""
    assert await fail_over(asynchronous_servers, signal.SIGKILL, unsent=UNSENT_SECONDS)


async def fail_over(servers: Replicated, fault: signal.Signals, *, unsent: float = 0) -> set[str]:
    """Acknowledged writes that the promoted standby does not have. `unsent`: for so long it hears nothing before."""
    async with running_program(database_url=servers.url, taskservice_database_deadline="1") as program:
        acknowledged: list[str] = []
        stop = asyncio.Event()
        writers = [asyncio.create_task(keep_writing(program, name, acknowledged, stop)) for name in "abcd"]
        await asyncio.sleep(1)
        if unsent:
            servers.wire.silence()
            await asyncio.sleep(unsent)
        servers.primary.signal(fault)
        servers.wire.cut()
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
    assert len(set(acknowledged)) == len(acknowledged)
    kept = set(await servers.standby.value("SELECT array_agg(title) FROM tasks WHERE user_id = 'writer'"))
    return set(acknowledged) - kept


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
