"""`DELETE ?completed=true`: what is completed goes into the trash, however much it is (contract, section 5)."""

import asyncio
from collections.abc import Callable

import pytest

from taskservice.tasks import clearing
from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller, Service, Services, SurfaceName

MANY = """
INSERT INTO tasks (id, user_id, title, status, completed_at, revision)
SELECT gen_random_uuid(), $1, 'done ' || n, 'completed', now(), n FROM generate_series(2, 26) n;
"""


async def test_what_is_completed_goes_into_the_trash(alice: Caller, bob: Caller) -> None:
    for number in range(5):
        await alice.create(str(number), completed=number < 3)
    his = await bob.create("his", completed=True)
    since = (await alice.get("/changes")).json()["next"]
    answer = await alice.delete("?completed=true")
    assert (answer.status_code, answer.json()) == (200, {"deleted": 3})
    assert await alice.titles() == ["3", "4"]
    trash = (await alice.get("/trash")).json()
    assert {task["title"] for task in trash} == {"0", "1", "2"}
    changes = (await alice.get("/changes", params={"since": since})).json()["changes"]
    assert [change["type"] for change in changes] == ["delete"] * 3
    assert [change["id"] for change in changes] == [
        task["id"] for task in sorted(trash, key=lambda task: task["completed_at"])
    ]
    assert (await alice.get()).headers["etag"] == f'"8-{await alice.epoch()}"'
    assert await bob.tasks() == [his]


async def test_it_is_undone_through_the_trash(alice: Caller) -> None:
    task = await alice.create(completed=True)
    await alice.delete("?completed=true")
    [trashed] = (await alice.get("/trash")).json()
    restored = (await alice.post(f"/{task['id']}/restore", headers={"If-Match": trashed["etag"]})).json()
    assert {name: restored[name] for name in ("title", "completed", "completed_at")} == {
        name: task[name] for name in ("title", "completed", "completed_at")
    }


async def test_where_nothing_is_completed_nothing_changes(alice: Caller) -> None:
    assert (await alice.delete("?completed=true")).json() == {"deleted": 0}
    await alice.create()
    tag = (await alice.get()).headers["etag"]
    assert (await alice.delete("?completed=true")).json() == {"deleted": 0}
    assert (await alice.get()).headers["etag"] == tag


async def test_under_hard_deletion_it_is_gone_for_good(
    services: Services, surface: SurfaceName, someone: Callable[[str], str]
) -> None:
    alice = services.shared(delete="hard").user(someone("alice"), surface)
    await alice.create("open")
    task = await alice.create(completed=True)
    since = (await alice.get("/changes")).json()["next"]
    assert (await alice.delete("?completed=true")).json() == {"deleted": 1}
    assert await alice.service.rows("SELECT FROM tasks WHERE user_id = $1 AND id = $2", alice.user, task["id"]) == []
    [change] = (await alice.get("/changes", params={"since": since})).json()["changes"]
    assert (change["type"], change["id"]) == ("delete", task["id"])


@pytest.mark.parametrize(
    ("query", "fields"),
    [
        ("", {"confirm"}),
        ("?completed=false", {"completed"}),
        ("?completed=", {"completed"}),
        ("?completed=true&completed=true", {"completed"}),
        ("?completed=true&confirm=all", {"completed"}),
        ("?completed=true&priority=low", {"priority"}),
    ],
)
async def test_one_of_two_parameters_says_what_goes(alice: Caller, query: str, fields: set[str]) -> None:
    task = await alice.create(completed=True)
    assert fields_of(assert_problem(await alice.delete(query), 422)) == fields
    assert await alice.tasks() == [task]


@pytest.mark.parametrize("query", ["?completed=true", "?confirm=all"])
async def test_it_may_be_repeated_under_a_key(alice: Caller, query: str) -> None:
    once = {"Idempotency-Key": "k"}
    await alice.create(completed=True)
    first = await alice.delete(query, headers=once)
    kept = await alice.create(completed=True)
    again = await alice.delete(query, headers=once)
    assert (again.json(), again.headers["idempotency-replayed"]) == (first.json(), "true")
    assert first.json()["deleted"] == 1
    assert await alice.tasks() == [kept]


@pytest.mark.parametrize("query", ["?completed=true", "?confirm=all"])
@pytest.mark.parametrize("key", [None, "k"])
async def test_it_takes_as_many_steps_as_it_needs(
    alice: Caller, monkeypatch: pytest.MonkeyPatch, query: str, key: str | None
) -> None:
    await alice.create("first", completed=True)
    await _with_many(alice.service, alice.user)
    monkeypatch.setattr(clearing, "STEP", 10)
    answer = await alice.delete(query, headers={"Idempotency-Key": key} if key else {})
    assert answer.json()["deleted"] == 26
    assert not answer.json().get("remaining")
    assert await alice.tasks() == []
    changes = (await alice.get("/changes", params={"since": f"26.{await alice.epoch()}"})).json()["changes"]
    assert len(changes) == 26


async def test_what_is_written_between_two_steps_of_an_erasure_is_erased_or_stays_whole(
    alice: Caller, monkeypatch: pytest.MonkeyPatch
) -> None:
    """Nobody loses sight of anything: the list, the trash and the feed agree afterwards, and so do the counts."""
    await alice.create("first", completed=True)
    await _with_many(alice.service, alice.user)
    await alice.delete(f"/{(await alice.tasks())[0]['id']}")
    since = (await alice.get("/changes")).json()["next"]
    monkeypatch.setattr(clearing, "STEP", 5)
    done, *written = await asyncio.gather(
        alice.delete("?confirm=all"),
        *(alice.post("", json={"title": str(number)}, headers={"Idempotency-Key": str(number)}) for number in range(8)),
    )
    found = done.json()
    left = await alice.tasks()
    assert {answer.status_code for answer in written} == {201}
    assert (found["deleted"] + len(left), found["deleted_from_trash"], found["remaining"]) == (25 + 8, 1, 0)
    assert (await alice.get("/trash")).json() == []
    changes = (await alice.get("/changes", params={"since": since})).json()["changes"]
    told = {change["id"]: None for change in changes if change["type"] == "delete"}
    told |= {change["task"]["id"]: change["task"] for change in changes if change["type"] == "upsert"}
    assert {task_id: task for task_id, task in told.items() if task} == {task["id"]: task for task in left}
    assert len(told) == 26 + 8
    # Whose task is gone may not learn of it from a kept answer.
    kept = {answer.json()["id"] for answer in written if answer.json() in left}
    for number, answer in enumerate(written):
        again = await alice.post("", json={"title": str(number)}, headers={"Idempotency-Key": str(number)})
        assert (again.json()["id"] == answer.json()["id"]) is (answer.json()["id"] in kept)


async def test_when_the_time_is_up_it_says_how_many_are_left_and_goes_on(
    services: Services, surface: SurfaceName, someone: Callable[[str], str], monkeypatch: pytest.MonkeyPatch
) -> None:
    alice = services.shared().user(someone("alice"), surface)
    await alice.create("first", completed=True)
    await _with_many(alice.service, alice.user)
    monkeypatch.setattr(clearing, "STEP", 10)
    monkeypatch.setattr(clearing, "perf_counter", iter(range(0, 10**6, 1000)).__next__)
    answers = [(await alice.delete("?completed=true")).json() for _ in range(3)]
    assert answers == [{"deleted": 10, "remaining": 16}, {"deleted": 10, "remaining": 6}, {"deleted": 6}]


async def _with_many(service: Service, user: str) -> None:
    await service.execute(MANY.replace("$1", f"'{user}'"))
    await service.execute("UPDATE users SET revision = 26 WHERE id = $1", user)
