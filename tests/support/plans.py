"""How PostgreSQL would carry out the service's own statements, where it has a reason to choose."""

import re
from typing import Final

from taskservice.tasks.list_query import PATH_SURFACE, read_list_query
from taskservice.tasks.read_statements import list_page
from tests.support.services import Service

OWNER: Final = "user 0"
CROWD: Final = """
INSERT INTO users (id) SELECT 'user ' || n FROM generate_series(0, 200) n;
INSERT INTO tasks (id, user_id, title, status, completed_at, created_at, updated_at, revision)
SELECT gen_random_uuid(), 'user ' || greatest(0, n - 10000) % 201, md5(n::text),
    CASE WHEN n % 100 = 0 THEN 'completed' ELSE 'pending' END, CASE WHEN n % 100 = 0 THEN now() END,
    now() - n * interval '1 minute', now(), n
FROM generate_series(1, 20000) n;
ANALYZE tasks;
"""
"""One user with ten thousand tasks, many with fifty, one task in a hundred completed; statistics taken."""


async def plans_of_list(service: Service, query: str) -> list[str]:
    """The plans of the owner's list: for these arguments, and for any; a prepared statement may get either."""
    list_query = read_list_query(query.encode(), PATH_SURFACE, b"")
    rows = list_query.limit + 1
    sql, args = list_page(list_query.shape, rows).call(user_id=OWNER, rows=rows, **list_query.values)
    return [
        "\n".join(row[0] for row in await service.rows(f"EXPLAIN {options} {sql}", *args))
        for options in ("", "(GENERIC_PLAN)")
    ]


async def assert_the_indexes_serve_lists(service: Service) -> None:
    """On a database that holds the crowd: each list by the index that is there for it, and no table read whole."""
    for query, index in (("", "ix_tasks_list_created"), ("status=completed", "ix_tasks_user_id_completed")):
        for plan in await plans_of_list(service, query):
            # Either an index scan, or a bitmap of the index; looked up by the owner, not filtered afterwards.
            assert re.search(rf"(using|on) {index} .*\n +Index Cond: \(+user_id = ", plan), plan
            assert "Seq Scan" not in plan, plan
