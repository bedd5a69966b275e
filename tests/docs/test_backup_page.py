"""docs/operations/backup.md: its commands run in a shell as they stand, and clients then see what the page says."""

import os
from pathlib import Path

import pytest

from bench.postgres import binaries
from tests.docs.blocks import Block, blocks_of
from tests.support.commands import BIN, Operator
from tests.support.problems import assert_problem
from tests.support.services import SECRET, Service, Services

pytestmark = pytest.mark.slow


def block(beginning: str) -> Block:
    (found,) = [block for block in blocks_of("docs/operations/backup.md") if block.text.startswith(beginning)]
    return found


def shell(operator: Operator, text: str, **environment: str) -> str:
    path = f"{BIN}:{binaries()}:{os.defpath}"
    outcome = operator.run("bash", "-euo", "pipefail", "-c", text, PATH=path, **environment)
    assert (outcome.code, outcome.err) == (0, ""), outcome
    return outcome.out


@pytest.fixture
def operator(tmp_path: Path, database_url: str) -> Operator:
    return Operator(
        tmp_path,
        DATABASE_URL=database_url,
        BETTER_AUTH_SECRET=SECRET,
        TASKSERVICE_DATA_DIR=str(tmp_path / "data"),
    )


async def test_what_a_dump_restores_and_what_clients_then_see(
    operator: Operator, services: Services, database_url: str, empty_database_url: str
) -> None:
    before = services.start(database_url=database_url)
    alice = before.user("alice")
    task = await alice.create("in the backup")
    shell(operator, block("pg_dump").text)
    # After the backup: an edit takes the number that another edit will take after the restore.
    lost = await alice.patch(f"/{task['id']}", json={"title": "after the backup"})
    tag, since = lost.headers["ETag"], (await alice.get("/changes")).json()["next"]
    list_tag = (await alice.get("")).headers["ETag"]
    await stop(before)

    said = shell(operator, block("pg_restore").text, RESTORED_URL=empty_database_url)
    assert "Renewed the epoch of 1 user." in said
    assert "✗" not in said

    after = services.start(database_url=empty_database_url)
    alice = after.user("alice")
    assert await alice.titles() == ["in the backup"]
    edited = await alice.patch(f"/{task['id']}", json={"title": "after the restore"})
    assert edited.status_code == 200
    assert (await alice.get("", headers={"If-None-Match": list_tag})).status_code == 200
    assert (await alice.get(f"/{task['id']}", headers={"If-None-Match": tag})).status_code == 200
    stale = await alice.patch(f"/{task['id']}", json={"title": "mine"}, headers={"If-Match": tag})
    assert_problem(stale, 412, "precondition-failed")
    assert_problem(await alice.get("/changes", params={"since": since}), 410, "resync-required")
    assert await alice.titles() == ["after the restore"]
    await stop(after)


def test_the_one_command_after_every_restore_is_one_command(operator: Operator) -> None:
    assert "Renewed the epoch of 0 users." in shell(operator, block("litestar database new-epoch").text)


async def stop(service: Service) -> None:
    await service.hang_up()
    service.stop()
