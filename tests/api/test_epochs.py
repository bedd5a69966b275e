"""Tags and tokens belong to one user and one life of the database (contract, section 7)."""

import re
from collections.abc import Callable

from sqlalchemy.ext.asyncio import AsyncSession

from taskservice.database.server import DatabaseServer
from taskservice.database.session import new_engine
from taskservice.tasks.epochs import new_epochs
from tests.support.problems import assert_problem
from tests.support.services import Caller, Services, number_of


async def test_no_tag_fits_another_users_list_at_the_same_address(alice: Caller, bob: Caller) -> None:
    before = [(await caller.get()).headers["etag"] for caller in (alice, bob)]
    await alice.create()
    await bob.create()
    after = [(await caller.get()).headers["etag"] for caller in (alice, bob)]
    assert [number_of(tag) for tag in after] == [1, 1]
    assert len({*before, *after}) == 4
    for tag in (before[0], after[0], '"1"'):
        assert (await bob.get("", headers={"If-None-Match": tag})).status_code == 200
    assert (await bob.get("", headers={"If-None-Match": after[1]})).status_code == 304


async def test_a_token_of_somebody_who_never_wrote_stays_valid(alice: Caller) -> None:
    token = (await alice.get("/changes")).json()["next"]
    task = await alice.create()
    page = (await alice.get("/changes", params={"since": token})).json()
    assert [change["task"]["id"] for change in page["changes"]] == [task["id"]]


async def test_a_token_of_another_user_is_410(alice: Caller, bob: Caller) -> None:
    await alice.create()
    await bob.create()
    token = (await alice.get("/changes")).json()["next"]
    assert_problem(await bob.get("/changes", params={"since": token}), 410, "resync-required")


async def test_every_kind_of_write_takes_only_tags_of_this_epoch(alice: Caller) -> None:
    task = await alice.create()
    url, current = f"/{task['id']}", await alice.tag(task["id"])
    stale = re.sub("-.*", '-aaaaaaaa"', current)
    assert number_of(stale) == number_of(current)
    for method, path, body in (
        ("PUT", "", {"title": "t"}), ("PATCH", "", {"title": "t"}), ("PATCH", "/complete", None), ("DELETE", "", None),
        ("DELETE", "?permanent=true", None),
    ):  # fmt: skip
        answer = await alice.request(method, url + path, json=body, headers={"If-Match": stale})
        assert_problem(answer, 412)
        assert answer.headers["etag"] == current
    operation = {"op": "update", "id": task["id"], "data": {"title": "t"}, "if_match": stale}
    assert_problem(await alice.post("/batch", json={"operations": [operation]}), 412)
    assert await alice.read(task["id"]) == task
    operation["if_match"] = current
    assert (await alice.post("/batch", json={"operations": [operation]})).status_code == 200


async def test_a_task_shows_its_tag_wherever_it_is_shown(alice: Caller) -> None:
    task = await alice.create()
    tag = await alice.tag(task["id"])
    [listed] = await alice.tasks()
    [change] = (await alice.get("/changes")).json()["changes"]
    batch = {"operations": [{"op": "update", "id": task["id"], "data": {"title": task["title"]}}]}
    [result] = (await alice.post("/batch", json=batch)).json()["results"]
    assert {shown["etag"] for shown in (task, listed, change["task"], result["task"])} == {tag}
    await alice.delete(f"/{task['id']}")
    [trashed] = (await alice.get("/trash")).json()
    restored = await alice.post(f"/{task['id']}/restore", headers={"If-Match": trashed["etag"]})
    assert restored.status_code == 200


async def test_after_a_restore_nothing_from_before_fits(
    services: Services, database_url: str, someone: Callable[[str], str]
) -> None:
    """The database goes back to a copy; afterwards other things are written, past the numbers of before."""
    service = services.start(database_url=database_url)
    alice = service.user(someone("alice"))
    task = await alice.create("old")
    copy = {table: await service.rows(f"SELECT * FROM {table}") for table in ("users", "tasks")}
    await alice.patch(f"/{task['id']}", json={"title": "lost by the restore"})
    tag, list_tag = await alice.tag(task["id"]), (await alice.get()).headers["etag"]
    token = (await alice.get("/changes")).json()["next"]

    await service.execute("DELETE FROM tasks; DELETE FROM users")
    async with service.connection() as connection:
        for table, rows in copy.items():
            columns = [name for name in rows[0].keys() if name != "completed"]  # noqa: SIM118 (a record, no dict)
            records = [[row[name] for name in columns] for row in rows]
            await connection.copy_records_to_table(table, records=records, columns=columns)
    await alice.patch(f"/{task['id']}", json={"title": "written after the restore"})
    assert await alice.tag(task["id"]) == tag, "without a new epoch the old tag fits again"

    engine = new_engine(DatabaseServer(service.settings).connect)
    async with AsyncSession(engine) as session:
        assert await new_epochs(session) == 1
    await engine.dispose()
    assert number_of(await alice.tag(task["id"])) == number_of(tag), "the counter goes on"
    assert_problem(await alice.patch(f"/{task['id']}", json={"title": "t"}, headers={"If-Match": tag}), 412)
    assert (await alice.get("", headers={"If-None-Match": list_tag})).status_code == 200
    assert (await alice.get(f"/{task['id']}", headers={"If-None-Match": tag})).status_code == 200
    assert_problem(await alice.get("/changes", params={"since": token}), 410, "resync-required")
    assert (await alice.read(task["id"]))["title"] == "written after the restore"
    await service.close()
