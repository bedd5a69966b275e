"""Specification 003, number by number: the path surface under the default policies."""

import asyncio
import json
import resource
import statistics
import time
from collections.abc import Iterator
from contextlib import AsyncExitStack, contextmanager
from typing import Any

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.routes import NOBODYS, operations_of
from tests.support.services import Caller, Service, Services, SurfaceName
from tests.support.talk import Talk, talking
from tests.support.timing import timed_operations
from tests.support.wire import Wire

pytestmark = pytest.mark.slow

FILES = 4096


@pytest.fixture
def surface() -> SurfaceName:
    return "path"


# User story 1: create


async def test_us1_1_valid_data_is_created_and_201(alice: Caller) -> None:
    response = await alice.post(f"/api/{alice.user}/tasks", json={"title": "Buy milk"})
    assert response.status_code == 201
    assert await alice.tasks() == [response.json()]
    assert response.json()["id"]


async def test_us1_2_invalid_data_is_422(alice: Caller) -> None:
    document = assert_problem(await alice.post(json={"title": "", "due_date": "soon"}), 422)
    assert fields_of(document) == {"title", "due_date"}


# User story 2: list


async def test_us2_1_all_of_the_users_tasks_are_listed(alice: Caller, bob: Caller) -> None:
    tasks = [await alice.create(f"task {n}") for n in range(5)]
    await bob.create()
    assert await alice.tasks() == tasks


async def test_us2_2_another_users_list_is_403(alice: Caller, bob: Caller) -> None:
    await bob.create()
    assert_problem(await alice.get(f"/api/{bob.user}/tasks"), 403)


# User story 3: update and manage


async def test_us3_1_put_updates(alice: Caller) -> None:
    task = await alice.create()
    response = await alice.put(f"/{task['id']}", json={"title": "new", "due_date": "2027-01-01"})
    assert response.status_code == 200
    assert (response.json()["title"], response.json()["due_date"]) == ("new", "2027-01-01")


async def test_us3_2_patch_complete_toggles(alice: Caller) -> None:
    task = await alice.create()
    for expected in (True, False):
        response = await alice.patch(f"/{task['id']}/complete")
        assert (response.status_code, response.json()["completed"]) == (200, expected)


async def test_us3_3_delete_is_204(alice: Caller) -> None:
    task = await alice.create()
    assert (await alice.delete(f"/{task['id']}")).status_code == 204
    assert await alice.tasks() == []


# Edge cases


async def test_edge1_a_task_that_does_not_exist_is_404(alice: Caller) -> None:
    for method, body in (("GET", None), ("PUT", {"title": "t"}), ("DELETE", None)):
        assert_problem(await alice.request(method, f"/{NOBODYS}", json=body), 404)


async def test_edge2_of_concurrent_updates_the_last_one_wins(alice: Caller) -> None:
    task = await alice.create()
    answers = await asyncio.gather(*(alice.put(f"/{task['id']}", json={"title": f"title {n}"}) for n in range(10)))
    last = max((answer.json() for answer in answers), key=lambda answered: answered["updated_at"])
    assert await alice.read(task["id"]) == last


async def test_edge3_while_the_database_is_away_503_and_then_it_goes_on(severed: tuple[Service, Wire]) -> None:
    service, wire = severed
    alice = service.user("edge3", "path")
    wire.cut()
    assert_problem(await alice.post(json={"title": "t"}), 503)
    wire.mend()
    service.wait_until_ready(5)
    assert (await alice.post(json={"title": "t"})).status_code == 201


async def test_edge4_another_users_tasks_cannot_be_reached(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    assert_problem(await alice.get(f"{bob.root}/{task['id']}"), 403)
    assert_problem(await alice.get(f"/{task['id']}"), 404)
    assert await alice.tasks() == []


# Functional requirements


async def test_fr001_there_are_rest_endpoints_for_tasks(alice: Caller) -> None:
    found = {(operation.method, operation.template) for operation in operations_of(alice)}
    one = "/api/{user_id}/tasks/{task_id}"
    assert {
        ("GET", "/api/{user_id}/tasks"), ("POST", "/api/{user_id}/tasks"),
        ("GET", one), ("PUT", one), ("DELETE", one), ("PATCH", one + "/complete"),
    } <= found  # fmt: skip


async def test_fr002_isolation_is_by_token(alice: Caller, bob: Caller) -> None:
    mine, his = await alice.create(), await bob.create()
    assert (await alice.tasks(), await bob.tasks()) == ([mine], [his])


@pytest.mark.parametrize(
    ("sent", "kept"),
    [("2026-12-01", "2026-12-01"), ("2026-12-01T09:00:00+01:00", "2026-12-01T08:00:00.000000Z"), (None, None)],
)
async def test_fr003_tasks_have_title_description_and_due_date(
    alice: Caller, sent: str | None, kept: str | None
) -> None:
    task = await alice.create("title", description="description", due_date=sent)
    assert (task["title"], task["description"], task["due_date"]) == ("title", "description", kept)


async def test_fr004_get_gives_the_own_tasks(alice: Caller) -> None:
    task = await alice.create()
    response = await alice.get(f"/api/{alice.user}/tasks")
    assert (response.status_code, response.json()) == (200, [task])


async def test_fr005_put_updates_an_own_task(alice: Caller, bob: Caller) -> None:
    mine, his = await alice.create(), await bob.create()
    assert (await alice.put(f"/{mine['id']}", json={"title": "new"})).json()["title"] == "new"
    assert_problem(await alice.put(f"/{his['id']}", json={"title": "new"}), 404)


async def test_fr006_delete_deletes_an_own_task(alice: Caller, bob: Caller) -> None:
    mine, his = await alice.create(), await bob.create()
    assert (await alice.delete(f"/{mine['id']}")).status_code == 204
    assert_problem(await alice.delete(f"/{his['id']}"), 404)
    assert await bob.tasks() == [his]


async def test_fr007_patch_complete_toggles_an_own_task(alice: Caller, bob: Caller) -> None:
    mine, his = await alice.create(), await bob.create()
    assert (await alice.patch(f"/{mine['id']}/complete")).json()["completed"] is True
    assert_problem(await alice.patch(f"/{his['id']}/complete"), 404)
    assert await bob.tasks() == [his]


async def test_fr008_another_users_data_is_403(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    for operation in operations_of(alice):
        answer = await alice.request(operation.method, operation.path(bob.user, task["id"]))
        assert_problem(answer, 403)


async def test_fr009_input_is_validated_on_create_and_update(alice: Caller) -> None:
    task = await alice.create()
    wrong = {"title": "", "description": 5, "due_date": "never"}
    for method, path in (("POST", ""), ("PUT", f"/{task['id']}")):
        assert fields_of(assert_problem(await alice.request(method, path, json=wrong), 422)) == set(wrong)


async def test_fr010_tasks_are_stored_persistently(services: Services, database_url: str) -> None:
    first = services.start(database_url=database_url)
    task = await first.user("alice", "path").create()
    # No clean stop: as when it is killed, its connections end at once, and with them all that was not committed.
    await first.execute(
        "SELECT pg_terminate_backend(pid, 5000) FROM pg_stat_activity "
        "WHERE datname = current_database() AND pid <> pg_backend_pid()"
    )
    second = services.start(database_url=database_url)
    try:
        assert await second.user("alice", "path").tasks() == [task]
        [table] = await second.rows("SELECT relpersistence FROM pg_class WHERE oid = 'tasks'::regclass")
        assert table["relpersistence"] == b"p", "written to the log, so that the server may crash as well"
    finally:
        await second.close()
        await first.close()


# Success criteria


async def test_sc001_operations_succeed(alice: Caller) -> None:
    async def life(n: int) -> None:
        task = await alice.create(f"task {n}")
        assert await alice.read(task["id"]) == task
        assert (await alice.put(f"/{task['id']}", json={"title": "changed"})).status_code == 200
        assert (await alice.delete(f"/{task['id']}")).status_code == 204

    # 1000 operations, of which 99.9 % would be one failure: there is none.
    for start in range(0, 250, 25):
        await asyncio.gather(*(life(n) for n in range(start, start + 25)))
    assert await alice.tasks() == []


@pytest.mark.timing
async def test_sc002_95_percent_of_the_answers_come_within_500_ms(alice: Caller) -> None:
    times = await timed_operations(alice, 20)
    assert {name: taken for name, taken in times.items() if statistics.quantiles(taken, n=20)[-1] >= 0.5} == {}


async def test_sc003_every_attempt_at_another_users_tasks_is_refused(alice: Caller, bob: Caller) -> None:
    task = await bob.create()
    for operation in operations_of(alice):
        assert_problem(await alice.request(operation.method, operation.path(bob.user, task["id"])), 403)
        if operation.of_one_task:
            assert_problem(
                await alice.request(operation.method, operation.path(alice.user, task["id"]), json=operation.body), 404
            )
    assert await bob.tasks() == [task]


async def test_sc005_no_data_leaks_between_users(alice: Caller, bob: Caller) -> None:
    secret = f"what only {bob.user} knows"
    task = await bob.create(secret, description=secret)
    answers = [
        await alice.get(),
        await alice.get(params={"q": secret}),
        await alice.get("/trash"),
        await alice.get("/changes"),
        await alice.get(f"/{task['id']}"),
        await alice.get(f"{bob.root}/{task['id']}"),
        await alice.put(f"/{task['id']}", json={"title": "t"}),
        await alice.post("/batch", json={"operations": [{"op": "update", "id": task["id"], "data": {"title": "t"}}]}),
    ]
    for answer in answers:
        assert "knows" not in answer.text
        assert answer.status_code < 500


@contextmanager
def many_files() -> Iterator[None]:
    """Both ends of a thousand connections are files of this process; the usual soft limit is 1024."""
    soft, hard = resource.getrlimit(resource.RLIMIT_NOFILE)
    if soft == resource.RLIM_INFINITY or soft >= FILES:
        yield
        return
    resource.setrlimit(resource.RLIMIT_NOFILE, (FILES, hard))
    yield
    resource.setrlimit(resource.RLIMIT_NOFILE, (soft, hard))


def spoken(caller: Caller, method: str, body: bytes = b"") -> bytes:
    """A request to the caller's list, as it goes over the wire."""
    lines = [f"{method} {caller.root} HTTP/1.1", "Host: localhost", f"Authorization: {caller.headers['Authorization']}"]
    if body:
        lines += ["Content-Type: application/json", f"Content-Length: {len(body)}"]
    return "\r\n".join([*lines, "", ""]).encode() + body


async def all_ask(talks: list[Talk], requests: list[bytes], *, at_once: int) -> list[tuple[int, Any]]:
    """Everybody asks on a connection of their own, so many at a time: statuses and documents."""
    turns = asyncio.Semaphore(at_once)
    waiting, most = 0, 0

    async def ask(talk: Talk, request: bytes) -> tuple[int, Any]:
        nonlocal waiting, most
        async with turns:
            waiting += 1
            most = max(most, waiting)
            talk.say(request)
            status, _, body = await talk.answer()
            waiting -= 1
        return status, json.loads(body)

    answers = await asyncio.gather(*map(ask, talks, requests))
    assert most == at_once
    return answers


@pytest.mark.timing
async def test_sc006_1000_users_at_once(service: Service, alice: Caller) -> None:
    users = [service.user(f"{alice.user}-{n}", "path") for n in range(1000)]
    creations = [spoken(user, "POST", json.dumps({"title": user.user}).encode()) for user in users]
    async with AsyncExitStack() as stack:
        stack.enter_context(many_files())
        port = int(service.url.rpartition(":")[2])
        talks = [await stack.enter_async_context(talking(port)) for _ in users]
        # The first request on a connection costs more, and a new user more than a known one.
        assert await all_ask(talks, [spoken(user, "GET") for user in users], at_once=1000) == [(200, [])] * 1000
        took: dict[int, list[float]] = {20: [], 1000: []}
        for at_once in (20, 1000) * 3:
            started = time.perf_counter()
            answers = await all_ask(talks, creations, at_once=at_once)
            took[at_once].append(time.perf_counter() - started)
            assert [(status, task["title"]) for status, task in answers] == [(201, user.user) for user in users]
        lists = await all_ask(talks, [spoken(user, "GET") for user in users], at_once=1000)
        assert [[task["user_id"] for task in tasks] for _, tasks in lists] == [[user.user] * 6 for user in users]
    # Fifty times as many users take about as long for the same work; the rest is for a busy machine.
    assert min(took[1000]) < 2 * min(took[20]), took
