"""HEAD and OPTIONS on every path, and what `Allow` says."""

from collections import defaultdict
from collections.abc import Callable

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.routes import operations
from tests.support.services import Caller, Service


def methods_by_template(service: Service) -> dict[str, set[str]]:
    found: dict[str, set[str]] = defaultdict(lambda: {"OPTIONS"})
    for operation in operations(service.app):
        found[operation.template] |= {operation.method} | ({"HEAD"} if operation.method == "GET" else set())
    return found


async def test_options_says_without_a_token_what_every_path_allows(service: Service) -> None:
    for operation in operations(service.app):
        answer = await service.http.options(operation.path("somebody"))
        assert (answer.status_code, answer.content) == (204, b""), operation
        allowed = set(answer.headers["allow"].split(", "))
        assert allowed == methods_by_template(service)[operation.template], operation


async def test_options_of_nothing_is_404(service: Service) -> None:
    assert_problem(await service.http.options("/api/nothing/here"), 404, "not-found")


@pytest.mark.parametrize("method", ["TRACE", "PUT", "MKCOL"])
async def test_another_method_is_405_with_all_that_there_are(alice: Caller, method: str) -> None:
    answer = await alice.request(method)
    assert_problem(answer, 405)
    assert set(answer.headers["allow"].split(", ")) == {"DELETE", "GET", "HEAD", "OPTIONS", "POST"}


async def test_head_is_get_without_its_body(alice: Caller) -> None:
    await alice.create()
    get, head = await alice.get(), await alice.request("HEAD")
    assert (head.status_code, head.content) == (200, b"")
    for name in ("etag", "content-type", "content-length"):
        assert head.headers[name] == get.headers[name]


@pytest.mark.parametrize("value", ["", ",", "7", '"7', '"7" "8"'])
async def test_a_condition_that_is_no_tag_is_refused_everywhere(alice: Caller, value: str) -> None:
    task = await alice.create()
    for path in ("", "?due=overdue", f"/{task['id']}"):
        refused = assert_problem(await alice.get(path, headers={"If-None-Match": value}), 422)
        assert fields_of(refused) == {"If-None-Match"}
    refused = assert_problem(await alice.put(f"/{task['id']}", json={}, headers={"If-Match": value}), 422)
    assert fields_of(refused) == {"If-Match"}


async def test_empty_elements_of_a_list_of_tags_mean_nothing(alice: Caller) -> None:
    task = await alice.create()
    tag = await alice.tag(task["id"])
    for listed in (f"{tag},", f", {tag}", f'"999",,{tag}', f',"999" , , {tag} ,,'):
        assert (await alice.get(f"/{task['id']}", headers={"If-None-Match": listed})).status_code == 304
        assert (await alice.put(f"/{task['id']}", json={}, headers={"If-Match": listed})).status_code == 200


async def test_options_is_answered_whoever_owns_the_path(service: Service, someone: Callable[[str], str]) -> None:
    bob = service.user(someone("bob"), "path")
    answer = await bob.request("OPTIONS", f"/api/{someone('alice')}/tasks")
    assert answer.status_code == 204
