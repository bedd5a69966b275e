"""Nobody reaches anybody else's tasks: a second user tries every route and method, bulk paths included."""

from typing import Any

import pytest

from tests.support.problems import assert_problem
from tests.support.routes import operations_of
from tests.support.services import Caller, Service, Services, SurfaceName

BODIES: tuple[Any, ...] = (None, {}, {"title": "mallory was here"}, {"completed": True}, [])

PARAMETERS: dict[str, tuple[dict[str, str], ...]] = {"DELETE": ({}, {"permanent": "true"}, {"confirm": "all"})}


def batches(task: dict[str, Any]) -> list[dict[str, Any]]:
    target = task["id"]
    operations = [
        {"op": "update", "id": target, "data": {"title": "mallory was here"}},
        {"op": "update", "id": target, "data": {"title": "mallory was here"}, "if_match": '"1"'},
        {"op": "complete", "id": target},
        {"op": "delete", "id": target},
        {"op": "delete", "id": target, "permanent": True},
        {"op": "restore", "id": target},
    ]
    return [{"operations": [operation]} for operation in operations] + [{"operations": operations}]


async def everything(bob: Caller) -> list[Any]:
    """All that this user can see of their own."""
    return [(await bob.get(path)).json() for path in ("", "/trash", "/changes")]


@pytest.mark.slow
@pytest.mark.parametrize("delete", ["soft", "hard"])
async def test_a_second_user_can_neither_see_nor_change_anything(
    services: Services, surface: SurfaceName, someone: Any, delete: str
) -> None:
    service = services.shared() if delete == "soft" else services.shared(delete="hard")
    bob, mallory = service.user(someone("bob"), surface), service.user(someone("mallory"), surface)
    live = await bob.create("bob's secret", description="bob's secret")
    trashed = await bob.create("bob's other secret")
    await bob.delete(f"/{trashed['id']}")
    before = await everything(bob)
    attempts = 0
    for operation in operations_of(mallory):
        for task in (live, trashed):
            for user in {mallory.user, bob.user} if surface == "path" else {mallory.user}:
                for body in (*BODIES, *(batches(task) if operation.template.endswith("/batch") else ())):
                    for params in PARAMETERS.get(operation.method, ({},)):
                        answer = await mallory.request(
                            operation.method, operation.path(user, task["id"]), json=body, params=params
                        )
                        attempts += 1
                        assert answer.status_code < 500, operation
                        assert "bob's" not in answer.text, operation
                        if operation.of_one_task:
                            assert not answer.is_success, operation
    assert attempts > 100
    assert await everything(bob) == before


async def test_a_foreign_task_cannot_be_told_from_none_where_it_is_hidden(services: Services, someone: Any) -> None:
    service = services.shared(foreign_task="404")
    bob, mallory = service.user(someone("bob")), service.user(someone("mallory"))
    task = await bob.create()
    for method, path, body in (
        ("GET", "", None), ("PUT", "", {"title": "t"}), ("PATCH", "", {"title": "t"}), ("PATCH", "/complete", None),
        ("DELETE", "", None), ("POST", "/restore", None),
    ):  # fmt: skip
        foreign = (await mallory.request(method, f"/{task['id']}{path}", json=body)).json()
        missing_id = task["id"][:-1] + ("0" if task["id"][-1] != "0" else "1")
        missing = (await mallory.request(method, f"/{missing_id}{path}", json=body)).json()
        for document in (foreign, missing):
            del document["request_id"], document["instance"]
        assert foreign == missing


async def test_a_foreign_task_in_the_trash_is_not_there_for_others(
    alice: Caller, bob: Caller, surface: SurfaceName
) -> None:
    task = await bob.create()
    await bob.delete(f"/{task['id']}")
    for method, path, body in (("GET", "", None), ("PUT", "", {"title": "t"}), ("POST", "/restore", None)):
        answer = await alice.request(method, f"/{task['id']}{path}", json=body)
        assert_problem(answer, 404)


async def test_filters_searches_and_cursors_of_others_show_nothing(alice: Caller, bob: Caller) -> None:
    for n in range(3):
        await bob.create(f"secret {n}")
    page = await bob.get("", params={"limit": "1"})
    cursor = page.links["next"]["url"].partition("cursor=")[2].partition("&")[0]
    answer = await alice.get(f"?cursor={cursor}&limit=1")
    assert answer.status_code in {200, 422}
    assert "secret" not in answer.text
    for params in ({"q": "secret"}, {"status": "all"}, {"sort": "title"}, {"created_after": "2000-01-01T00:00:00Z"}):
        assert await alice.tasks(**params) == []


async def test_an_etag_of_another_users_list_gives_nothing_away(alice: Caller, bob: Caller) -> None:
    await bob.create()
    tag = (await bob.get()).headers["etag"]
    own = await alice.get("", headers={"If-None-Match": tag})
    assert own.status_code == 200
    assert own.json() == []


async def test_idempotency_keys_of_two_users_do_not_meet(alice: Caller, bob: Caller) -> None:
    key = {"Idempotency-Key": "the same"}
    hers, his = (
        await alice.post(json={"title": "hers"}, headers=key),
        await bob.post(json={"title": "his"}, headers=key),
    )
    assert (hers.json()["title"], his.json()["title"]) == ("hers", "his")
    assert "idempotency-replayed" not in his.headers


@pytest.mark.parametrize("field", ["user_id", "id", "created_at", "updated_at", "completed_at", "owner", "userId"])
async def test_no_field_of_a_body_moves_a_task_to_another_user(alice: Caller, bob: Caller, field: str) -> None:
    task = await alice.create()
    for request in (
        alice.post(json={"title": "t", field: bob.user}),
        alice.put(f"/{task['id']}", json={"title": "t2", field: bob.user}),
        alice.patch(f"/{task['id']}", json={"title": "t3", field: bob.user}),
    ):
        answer = await request
        assert answer.status_code in {200, 201, 422}
        if answer.is_success:
            assert answer.json()["user_id"] == alice.user
    assert await bob.tasks() == []
    assert (await alice.read(task["id"]))["id"] == task["id"]


async def test_names_that_look_alike_are_different_users(service: Service, someone: Any) -> None:
    base = someone("eve")
    await service.user(base, "path").create("secret")
    for other in (base.upper(), base + " ", base + "%00", base + "/", base + "%2F..", base.replace("e", "\u0435", 1)):
        answer = await service.user(other, "path").get(f"/api/{base}/tasks")
        assert "secret" not in answer.text
        assert_problem(answer, 403)
