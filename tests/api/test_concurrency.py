"""Many at once: no lost toggle, no number twice, no time backward."""

import asyncio
import random
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.services import Caller, Services, SurfaceName, number_of

pytestmark = pytest.mark.slow


async def test_50_concurrent_toggles_lose_none(alice: Caller) -> None:
    task = await alice.create()
    answers = await asyncio.gather(*(alice.patch(f"/{task['id']}/complete") for _ in range(50)))
    assert {answer.status_code for answer in answers} == {200}
    assert sorted(answer.json()["completed"] for answer in answers) == [False] * 25 + [True] * 25
    assert (await alice.read(task["id"]))["completed"] is False
    one_more = await alice.patch(f"/{task['id']}/complete")
    assert one_more.json()["completed"] is True
    tags = [answer.headers["etag"] for answer in answers]
    assert len(set(tags)) == 50


async def test_toggles_alternate_in_the_order_of_their_numbers(alice: Caller) -> None:
    task = await alice.create()
    answers = await asyncio.gather(*(alice.patch(f"/{task['id']}/complete") for _ in range(30)))
    by_number = sorted(answers, key=lambda answer: number_of(answer.headers["etag"]))
    assert [answer.json()["completed"] for answer in by_number] == [True, False] * 15
    times = [answer.json()["updated_at"] for answer in by_number]
    assert times == sorted(set(times))


async def test_every_write_of_a_user_has_its_own_number(alice: Caller) -> None:
    tasks = [await alice.create(f"task {n}") for n in range(5)]
    kinds = random.Random(7)  # always the same mixture

    async def write(n: int) -> Any:
        task = tasks[n % 5]
        kind = kinds.randrange(4)
        if kind == 0:
            return await alice.post(json={"title": f"new {n}"})
        if kind == 1:
            return await alice.patch(f"/{task['id']}", json={"description": f"d {n}"})
        return await alice.patch(f"/{task['id']}/complete")

    answers = await asyncio.gather(*(write(n) for n in range(80)))
    assert {answer.status_code for answer in answers} <= {200, 201}
    tags = [answer.headers["etag"] for answer in answers]
    assert len(set(tags)) == len(tags)
    highest = max(number_of(tag) for tag in tags)
    assert number_of((await alice.get()).headers["etag"]) == highest


async def test_the_lists_tag_is_never_ahead_of_what_it_shows(alice: Caller) -> None:
    done = asyncio.Event()
    seen: dict[str, str] = {}

    async def read() -> None:
        while not done.is_set():
            answer = await alice.get()
            body = answer.text
            assert seen.setdefault(answer.headers["etag"], body) == body

    async def write(n: int) -> None:
        task = await alice.create(f"task {n}")
        await alice.patch(f"/{task['id']}/complete")
        if n % 2:
            await alice.delete(f"/{task['id']}")

    readers = [asyncio.create_task(read()) for _ in range(3)]
    for start in range(0, 24, 6):
        await asyncio.gather(*(write(n) for n in range(start, start + 6)))
    done.set()
    await asyncio.gather(*readers)
    final = await alice.get()
    assert seen.setdefault(final.headers["etag"], final.text) == final.text


async def test_creations_are_listed_in_the_order_of_their_numbers(alice: Caller) -> None:
    answers = await asyncio.gather(*(alice.post(json={"title": f"task {n}"}) for n in range(40)))
    by_number = sorted(answers, key=lambda answer: number_of(answer.headers["etag"]))
    assert [task["id"] for task in await alice.tasks()] == [answer.json()["id"] for answer in by_number]


async def test_updated_at_moves_forward_even_if_the_clock_was_ahead(alice: Caller) -> None:
    task = await alice.create()
    await alice.service.execute(
        "UPDATE tasks SET updated_at = clock_timestamp() + interval '1 hour' WHERE id = $1", task["id"]
    )
    ahead = await alice.read(task["id"])
    changes = [await alice.patch(f"/{task['id']}", json={"title": f"title {n}"}) for n in range(3)]
    changes.append(await alice.patch(f"/{task['id']}/complete"))
    times = [ahead["updated_at"], *(change.json()["updated_at"] for change in changes)]
    assert times == sorted(set(times))


async def test_writers_of_different_users_do_not_wait_for_each_other(alice: Caller, bob: Caller) -> None:
    await alice.create()
    await bob.create()
    async with alice.service.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", alice.user)
        assert (await asyncio.wait_for(bob.create(), 2))["title"]
        assert len(await asyncio.wait_for(alice.tasks(), 2)) == 1


async def test_a_writer_that_waits_too_long_is_told_and_leaves_nothing_behind(
    services: Services, surface: SurfaceName, someone: Callable[[str], str]
) -> None:
    alice = services.shared(database_deadline=1).user(someone("alice"), surface)
    await alice.create("first")
    async with alice.service.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", alice.user)
        answers = await asyncio.gather(*(alice.post(json={"title": "second"}) for _ in range(3)))
    assert {answer.status_code for answer in answers} == {503}
    await asyncio.sleep(0.2)
    assert await alice.titles() == ["first"]


async def test_delete_and_update_at_once_end_in_one_of_both_orders(alice: Caller) -> None:
    for _ in range(10):
        task = await alice.create()
        deletion, change = await asyncio.gather(
            alice.delete(f"/{task['id']}"), alice.put(f"/{task['id']}", json={"title": "changed"})
        )
        assert deletion.status_code == 204
        assert change.status_code in {200, 404}
        [trashed] = [found for found in (await alice.get("/trash")).json() if found["id"] == task["id"]]
        assert trashed["title"] == ("changed" if change.status_code == 200 else task["title"])


async def test_first_writes_of_a_new_user_at_once_all_succeed(alice: Caller) -> None:
    created = await asyncio.gather(*(alice.create(f"task {n}") for n in range(30)))
    assert len({task["id"] for task in created}) == 30
    [user] = await alice.service.rows("SELECT revision FROM users WHERE id = $1", alice.user)
    assert user["revision"] == 30
