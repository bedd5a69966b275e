"""Lists of a user with a hundred thousand tasks: PostgreSQL reads what an index finds, and nothing else of them."""

import asyncio
import json
from typing import Any

import pytest
import pytest_asyncio

from taskservice.database.moments import as_microseconds
from taskservice.tasks.list_query import TOKEN_SURFACE, ListQuery, read_list_query
from taskservice.tasks.read_statements import list_page
from tests.support.plans import OWNER
from tests.support.services import Service, Services

pytestmark = pytest.mark.slow

LARGE = """
INSERT INTO users (id) SELECT 'user ' || n FROM generate_series(0, 200) n;
INSERT INTO tasks (id, user_id, title, status, completed_at, created_at, updated_at, revision)
SELECT ('00000000-0000-4000-8000-' || lpad(n::text, 12, '0'))::uuid,
    'user ' || greatest(0, n - 100000) % 201, md5(n::text),
    CASE WHEN n % 10 = 0 THEN 'completed' ELSE 'pending' END,
    CASE WHEN n % 10 = 0 THEN now() - (100000 - n) * interval '5 minutes' END,
    now() - n * interval '1 minute', now(),
    n
FROM generate_series(1, 110000) n;
ANALYZE tasks;
"""
"""Of the hundred thousand, one in ten is completed."""

EVEN = """
INSERT INTO users (id) SELECT 'user ' || n FROM generate_series(0, 29) n;
INSERT INTO tasks (id, user_id, title, created_at, updated_at, revision)
SELECT gen_random_uuid(), 'user ' || n % 30, md5(n::text), now() - n * interval '1 minute', now(), n
FROM generate_series(1, 45000) n;
ANALYZE tasks;
"""
"""Thirty users with 1,500 tasks each."""

FEW_ROWS = 2500
"""A page has a thousand; so many rows are read in a few milliseconds."""


@pytest_asyncio.fixture(scope="session")
async def large(services: Services) -> Service:
    service = await asyncio.to_thread(services.start)
    await service.execute(LARGE)
    return service


@pytest_asyncio.fixture(scope="session")
async def even(services: Services) -> Service:
    service = await asyncio.to_thread(services.start)
    await service.execute(EVEN)
    return service


def statement_of(asked: ListQuery) -> list[Any]:
    """The SQL of the owner's page, and its arguments."""
    rows = asked.limit + 1
    sql, args = list_page(asked.shape, rows).call(user_id=OWNER, rows=rows, **asked.values)
    return [sql, *args]


def rows_read(plan: dict[str, Any]) -> int:
    """How many rows of the table, or entries of an index, all steps of a plan have come upon."""
    own = 0
    if "Relation Name" in plan and not plan["Node Type"].startswith("Bitmap"):
        each = (
            plan["Actual Rows"] + plan.get("Rows Removed by Filter", 0) + plan.get("Rows Removed by Index Recheck", 0)
        )
        own = each * plan["Actual Loops"]
    elif plan["Node Type"] == "Bitmap Index Scan":
        own = plan["Actual Rows"] * plan["Actual Loops"]
    return int(own) + sum(rows_read(part) for part in plan.get("Plans", ()))


IDS = ",".join(f"00000000-0000-4000-8000-{n:012}" for n in range(1, 100_001, 1000))


@pytest.mark.parametrize(
    "query",
    [
        f"ids={IDS}",
        f"ids={IDS}&sort=-due",
        "sort=completed",
        "sort=-completed",
        "completed_after={recently}",
    ],
    ids=lambda query: query.replace(IDS, "…"),
)
async def test_a_page_is_found_by_an_index(large: Service, query: str) -> None:
    [[recently]] = await large.rows("SELECT to_char(now() - interval '2 days', 'YYYY-MM-DD')")
    asked = read_list_query(query.format(recently=recently).encode(), TOKEN_SURFACE, b"")
    sql, *args = statement_of(asked)
    async with large.connection() as connection:
        await as_microseconds(connection)
        [[text]] = await connection.fetch(f"EXPLAIN (ANALYZE, TIMING off, FORMAT json) {sql}", *args)
    [explained] = json.loads(text)
    assert explained["Plan"]["Actual Rows"] > 0
    assert rows_read(explained["Plan"]) <= FEW_ROWS, json.dumps(explained, indent=1)


@pytest.mark.parametrize(
    ("query", "page"), [("limit=50", 1), ("limit=50&sort=-due", 1), ("limit=1", 1), ("limit=1", 2)]
)
async def test_postgresql_plans_a_page_of_a_plain_list_once(even: Service, query: str, page: int) -> None:
    """Five times it plans for the arguments, as it always does, and keeps the plan after that."""
    asked = read_list_query(query.encode(), TOKEN_SURFACE, b"")
    async with even.connection() as connection:
        await as_microseconds(connection)
        for _ in range(page - 1):
            [*_, last] = await connection.fetch(*statement_of(asked))
            asked = asked.after(last)
        sql, *args = statement_of(asked)
        for _ in range(20):
            assert len(await connection.fetch(sql, *args)) == asked.limit + 1
        [(custom, generic)] = await connection.fetch(
            "SELECT custom_plans, generic_plans FROM pg_prepared_statements WHERE statement = $1", sql
        )
    assert custom <= 5
    assert generic >= 15
