"""The change feed: a reader that follows it has a true copy, whatever the writers do (contract, section 7)."""

import asyncio
import random
from typing import Any

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller


class Copy:
    """A front end's copy of a user's tasks, kept by the feed alone."""

    def __init__(self, caller: Caller, limit: int | None = None) -> None:
        self.caller = caller
        self.limit = limit
        self.tasks: dict[str, dict[str, Any]] = {}
        self.token: str | None = None
        self.entries: list[dict[str, Any]] = []

    async def pull(self) -> bool:
        """One page. Whether there is more."""
        params = {name: value for name, value in (("since", self.token), ("limit", self.limit)) if value is not None}
        answer = await self.caller.get("/changes", params=params)
        assert answer.status_code == 200, answer.text
        page = answer.json()
        assert set(page) == {"changes", "next", "has_more"}
        for entry in page["changes"]:
            self.entries.append(entry)
            if entry["type"] == "upsert":
                self.tasks[entry["task"]["id"]] = entry["task"]
            else:
                assert entry["type"] == "delete"
                assert entry["deleted_at"].endswith("Z")
                self.tasks.pop(entry["id"], None)
        self.token = page["next"]
        has_more: bool = page["has_more"]
        return has_more

    async def catch_up(self) -> None:
        while await self.pull():
            pass

    async def assert_true(self) -> None:
        await self.catch_up()
        assert sorted(self.tasks) == sorted(task["id"] for task in await self.caller.tasks())
        assert list(self.tasks.values()) == [self.tasks[key] for key in self.tasks]
        for task in await self.caller.tasks():
            assert self.tasks[task["id"]] == task


async def test_without_a_token_it_is_every_live_task(alice: Caller) -> None:
    tasks = [await alice.create(f"task {n}") for n in range(3)]
    await alice.delete(f"/{tasks[1]['id']}")
    page = (await alice.get("/changes")).json()
    assert [(entry["type"], entry["task"]) for entry in page["changes"]] == [("upsert", tasks[0]), ("upsert", tasks[2])]
    assert page["has_more"] is False


async def test_a_user_without_tasks_has_an_empty_feed(alice: Caller) -> None:
    copy = Copy(alice)
    assert await copy.pull() is False
    assert copy.entries == []
    await alice.create()
    await copy.assert_true()
    assert len(copy.entries) == 1


async def test_every_kind_of_change_is_told_in_order(alice: Caller) -> None:
    copy = Copy(alice)
    await copy.catch_up()
    one, two, three = [await alice.create(f"task {n}") for n in range(3)]
    await alice.patch(f"/{one['id']}", json={"title": "changed"})
    await alice.delete(f"/{two['id']}")
    await alice.delete(f"/{three['id']}?permanent=true")
    await copy.catch_up()
    told = [(entry["type"], entry.get("id") or entry["task"]["id"]) for entry in copy.entries]
    assert told == [("upsert", one["id"]), ("delete", two["id"]), ("delete", three["id"])]
    await alice.post(f"/{two['id']}/restore")
    await copy.assert_true()
    assert copy.entries[-1]["type"] == "upsert"


async def test_what_was_seen_is_not_told_again(alice: Caller) -> None:
    await alice.create()
    copy = Copy(alice)
    await copy.catch_up()
    told = len(copy.entries)
    await copy.catch_up()
    await copy.catch_up()
    assert len(copy.entries) == told


async def test_a_write_that_changes_nothing_is_not_told(alice: Caller) -> None:
    task = await alice.create("same")
    copy = Copy(alice)
    await copy.catch_up()
    await alice.put(f"/{task['id']}", json={"title": "same"})
    assert_problem(await alice.put(f"/{task['id']}", json={"title": "new"}, headers={"If-Match": '"999"'}), 412)
    assert await copy.pull() is False
    assert len(copy.entries) == 1


@pytest.mark.parametrize("limit", [1, 2, 5])
async def test_pages_of_the_feed_hold_everything_once(alice: Caller, limit: int) -> None:
    for n in range(11):
        task = await alice.create(f"task {n}")
        if n % 3 == 0:
            await alice.delete(f"/{task['id']}?permanent={'true' if n % 2 else 'false'}")
    copy = Copy(alice, limit)
    await copy.assert_true()
    assert [entry["task"] for entry in copy.entries] == await alice.tasks()


async def test_what_is_deleted_during_the_first_copy_is_told_in_it(alice: Caller) -> None:
    tasks = [await alice.create(f"task {n}") for n in range(9)]
    copy = Copy(alice, limit=3)
    await copy.pull()
    await alice.delete(f"/{tasks[0]['id']}")
    await alice.delete(f"/{tasks[1]['id']}?permanent=true")
    await alice.delete(f"/{tasks[8]['id']}?permanent=true")
    await alice.patch(f"/{tasks[2]['id']}", json={"title": "changed"})
    await copy.assert_true()


async def test_everything_erased_is_told(alice: Caller) -> None:
    for n in range(5):
        await alice.create(f"task {n}")
    copy = Copy(alice, limit=2)
    await copy.catch_up()
    await alice.delete("?confirm=all")
    await copy.assert_true()
    assert copy.tasks == {}


@pytest.mark.parametrize(
    "token", ["", "x", "-1", "1.5", "01", "1 ", "1-", "-", "1-2-3", "9" * 30, "%00", "٣", "null", "0x1", "1e3"]
)
async def test_what_is_no_token_is_422(alice: Caller, token: str) -> None:
    await alice.create()
    assert fields_of(assert_problem(await alice.get("/changes", params={"since": token}), 422)) == {"since"}


@pytest.mark.parametrize("token", ["999999", "999999-1", "0-999999"])
async def test_a_token_from_the_future_is_410(alice: Caller, token: str) -> None:
    await alice.create()
    assert_problem(await alice.get("/changes", params={"since": token}), 410, "resync-required")


async def test_a_token_older_than_the_remembered_deletions_is_410(alice: Caller) -> None:
    copy = Copy(alice)
    kept, gone = await alice.create("kept"), await alice.create("gone")
    await copy.catch_up()
    await alice.delete(f"/{gone['id']}?permanent=true")
    late = Copy(alice)
    await late.catch_up()
    # What `litestar purge` does to tombstones past their time.
    await alice.service.execute("DELETE FROM tombstones WHERE user_id = $1", alice.user)
    await alice.service.execute("UPDATE users SET forgotten = revision WHERE id = $1", alice.user)
    answer = await alice.get("/changes", params={"since": copy.token})
    assert "resync" in assert_problem(answer, 410, "resync-required")["detail"]
    await late.catch_up()
    copy.token = None
    copy.tasks.clear()
    await copy.assert_true()
    assert list(copy.tasks) == [kept["id"]]


@pytest.mark.parametrize(
    "query", ["limit=0", "limit=1001", "limit=x", "since=1&since=2", "status=pending", "sort=title"]
)
async def test_bad_parameters_are_422(alice: Caller, query: str) -> None:
    assert fields_of(assert_problem(await alice.get(f"/changes?{query}"), 422)) == {query.partition("=")[0]}


async def write_at_random(alice: Caller, dice: random.Random, count: int) -> None:
    """A writer that does not look left or right; refusals are part of it."""
    own: list[str] = []
    for _ in range(count):
        kind = dice.randrange(8)
        target = dice.choice(own) if own else None
        if kind <= 1 or target is None:
            own.append((await alice.create(f"task {dice.random()}"))["id"])
        elif kind == 2:
            await alice.patch(f"/{target}", json={"title": f"title {dice.random()}"})
        elif kind == 3:
            await alice.patch(f"/{target}/complete")
        elif kind == 4:
            await alice.delete(f"/{target}")
        elif kind == 5:
            await alice.post(f"/{target}/restore")
        elif kind == 6:
            await alice.delete(f"/{target}?permanent=true")
        else:
            operations = [{"op": "create", "data": {"title": f"in a batch {n}"}} for n in range(3)]
            operations.append({"op": "update", "id": target, "data": {"title": "in a batch"}})
            results = await alice.post("/batch", json={"operations": operations})
            if results.status_code == 200:
                own += [result["task"]["id"] for result in results.json()["results"][:3]]


@pytest.mark.slow
async def test_a_reader_behind_many_writers_ends_with_a_true_copy(alice: Caller, bob: Caller) -> None:
    copies = [Copy(alice), Copy(alice, limit=2), Copy(bob, limit=3)]
    done = asyncio.Event()

    async def follow(copy: Copy) -> None:
        while not done.is_set():
            await copy.pull()

    followers = [asyncio.create_task(follow(copy)) for copy in copies]
    await asyncio.gather(*(write_at_random(caller, random.Random(n), 25) for n in range(5) for caller in (alice, bob)))
    done.set()
    await asyncio.gather(*followers)
    for copy in (*copies, Copy(alice), Copy(bob, limit=1)):
        await copy.assert_true()


async def test_a_transaction_held_open_hides_nothing_from_the_feed(alice: Caller) -> None:
    """The classic gap: a low number that commits after a reader has passed a high one."""
    first = await alice.create("first")
    copy = Copy(alice)
    await copy.catch_up()
    async with alice.service.connection() as connection:
        transaction = connection.transaction()
        await transaction.start()
        # As a writer of the service does: take the next number, write, and then take its time to commit.
        number = await connection.fetchval(
            "UPDATE users SET revision = revision + 1 WHERE id = $1 RETURNING revision", alice.user
        )
        await connection.execute(
            "UPDATE tasks SET title = 'slow', updated_at = clock_timestamp(), revision = $2 WHERE id = $1",
            first["id"],
            number,
        )
        others = [asyncio.create_task(alice.create(f"meanwhile {n}")) for n in range(3)]
        for _ in range(5):
            await copy.pull()
            await asyncio.sleep(0.05)
        assert len(copy.entries) == 1, "a reader passed the number that is not committed yet"
        await transaction.commit()
    await asyncio.gather(*others)
    await copy.assert_true()
    assert copy.tasks[first["id"]]["title"] == "slow"


async def test_a_rolled_back_write_leaves_no_gap(alice: Caller) -> None:
    task = await alice.create()
    copy = Copy(alice)
    await copy.catch_up()
    failing = [{"op": "create", "data": {"title": "undone"}}, {"op": "restore", "id": task["id"]}]
    assert_problem(await alice.post("/batch", json={"operations": failing}), 404)
    await alice.create("after")
    await copy.assert_true()
    assert [entry["task"]["title"] for entry in copy.entries] == [task["title"], "after"]


async def test_no_clock_is_involved(alice: Caller) -> None:
    copy = Copy(alice, limit=2)
    tasks = [await alice.create(f"task {n}") for n in range(4)]
    await copy.catch_up()
    # The clock of the server jumps back by a year, as far as the rows can tell.
    await alice.service.execute(
        "UPDATE tasks SET created_at = created_at + interval '1 year', updated_at = updated_at + interval '1 year' "
        "WHERE user_id = $1",
        alice.user,
    )
    changed = (await alice.patch(f"/{tasks[3]['id']}", json={"title": "changed"})).json()
    await copy.catch_up()
    assert copy.tasks[tasks[3]["id"]] == changed
    new = await alice.create("new")
    await copy.catch_up()
    assert copy.tasks[new["id"]] == new
