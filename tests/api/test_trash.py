"""The trash: what was deleted can be seen, restored, and removed for good (contract, sections 4 and 5)."""

from datetime import datetime, timedelta

import pytest

from tests.support.pages import all_pages
from tests.support.problems import assert_problem, fields_of
from tests.support.routes import NOBODYS
from tests.support.services import Caller, Service, Services


async def test_a_deleted_task_lies_in_the_trash_with_two_dates(alice: Caller) -> None:
    task = await alice.create("t", description="d", due_date="2026-12-01", completed=True)
    await alice.delete(f"/{task['id']}")
    [trashed] = (await alice.get("/trash")).json()
    assert trashed["etag"] != task["etag"]
    assert {name: trashed[name] for name in task if name not in {"updated_at", "etag"}} == {
        name: task[name] for name in task if name not in {"updated_at", "etag"}
    }
    deleted, purged = datetime.fromisoformat(trashed["deleted_at"]), datetime.fromisoformat(trashed["purge_at"])
    assert purged - deleted == timedelta(days=30)
    assert trashed["deleted_at"].endswith("Z")
    assert trashed["deleted_at"] >= task["updated_at"]


async def test_the_trash_is_newest_first(alice: Caller) -> None:
    tasks = [await alice.create(f"task {n}") for n in range(5)]
    for place in (2, 0, 4, 1, 3):
        await alice.delete(f"/{tasks[place]['id']}")
    assert [task["title"] for task in (await alice.get("/trash")).json()] == [f"task {n}" for n in (3, 1, 4, 0, 2)]


async def test_the_trash_has_pages(alice: Caller) -> None:
    operations = [{"op": "create", "data": {"title": f"task {n}"}} for n in range(11)]
    created = (await alice.post("/batch", json={"operations": operations})).json()["results"]
    deletions = [{"op": "delete", "id": result["task"]["id"]} for result in created]
    assert (await alice.post("/batch", json={"operations": deletions})).status_code == 200
    whole = (await alice.get("/trash")).json()
    assert len(whole) == 11
    assert await all_pages(alice, "/trash", limit=3) == whole


async def test_the_trash_takes_limit_and_cursor_only(alice: Caller) -> None:
    assert fields_of(assert_problem(await alice.get("/trash?sort=title&limit=0"), 422)) == {"sort", "limit"}


async def test_a_restored_task_is_as_it_was(alice: Caller) -> None:
    task = await alice.create("t", description="d", due_date="2026-12-01", completed=True)
    await alice.delete(f"/{task['id']}")
    answer = await alice.post(f"/{task['id']}/restore")
    assert answer.status_code == 200
    restored = answer.json()
    assert restored == task | {"updated_at": restored["updated_at"], "etag": answer.headers["etag"]}
    assert restored["updated_at"] > task["updated_at"]
    assert answer.headers["etag"] == await alice.tag(task["id"])
    assert await alice.tasks() == [restored]
    assert (await alice.get("/trash")).json() == []


async def test_only_what_lies_in_the_trash_can_be_restored(alice: Caller) -> None:
    task = await alice.create()
    for task_id in (task["id"], NOBODYS):
        assert_problem(await alice.post(f"/{task_id}/restore"), 404)
    assert await alice.tasks() == [task]


async def test_a_task_can_go_in_and_out_many_times(alice: Caller) -> None:
    task = await alice.create()
    for _ in range(3):
        assert (await alice.delete(f"/{task['id']}")).status_code == 204
        assert (await alice.post(f"/{task['id']}/restore")).status_code == 200
    assert len(await alice.tasks()) == 1


async def test_the_retention_decides_when_it_may_be_purged(services: Services) -> None:
    service = services.shared(retention_days=7)
    carol = service.user("carol")
    task = await carol.create()
    await carol.delete(f"/{task['id']}")
    [trashed] = (await carol.get("/trash")).json()
    span = datetime.fromisoformat(trashed["purge_at"]) - datetime.fromisoformat(trashed["deleted_at"])
    assert span == timedelta(days=7)


class TestHard:
    """Under `delete = "hard"` there is no trash."""

    @pytest.fixture
    def service(self, services: Services) -> Service:
        return services.shared(delete="hard")

    @pytest.fixture
    def carol(self, service: Service, someone: "object", surface: str) -> Caller:
        return service.user(someone("carol"), surface)  # type: ignore[operator, arg-type]

    async def test_a_deleted_task_is_gone(self, carol: Caller) -> None:
        task = await carol.create()
        assert (await carol.delete(f"/{task['id']}")).status_code == 204
        assert await carol.service.rows("SELECT 1 FROM tasks WHERE id = $1", task["id"]) == []
        assert_problem(await carol.post(f"/{task['id']}/restore"), 404)

    async def test_the_trash_is_empty(self, carol: Caller) -> None:
        task = await carol.create()
        await carol.delete(f"/{task['id']}")
        answer = await carol.get("/trash")
        assert (answer.status_code, answer.json()) == (200, [])

    async def test_a_batch_deletes_for_good_too(self, carol: Caller) -> None:
        task = await carol.create()
        body = {"operations": [{"op": "delete", "id": task["id"]}]}
        assert (await carol.post("/batch", json=body)).status_code == 200
        assert await carol.service.rows("SELECT 1 FROM tasks WHERE id = $1", task["id"]) == []


async def test_everything_of_a_user_can_be_erased(alice: Caller, bob: Caller) -> None:
    his = await bob.create()
    for n in range(3):
        await alice.create(f"task {n}")
    trashed = await alice.create("trashed")
    await alice.delete(f"/{trashed['id']}")
    for query in ("", "?confirm=yes", "?confirm=", "?confirm=all&x=1"):
        assert_problem(await alice.delete(query), 422)
    assert len(await alice.tasks()) == 3
    answer = await alice.delete("?confirm=all")
    assert answer.status_code == 200
    assert answer.json() == {"deleted": 3, "deleted_from_trash": 1, "remaining": 0}
    assert await alice.tasks() == (await alice.get("/trash")).json() == []
    assert await alice.service.rows("SELECT 1 FROM tasks WHERE user_id = $1", alice.user) == []
    assert await bob.tasks() == [his]


async def test_what_is_in_the_trash_is_only_removed_by_permanent_deletion(services: Services) -> None:
    """Also where the policy was `soft` when the task was deleted, and is `hard` now."""
    soft = services.shared()
    before = soft.user("carol-who-switches")
    task = await before.create("Old letter")
    await before.delete(f"/{task['id']}")
    hard = services.start(database_url=soft.database_url, delete="hard")
    now = hard.user("carol-who-switches")
    assert_problem(await now.delete(f"/{task['id']}"), 404, "task-not-found")
    batch = {"operations": [{"op": "delete", "id": task["id"]}]}
    assert_problem(await now.post("/batch", json=batch), 404, "task-not-found")
    assert (await now.delete(f"/{task['id']}?permanent=true")).status_code == 204
    assert (await before.get("/trash")).json() == []
    await hard.close()
