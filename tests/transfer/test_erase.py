"""`DELETE` on a whole surface: everything of one user, for good, when it is confirmed."""

import asyncio

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller

pytestmark = pytest.mark.slow


async def test_it_says_how_much_it_erased(alice: Caller) -> None:
    tasks = [await alice.create(str(number)) for number in range(5)]
    for task in tasks[:2]:
        await alice.delete(f"/{task['id']}")
    answer = await alice.delete("?confirm=all")
    assert (answer.status_code, answer.json()) == (200, {"deleted": 3, "deleted_from_trash": 2, "remaining": 0})
    assert await alice.tasks() == []
    assert (await alice.get("/trash")).json() == []
    for task in tasks:
        assert_problem(await alice.get(f"/{task['id']}"), 404)
        assert_problem(await alice.post(f"/{task['id']}/restore"), 404)
    assert (await alice.delete("?confirm=all")).json() == {"deleted": 0, "deleted_from_trash": 0, "remaining": 0}


async def test_somebody_who_never_wrote_has_nothing_to_erase(alice: Caller) -> None:
    assert (await alice.delete("?confirm=all")).json() == {"deleted": 0, "deleted_from_trash": 0, "remaining": 0}


@pytest.mark.parametrize(
    "query", ["", "?confirm=", "?confirm=ALL", "?confirm=yes", "?confirm=all&confirm=all", "?force=true"]
)
async def test_without_the_confirmation_nothing_is_erased(alice: Caller, query: str) -> None:
    await alice.create()
    assert "confirm" in fields_of(assert_problem(await alice.delete(query), 422))
    assert len(await alice.tasks()) == 1


async def test_a_confirmation_with_anything_beside_it_is_refused(alice: Caller) -> None:
    await alice.create()
    assert fields_of(assert_problem(await alice.delete("?confirm=all&status=completed"), 422)) == {"status"}
    assert len(await alice.tasks()) == 1


async def test_nobody_else_loses_anything(alice: Caller, bob: Caller) -> None:
    await alice.create()
    kept, deleted = await bob.create("kept"), await bob.create("deleted")
    await bob.delete(f"/{deleted['id']}")
    before = [(await bob.get(path)).json() for path in ("", "/trash", "/changes")]
    await alice.delete("?confirm=all")
    assert [(await bob.get(path)).json() for path in ("", "/trash", "/changes")] == before
    assert await bob.read(kept["id"]) == kept


async def test_another_users_path_erases_nothing(alice: Caller, bob: Caller) -> None:
    await bob.create()
    assert_problem(await alice.delete(f"/api/{bob.user}/tasks?confirm=all"), 403)
    assert len(await bob.tasks()) == 1


async def test_readers_of_the_feed_are_told_of_every_task(alice: Caller) -> None:
    tasks = [await alice.create(str(number)) for number in range(4)]
    await alice.delete(f"/{tasks[0]['id']}")
    page = (await alice.get("/changes")).json()
    await alice.delete("?confirm=all")
    later = (await alice.get("/changes", params={"since": page["next"]})).json()
    assert {change["type"] for change in later["changes"]} == {"delete"}
    assert {change["id"] for change in later["changes"]} == {task["id"] for task in tasks}
    assert (await alice.get("/changes", params={"since": later["next"]})).json()["changes"] == []


async def test_kept_answers_are_erased_too(alice: Caller) -> None:
    await alice.post("", json={"title": "secret plan"}, headers={"Idempotency-Key": "k"})
    await alice.delete("?confirm=all")
    rows = await alice.service.rows("SELECT 1 FROM idempotency_keys WHERE user_id = $1", alice.user)
    assert rows == []


async def test_writers_at_the_same_time_get_sound_answers(alice: Caller) -> None:
    await alice.create("first")
    since = (await alice.get("/changes")).json()["next"]
    answers = await asyncio.gather(
        *(alice.post("", json={"title": str(number)}) for number in range(20)),
        *(alice.delete("?confirm=all") for _ in range(3)),
        *(alice.post("", json={"title": str(number)}) for number in range(20, 40)),
    )
    assert {answer.status_code for answer in answers} == {200, 201}
    erased = sum(answer.json()["deleted"] for answer in answers[20:23])
    left = await alice.tasks()
    assert erased + len(left) == 41
    copy = {}
    for change in (await alice.get("/changes", params={"since": since})).json()["changes"]:
        if change["type"] == "upsert":
            copy[change["task"]["id"]] = change["task"]
        else:
            copy.pop(change["id"], None)
    assert copy == {task["id"]: task for task in left}


async def test_a_task_that_is_created_while_it_waits_for_its_turn_is_erased_too(alice: Caller) -> None:
    await alice.create("old")
    async with alice.service.connection() as connection:
        async with connection.transaction():
            await connection.execute("SELECT FROM users WHERE id = $1 FOR UPDATE", alice.user)
            creating = asyncio.create_task(alice.create("new"))
            await asyncio.sleep(0.3)
            erasing = asyncio.create_task(alice.delete("?confirm=all"))
            await asyncio.sleep(0.3)
        await creating
    assert (await erasing).json() == {"deleted": 2, "deleted_from_trash": 0, "remaining": 0}
    assert await alice.tasks() == []
