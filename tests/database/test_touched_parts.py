"""Which parts of a partitioned database the requests of one user touch, as PostgreSQL itself counts them."""

import asyncio
import uuid
from collections import Counter
from typing import Any

import pytest

from tests.support.partitions import PARTITIONS, number_of, partition
from tests.support.postgres import ThrowawayPostgres
from tests.support.services import Caller, Service, Services

pytestmark = pytest.mark.slow

USES = """
SELECT relname, seq_scan + coalesce(idx_scan, 0) + n_tup_ins + n_tup_upd + n_tup_del AS uses FROM pg_stat_user_tables
"""


@pytest.fixture
async def parts(postgres: ThrowawayPostgres, pytestconfig: pytest.Config, migrated_template: str) -> str:
    url = postgres.create_database(template=migrated_template)
    if not pytestconfig.getoption("partitions"):
        await partition(url)
    return url


async def every_kind_of_request(ann: Caller) -> None:
    kept, other, third = [await ann.create(title) for title in ("kept", "other", "third")]
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    for _ in range(2):
        assert (await ann.post("", json={"title": "once"}, headers=headers)).status_code == 201
    assert (await ann.put(f"/{uuid.uuid4()}", json={"title": "own id"}, headers={"If-None-Match": "*"})).is_success
    listed = await ann.get("", params={"count": "true", "sort": "title"})
    assert (await ann.get("", headers={"If-None-Match": listed.headers["etag"]})).status_code in {200, 304}
    assert (await ann.patch(f"/{kept['id']}", json={"status": "completed"})).is_success
    assert (await ann.get(f"/{kept['id']}")).is_success
    assert (await ann.get("/changes")).is_success
    assert (await ann.get("/export")).is_success
    assert (await ann.delete(f"/{other['id']}")).is_success
    operations: list[dict[str, Any]] = [
        {"op": "create", "data": {"title": "a"}}, {"op": "create", "data": {"title": "b"}},
        {"op": "delete", "id": third["id"]},
    ]  # fmt: skip
    assert (await ann.post("/batch", json={"operations": operations})).is_success
    assert (await ann.get(f"/{uuid.uuid4()}")).status_code == 404
    assert (await ann.delete("", params={"completed": "true"})).is_success
    assert (await ann.delete("", params={"confirm": "all"})).is_success


SESSIONS = """
SELECT count(*) FROM pg_stat_activity
WHERE datname = current_database() AND pid <> pg_backend_pid() AND backend_type = 'client backend'
"""


async def sessions_have_ended(service: Service) -> None:
    """PostgreSQL counts what a session has done when it ends, at the latest."""
    async with asyncio.timeout(20):
        while (await service.rows(SESSIONS))[0]["count"]:
            await asyncio.sleep(0.05)


async def uses(service: Service) -> Counter[int | None]:
    """How often each part was read or written, whichever table it is of."""
    counted: Counter[int | None] = Counter()
    for row in await service.rows(USES):
        counted[number_of(row["relname"])] += row["uses"]
    return counted


@pytest.mark.parametrize(
    ("policies", "everywhere"),
    [
        ({"database_sharded": "true", "foreign_task": "404"}, False),
        ({"database_sharded": "true", "foreign_task": "404", "delete": "hard"}, False),
        ({"database_sharded": "false", "foreign_task": "404"}, False),
        ({"database_sharded": "true", "foreign_task": "403"}, True),
    ],
    ids=lambda value: "-".join(value.values()) if isinstance(value, dict) else "",
)
async def test_only_whose_task_it_is_is_asked_of_all_parts(
    services: Services, parts: str, policies: dict[str, str], everywhere: bool
) -> None:
    service = services.start(database_url=parts, **policies)
    before = await uses(service)
    await every_kind_of_request(service.user("ann"))
    await service.close()
    await sessions_have_ended(service)
    after = await uses(service)
    touched = {number for number in range(PARTITIONS) if after[number] > before[number]}
    [found] = await service.rows("SELECT tableoid::regclass::text AS part FROM users WHERE id = 'ann'")
    own = number_of(found["part"])
    assert touched == (set(range(PARTITIONS)) if everywhere else {own})
