"""docs/operations/purge.md: its commands run as they stand, and say what the page shows."""

from pathlib import Path

import pytest

from tests.docs.blocks import assert_shown, blocks_of
from tests.support.commands import Operator
from tests.support.postgres import ThrowawayPostgres
from tests.support.services import SECRET

pytestmark = pytest.mark.slow


def test_the_page_shows_what_the_commands_say(tmp_path: Path, postgres: ThrowawayPostgres, database_url: str) -> None:
    operator = Operator(tmp_path, DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET)
    purge, shown, orphans = blocks_of("docs/operations/purge.md")
    done = operator.run("bash", "-euc", purge.text)
    assert (done.code, done.err) == (0, "")
    assert_shown(shown, done.out)
    postgres.execute("""CREATE TABLE "user" (id text PRIMARY KEY); INSERT INTO "user" VALUES ('alice')""", database_url)
    done = operator.run("bash", "-euc", orphans.text)
    assert (done.code, done.err) == (0, "")
    assert "Removed 0 users who are gone, with 0 tasks." in done.out
