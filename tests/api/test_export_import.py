"""A user's tasks as a file, and the way back."""

import csv
import io
from typing import Any

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.routes import NOBODYS
from tests.support.services import Caller


async def with_tasks(alice: Caller) -> list[dict[str, Any]]:
    await alice.create("plain")
    await alice.create("=1+1", description="@SUM(A1)\r\nsecond, line; \\ end", due_date="2026-12-01", priority="high")
    await alice.create("日本 😀 " + "ü" * 150, due_date="2026-12-01T09:30:00Z", status="in_progress")
    await alice.create("done", completed=True)
    deleted = await alice.create("in the trash")
    await alice.delete(f"/{deleted['id']}")
    return await alice.tasks()


def lasting(task: dict[str, Any]) -> dict[str, Any]:
    return {name: value for name, value in task.items() if name not in {"updated_at", "etag"}}


async def test_json_is_the_list_and_can_be_taken_back(alice: Caller) -> None:
    tasks = await with_tasks(alice)
    export = await alice.get("/export?format=json")
    assert export.json() == tasks
    assert "attachment" in export.headers["content-disposition"]
    await alice.delete("?confirm=all")
    answer = await alice.post("/import", content=export.content, headers={"Content-Type": "application/json"})
    assert answer.json() == {"created": 4, "updated": 0, "skipped": 0, "dry_run": False}
    assert [lasting(task) for task in await alice.tasks()] == [lasting(task) for task in tasks]


async def test_what_exists_is_skipped_or_updated_as_asked(alice: Caller) -> None:
    tasks = await with_tasks(alice)
    await alice.patch(f"/{tasks[0]['id']}", json={"title": "changed since"})
    skipped = await alice.post("/import", json=tasks)
    assert skipped.json() == {"created": 0, "updated": 0, "skipped": 4, "dry_run": False}
    assert (await alice.read(tasks[0]["id"]))["title"] == "changed since"
    updated = await alice.post("/import?existing=update", json=tasks)
    assert (updated.json()["updated"], updated.json()["skipped"]) == (4, 0)
    assert (await alice.read(tasks[0]["id"]))["title"] == "plain"


async def test_a_dry_run_changes_nothing(alice: Caller) -> None:
    tasks = await with_tasks(alice)
    tag = (await alice.get()).headers["etag"]
    answer = await alice.post("/import?dry_run=true&existing=update", json=tasks)
    assert answer.json()["dry_run"] is True
    assert (await alice.get()).headers["etag"] == tag


async def test_an_import_is_all_or_nothing(alice: Caller) -> None:
    tasks = await with_tasks(alice)
    await alice.delete("?confirm=all")
    for bad, fields in (
        (tasks[3] | {"title": ""}, {"3.title"}),
        (tasks[3] | {"id": "malformed", "created_at": "x"}, {"3.id", "3.created_at"}),
        (tasks[0], {"3.id"}),
        (7, {"3"}),
    ):
        document = assert_problem(await alice.post("/import", json=[*tasks[:3], bad]), 422)
        assert fields_of(document) == fields
        assert {error["index"] for error in document["errors"]} == {3}
    assert await alice.tasks() == []


async def test_importing_anothers_task_makes_one_of_ones_own(alice: Caller, bob: Caller) -> None:
    his = await bob.create("his")
    copied = his | {"title": "mine now", "user_id": alice.user}
    for query in ("", "?existing=update", "?existing=skip"):
        assert (await alice.post(f"/import{query}", json=[copied])).status_code == 200
    assert await bob.tasks() == [his]
    [hers] = await alice.tasks()
    assert (hers["id"], hers["title"], hers["user_id"]) == (his["id"], "mine now", alice.user)


async def test_an_imported_task_is_the_importers_own_and_told_to_readers(alice: Caller, bob: Caller) -> None:
    task = await alice.create("hers")
    await alice.delete(f"/{task['id']}?permanent=true")
    assert (await bob.post("/import", json=[task])).json()["created"] == 1
    [imported] = await bob.tasks()
    assert (imported["user_id"], imported["id"]) == (bob.user, task["id"])
    assert [entry["task"]["id"] for entry in (await bob.get("/changes")).json()["changes"]] == [task["id"]]


@pytest.mark.parametrize("body", [{}, {"tasks": []}, "x", 5, [[]], [None], [{}], [{"id": NOBODYS}]])
async def test_what_is_no_export_is_422(alice: Caller, body: Any) -> None:
    assert_problem(await alice.post("/import", json=body), 422)


async def test_csv_is_safe_to_open_in_a_spreadsheet(alice: Caller) -> None:
    tasks = await with_tasks(alice)
    for start in "=+-@":
        await alice.create(f"{start}cmd|' /C calc'!A0", description=f"{start}1")
    export = await alice.get("/export?format=csv")
    assert export.headers["content-type"].startswith("text/csv")
    rows = list(csv.DictReader(io.StringIO(export.text, newline="")))
    assert len(rows) == len(tasks) + 4
    assert [row["id"] for row in rows[:4]] == [task["id"] for task in tasks]
    assert rows[1]["description"] == "'@SUM(A1)\r\nsecond, line; \\ end"
    assert not [cell for row in rows for cell in row.values() if cell.startswith(("=", "+", "-", "@", "\t", "\r"))]


async def test_icalendar_has_a_todo_for_each_task(alice: Caller) -> None:
    tasks = await with_tasks(alice)
    export = await alice.get("/export?format=ics")
    assert export.headers["content-type"].startswith("text/calendar")
    lines = export.content.split(b"\r\n")
    assert (lines[0], lines[-2], lines[-1]) == (b"BEGIN:VCALENDAR", b"END:VCALENDAR", b"")
    assert max(map(len, lines)) <= 75
    assert b"\n" not in b"".join(lines)
    unfolded = export.content.replace(b"\r\n ", b"").decode().split("\r\n")
    assert [line for line in unfolded if line.startswith("UID:")] == [f"UID:{task['id']}" for task in tasks]
    assert unfolded.count("BEGIN:VTODO") == unfolded.count("END:VTODO") == 4
    assert r"DESCRIPTION:@SUM(A1)\nsecond\, line\; \\ end" in unfolded
    assert "DUE;VALUE=DATE:20261201" in unfolded
    assert "DUE:20261201T093000Z" in unfolded


async def test_long_lists_are_exported_whole(alice: Caller) -> None:
    await alice.create()
    await alice.service.execute(
        "INSERT INTO tasks (id, user_id, title, revision) "
        "SELECT gen_random_uuid(), $1, 'task ' || n, 1 FROM generate_series(1, 1200) n",
        alice.user,
    )
    exported = (await alice.get("/export?format=json")).json()
    assert len({task["id"] for task in exported}) == len(exported) == 1201


@pytest.mark.parametrize("query", ["format=xml", "format=", "format=json&format=csv", "status=pending"])
async def test_a_bad_query_is_422(alice: Caller, query: str) -> None:
    assert fields_of(assert_problem(await alice.get(f"/export?{query}"), 422)) == {query.partition("=")[0]}


async def test_nothing_to_export_is_an_empty_file_of_its_kind(alice: Caller) -> None:
    assert (await alice.get("/export?format=json")).json() == []
    assert len((await alice.get("/export?format=csv")).text.splitlines()) == 1
    assert (await alice.get("/export?format=ics")).content.endswith(b"END:VCALENDAR\r\n")
