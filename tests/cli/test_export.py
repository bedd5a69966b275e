"""`litestar export`: what the user could download, for an operator who has no token."""

import json
from uuid import uuid4

import pytest

from tests.support.commands import Operator
from tests.support.services import Service


@pytest.mark.parametrize("form", ["json", "csv", "ics"])
async def test_the_file_is_the_one_that_the_api_gives(operator: Operator, service: Service, form: str) -> None:
    alice = service.user("alice")
    for title in ("Buy milk", "Æble; \N{GRINNING FACE}", "=SUM(A1)"):
        await alice.create(title, due_date="2026-12-01", description="two\nlines")
    await service.user("bob").create("his")
    outcome = operator.litestar("export", "alice", "--format", form)
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.encode() == (await alice.get("/export", params={"format": form})).content.replace(b"\r\n", b"\n")


async def test_without_a_format_it_is_json_that_can_be_imported(operator: Operator, service: Service) -> None:
    await service.execute("INSERT INTO users (id, revision) VALUES ('alice', 1201)")
    await service.execute(
        "INSERT INTO tasks (id, user_id, title, revision) "
        "SELECT gen_random_uuid(), 'alice', 'task ' || n, n FROM generate_series(1, 1201) n"
    )
    exported = json.loads(operator.litestar("export", "alice").out)
    assert len({task["id"] for task in exported}) == 1201
    bob = service.user("bob")
    own = exported[0] | {"id": str(uuid4())}
    assert (await bob.post("/import", json=[own])).status_code == 200
    assert await bob.titles() == [own["title"]]


async def test_a_user_who_never_wrote_is_said_to_be_unknown(operator: Operator, service: Service) -> None:
    await service.user("alice").create()
    [line] = operator.litestar("export", "Alice").refused()
    assert line == 'there is no data of a user "Alice": the id must be exactly the `sub` of the token'
