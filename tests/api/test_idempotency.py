"""Safe retries: one `Idempotency-Key`, one effect, one answer (contract, section 5)."""

import asyncio
from collections.abc import Callable
from typing import Any
from uuid import uuid4

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller, Service, Services, SurfaceName
from tests.support.wire import Wire

pytestmark = pytest.mark.slow


def key(value: str | None = None) -> dict[str, str]:
    return {"Idempotency-Key": value or str(uuid4())}


async def test_the_same_request_again_gets_the_first_answer(alice: Caller) -> None:
    once = key()
    first = await alice.post(json={"title": "t"}, headers=once)
    assert "idempotency-replayed" not in first.headers
    await alice.patch(f"/{first.json()['id']}", json={"title": "changed meanwhile"})
    for _ in range(2):
        again = await alice.post(json={"title": "t"}, headers=once)
        assert (again.status_code, again.content) == (first.status_code, first.content)
        assert again.headers["idempotency-replayed"] == "true"
        for name in ("location", "etag", "content-type"):
            assert again.headers[name] == first.headers[name]
        assert again.headers["x-request-id"] != first.headers["x-request-id"]
    assert await alice.titles() == ["changed meanwhile"]


async def test_a_slash_at_the_end_makes_no_other_request(alice: Caller) -> None:
    once = key()
    first = await alice.post(json={"title": "t"}, headers=once)
    again = await alice.post("/", json={"title": "t"}, headers=once)
    assert (again.status_code, again.content) == (first.status_code, first.content)


async def test_another_body_under_the_same_key_is_422(alice: Caller) -> None:
    once = key()
    await alice.post(json={"title": "t"}, headers=once)
    assert_problem(await alice.post(json={"title": "another"}, headers=once), 422, "idempotency-key-reused")
    assert await alice.titles() == ["t"]


async def test_another_key_is_another_task(alice: Caller) -> None:
    await asyncio.gather(*(alice.post(json={"title": "t"}, headers=key()) for _ in range(5)))
    assert await alice.titles() == ["t"] * 5


async def test_of_many_at_once_one_creates_and_none_creates_a_second(alice: Caller) -> None:
    for _ in range(3):
        once = key()
        answers = await asyncio.gather(
            *(alice.post(json={"title": once["Idempotency-Key"]}, headers=once) for _ in range(20))
        )
        assert {answer.status_code for answer in answers} == {201}
        assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
        assert len({answer.content for answer in answers}) == 1
        assert len(await alice.tasks(q=once["Idempotency-Key"])) == 1


async def test_the_second_waits_for_the_answer_of_one_still_in_flight(alice: Caller) -> None:
    await alice.create("first")
    once = key()
    async with alice.service.connection() as connection:
        async with connection.transaction():
            await connection.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", alice.user)
            held = [asyncio.create_task(alice.post(json={"title": "t"}, headers=once)) for _ in range(2)]
            await asyncio.sleep(0.3)
            assert not any(request.done() for request in held)
        answers = await asyncio.gather(*held)
    assert [answer.status_code for answer in answers] == [201, 201]
    assert sorted("idempotency-replayed" in answer.headers for answer in answers) == [False, True]
    assert answers[0].content == answers[1].content
    assert await alice.titles() == ["first", "t"]


async def test_the_first_request_of_somebody_new_may_come_twice_at_once(alice: Caller) -> None:
    once = key()
    answers = await asyncio.gather(*(alice.post(json={"title": "t"}, headers=once) for _ in range(5)))
    assert {answer.content for answer in answers} == {answers[0].content}
    assert await alice.titles() == ["t"]


async def test_keys_are_kept_per_route(alice: Caller) -> None:
    once = key()
    created = await alice.post(json={"title": "t"}, headers=once)
    batch = await alice.post("/batch", json={"operations": [{"op": "create", "data": {"title": "u"}}]}, headers=once)
    assert (created.status_code, batch.status_code) == (201, 200)
    assert "idempotency-replayed" not in batch.headers


async def test_a_batch_is_carried_out_once(alice: Caller) -> None:
    once = key()
    task = await alice.create()
    body = {"operations": [{"op": "create", "data": {"title": "u"}}, {"op": "complete", "id": task["id"]}]}
    first = await alice.post("/batch", json=body, headers=once)
    again = await alice.post("/batch", json=body, headers=once)
    assert (first.status_code, again.content) == (200, first.content)
    assert again.headers["idempotency-replayed"] == "true"
    assert (await alice.read(task["id"]))["completed"] is True
    assert len(await alice.tasks()) == 2


async def test_a_restore_is_carried_out_once(alice: Caller) -> None:
    once = key()
    task = await alice.create()
    await alice.delete(f"/{task['id']}")
    first = await alice.post(f"/{task['id']}/restore", headers=once)
    await alice.delete(f"/{task['id']}")
    again = await alice.post(f"/{task['id']}/restore", headers=once)
    assert (first.status_code, again.content) == (200, first.content)
    assert await alice.tasks() == []


async def test_one_key_for_two_tasks_is_not_the_same_request(alice: Caller) -> None:
    once = key()
    for title in ("one", "two"):
        task = await alice.create(title)
        await alice.delete(f"/{task['id']}")
    one, two = [trashed["id"] for trashed in (await alice.get("/trash")).json()]
    assert (await alice.post(f"/{one}/restore", headers=once)).json()["id"] == one
    answer = await alice.post(f"/{two}/restore", headers=once)
    # Either answer is honest; the first task's answer for the second one would not be.
    assert answer.status_code == 422 or answer.json()["id"] == two


async def test_a_refused_request_does_not_use_up_its_key(alice: Caller) -> None:
    once = key()
    assert_problem(await alice.post(json={"title": ""}, headers=once), 422, "validation-failed")
    assert (await alice.post(json={"title": "t"}, headers=once)).status_code == 201


async def test_a_failed_batch_does_not_use_up_its_key(alice: Caller) -> None:
    once = key()
    task = await alice.create()
    await alice.delete(f"/{task['id']}")
    body = {"operations": [{"op": "complete", "id": task["id"]}]}
    assert_problem(await alice.post("/batch", json=body, headers=once), 404)
    await alice.post(f"/{task['id']}/restore")
    assert (await alice.post("/batch", json=body, headers=once)).status_code == 200


@pytest.mark.parametrize(
    "value", ["x", "x" * 255, "with space", "!~", '"quoted"', "8e03978e-40d5-43e8-bc93-6894a57f9324"]
)
async def test_any_printable_key_up_to_255_characters_will_do(alice: Caller, value: str) -> None:
    first = await alice.post(json={"title": "t"}, headers=key(value))
    again = await alice.post(json={"title": "t"}, headers=key(value))
    assert (first.status_code, again.content) == (201, first.content)


@pytest.mark.parametrize("value", [b"", b"x" * 256, b"tab\tinside", "ümlaut".encode(), b"\xff"], ids=repr)
async def test_any_other_key_is_422(alice: Caller, value: bytes) -> None:
    headers: Any = {**{name.encode(): text.encode() for name, text in alice.headers.items()}, b"Idempotency-Key": value}
    answer = await alice.service.http.post(alice.root, json={"title": "t"}, headers=headers)
    assert fields_of(assert_problem(answer, 422)) == {"Idempotency-Key"}
    assert await alice.tasks() == []


async def test_two_keys_in_one_request_are_refused(alice: Caller) -> None:
    headers = [*alice.headers.items(), ("Idempotency-Key", "one"), ("Idempotency-Key", "two")]
    answer = await alice.service.http.post(alice.root, json={"title": "t"}, headers=headers)
    assert 400 <= answer.status_code < 500
    assert_problem(answer, answer.status_code)
    assert await alice.tasks() == []


async def test_after_24_hours_a_key_is_fresh_again(alice: Caller) -> None:
    once = key()
    await alice.post(json={"title": "t"}, headers=once)
    await alice.service.execute(
        "UPDATE idempotency_keys SET created_at = created_at - interval '23 hours 59 minutes' WHERE user_id = $1",
        alice.user,
    )
    assert "idempotency-replayed" in (await alice.post(json={"title": "t"}, headers=once)).headers
    await alice.service.execute(
        "UPDATE idempotency_keys SET created_at = created_at - interval '2 minutes' WHERE user_id = $1", alice.user
    )
    renewed = await alice.post(json={"title": "another"}, headers=once)
    assert renewed.status_code == 201
    again = await alice.post(json={"title": "another"}, headers=once)
    assert again.content == renewed.content


async def test_the_key_survives_a_restart(services: Services, database_url: str, surface: SurfaceName) -> None:
    once, answers = key(), []
    for _ in range(2):
        service = services.start(database_url=database_url)
        answers.append(await service.user("alice", surface).post(json={"title": "t"}, headers=once))
        await service.close()
    assert answers[0].content == answers[1].content
    assert answers[1].headers["idempotency-replayed"] == "true"


async def test_an_answer_lost_on_its_way_can_be_had_again(alice: Caller) -> None:
    await alice.create("first")
    once = key()
    async with alice.service.connection() as connection, connection.transaction():
        await connection.execute("SELECT 1 FROM users WHERE id = $1 FOR UPDATE", alice.user)
        request = asyncio.create_task(alice.post(json={"title": "t"}, headers=once))
        await asyncio.sleep(0.2)
        request.cancel()  # the client hangs up while the service is at work
    await asyncio.sleep(0.3)
    again = await alice.post(json={"title": "t"}, headers=once)
    assert again.status_code == 201
    assert await alice.titles() == ["first", "t"]


async def test_a_commit_whose_acknowledgement_was_lost_happens_once(
    severed: tuple[Service, Wire], surface: SurfaceName, someone: Callable[[str], str]
) -> None:
    service, wire = severed
    alice = service.user(someone("alice"), surface)
    await alice.create("first")
    once = key()
    wire.cut_after(b"COMMIT")
    assert_problem(await alice.post(json={"title": "t"}, headers=once), 503)
    # The service could not know, but the task is there.
    assert len(await service.rows("SELECT 1 FROM tasks WHERE user_id = $1", alice.user)) == 2
    wire.mend()
    service.wait_until_ready()
    again = await alice.post(json={"title": "t"}, headers=once)
    assert (again.status_code, again.headers["idempotency-replayed"]) == (201, "true")
    assert await alice.titles() == ["first", "t"]


WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "", {"title": "new"}),
    ("PATCH", "", {"title": "new"}),
    ("PATCH", "/complete", None),
    ("PATCH", "/complete", {"completed": True}),
    ("DELETE", "", None),
    ("DELETE", "?permanent=true", None),
]
EVERY_WRITE = pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=str)


@EVERY_WRITE
async def test_a_write_to_a_task_is_carried_out_once(alice: Caller, method: str, path: str, body: Any) -> None:
    once, task = key(), await alice.create()
    address, options = f"/{task['id']}{path}", {"json": body} if body else {}
    first = await alice.request(method, address, headers=once, **options)
    assert (first.status_code, "idempotency-replayed" in first.headers) == (204 if method == "DELETE" else 200, False)
    await alice.patch(f"/{task['id']}", json={"title": "changed meanwhile"})
    tag, feed = (await alice.get()).headers["etag"], (await alice.get("/changes")).json()
    again = await alice.request(method, address, headers=once, **options)
    assert (again.status_code, again.content) == (first.status_code, first.content)
    assert (again.headers["idempotency-replayed"], again.headers.get("etag")) == ("true", first.headers.get("etag"))
    assert ((await alice.get()).headers["etag"], (await alice.get("/changes")).json()) == (tag, feed)


@EVERY_WRITE
async def test_of_many_equal_writes_at_once_one_happens(alice: Caller, method: str, path: str, body: Any) -> None:
    once, task = key(), await alice.create()
    address, options = f"/{task['id']}{path}", {"json": body} if body else {}
    answers = await asyncio.gather(*(alice.request(method, address, headers=once, **options) for _ in range(7)))
    assert len({(answer.status_code, answer.content, answer.headers.get("etag")) for answer in answers}) == 1
    assert sum("idempotency-replayed" not in answer.headers for answer in answers) == 1
    assert (await alice.get()).headers["etag"] == f'"2-{await alice.epoch()}"'


@EVERY_WRITE
async def test_another_write_under_the_key_of_one_is_422(alice: Caller, method: str, path: str, body: Any) -> None:
    once, one, two = key(), await alice.create("one"), await alice.create("two")
    options = {"json": body} if body else {}
    await alice.request(method, f"/{one['id']}{path}", headers=once, **options)
    answer = await alice.request(method, f"/{two['id']}{path}", headers=once, **options)
    assert_problem(answer, 422, "idempotency-key-reused")
    assert await alice.read(two["id"]) == two
    if body:
        other = await alice.request(method, f"/{one['id']}{path}", headers=once, json={"completed": False})
        assert_problem(other, 422, "idempotency-key-reused")


@EVERY_WRITE
async def test_a_write_that_found_nothing_or_came_too_late_does_not_use_up_its_key(
    alice: Caller, method: str, path: str, body: Any
) -> None:
    once, task = key(), await alice.create()
    address, options = f"/{task['id']}{path}", {"json": body} if body else {}
    stale = await alice.request(method, address, headers=once | {"If-Match": '"0-aaaaaaaa"'}, **options)
    assert_problem(stale, 412)
    if path != "?permanent=true":
        await alice.delete(f"/{task['id']}")
        assert_problem(await alice.request(method, address, headers=once, **options), 404)
        await alice.post(f"/{task['id']}/restore")
    done = await alice.request(method, address, headers=once, **options)
    assert done.is_success
    assert "idempotency-replayed" not in done.headers


@EVERY_WRITE
async def test_a_key_that_is_none_is_named_with_all_else(alice: Caller, method: str, path: str, body: Any) -> None:
    task = await alice.create()
    options = {"json": {"title": ""} if path == "" and body else body} if body else {}
    headers = {"Idempotency-Key": "", "If-Match": "garbage"}
    answer = await alice.request(method, f"/{task['id']}{path}", headers=headers, **options)
    assert fields_of(assert_problem(answer, 422)) >= {"Idempotency-Key", "If-Match"}
    assert await alice.read(task["id"]) == task


async def test_a_toggle_whose_answer_was_lost_is_not_toggled_back(
    severed: tuple[Service, Wire], surface: SurfaceName, someone: Callable[[str], str]
) -> None:
    service, wire = severed
    alice = service.user(someone("alice"), surface)
    once, task = key(), await alice.create()
    wire.cut_after(b"COMMIT")
    assert_problem(await alice.patch(f"/{task['id']}/complete", headers=once), 503)
    wire.mend()
    service.wait_until_ready()
    again = await alice.patch(f"/{task['id']}/complete", headers=once)
    assert (again.json()["completed"], again.headers["idempotency-replayed"]) == (True, "true")
    assert (await alice.read(task["id"]))["completed"] is True


async def test_without_a_key_every_request_creates(alice: Caller) -> None:
    await asyncio.gather(*(alice.post(json={"title": "t"}) for _ in range(3)))
    assert await alice.titles() == ["t"] * 3


async def test_only_the_owner_may_ask_again(alice: Caller, bob: Caller) -> None:
    once = key()
    await alice.post(json={"title": "private"}, headers=once)
    answer = await bob.post(json={"title": "private"}, headers=once)
    assert answer.json()["user_id"] == bob.user
    assert_problem(await alice.service.http.post(alice.root, json={"title": "private"}, headers=once), 401)
