"""Conditional requests: `ETag`, `If-Match`, `If-None-Match` (contract, sections 5 to 7)."""

import asyncio
import re
from typing import Any

import pytest

from tests.support.problems import assert_problem
from tests.support.services import Caller, number_of

WRITES: list[tuple[str, str, Any]] = [
    ("PUT", "", {"title": "new"}),
    ("PATCH", "", {"title": "new"}),
    ("PATCH", "/complete", None),
    ("PATCH", "/complete", {"completed": True}),
    ("DELETE", "", None),
    ("DELETE", "?permanent=true", None),
]
EVERY_WRITE = pytest.mark.parametrize(("method", "path", "body"), WRITES, ids=str)


async def with_history(alice: Caller) -> tuple[dict[str, Any], str, str]:
    """A task that changed once, its stale tag, and its current one."""
    task = await alice.create("first")
    stale = await alice.tag(task["id"])
    changed = await alice.patch(f"/{task['id']}", json={"title": "second"})
    return changed.json(), stale, changed.headers["etag"]


class TestIfMatch:
    @EVERY_WRITE
    async def test_a_stale_tag_is_412_with_the_current_one_and_nothing_changes(
        self, alice: Caller, method: str, path: str, body: Any
    ) -> None:
        task, stale, current = await with_history(alice)
        list_tag = (await alice.get()).headers["etag"]
        answer = await alice.request(method, f"/{task['id']}{path}", json=body, headers={"If-Match": stale})
        assert_problem(answer, 412, "precondition-failed")
        assert answer.headers["etag"] == current
        assert await alice.read(task["id"]) == task
        assert (await alice.get()).headers["etag"] == list_tag

    @EVERY_WRITE
    @pytest.mark.parametrize("form", ["{current}", '"999", {current}', '{current},"1"', "*", '{current} , "5"'])
    async def test_the_current_tag_among_others_or_a_star_lets_it_through(
        self, alice: Caller, method: str, path: str, body: Any, form: str
    ) -> None:
        task, _, current = await with_history(alice)
        headers = {"If-Match": form.format(current=current)}
        assert (await alice.request(method, f"/{task['id']}{path}", json=body, headers=headers)).is_success

    @EVERY_WRITE
    async def test_without_it_the_last_write_wins(self, alice: Caller, method: str, path: str, body: Any) -> None:
        task, _, _ = await with_history(alice)
        assert (await alice.request(method, f"/{task['id']}{path}", json=body)).is_success

    @pytest.mark.parametrize("tag", ['W/"{n}"', '"0{n}"', '"{n}0"', '"x"', '""'])
    async def test_a_weak_or_other_tag_never_matches(self, alice: Caller, tag: str) -> None:
        task, _, current = await with_history(alice)
        headers = {"If-Match": tag.format(n=current.strip('"'))}
        assert_problem(await alice.put(f"/{task['id']}", json={"title": "new"}, headers=headers), 412)
        assert await alice.read(task["id"]) == task

    @pytest.mark.parametrize("tag", ["7", "'7'", '"7', "x" * 1000, '"7" "8"', "**", '"7 "', '"7",,"8'])
    async def test_what_is_no_tag_is_a_4xx_and_changes_nothing(self, alice: Caller, tag: str) -> None:
        task, _, _ = await with_history(alice)
        answer = await alice.put(f"/{task['id']}", json={"title": "new"}, headers={"If-Match": tag})
        assert answer.status_code in {400, 412, 422}
        assert_problem(answer, answer.status_code)
        assert await alice.read(task["id"]) == task

    async def test_a_restore_is_conditional_too(self, alice: Caller) -> None:
        task, _, before = await with_history(alice)
        await alice.delete(f"/{task['id']}")
        answer = await alice.post(f"/{task['id']}/restore", headers={"If-Match": before})
        assert_problem(answer, 412)
        assert [trashed["id"] for trashed in (await alice.get("/trash")).json()] == [task["id"]]
        current = answer.headers["etag"]
        assert (await alice.post(f"/{task['id']}/restore", headers={"If-Match": current})).status_code == 200

    async def test_of_many_writers_with_one_tag_exactly_one_succeeds(self, alice: Caller) -> None:
        task, _, current = await with_history(alice)
        answers = await asyncio.gather(
            *(
                alice.put(f"/{task['id']}", json={"title": f"writer {n}"}, headers={"If-Match": current})
                for n in range(20)
            )
        )
        assert sorted(answer.status_code for answer in answers) == [200] + [412] * 19
        winner = next(answer for answer in answers if answer.status_code == 200)
        assert await alice.read(task["id"]) == winner.json()
        assert {answer.headers["etag"] for answer in answers} == {winner.headers["etag"]}

    async def test_an_unchanged_write_needs_the_current_tag_too(self, alice: Caller) -> None:
        task, stale, current = await with_history(alice)
        same = {"title": task["title"]}
        assert_problem(await alice.put(f"/{task['id']}", json=same, headers={"If-Match": stale}), 412)
        assert (await alice.put(f"/{task['id']}", json=same, headers={"If-Match": current})).headers["etag"] == current


class TestIfNoneMatch:
    async def test_an_unchanged_task_is_304_without_a_body(self, alice: Caller) -> None:
        task = await alice.create()
        tag = await alice.tag(task["id"])
        for known in (tag, f'"0", {tag}', f"W/{tag}", "*"):
            answer = await alice.get(f"/{task['id']}", headers={"If-None-Match": known})
            assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)

    async def test_a_changed_task_is_sent(self, alice: Caller) -> None:
        task = await alice.create()
        tag = await alice.tag(task["id"])
        await alice.patch(f"/{task['id']}/complete")
        answer = await alice.get(f"/{task['id']}", headers={"If-None-Match": tag})
        assert (answer.status_code, answer.json()["completed"]) == (200, True)

    async def test_a_task_that_is_gone_is_404_not_304(self, alice: Caller) -> None:
        task = await alice.create()
        tag = await alice.tag(task["id"])
        await alice.delete(f"/{task['id']}")
        assert_problem(await alice.get(f"/{task['id']}", headers={"If-None-Match": tag}), 404)

    @pytest.mark.parametrize(
        "params",
        [{}, {"status": "pending"}, {"sort": "-title"}, {"q": "x"}, {"limit": "1"}, {"due": "any"}],
    )
    async def test_an_unchanged_list_is_304(self, alice: Caller, params: dict[str, str]) -> None:
        await alice.create()
        tag = (await alice.get("", params=params)).headers["etag"]
        answer = await alice.get("", params=params, headers={"If-None-Match": tag})
        assert (answer.status_code, answer.content, answer.headers["etag"]) == (304, b"", tag)

    async def test_an_empty_list_has_a_tag_too(self, alice: Caller) -> None:
        tag = (await alice.get()).headers["etag"]
        assert re.fullmatch(r'"0-[a-z0-9]{8}"', tag)
        assert (await alice.get("", headers={"If-None-Match": tag})).status_code == 304
        await alice.create()
        assert (await alice.get("", headers={"If-None-Match": tag})).status_code == 200

    async def test_every_kind_of_write_changes_the_lists_tag(self, alice: Caller) -> None:
        tags = [(await alice.get()).headers["etag"]]
        task = await alice.create()
        for method, path, body in (
            ("PATCH", "", {"title": "new"}), ("PATCH", "/complete", None), ("DELETE", "", None),
            ("POST", "/restore", None), ("DELETE", "?permanent=true", None),
        ):  # fmt: skip
            tags.append((await alice.get()).headers["etag"])
            assert (await alice.request(method, f"/{task['id']}{path}", json=body)).is_success
        tags.append((await alice.get()).headers["etag"])
        numbers = [number_of(tag) for tag in tags]
        assert numbers == sorted(set(numbers))

    async def test_another_users_writes_leave_it_alone(self, alice: Caller, bob: Caller) -> None:
        await alice.create()
        tag = (await alice.get()).headers["etag"]
        await bob.create()
        assert (await alice.get("", headers={"If-None-Match": tag})).status_code == 304

    @pytest.mark.parametrize("due", ["today", "overdue"])
    async def test_lists_that_follow_the_clock_have_no_tag(self, alice: Caller, due: str) -> None:
        await alice.create()
        plain = (await alice.get()).headers["etag"]
        for headers in ({}, {"If-None-Match": plain}, {"If-None-Match": "*"}):
            answer = await alice.get("", params={"due": due}, headers=headers)
            assert answer.status_code == 200
            assert "etag" not in answer.headers

    async def test_a_304_keeps_the_headers_a_browser_needs(self, alice: Caller) -> None:
        tag = (await alice.get()).headers["etag"]
        answer = await alice.get("", headers={"If-None-Match": tag, "Origin": "http://localhost:3000"})
        assert answer.status_code == 304
        assert answer.headers["access-control-allow-origin"] == "http://localhost:3000"
        assert answer.headers["x-request-id"]

    async def test_answers_are_private_and_must_be_asked_about_again(self, alice: Caller) -> None:
        task = await alice.create()
        for path in ("", f"/{task['id']}"):
            control = (await alice.get(path)).headers.get("cache-control", "")
            assert "public" not in control
            assert "no-store" in control or "private" in control or "no-cache" in control

    async def test_a_bad_query_is_422_even_with_a_known_tag(self, alice: Caller) -> None:
        tag = (await alice.get()).headers["etag"]
        assert_problem(await alice.get("", params={"sort": "x"}, headers={"If-None-Match": tag}), 422)


class TestTags:
    async def test_the_tag_of_every_answer_is_the_tasks_own(self, alice: Caller) -> None:
        created = await alice.post(json={"title": "t"})
        task = created.json()
        assert created.headers["etag"] == await alice.tag(task["id"])
        other = await alice.create("other")
        assert created.headers["etag"] == await alice.tag(task["id"]) != await alice.tag(other["id"])

    async def test_tags_never_come_back(self, alice: Caller) -> None:
        task = await alice.create()
        seen = [await alice.tag(task["id"])]
        seen += [(await alice.patch(f"/{task['id']}/complete")).headers["etag"] for _ in range(3)]
        await alice.delete(f"/{task['id']}")
        seen.append((await alice.post(f"/{task['id']}/restore")).headers["etag"])
        numbers = [number_of(tag) for tag in seen]
        assert numbers == sorted(set(numbers))
