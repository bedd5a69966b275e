"""Import: what an export gave can be taken back, all of it or nothing, and only into one's own account."""

import asyncio
import datetime as dt
import json
import uuid
from collections.abc import Callable
from typing import Any

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller, Services, SurfaceName

pytestmark = pytest.mark.slow

JSON = {"Content-Type": "application/json"}
Item = dict[str, Any]


def item(title: str = "Buy milk", **fields: Any) -> Item:
    """One task of a file."""
    return {"id": str(uuid.uuid4()), "title": title, "created_at": "2026-01-02T03:04:05.000006Z"} | fields


async def take_in(caller: Caller, items: Any, **params: str) -> tuple[int, int, int]:
    """How many were created, updated and skipped."""
    answer = await caller.post("/import", json=items, params=params)
    assert answer.status_code == 200, answer.text
    found = answer.json()
    assert found.pop("dry_run") is (params.get("dry_run") == "true")
    return found["created"], found["updated"], found["skipped"]


async def exported(caller: Caller) -> list[Item]:
    items: list[Item] = (await caller.get("/export")).json()
    return items


async def everything(caller: Caller) -> tuple[Any, ...]:
    """All that anybody can see of a user."""
    answers = [await caller.get(path) for path in ("", "/trash", "/changes")]
    return tuple(answer.json() for answer in answers)


async def a_bit_of_everything(caller: Caller) -> list[Item]:
    await caller.create("plain")
    await caller.create(
        "dated", due_date="2026-12-01", priority="high", description="two\nlines, \U0001f600 and 'quotes'"
    )
    await caller.create("timed", due_date="2026-12-01T10:00:00.5+02:00", status="in_progress", priority="low")
    await caller.create("done", status="completed")
    toggled = await caller.create("toggled")
    await caller.patch(f"/{toggled['id']}/complete")
    return await exported(caller)


# ---- there and back


async def test_what_was_erased_comes_back_as_it_was(alice: Caller) -> None:
    tasks = await a_bit_of_everything(alice)
    await alice.delete("?confirm=all")
    assert await take_in(alice, tasks) == (5, 0, 0)
    back = await exported(alice)
    for before, after in zip(tasks, back, strict=True):
        assert after["updated_at"] > before["updated_at"]
        assert after == before | {"updated_at": after["updated_at"], "etag": after["etag"]}


async def test_the_same_file_twice_is_skipped_the_second_time(alice: Caller) -> None:
    tasks = await a_bit_of_everything(alice)
    before = await everything(alice)
    assert await take_in(alice, tasks) == (0, 0, 5)
    assert await take_in(alice, tasks, existing="skip") == (0, 0, 5)
    assert await everything(alice) == before


async def test_an_unchanged_file_updates_nothing_really(alice: Caller) -> None:
    tasks = await a_bit_of_everything(alice)
    before = await everything(alice)
    assert await take_in(alice, tasks, existing="update") == (0, 5, 0)
    assert await everything(alice) == before


async def test_existing_tasks_are_updated_when_that_is_asked_for(alice: Caller) -> None:
    task = await alice.create("old", description="old", due_date="2026-12-01", priority="high")
    new = item("new", id=task["id"], status="completed")
    other = item("another")
    assert await take_in(alice, [new, other], existing="update") == (1, 1, 0)
    found = await alice.read(task["id"])
    assert (found["title"], found["description"], found["due_date"]) == ("new", None, None)
    assert (found["status"], found["priority"], found["created_at"]) == ("completed", "medium", task["created_at"])
    assert found["updated_at"] > task["updated_at"]


async def test_imported_tasks_are_told_by_the_feed(alice: Caller) -> None:
    since = (await alice.get("/changes")).json()["next"]
    items = [item(str(number)) for number in range(5)]
    await take_in(alice, items)
    changes = (await alice.get("/changes", params={"since": since})).json()["changes"]
    assert [change["task"]["id"] for change in changes] == [one["id"] for one in items]


async def test_it_works_for_somebody_who_never_wrote(alice: Caller) -> None:
    one = item(created_at="2020-02-29T23:59:59+14:00", completed_at="2021-01-01T00:00:00Z", completed=True)
    assert await take_in(alice, [one]) == (1, 0, 0)
    [found] = await exported(alice)
    assert (found["id"], found["user_id"], found["status"]) == (one["id"], alice.user, "completed")
    assert (found["created_at"], found["completed_at"]) == (
        "2020-02-29T09:59:59.000000Z",
        "2021-01-01T00:00:00.000000Z",
    )


async def test_an_empty_file_is_no_mistake(alice: Caller) -> None:
    assert await take_in(alice, []) == (0, 0, 0)


async def test_whose_task_it_was_does_not_matter_once_it_is_gone(alice: Caller, bob: Caller) -> None:
    await bob.create("bob's")
    tasks = await exported(bob)
    await bob.delete("?confirm=all")
    assert await take_in(alice, tasks) == (1, 0, 0)
    assert [task["user_id"] for task in await alice.tasks()] == [alice.user]
    assert await bob.tasks() == []


# ---- the trash


async def test_a_task_in_the_trash_stays_there_or_comes_back_as_asked(alice: Caller) -> None:
    task = await alice.create("deleted")
    file = await exported(alice)
    await alice.delete(f"/{task['id']}")
    assert await take_in(alice, file) == (0, 0, 1)
    assert await alice.tasks() == []
    assert await take_in(alice, file, existing="update") == (0, 1, 0)
    assert await alice.titles() == ["deleted"]
    assert (await alice.get("/trash")).json() == []


# ---- a dry run


@pytest.mark.parametrize("existing", ["skip", "update"])
async def test_a_dry_run_says_what_would_be_and_does_nothing(alice: Caller, existing: str) -> None:
    live, deleted = await alice.create("live"), await alice.create("deleted")
    await alice.delete(f"/{deleted['id']}")
    items = [item("new"), item("x", id=live["id"]), item("y", id=deleted["id"])]
    before = await everything(alice)
    said = await take_in(alice, items, existing=existing, dry_run="true")
    assert await everything(alice) == before
    assert await take_in(alice, items, existing=existing, dry_run="false") == said


async def test_a_dry_run_of_a_stranger_leaves_no_trace(alice: Caller) -> None:
    assert await take_in(alice, [item()], dry_run="true") == (1, 0, 0)
    assert await alice.service.rows("SELECT 1 FROM users WHERE id = $1", alice.user) == []


# ---- all or nothing


async def test_one_bad_item_spoils_the_whole_file(alice: Caller) -> None:
    items = [item("good"), item(""), item("good"), {"title": "x"}, item(priority="urgent", colour="red"), "x"]
    document = assert_problem(await alice.post("/import", json=items), 422)
    found = {(error["index"], error["field"]) for error in document["errors"]}
    assert found == {
        (1, "1.title"), (3, "3.id"), (3, "3.created_at"), (4, "4.priority"), (4, "4.colour"), (5, "5"),
    }  # fmt: skip
    assert await alice.tasks() == []


@pytest.mark.parametrize(
    ("field", "value"),
    [
        ("id", "x"), ("id", None), ("id", 7), ("id", "0197"), ("title", None), ("title", " \t"), ("title", "x" * 201),
        ("title", "a\x00b"), ("description", "x" * 1001), ("status", "done"), ("completed", "yes"),
        ("due_date", "soon"),
        ("created_at", None), ("created_at", "2026-01-01"), ("created_at", "2999-01-01T00:00:00Z"),
        ("created_at", "9999-12-31T23:59:59.999999Z"), ("created_at", "0001-01-01T00:00:00+14:00"),
        ("created_at", 1767225600), ("completed_at", "2026-01-01"), ("completed_at", "2999-01-01T00:00:00Z"),
        ("deleted_at", None), ("revision", 1),
    ],
)  # fmt: skip
async def test_each_field_is_checked(alice: Caller, field: str, value: Any) -> None:
    answer = await alice.post("/import", json=[item(), item(**{field: value})])
    assert fields_of(assert_problem(answer, 422)) == {f"1.{field}"}
    assert await alice.tasks() == []


async def test_contradicting_states_are_refused(alice: Caller) -> None:
    document = assert_problem(await alice.post("/import", json=[item(status="pending", completed=True)]), 422)
    assert document["errors"][0]["rule"] == "contradiction"


async def test_an_id_that_stands_twice_is_refused(alice: Caller) -> None:
    one = item()
    document = assert_problem(await alice.post("/import", json=[one, item(), one | {"id": one["id"].upper()}]), 422)
    assert [(error["field"], error["rule"]) for error in document["errors"]] == [("2.id", "repeated")]
    assert await alice.tasks() == []


@pytest.mark.parametrize("document", [{}, {"tasks": []}, "x", None, 7, True])
async def test_what_is_no_list_is_refused(alice: Caller, document: Any) -> None:
    answer = await alice.post("/import", content=json.dumps(document), headers=JSON)
    assert_problem(answer, 422)


@pytest.mark.parametrize(
    "query", ["existing=replace", "dry_run=1", "dry_run=", "limit=1", "existing=skip&existing=skip"]
)
async def test_bad_parameters_are_422_and_nothing_happens(alice: Caller, query: str) -> None:
    document = assert_problem(await alice.post(f"/import?{query}", json=[item()]), 422)
    assert fields_of(document) == {query.partition("=")[0]}
    assert await alice.tasks() == []


async def test_bad_parameters_and_bad_items_are_said_together(alice: Caller) -> None:
    document = assert_problem(await alice.post("/import?existing=x&dry_run=x", json=[item("")]), 422)
    assert fields_of(document) == {"existing", "dry_run", "0.title"}


async def test_a_moment_in_the_past_is_no_matter_how_old(alice: Caller) -> None:
    soon = (dt.datetime.now(dt.UTC) + dt.timedelta(hours=1)).isoformat()
    items = [item("old", created_at="0001-01-01T00:00:00Z"), item("a clock ahead", created_at=soon)]
    assert await take_in(alice, items) == (2, 0, 0)
    for one in items:
        assert (await alice.patch(f"/{one['id']}", json={"title": "changed"})).status_code == 200
    assert await alice.titles() == ["changed", "changed"]


# ---- the tasks of others


@pytest.mark.parametrize("existing", ["skip", "update"])
@pytest.mark.parametrize("dry_run", ["true", "false"])
@pytest.mark.parametrize("deleted", [True, False])
async def test_another_users_id_is_free_and_touches_nothing_of_theirs(
    alice: Caller, bob: Caller, existing: str, dry_run: str, deleted: bool
) -> None:
    his = await bob.create("bob's")
    if deleted:
        await bob.delete(f"/{his['id']}")
    before = await everything(bob)
    params = {"existing": existing, "dry_run": dry_run}
    answer = await alice.post("/import", json=[item(), item("hers", id=his["id"])], params=params)
    assert (answer.status_code, answer.json()["created"]) == (200, 2)
    assert await everything(bob) == before
    assert len(await alice.tasks()) == (0 if dry_run == "true" else 2)


@pytest.mark.parametrize("foreign_task", ["403", "404"])
async def test_what_an_import_says_of_another_users_id_is_what_it_says_of_a_free_one(
    services: Services, surface: SurfaceName, someone: Callable[[str], str], foreign_task: str
) -> None:
    service = services.shared(foreign_task=foreign_task)
    alice, bob = (service.user(someone(name), surface) for name in ("alice", "bob"))
    live, trashed = await bob.create("live"), await bob.create("trashed")
    await bob.delete(f"/{trashed['id']}")
    ids = {"live": live["id"], "trashed": trashed["id"], "free": str(uuid.uuid4())}
    for existing in ("skip", "update"):
        said = []
        for name in ids.values():
            answer = await alice.post("/import", json=[item(id=name)], params={"existing": existing, "dry_run": "true"})
            said.append((answer.status_code, answer.content))
        assert said[0] == said[1] == said[2]
    for task_id in ids.values():
        assert (await alice.put(f"/{task_id}", json={"title": "mine"}, headers={"If-None-Match": "*"})).is_success
        assert (await alice.get(f"/{task_id}")).json()["title"] == "mine"
    assert await bob.titles() == ["live"]


async def test_two_users_who_bring_the_same_id_each_have_a_task_of_their_own(alice: Caller, bob: Caller) -> None:
    one = item("same")
    answers = await asyncio.gather(alice.post("/import", json=[one]), bob.post("/import", json=[one]))
    assert [answer.status_code for answer in answers] == [200, 200]
    task = f"/{one['id']}"
    assert (await alice.patch(task, json={"title": "hers"})).status_code == 200
    assert await bob.titles() == ["same"]
    assert (await alice.delete(task)).status_code == 204
    assert await bob.titles() == ["same"]
    assert (await alice.delete(f"{task}?permanent=true")).status_code == 204
    assert (await bob.get(task)).json()["user_id"] == bob.user
    assert [change["type"] for change in (await bob.get("/changes")).json()["changes"]] == ["upsert"]


# ---- many, and at once


@pytest.mark.parametrize("wrote_before", [True, False])
async def test_the_same_file_at_once_is_taken_in_once(alice: Caller, services: Services, wrote_before: bool) -> None:
    # Within one process a user's imports take turns. Those of two meet in the database.
    other = services.start(database_url=alice.service.database_url)
    elsewhere = other.user(alice.user)
    if wrote_before:
        await alice.create("before")
    items = [item(str(number)) for number in range(50)]
    try:
        done = await asyncio.gather(*(take_in(caller, items) for caller in (alice, elsewhere) for _ in range(3)))
    finally:
        other.stop()
    assert sorted(done) == [(0, 0, 50)] * 5 + [(50, 0, 0)]
    assert len(await alice.tasks()) == 50 + wrote_before


async def test_a_task_deleted_meanwhile_is_missed_by_nobody(alice: Caller) -> None:
    """Whatever came first: afterwards the task is there or in the file's count of created ones."""
    for _ in range(10):
        task = await alice.create("t")
        file = [item("imported", id=task["id"])]
        (created, updated, _), _ = await asyncio.gather(
            take_in(alice, file, existing="update"), alice.delete(f"/{task['id']}?permanent=true")
        )
        assert created + updated == 1
        assert await alice.titles() == (["imported"] if created else [])
        await alice.delete("?confirm=all")


async def test_ten_thousand_tasks_are_one_import_and_one_more_is_too_many(services: Services, someone: Any) -> None:
    alice = services.shared(database_deadline="60").user(someone("alice"))
    items = [item(f"task {number}", description="x" * 100) for number in range(10_000)]
    document = assert_problem(await alice.post("/import", json=[*items, item()]), 422)
    assert document["errors"][0]["limit"] == 10_000
    assert await take_in(alice, items) == (10_000, 0, 0)
    back = await exported(alice)
    assert {task["id"]: task["title"] for task in back} == {one["id"]: one["title"] for one in items}
    assert len(back) == 10_000
    changed = [task | {"title": "changed"} for task in back]
    assert await take_in(alice, changed, existing="update") == (0, 10_000, 0)
    assert (await alice.delete("?confirm=all")).json() == {"deleted": 10_000, "deleted_from_trash": 0, "remaining": 0}


async def test_of_many_mistakes_only_so_many_are_listed(alice: Caller) -> None:
    document = assert_problem(await alice.post("/import", json=[item("") for _ in range(2000)]), 422)
    assert len(document["errors"]) == 500
    assert document["detail"] == "2000 fields are invalid; the first 500 are listed"


async def test_a_body_has_16_mebibytes_at_most(alice: Caller) -> None:
    limit = 16 * 1024 * 1024
    content = json.dumps([item()]).encode()
    padded = content + b" " * (limit - len(content))
    assert (await alice.post("/import", content=padded, headers=JSON)).status_code == 200
    assert_problem(await alice.post("/import", content=padded + b" ", headers=JSON), 413)
    assert len(await alice.tasks()) == 1


# ---- safe retries


async def test_an_import_is_carried_out_once_for_a_key(alice: Caller) -> None:
    items, key = [item("one"), item("two")], {"Idempotency-Key": "import"}
    first = await alice.post("/import", json=items, headers=key)
    again = await alice.post("/import", json=items, headers=key)
    assert first.json() == again.json() == {"created": 2, "updated": 0, "skipped": 0, "dry_run": False}
    assert "idempotency-replayed" not in first.headers
    assert again.headers["idempotency-replayed"] == "true"


async def test_a_dry_run_is_not_the_same_request_as_a_real_one(alice: Caller) -> None:
    items, key = [item()], {"Idempotency-Key": "import"}
    assert (await alice.post("/import?dry_run=true", json=items, headers=key)).status_code == 200
    assert_problem(await alice.post("/import", json=items, headers=key), 422, "idempotency-key-reused")
    assert await alice.tasks() == []
