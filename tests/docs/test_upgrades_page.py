"""docs/operations/upgrades.md: its commands bring a database with tasks in it back and forth, and lose none of them."""

from pathlib import Path

import pytest

from taskservice.database.migrations import HEAD
from tests.docs.blocks import blocks_of
from tests.support.commands import Operator, Outcome
from tests.support.services import SECRET, Services

pytestmark = pytest.mark.slow


async def test_the_commands_migrate_and_take_back(tmp_path: Path, services: Services, database_url: str) -> None:
    operator = Operator(tmp_path, DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET)
    doctor, upgrade, downgrade = (block.text for block in blocks_of("docs/operations/upgrades.md"))

    def shell(text: str) -> Outcome:
        return operator.run("bash", "-euo", "pipefail", "-c", text)

    before = services.start(database_url=database_url)
    await before.user("alice").create("from before")
    await before.hang_up()
    before.stop()

    assert shell(downgrade).code == 0
    behind = shell(doctor)
    assert (behind.code, "0001" in behind.out) == (1, True), behind
    assert shell(upgrade).code == 0
    assert f"up to date ({HEAD})" in shell(doctor).out

    after = services.start(database_url=database_url)
    assert await after.user("alice").titles() == ["from before"]
    await after.hang_up()
    after.stop()
