"""A minute and a half of everything at once: every answer fits into one order of all writes, whatever breaks."""

import pytest

from bench.reliability.database import KillablePostgres
from bench.reliability.history.run import run_history
from tests.support import needs

pytestmark = pytest.mark.slow


async def test_every_answer_fits_into_the_order_of_the_writes(postgres: KillablePostgres) -> None:
    needs.program("pgbouncer")
    needs.program("faketime")
    needs.program("haproxy")
    outcome = await run_history(postgres, seconds=90, faults=7)
    assert not outcome.violations, "\n".join(outcome.violations)
    assert sum(outcome.faults.values()) == 7
    assert outcome.changes > 100
    assert outcome.replica_reads > 50
    # It must not have looked away: nearly all is known, and explained without help.
    assert outcome.blanks < outcome.changes / 10
    assert outcome.excused < outcome.calls / 10
