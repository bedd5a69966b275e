"""Says whether the database answers, from what requests have seen; asks it only when they have seen nothing.

So a probe costs no query while there are requests, and an idle service does not wake a database that its provider
suspends.
"""

import asyncio
from time import perf_counter
from typing import Final

from taskservice.database.pool import Pool
from taskservice.problems import Problem

PROOF_SECONDS: Final = 3.0
"""How long a statement that succeeded proves that the database answers."""
IDLE_PROOF_SECONDS: Final = 30.0
"""The same while there are no requests, as long as the connections stay open."""
PATIENCE_SECONDS: Final = 2.0


async def answers(pool: Pool, *, sleeps: bool) -> bool:
    """`sleeps`: the provider suspends the database when it is idle, so no query is sent without requests."""
    if pool.connections.in_outage:
        return False
    if pool.failed_at <= pool.answered_at:
        age = perf_counter() - pool.answered_at
        is_idle = pool.connections.in_use == 0 and pool.waiting == 0
        if is_idle and sleeps:
            return True
        # When a server ends, its connections close, which shows without a query.
        if pool.connections.is_connected and age < (IDLE_PROOF_SECONDS if is_idle else PROOF_SECONDS):
            return True
    try:
        async with asyncio.timeout(PATIENCE_SECONDS):
            await pool.fetch("SELECT 1", (), repeatable=True)
    except (Problem, TimeoutError):
        return False
    return True
