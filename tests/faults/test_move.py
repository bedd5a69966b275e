"""A move to another PostgreSQL by logical replication, as `docs/scaling.md` tells it."""

import asyncio
from typing import Any

import pytest

from bench.http import Answer, request
from bench.reliability.program import Program, running_program
from bench.reliability.replicated import Server, new_servers
from bench.reliability.writers import Writers, lost
from tests.faults.conftest import Split

pytestmark = pytest.mark.slow

TABLES = "users, tasks, tombstones, idempotency_keys"


async def until(server: Server, question: str) -> None:
    async with asyncio.timeout(60):
        while not await server.value(question):
            await asyncio.sleep(0.05)


async def ask(program: Program, path: str, **headers: str) -> Answer:
    return await program.once(request("GET", path, "reader", None, headers))


async def test_a_move_loses_nothing_and_what_clients_hold_stays_good(split: Split) -> None:
    with new_servers() as (old, new):
        await asyncio.to_thread(new.make_cluster)
        for server in (old, new):
            await server.start("wal_level=logical")
        async with running_program(database_url=new.url):
            pass  # it has migrated the new database
        await split(new.url)
        async with running_program(database_url=old.url) as before:
            for title in ("One", "Two"):
                await before.once(request("POST", "/api/tasks", "reader", {"title": title}))
            tag = (await ask(before, "/api/tasks")).headers["etag"]
            feed: Any = (await ask(before, "/api/tasks/changes?limit=1")).json()
            async with Writers(before, 4) as writers:
                await writers.until(50)
                await old.value(f"CREATE PUBLICATION all_tasks FOR TABLE {TABLES}")
                source = f"host=127.0.0.1 port={old.port} user=postgres dbname=postgres"
                await new.value(f"CREATE SUBSCRIPTION all_tasks CONNECTION '{source}' PUBLICATION all_tasks")
                await until(new, "SELECT count(*) = 4 FROM pg_subscription_rel WHERE srsubstate = 'r'")
                await writers.until(len(writers.acknowledged) + 50)
                await old.value("ALTER DATABASE postgres SET default_transaction_read_only = on")
                await old.value(
                    "SELECT count(pg_terminate_backend(pid)) FROM pg_stat_activity "
                    "WHERE application_name = 'taskservice'"
                )
                async with asyncio.timeout(20):
                    while not writers.answers[503]:
                        await asyncio.sleep(0.02)
                assert (await ask(before, "/api/tasks")).status == 200
            assert not writers.without_retry_after
            position = await old.value("SELECT pg_current_wal_lsn()::text")
            await until(new, f"SELECT bool_and(latest_end_lsn >= '{position}') FROM pg_stat_subscription")
        await new.value("ALTER SUBSCRIPTION all_tasks DISABLE")
        async with running_program(database_url=new.url) as after:
            assert not lost(writers, await new.rows("SELECT id, title FROM tasks"))
            assert (await ask(after, "/api/tasks", **{"If-None-Match": tag})).status == 304
            rest: Any = (await ask(after, f"/api/tasks/changes?since={feed['next']}")).json()
            assert [change["task"]["title"] for change in rest["changes"]] == ["Two"]
            created = await after.once(request("POST", "/api/tasks", "reader", {"title": "Three"}))
            assert created.status == 201
