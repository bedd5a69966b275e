"""`PUT /{id}` with `If-None-Match: *`: a client creates a task under an id that it has made itself."""

import asyncio
from typing import Any
from uuid import uuid4

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller, Services, SurfaceName

NEW = {"If-None-Match": "*"}


async def test_it_creates_the_task_under_that_id(alice: Caller) -> None:
    wanted = str(uuid4())
    body = {"title": " Buy milk ", "status": "in_progress", "priority": "high", "due_date": "2026-12-01"}
    answer = await alice.put(f"/{wanted}", json=body, headers=NEW)
    assert answer.status_code == 201
    task = answer.json()
    assert (task["id"], task["user_id"], task["title"]) == (wanted, alice.user, "Buy milk")
    assert {name: task[name] for name in ("status", "priority", "due_date")} == {
        name: body[name] for name in ("status", "priority", "due_date")
    }
    assert answer.headers["location"] == f"{alice.root}/{wanted}"
    assert answer.headers["etag"] == task["etag"] == await alice.tag(wanted)
    assert await alice.tasks() == [task]
    assert [change["task"]["id"] for change in (await alice.get("/changes")).json()["changes"]] == [wanted]


async def test_what_is_left_out_has_the_value_that_a_post_gives_it(alice: Caller) -> None:
    made = (await alice.put(f"/{uuid4()}", json={"title": "t"}, headers=NEW)).json()
    posted = await alice.create("t")
    for name in ("description", "status", "completed", "priority", "due_date", "completed_at"):
        assert made[name] == posted[name]


async def test_an_id_in_capitals_is_the_same_id(alice: Caller) -> None:
    wanted = str(uuid4())
    answer = await alice.put(f"/{wanted.upper()}/", json={"title": "t"}, headers=NEW)
    assert (answer.status_code, answer.json()["id"]) == (201, wanted)
    assert answer.headers["location"] == f"{alice.root}/{wanted}"


async def test_a_task_that_is_there_stays_as_it_is(alice: Caller) -> None:
    task = await alice.create("mine")
    before = (await alice.get()).headers["etag"]
    answer = await alice.put(f"/{task['id']}", json={"title": "another"}, headers=NEW)
    problem = assert_problem(answer, 412, "precondition-failed")
    assert problem["detail"] == "A task with this id exists"
    assert answer.headers["etag"] == task["etag"]
    assert await alice.read(task["id"]) == task
    assert (await alice.get()).headers["etag"] == before


async def test_a_task_in_the_trash_is_there_too(alice: Caller) -> None:
    task = await alice.create()
    await alice.delete(f"/{task['id']}")
    answer = await alice.put(f"/{task['id']}", json={"title": "another"}, headers=NEW)
    assert assert_problem(answer, 412)["detail"] == "A task with this id is in the trash"
    assert "etag" not in answer.headers
    assert (await alice.post(f"/{task['id']}/restore")).json()["title"] == task["title"]


async def test_what_is_gone_for_good_may_be_created_again(alice: Caller) -> None:
    task = await alice.create()
    since = (await alice.get("/changes")).json()["next"]
    await alice.delete(f"/{task['id']}?permanent=true")
    assert (await alice.put(f"/{task['id']}", json={"title": "again"}, headers=NEW)).status_code == 201
    changes = (await alice.get("/changes", params={"since": since})).json()["changes"]
    assert [change["type"] for change in changes] == ["delete", "upsert"]


async def test_repeating_it_creates_one_task(alice: Caller) -> None:
    wanted, once = str(uuid4()), {"Idempotency-Key": str(uuid4())}
    first = await alice.put(f"/{wanted}", json={"title": "t"}, headers=NEW | once)
    again = await alice.put(f"/{wanted}", json={"title": "t"}, headers=NEW | once)
    assert (again.status_code, again.content) == (201, first.content)
    assert again.headers["location"] == first.headers["location"]
    assert again.headers["idempotency-replayed"] == "true"
    assert_problem(await alice.put(f"/{wanted}", json={"title": "t"}, headers=NEW), 412)
    assert len(await alice.tasks()) == 1


async def test_a_key_that_created_does_not_stand_for_a_replacement(alice: Caller) -> None:
    wanted, once = str(uuid4()), {"Idempotency-Key": str(uuid4())}
    await alice.put(f"/{wanted}", json={"title": "t"}, headers=NEW | once)
    assert_problem(await alice.put(f"/{wanted}", json={"title": "t"}, headers=once), 422, "idempotency-key-reused")


@pytest.mark.parametrize("with_key", [True, False])
async def test_of_many_at_once_one_creates(alice: Caller, with_key: bool) -> None:
    wanted = str(uuid4())
    headers = NEW | ({"Idempotency-Key": "k"} if with_key else {})
    answers = await asyncio.gather(*(alice.put(f"/{wanted}", json={"title": "t"}, headers=headers) for _ in range(12)))
    assert sorted(answer.status_code for answer in answers) == ([201] * 12 if with_key else [201] + [412] * 11)
    assert len(await alice.tasks()) == 1
    assert (await alice.get()).headers["etag"] == f'"1-{await alice.epoch()}"'


async def test_two_users_may_hold_the_same_id(alice: Caller, bob: Caller) -> None:
    his = await bob.create("his")
    answer = await alice.put(f"/{his['id']}", json={"title": "hers"}, headers=NEW)
    assert answer.status_code == 201
    assert (await alice.read(his["id"]))["title"] == "hers"
    assert await bob.read(his["id"]) == his


async def test_without_the_header_nothing_is_created(alice: Caller) -> None:
    assert_problem(await alice.put(f"/{uuid4()}", json={"title": "t"}), 404)
    assert await alice.tasks() == []


@pytest.mark.parametrize(
    ("body", "fields"),
    [
        ({}, {"title"}),
        ({"title": " "}, {"title"}),
        ({"title": None}, {"title"}),
        ({"title": "t", "priority": "urgent", "foo": 1}, {"priority", "foo"}),
        ({"title": "t", "status": None}, {"status"}),
        ({"title": "t", "status": "pending", "completed": True}, {"completed"}),
    ],
    ids=lambda value: ",".join(sorted(value)) if isinstance(value, set) else repr(value),
)
async def test_the_body_is_that_of_a_post(alice: Caller, body: Any, fields: set[str]) -> None:
    answer = await alice.put(f"/{uuid4()}", json=body, headers=NEW)
    assert fields_of(assert_problem(answer, 422, "validation-failed")) == fields
    assert await alice.tasks() == []


async def test_a_task_may_be_sent_as_it_was_read(alice: Caller) -> None:
    task = await alice.create(completed=True)
    await alice.delete(f"/{task['id']}?permanent=true")
    made = (await alice.put(f"/{task['id']}", json=task, headers=NEW)).json()
    assert (made["id"], made["completed"]) == (task["id"], True)
    assert made["etag"] != task["etag"]


async def test_the_policy_makes_its_title_too(services: Services, surface: SurfaceName, someone: Any) -> None:
    alice = services.shared(title="generated").user(someone("alice"), surface)
    answer = await alice.put(f"/{uuid4()}", json={"description": "Two bottles\nof milk"}, headers=NEW)
    assert (answer.status_code, answer.json()["title"]) == (201, "Two bottles")


async def test_what_is_no_id_is_refused_as_elsewhere(alice: Caller) -> None:
    answer = await alice.put("/no-id", json={"title": "t"}, headers=NEW)
    assert_problem(answer, 422 if alice.surface == "token" else 404)


@pytest.mark.parametrize("value", ['"7-k3f9q2x1"', "garbage", "", '*, "7-k3f9q2x1"', "*, *"])
async def test_any_other_if_none_match_is_refused(alice: Caller, value: str) -> None:
    task = await alice.create()
    answer = await alice.put(f"/{task['id']}", json={"title": ""}, headers={"If-None-Match": value})
    assert fields_of(assert_problem(answer, 422)) == {"If-None-Match", "title"}


async def test_it_does_not_go_with_if_match(alice: Caller) -> None:
    answer = await alice.put(f"/{uuid4()}", json={"title": "t"}, headers=NEW | {"If-Match": "*"})
    assert fields_of(assert_problem(answer, 422)) == {"If-None-Match"}
    assert await alice.tasks() == []
