"""Batches: up to 100 operations, all or nothing (contract, section 5)."""

import asyncio
from typing import Any

import pytest

from tests.support.problems import assert_problem
from tests.support.routes import NOBODYS
from tests.support.services import Caller, SurfaceName

Operations = list[dict[str, Any]]


async def run(alice: Caller, operations: Any) -> Any:
    return await alice.post("/batch", json={"operations": operations})


async def whole_state(alice: Caller) -> Any:
    return [(await alice.get(path)).json() for path in ("", "/trash", "/changes")] + [
        (await alice.get()).headers["etag"]
    ]


async def test_one_of_each_kind(alice: Caller) -> None:
    updated, completed, deleted, restored = [await alice.create(f"task {n}") for n in range(4)]
    erased = await alice.create("erased")
    await alice.delete(f"/{restored['id']}")
    answer = await run(
        alice,
        [
            {"op": "create", "data": {"title": "new", "priority": "high"}},
            {
                "op": "update",
                "id": updated["id"],
                "data": {"title": "updated"},
                "if_match": await alice.tag(updated["id"]),
            },
            {"op": "complete", "id": completed["id"]},
            {"op": "delete", "id": deleted["id"]},
            {"op": "delete", "id": erased["id"], "permanent": True},
            {"op": "restore", "id": restored["id"]},
        ],
    )
    assert answer.status_code == 200
    results = answer.json()["results"]
    assert [result["status"] for result in results] == [201, 200, 200, 204, 204, 200]
    assert [("task" in result) for result in results] == [True, True, True, False, False, True]
    for place in (0, 1, 2, 5):
        assert await alice.read(results[place]["task"]["id"]) == results[place]["task"]
    assert (results[1]["task"]["title"], results[2]["task"]["completed"]) == ("updated", True)
    assert [task["id"] for task in (await alice.get("/trash")).json()] == [deleted["id"]]


async def test_the_results_stand_in_the_order_of_the_operations(alice: Caller) -> None:
    tasks = [await alice.create(f"task {n}") for n in range(6)]
    operations: Operations = []
    for n, task in enumerate(tasks):
        operations.append({"op": "create", "data": {"title": f"new {n}"}})
        operations.append({"op": "update", "id": task["id"], "data": {"title": f"updated {n}"}})
    results = (await run(alice, operations)).json()["results"]
    titles = [result["task"]["title"] for result in results]
    assert titles == [title for n in range(6) for title in (f"new {n}", f"updated {n}")]


async def test_operations_on_one_task_follow_each_other(alice: Caller) -> None:
    task = await alice.create("one")
    target = {"id": task["id"]}
    results = (
        await run(
            alice,
            [
                {"op": "update", **target, "data": {"title": "two"}},
                {"op": "complete", **target},
                {"op": "complete", **target},
                {"op": "delete", **target},
                {"op": "restore", **target},
                {"op": "update", **target, "data": {"description": "three"}},
            ],
        )
    ).json()["results"]
    assert [result["status"] for result in results] == [200, 200, 200, 204, 200, 200]
    final = await alice.read(task["id"])
    assert (final["title"], final["description"], final["completed"]) == ("two", "three", False)
    assert results[-1]["task"] == final


FAILURES: list[tuple[dict[str, Any], int]] = [
    ({"op": "update", "id": NOBODYS, "data": {"title": "t"}}, 404),
    ({"op": "complete", "id": NOBODYS}, 404),
    ({"op": "delete", "id": NOBODYS}, 404),
    ({"op": "delete", "id": NOBODYS, "permanent": True}, 404),
    ({"op": "restore", "id": NOBODYS}, 404),
    ({"op": "restore", "id": "{task}"}, 404),
    ({"op": "update", "id": "{task}", "data": {"title": "t"}, "if_match": '"999999"'}, 412),
    ({"op": "delete", "id": "{task}", "if_match": '"999999"'}, 412),
    ({"op": "create", "data": {"title": ""}}, 422),
    ({"op": "create"}, 422),
    ({"op": "update", "id": "{task}", "data": {"titel": "t"}}, 422),
    ({"op": "update", "id": "{task}"}, 422),
    ({"op": "update", "data": {"title": "t"}}, 422),
    ({"op": "update", "id": "malformed", "data": {"title": "t"}}, 422),
    ({"op": "update", "id": 5, "data": {"title": "t"}}, 422),
    ({"op": "destroy", "id": "{task}"}, 422),
    ({"op": None}, 422),
    ({}, 422),
    ({"op": "delete", "id": "{task}", "permanent": "yes"}, 422),
    ({"op": "delete", "id": "{task}", "if_match": 7}, 422),
    ({"op": "delete", "id": "{task}", "if_match": "7"}, 422),
    ({"op": "complete", "id": "{task}", "unknown": 1}, 422),
    ({"op": "create", "data": {"title": "nul \x00"}}, 422),
]


@pytest.mark.slow
@pytest.mark.parametrize(("failing", "status"), FAILURES, ids=lambda value: str(value)[:70])
@pytest.mark.parametrize("place", [0, 3])
async def test_a_failure_names_its_index_and_nothing_is_changed(
    alice: Caller, failing: dict[str, Any], status: int, place: int
) -> None:
    tasks = [await alice.create(f"task {n}") for n in range(3)]
    failing = {name: (tasks[2]["id"] if value == "{task}" else value) for name, value in failing.items()}
    operations: Operations = [
        {"op": "create", "data": {"title": "new"}},
        {"op": "update", "id": tasks[0]["id"], "data": {"title": "updated"}},
        {"op": "delete", "id": tasks[1]["id"], "permanent": True},
    ]
    operations.insert(place, failing)
    before = await whole_state(alice)
    document = assert_problem(await run(alice, operations), status)
    assert {error["index"] for error in document["errors"]} == {place}
    if status == 412:
        assert document["errors"][0]["current"] == await alice.tag(tasks[2]["id"])
    assert await whole_state(alice) == before


async def test_all_invalid_operations_are_reported_at_once(alice: Caller) -> None:
    operations = [
        {"op": "create", "data": {"title": "", "priority": "x"}},
        {"op": "create", "data": {"title": "fine"}},
        {"op": "nonsense"},
        "not an object",
        {"op": "update", "id": "malformed", "data": {"status": "x"}},
    ]
    document = assert_problem(await run(alice, operations), 422, "validation-failed")
    assert sorted(error["index"] for error in document["errors"]) == [0, 0, 2, 3, 4, 4]
    assert await alice.tasks() == []


@pytest.mark.parametrize(
    "body",
    [
        {}, [], {"operations": None}, {"operations": {}}, {"operations": []}, {"operations": "x"}, {"ops": []},
        {"operations": [{"op": "create", "data": {"title": "t"}}] * 101},
        {"operations": [{"op": "create", "data": {"title": "t"}}], "atomic": False},
    ],
    ids=lambda value: str(value)[:40],
)  # fmt: skip
async def test_what_is_no_batch_of_1_to_100_is_422(alice: Caller, body: Any) -> None:
    assert_problem(await alice.post("/batch", json=body), 422)
    assert await alice.tasks() == []


async def test_100_operations_and_a_megabyte_are_fine(alice: Caller) -> None:
    operations = [{"op": "create", "data": {"title": f"task {n}", "description": "d" * 1000}} for n in range(100)]
    assert (await run(alice, operations)).status_code == 200
    padded = b'{"operations": [{"op": "create", "data": {"title": "t"}}]' + b" " * (1024 * 1024 - 60) + b"}"
    json = {"Content-Type": "application/json"}
    assert (await alice.post("/batch", content=padded, headers=json)).status_code == 200
    assert_problem(await alice.post("/batch", content=padded + b" " * 100, headers=json), 413)


async def test_a_foreign_task_in_a_batch_fails_it_whole(alice: Caller, bob: Caller, surface: SurfaceName) -> None:
    his = await bob.create("his")
    for operation in (
        {"op": "update", "id": his["id"], "data": {"title": "mine"}},
        {"op": "complete", "id": his["id"]},
        {"op": "delete", "id": his["id"]},
        {"op": "delete", "id": his["id"], "permanent": True},
    ):
        answer = await run(alice, [{"op": "create", "data": {"title": "new"}}, operation])
        document = assert_problem(answer, 403 if surface == "token" else 404)
        assert [error["index"] for error in document["errors"]] == [1]
    assert await alice.tasks() == []
    assert await bob.tasks() == [his]


async def test_every_operation_takes_its_own_number(alice: Caller) -> None:
    results = (await run(alice, [{"op": "create", "data": {"title": f"task {n}"}} for n in range(10)])).json()[
        "results"
    ]
    tags = [await alice.tag(result["task"]["id"]) for result in results]
    epoch = await alice.epoch()
    assert tags == [f'"{n}-{epoch}"' for n in range(1, 11)]
    assert (await alice.get()).headers["etag"] == f'"10-{epoch}"'


async def test_batches_at_once_are_each_whole(alice: Caller) -> None:
    tasks = [await alice.create(f"task {n}") for n in range(5)]

    async def rename_all(name: str, *, reverse: bool) -> Any:
        order = tasks[::-1] if reverse else tasks
        return await run(alice, [{"op": "update", "id": task["id"], "data": {"title": name}} for task in order])

    # In opposite orders, which would deadlock if each task were locked by itself.
    answers = await asyncio.gather(*(rename_all(f"name {n}", reverse=bool(n % 2)) for n in range(20)))
    assert {answer.status_code for answer in answers} == {200}
    assert len(set(await alice.titles())) == 1


async def test_an_operation_with_nothing_to_change_changes_nothing(alice: Caller) -> None:
    task = await alice.create("same")
    before = await whole_state(alice)
    results = (await run(alice, [{"op": "update", "id": task["id"], "data": {"title": "same"}}])).json()["results"]
    assert results[0]["task"] == task
    assert await whole_state(alice) == before
