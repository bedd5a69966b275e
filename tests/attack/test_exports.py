"""An export ends soon after its client has gone, and the log says that it did not arrive."""

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import pytest

from tests.attack.conftest import Unheld
from tests.support.services import Caller, Service
from tests.support.tokens import bearer, signed
from tests.web.launched import launched

pytestmark = pytest.mark.slow

TASKS = 10_000


async def test_an_export_ends_when_its_client_hangs_up(database_url: str, tmp_path: Path) -> None:
    tasks = [
        {"id": str(uuid.uuid4()), "title": "t" * 200, "description": "d" * 900, "created_at": "2026-01-01T00:00:00Z"}
        for _ in range(TASKS)
    ]
    headers = bearer(signed({"sub": "alice"}))
    with launched(["litestar", "run"], tmp_path, database_url, TASKSERVICE_DATABASE_DEADLINE="30") as service:
        async with httpx.AsyncClient(base_url=service.url, headers=headers, timeout=60, trust_env=False) as http:
            for start in range(0, TASKS, 5_000):
                answer = await http.post("/api/tasks/import", json=tasks[start : start + 5_000])
                assert answer.status_code == 200, answer.text
            async with http.stream("GET", "/api/tasks/export?format=ics", headers={"X-Request-ID": "gone"}) as answer:
                assert answer.status_code == 200
                async for _ in answer.aiter_raw(100):
                    break
        found: list[int] = []
        for _ in range(300):
            found = [
                line["status"]
                for line in (json.loads(text) for text in service.out.splitlines())
                if line.get("request_id") == "gone"
            ]
            if found:
                break
            await asyncio.sleep(0.1)
        assert found == [499]


async def test_the_head_of_an_export_reads_no_task(service: Service, alice: Caller) -> None:
    exported = await alice.get("/export?format=csv")
    async with service.connection() as connection, connection.transaction():
        await connection.execute("LOCK TABLE tasks IN ACCESS EXCLUSIVE MODE")
        answer = await alice.request("HEAD", "/export?format=csv", timeout=5)
    assert (answer.status_code, answer.content) == (200, b"")
    for name in ("content-type", "content-disposition", "cache-control", "vary"):
        assert answer.headers[name] == exported.headers[name]


@pytest.mark.timing
@pytest.mark.parametrize("query", ["format=json", "format=csv", "format=ics", "format=ics&component=event"])
async def test_an_export_does_not_hold_up_the_event_loop(
    service: Service, someone: Callable[[str], str], unheld: Unheld, query: str
) -> None:
    alice = service.user(someone("alice"))
    await alice.create()
    await service.execute(
        "INSERT INTO tasks (id, user_id, title, description, due_date, revision) SELECT gen_random_uuid(), $1, "
        "repeat('t', 200), repeat('\u0444 ', 500), now(), n FROM generate_series(2, 3000) n",
        alice.user,
    )
    async with unheld(service):
        assert (await alice.get(f"/export?{query}", timeout=60)).status_code == 200
        assert len((await alice.get("?limit=1000")).json()) == 1000
