"""Writes under `TASKSERVICE_DATABASE_SHARDED`: two statements in a transaction do what one does otherwise."""

import asyncio
import uuid
from collections.abc import Callable

import pytest

from tests.support.services import Caller, Service, Services, SurfaceName, number_of


@pytest.fixture(scope="session")
def sharded(services: Services) -> Service:
    return services.shared(database_sharded="true", delete="hard")


@pytest.fixture
def ann(sharded: Service, surface: SurfaceName, someone: Callable[[str], str]) -> Caller:
    return sharded.user(someone("ann"), surface)


async def changes(user: Caller, since: str) -> list[tuple[str, str]]:
    answer = (await user.get("/changes", params={"since": since})).json()
    return [
        (change["type"], change["task"]["id"] if change["type"] == "upsert" else change["id"])
        for change in answer["changes"]
    ]


async def test_creates_take_numbers_one_after_the_other(ann: Caller) -> None:
    tasks = await asyncio.gather(*(ann.create(f"Task {number}") for number in range(12)))
    assert sorted(number_of(task["etag"]) for task in tasks) == list(range(1, 13))
    for task in tasks:
        assert await ann.read(task["id"]) == task
        assert task["created_at"] == task["updated_at"]


async def test_a_batch_of_creates_keeps_its_order(ann: Caller) -> None:
    operations = [
        {"op": "create", "data": {"title": title, "status": "completed", "due_date": "2027-01-01"}} for title in "cab"
    ]
    answer = (await ann.post("/batch", json={"operations": operations})).json()
    tasks = [result["task"] for result in answer["results"]]
    assert [task["title"] for task in tasks] == ["c", "a", "b"]
    assert [number_of(task["etag"]) for task in tasks] == [1, 2, 3]
    assert {task["completed_at"] for task in tasks} == {tasks[0]["created_at"]}


async def test_an_erased_task_is_told_of_in_its_place(ann: Caller) -> None:
    first, second = await ann.create("first"), await ann.create("second")
    since = (await ann.get("/changes")).json()["next"]
    refused = await ann.delete(f"/{first['id']}", headers={"If-Match": second["etag"]})
    assert refused.status_code == 412
    assert await changes(ann, since) == []
    assert (await ann.delete(f"/{first['id']}")).status_code == 204
    third = await ann.create("third")
    assert await changes(ann, since) == [("delete", first["id"]), ("upsert", third["id"])]
    assert (await ann.delete(f"/{first['id']}")).status_code == 404


async def test_a_batch_of_deletions_is_told_of_in_its_order(ann: Caller) -> None:
    tasks = [await ann.create(title) for title in "abc"]
    since = (await ann.get("/changes")).json()["next"]
    operations = [{"op": "delete", "id": task["id"]} for task in reversed(tasks)]
    assert (await ann.post("/batch", json={"operations": operations})).status_code == 200
    assert await changes(ann, since) == [("delete", task["id"]) for task in reversed(tasks)]


@pytest.mark.parametrize(("query", "left"), [("?completed=true", ["open"]), ("?confirm=all", [])])
async def test_clearing_tells_of_every_task(ann: Caller, query: str, left: list[str]) -> None:
    await ann.create("open")
    done = [await ann.create(f"done {number}", status="completed") for number in range(3)]
    since = (await ann.get("/changes")).json()["next"]
    cleared = (await ann.delete(query)).json()
    assert cleared["deleted"] == 4 - len(left)
    assert await ann.titles() == left
    told = await changes(ann, since)
    assert {kind for kind, _ in told} == {"delete"}
    assert len(told) == cleared["deleted"]
    assert {task["id"] for task in done} <= {task_id for _, task_id in told}


async def test_a_retry_with_a_key_writes_once(ann: Caller) -> None:
    headers = {"Idempotency-Key": str(uuid.uuid4())}
    answers = await asyncio.gather(*(ann.post("", json={"title": "once"}, headers=headers) for _ in range(3)))
    assert len({answer.json()["id"] for answer in answers}) == 1
    assert await ann.titles() == ["once"]
