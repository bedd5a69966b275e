"""Which refusal comes first, and that one refusal names everything that is wrong (contract, sections 3 and 8)."""

from typing import Any
from uuid import uuid4

import pytest

from taskservice import rules
from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller

JSON = {"Content-Type": "application/json"}
WITH_BODY = [
    ("POST", "", rules.BODY_MAX),
    ("PUT", "/{id}", rules.BODY_MAX),
    ("PATCH", "/{id}", rules.BODY_MAX),
    ("PATCH", "/{id}/complete", rules.BODY_MAX),
    ("POST", "/batch", rules.BATCH_BODY_MAX),
    ("POST", "/import", rules.IMPORT_BODY_MAX),
]
# All that these are wrong in besides is 422 or 404, so it has to wait.
WRONG = {"If-Match": "7", "Idempotency-Key": "x" * 300}


@pytest.mark.parametrize(("method", "path", "limit"), [*WITH_BODY, ("POST", "/{id}/restore", rules.BODY_MAX)])
async def test_too_large_comes_before_everything_in_the_request(
    alice: Caller, method: str, path: str, limit: int
) -> None:
    address = path.replace("{id}", "no-id") + "?unknown=1"
    answer = await alice.request(method, address, content=b" " * (limit + 1), headers=WRONG | JSON)
    assert_problem(answer, 413)


@pytest.mark.parametrize(("method", "path", "limit"), WITH_BODY)
async def test_what_cannot_be_read_comes_before_what_is_wrong(
    alice: Caller, method: str, path: str, limit: int
) -> None:
    address = path.replace("{id}", "no-id") + "?unknown=1"
    assert_problem(await alice.request(method, address, content=b"{", headers=WRONG | JSON), 400)
    text = {"Content-Type": "text/plain"}
    assert_problem(await alice.request(method, address, content=b"{", headers=WRONG | text), 415)


@pytest.mark.parametrize(
    ("method", "path", "document", "wrong"),
    [
        ("POST", "", {"title": "", "priority": "max"}, {"unknown", "Idempotency-Key", "title", "priority"}),
        ("PUT", "/{id}", {"title": ""}, {"unknown", "If-Match", "title"}),
        ("PATCH", "/{id}", {"title": ""}, {"unknown", "If-Match", "title"}),
        ("PATCH", "/{id}/complete", {"completed": 1}, {"unknown", "If-Match", "completed"}),
        ("DELETE", "/{id}", None, {"unknown", "If-Match"}),
        ("POST", "/{id}/restore", None, {"unknown", "If-Match", "Idempotency-Key"}),
        ("POST", "/batch", {"operations": [{"op": "eat"}]}, {"unknown", "Idempotency-Key", "operations.0.op"}),
        ("POST", "/import", [1], {"unknown", "Idempotency-Key", "0"}),
    ],
)
async def test_whatever_is_wrong_with_a_request_is_named_at_once(
    alice: Caller, method: str, path: str, document: Any, wrong: set[str]
) -> None:
    task = await alice.create()
    headers = {name: value for name, value in WRONG.items() if name in wrong}
    for task_id, also in ((task["id"], set()), ("no-id", {"task_id"} if alice.surface == "token" else set())):
        if "{id}" in path or not also:
            address = path.replace("{id}", task_id) + "?unknown=1"
            answer = await alice.request(method, address, json=document, headers=headers)
            assert fields_of(assert_problem(answer, 422)) == wrong | also
    assert await alice.read(task["id"]) == task


async def test_a_malformed_id_on_the_path_surface_is_404_only_when_the_rest_is_right(alice: Caller) -> None:
    path = alice.on("path")
    assert_problem(await path.patch("/no-id", json={"title": "t"}, headers={"If-Match": "7"}), 422)
    assert_problem(await path.patch("/no-id", json={"title": "t"}), 404, "task-not-found")


async def test_reading_names_everything_at_once_too(alice: Caller) -> None:
    answer = await alice.get("/changes?since=x&limit=0&unknown=1")
    assert fields_of(assert_problem(answer, 422)) == {"since", "limit", "unknown"}
    answer = await alice.get(f"/{uuid4()}?unknown=1", headers={"If-None-Match": "7"})
    assert fields_of(assert_problem(answer, 422)) == {"unknown", "If-None-Match"}
