"""A task through its life: made, read, changed, completed, deleted (contract, sections 4 and 5)."""

import asyncio
import re
from datetime import UTC, datetime
from typing import Any
from uuid import UUID

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.routes import NOBODYS
from tests.support.services import Caller

INSTANT = re.compile(r"\d{4}-\d{2}-\d{2}T\d{2}:\d{2}:\d{2}\.\d{6}Z")
FIELDS = [
    "id", "user_id", "title", "description", "status", "completed", "priority", "due_date", "created_at", "updated_at",
    "completed_at", "etag",
]  # fmt: skip


class TestCreation:
    async def test_the_answer_is_the_whole_task_with_location_and_tag(self, alice: Caller) -> None:
        response = await alice.post(json={"title": "Buy milk"})
        assert response.status_code == 201
        task = response.json()
        assert list(task) == FIELDS
        assert UUID(task["id"]).version == 7
        assert response.headers["location"] == f"{alice.root}/{task['id']}"
        assert re.fullmatch(r'"\d+-[a-z0-9]{8}"', response.headers["etag"])
        assert task["etag"] == response.headers["etag"]
        assert response.headers["content-type"] == "application/json"
        assert (await alice.get(response.headers["location"])).json() == task
        assert task | {"description": None, "status": "pending", "completed": False, "priority": "medium"} == task
        assert (task["due_date"], task["completed_at"]) == (None, None)

    async def test_all_times_are_utc_with_microseconds(self, alice: Caller) -> None:
        task = await alice.create(status="completed", due_date="2026-12-01T10:00:00+05:30")
        for name in ("created_at", "updated_at", "completed_at", "due_date"):
            assert INSTANT.fullmatch(task[name]), name
        assert task["due_date"] == "2026-12-01T04:30:00.000000Z"

    async def test_the_title_is_trimmed(self, alice: Caller) -> None:
        task = await alice.create("  \t Buy milk \u00a0\n")
        assert task["title"] == "Buy milk"
        assert (await alice.create("  " + "x" * 200 + "  "))["title"] == "x" * 200

    @pytest.mark.parametrize(
        ("title", "rule"), [("", "min_length"), (" \n\t\u2003", "min_length"), ("x" * 201, "max_length")]
    )
    async def test_a_blank_or_overlong_title_is_refused(self, alice: Caller, title: str, rule: str) -> None:
        [error] = assert_problem(await alice.post(json={"title": title}), 422)["errors"]
        assert (error["field"], error["rule"]) == ("title", rule)

    async def test_lengths_are_counted_in_characters(self, alice: Caller) -> None:
        title = "👩‍🚀" * 66
        assert (await alice.create(title, description="é" * 1000))["title"] == title

    async def test_what_a_client_may_not_decide_is_passed_over(self, alice: Caller) -> None:
        sent: dict[str, Any] = {
            "id": NOBODYS, "user_id": "bob", "created_at": "2001-01-01T00:00:00Z", "updated_at": 5, "completed_at": "x",
        }  # fmt: skip
        task = await alice.create(**sent)
        for name, value in sent.items():
            assert task[name] != value

    async def test_a_client_may_send_back_what_it_read(self, alice: Caller) -> None:
        task = await alice.create(description="d", priority="high", due_date="2026-12-01", completed=True)
        copy = (await alice.post(json=task)).json()
        kept = ("title", "description", "status", "completed", "priority", "due_date")
        assert {name: copy[name] for name in kept} == {name: task[name] for name in kept}
        assert copy["id"] != task["id"]
        same = await alice.put(f"/{task['id']}", json=task)
        assert (same.status_code, same.json()) == (200, task)

    @pytest.mark.parametrize(
        ("sent", "status", "completed"),
        [
            ({"completed": True}, "completed", True),
            ({"completed": False}, "pending", False),
            ({"status": "in_progress", "completed": False}, "in_progress", False),
            ({"status": "completed", "completed": True}, "completed", True),
            ({"status": "in_progress"}, "in_progress", False),
        ],
    )
    async def test_completed_may_be_written_instead_of_status(
        self, alice: Caller, sent: dict[str, Any], status: str, completed: bool
    ) -> None:
        task = await alice.create(**sent)
        assert (task["status"], task["completed"]) == (status, completed)
        assert (task["completed_at"] is not None) is completed

    @pytest.mark.parametrize(
        "sent",
        [
            {"status": "pending", "completed": True},
            {"status": "completed", "completed": False},
            {"status": "in_progress", "completed": True},
        ],
    )
    async def test_status_and_completed_must_not_contradict(self, alice: Caller, sent: dict[str, Any]) -> None:
        task = await alice.create()
        for answer in (
            await alice.post(json={"title": "t"} | sent),
            await alice.put(f"/{task['id']}", json=sent),
            await alice.patch(f"/{task['id']}", json=sent),
        ):
            assert fields_of(assert_problem(answer, 422)) & {"status", "completed"}

    @pytest.mark.parametrize(
        ("sent", "kept"),
        [
            ("2026-12-01", "2026-12-01"),
            ("2028-02-29", "2028-02-29"),
            ("0001-01-01", "0001-01-01"),
            ("9999-12-31", "9999-12-31"),
            ("2026-12-01T09:30:00Z", "2026-12-01T09:30:00.000000Z"),
            ("2026-12-01t09:30:00z", "2026-12-01T09:30:00.000000Z"),
            ("2026-12-01T09:30:00", "2026-12-01T09:30:00.000000Z"),
            ("2026-12-01T00:00:00Z", "2026-12-01T00:00:00.000000Z"),
            ("2026-12-01T09:30:00.5-02:00", "2026-12-01T11:30:00.500000Z"),
            ("2026-12-01T09:30:00.123456+14:00", "2026-11-30T19:30:00.123456Z"),
            ("2026-12-01T09:30:00.1234567890123Z", "2026-12-01T09:30:00.123456Z"),
            ("9999-12-31T23:59:59.999999Z", "9999-12-31T23:59:59.999999Z"),
            ("1990-12-31T15:59:60.5-08:00", "1991-01-01T00:00:00.500000Z"),
            ("0001-01-01T00:00:00Z", "0001-01-01T00:00:00.000000Z"),
            (None, None),
        ],
    )
    async def test_due_dates_are_days_or_instants(self, alice: Caller, sent: str | None, kept: str | None) -> None:
        task = await alice.create(due_date=sent)
        assert task["due_date"] == kept
        assert (await alice.read(task["id"]))["due_date"] == kept

    @pytest.mark.parametrize(
        "due",
        [
            "", "tomorrow", "2026-02-30", "2027-02-29", "2026-13-01", "26-12-01", "20261201", "2026-W49-2",
            "10000-01-01", "0000-01-01", "2026-12-01T25:00:00Z", "2026-12-01T09:60:00Z", "2026-12-01T09:30Zzz",
            "2026-12-01T09:30:00123Z", "2026-12-01T09:30:00.Z",
            "2026-12-01T09:30:60Z", "2026-12-01T23:59:61Z", "9999-12-31T23:59:60Z",
            "2026-12-01T09:30:00+25:00", "9999-12-31T23:59:59-12:00", "0001-01-01T00:00:00+12:00", "-infinity",
            "infinity", "now", 0, 1764547200, 1.5,
            True, ["2026-12-01"], {"date": "2026-12-01"}, "\uff12026-12-01", "2026-12-01\x00",
        ],
    )  # fmt: skip
    async def test_what_is_no_due_date_is_422(self, alice: Caller, due: Any) -> None:
        assert fields_of(assert_problem(await alice.post(json={"title": "t", "due_date": due}), 422)) == {"due_date"}

    async def test_all_wrong_fields_are_named_at_once(self, alice: Caller) -> None:
        wrong = {
            "title": "x" * 201, "description": 1, "status": "x", "completed": "x", "priority": 1, "due_date": 1,
            "who": 1, "Title": "t",
        }  # fmt: skip
        document = assert_problem(await alice.post(json=wrong), 422)
        assert fields_of(document) == set(wrong)
        assert str(len(wrong)) in document["detail"]
        by_field = {error["field"]: error for error in document["errors"]}
        assert by_field["title"]["limit"] == 200
        assert by_field["priority"]["allowed"] == ["low", "medium", "high"]
        assert {error["location"] for error in document["errors"]} == {"body"}

    async def test_creation_takes_no_query_parameters(self, alice: Caller) -> None:
        assert fields_of(assert_problem(await alice.post(json={"title": "t"}, params={"x": "1"}), 422)) == {"x"}


@pytest.mark.parametrize("method", ["PUT", "PATCH"])
class TestChange:
    async def test_what_is_absent_stays(self, alice: Caller, method: str) -> None:
        task = await alice.create("t", description="d", priority="high", due_date="2026-12-01", status="in_progress")
        changed = (await alice.request(method, f"/{task['id']}", json={"title": "new"})).json()
        assert changed == task | {name: changed[name] for name in ("updated_at", "etag")} | {"title": "new"}
        assert changed["updated_at"] > task["updated_at"]

    async def test_null_clears_what_may_be_empty(self, alice: Caller, method: str) -> None:
        task = await alice.create("t", description="d", due_date="2026-12-01")
        sent = {"description": None, "due_date": None}
        changed = (await alice.request(method, f"/{task['id']}", json=sent)).json()
        assert (changed["description"], changed["due_date"]) == (None, None)

    @pytest.mark.parametrize("field", ["title", "status", "priority", "completed"])
    async def test_null_is_refused_for_what_may_not_be_empty(self, alice: Caller, method: str, field: str) -> None:
        task = await alice.create()
        answer = await alice.request(method, f"/{task['id']}", json={field: None})
        assert fields_of(assert_problem(answer, 422)) == {field}
        assert await alice.read(task["id"]) == task

    @pytest.mark.parametrize(
        "same",
        [
            {}, {"title": "t"}, {"title": "  t "}, {"description": "d"}, {"priority": "high"}, {"status": "completed"},
            {"completed": True}, {"due_date": "2026-12-01T08:30:00Z"}, {"due_date": "2026-12-01T09:30:00+01:00"},
        ],
    )  # fmt: skip
    async def test_when_nothing_differs_nothing_changes(self, alice: Caller, method: str, same: dict[str, Any]) -> None:
        task = await alice.create(
            "t", description="d", priority="high", completed=True, due_date="2026-12-01T08:30:00Z"
        )
        tag, list_tag = await alice.tag(task["id"]), (await alice.get()).headers["etag"]
        answer = await alice.request(method, f"/{task['id']}", json=same)
        assert (answer.status_code, answer.json(), answer.headers["etag"]) == (200, task, tag)
        assert (await alice.get()).headers["etag"] == list_tag

    async def test_a_day_and_its_midnight_are_not_the_same(self, alice: Caller, method: str) -> None:
        task = await alice.create(due_date="2026-12-01")
        changed = (await alice.request(method, f"/{task['id']}", json={"due_date": "2026-12-01T00:00:00Z"})).json()
        assert changed["due_date"] == "2026-12-01T00:00:00.000000Z"
        assert changed["updated_at"] > task["updated_at"]
        back = (await alice.request(method, f"/{task['id']}", json={"due_date": "2026-12-01"})).json()
        assert back["due_date"] == "2026-12-01"

    @pytest.mark.parametrize(
        ("before", "sent", "after"),
        [
            ("pending", {"completed": True}, "completed"),
            ("in_progress", {"completed": True}, "completed"),
            ("completed", {"completed": False}, "pending"),
            ("in_progress", {"completed": False}, "in_progress"),
            ("pending", {"completed": False}, "pending"),
            ("completed", {"status": "in_progress"}, "in_progress"),
            ("completed", {"status": "in_progress", "completed": False}, "in_progress"),
            ("pending", {"status": "completed"}, "completed"),
        ],
    )
    async def test_completed_and_status_go_together(
        self, alice: Caller, method: str, before: str, sent: dict[str, Any], after: str
    ) -> None:
        task = await alice.create(status=before)
        changed = (await alice.request(method, f"/{task['id']}", json=sent)).json()
        assert (changed["status"], changed["completed"]) == (after, after == "completed")
        assert (changed["completed_at"] is not None) is (after == "completed")

    async def test_completed_at_is_kept_while_it_stays_completed(self, alice: Caller, method: str) -> None:
        task = await alice.create(completed=True)
        changed = (await alice.request(method, f"/{task['id']}", json={"title": "new", "completed": True})).json()
        assert changed["completed_at"] == task["completed_at"]

    async def test_read_only_fields_are_passed_over_and_unknown_ones_refused(self, alice: Caller, method: str) -> None:
        task = await alice.create()
        own = {"id": NOBODYS, "user_id": "bob", "created_at": None, "updated_at": "x", "completed_at": 7}
        answer = await alice.request(method, f"/{task['id']}", json=own)
        assert (answer.status_code, answer.json()) == (200, task)
        answer = await alice.request(method, f"/{task['id']}", json={"titel": "t", "title": "t"})
        (error,) = assert_problem(answer, 422)["errors"]
        writable = {"title", "description", "status", "completed", "priority", "due_date"}
        assert (error["field"], set(error["allowed"])) == ("titel", writable)
        assert await alice.read(task["id"]) == task

    async def test_the_answer_is_the_task_with_its_new_tag(self, alice: Caller, method: str) -> None:
        task = await alice.create()
        before = await alice.tag(task["id"])
        answer = await alice.request(method, f"/{task['id']}", json={"title": "new"})
        assert answer.headers["etag"] == await alice.tag(task["id"]) != before
        assert answer.json() == await alice.read(task["id"])

    async def test_an_unknown_task_is_404(self, alice: Caller, method: str) -> None:
        assert_problem(await alice.request(method, f"/{NOBODYS}", json={"title": "t"}), 404, "task-not-found")


class TestMergePatch:
    async def test_patch_takes_merge_patch_documents(self, alice: Caller) -> None:
        task = await alice.create("t", description="d")
        answer = await alice.patch(
            f"/{task['id']}",
            content=b'{"description": null, "priority": "low"}',
            headers={"Content-Type": "application/merge-patch+json"},
        )
        assert answer.status_code == 200
        assert (answer.json()["description"], answer.json()["priority"]) == (None, "low")

    async def test_put_and_post_do_not(self, alice: Caller) -> None:
        task = await alice.create()
        for method, path in (("PUT", f"/{task['id']}"), ("POST", "")):
            answer = await alice.request(
                method, path, content=b'{"title": "t"}', headers={"Content-Type": "application/merge-patch+json"}
            )
            assert_problem(answer, 415)


class TestCompletion:
    async def test_without_a_body_it_toggles(self, alice: Caller) -> None:
        task = await alice.create(status="in_progress")
        states = [(await alice.patch(f"/{task['id']}/complete")).json() for _ in range(3)]
        assert [state["status"] for state in states] == ["completed", "pending", "completed"]
        assert [state["completed_at"] is not None for state in states] == [True, False, True]

    @pytest.mark.parametrize("completed", [True, False])
    async def test_with_a_body_it_sets_and_again_changes_nothing(self, alice: Caller, completed: bool) -> None:
        task = await alice.create(completed=not completed)
        first = await alice.patch(f"/{task['id']}/complete", json={"completed": completed})
        second = await alice.patch(f"/{task['id']}/complete", json={"completed": completed})
        assert first.json()["completed"] is completed
        assert (second.json(), second.headers["etag"]) == (first.json(), first.headers["etag"])

    @pytest.mark.parametrize(
        "body",
        [
            b"{}",
            b"[]",
            b"null",
            b"true",
            b'{"completed": null}',
            b'{"completed": 1}',
            b'{"completed": "true"}',
            b'{"done": true}',
        ],
    )
    async def test_any_other_body_is_422(self, alice: Caller, body: bytes) -> None:
        task = await alice.create()
        answer = await alice.patch(
            f"/{task['id']}/complete", content=body, headers={"Content-Type": "application/json"}
        )
        assert_problem(answer, 422)
        assert await alice.read(task["id"]) == task

    async def test_false_leaves_a_task_in_progress_in_progress(self, alice: Caller) -> None:
        task = await alice.create(status="in_progress")
        answer = await alice.patch(f"/{task['id']}/complete", json={"completed": False})
        assert answer.json() == task

    async def test_an_unknown_task_is_404(self, alice: Caller) -> None:
        assert_problem(await alice.patch(f"/{NOBODYS}/complete"), 404)


class TestDeletion:
    async def test_a_deleted_task_is_404_everywhere(self, alice: Caller) -> None:
        task = await alice.create()
        answer = await alice.delete(f"/{task['id']}")
        assert (answer.status_code, answer.content) == (204, b"")
        assert "content-type" not in answer.headers
        for method, path, body in (
            ("GET", "", None), ("PUT", "", {"title": "t"}), ("PATCH", "", {"title": "t"}), ("PATCH", "/complete", None),
            ("DELETE", "", None),
        ):  # fmt: skip
            assert_problem(await alice.request(method, f"/{task['id']}{path}", json=body), 404)
        assert await alice.tasks() == []
        assert await alice.tasks(q=task["title"]) == []

    @pytest.mark.parametrize("trashed", [False, True])
    async def test_permanently_means_the_row_is_gone(self, alice: Caller, trashed: bool) -> None:
        task = await alice.create()
        if trashed:
            await alice.delete(f"/{task['id']}")
        assert (await alice.delete(f"/{task['id']}?permanent=true")).status_code == 204
        assert (await alice.get("/trash")).json() == []
        assert await alice.service.rows("SELECT 1 FROM tasks WHERE id = $1", task["id"]) == []
        assert_problem(await alice.post(f"/{task['id']}/restore"), 404)
        assert_problem(await alice.delete(f"/{task['id']}?permanent=true"), 404)

    @pytest.mark.parametrize(
        "query", ["permanent=yes", "permanent=", "permanent=TRUE", "permanent=true&permanent=false", "force=true"]
    )
    async def test_a_bad_query_deletes_nothing(self, alice: Caller, query: str) -> None:
        task = await alice.create()
        document = assert_problem(await alice.delete(f"/{task['id']}?{query}"), 422)
        assert fields_of(document) == {query.partition("=")[0]}
        assert await alice.read(task["id"]) == task

    async def test_permanent_false_is_the_default(self, alice: Caller) -> None:
        task = await alice.create()
        assert (await alice.delete(f"/{task['id']}?permanent=false")).status_code == 204
        assert [trashed["id"] for trashed in (await alice.get("/trash")).json()] == [task["id"]]

    async def test_of_two_deletions_at_once_one_succeeds(self, alice: Caller) -> None:
        task = await alice.create()
        answers = await asyncio.gather(*(alice.delete(f"/{task['id']}") for _ in range(8)))
        assert sorted(answer.status_code for answer in answers) == [204] + [404] * 7


async def test_both_surfaces_show_the_same_task(alice: Caller) -> None:
    other = alice.on("path" if alice.surface == "token" else "token")
    task = await alice.create("one", due_date="2026-12-01")
    assert await other.read(task["id"]) == task
    assert await other.tasks() == [task]
    changed = (await other.patch(f"/{task['id']}", json={"title": "two"})).json()
    assert await alice.read(task["id"]) == changed
    assert (await alice.get()).headers["etag"] == (await other.get()).headers["etag"]


@pytest.mark.parametrize("form", ["upper", "bare", "braces", "urn"])
async def test_an_id_has_one_spelling_or_is_read_as_it_should(alice: Caller, form: str) -> None:
    task = await alice.create()
    spelled = {
        "upper": task["id"].upper(),
        "bare": task["id"].replace("-", ""),
        "braces": "{" + task["id"] + "}",
        "urn": "urn:uuid:" + task["id"],
    }[form]
    answer = await alice.get(f"/{spelled}")
    if form == "upper":
        assert answer.json() == task
    else:
        assert_problem(answer, 422 if alice.surface == "token" else 404)


async def test_malformed_ids_are_422_on_the_token_surface_and_404_on_the_path_surface(alice: Caller) -> None:
    for task_id in ("1", "x" * 5000, "%F0%9F%98%80", "%ED%A0%80", "%00", "null", "-1", "1e9", "0197%2F"):
        for method, path, body in (
            ("GET", "", None), ("PUT", "", {"title": "t"}), ("PATCH", "", {"title": "t"}), ("PATCH", "/complete", None),
            ("DELETE", "", None), ("POST", "/restore", None),
        ):  # fmt: skip
            answer = await alice.request(method, f"/{task_id}{path}", json=body)
            if "%2F" in task_id and answer.status_code == 404:
                assert_problem(answer, 404)  # decoded, it is another path
            elif alice.surface == "token":
                document = assert_problem(answer, 422)
                assert [(error["field"], error["location"]) for error in document["errors"]] == [("task_id", "path")]
            else:
                assert_problem(answer, 404, detail="Task not found")


async def test_timestamps_move_with_the_clock_of_the_world(alice: Caller) -> None:
    before = datetime.now(UTC).isoformat(timespec="microseconds").replace("+00:00", "Z")
    task = await alice.create()
    assert task["created_at"] >= before[:19]
