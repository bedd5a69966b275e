"""CSV that comes back: as an export wrote it, and as spreadsheets save it."""

import csv
import io
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskservice.tasks import csv_file
from tests.support.problems import assert_problem
from tests.support.services import Caller

CSV = {"Content-Type": "text/csv"}
SHOWN = ("id", "title", "description", "status", "completed", "priority", "due_date", "created_at", "completed_at")


async def send(caller: Caller, text: str | bytes, **params: str) -> Any:
    content = text.encode() if isinstance(text, str) else text
    return await caller.post("/import", content=content, headers=CSV, params=params)


async def imported(caller: Caller, text: str | bytes, **params: str) -> dict[str, Any]:
    answer = await send(caller, text, **params)
    assert answer.status_code == 200, answer.text
    found: dict[str, Any] = answer.json()
    return found


async def refused(caller: Caller, text: str | bytes) -> list[dict[str, Any]]:
    """What is said to be wrong; and nothing was written."""
    before = await caller.tasks()
    answer = await send(caller, text)
    problem = assert_problem(answer, 422, "validation-failed")
    assert await caller.tasks() == before
    errors: list[dict[str, Any]] = problem["errors"]
    return errors


def without_tags(tasks: list[dict[str, Any]]) -> list[dict[str, Any]]:
    return [{name: task[name] for name in SHOWN} for task in tasks]


async def test_what_was_exported_as_csv_comes_back_as_it_was(alice: Caller) -> None:
    await alice.create("plain")
    await alice.create("=SUM(A1:A9)", description="+49 30 1234", due_date="2026-12-01", priority="high")
    await alice.create("'=quoted already", description='two\nlines, "quotes"; and \U0001f600')
    await alice.create("timed", due_date="2026-12-01T10:00:00.5+02:00", status="in_progress")
    await alice.create("done", status="completed")
    before = without_tags(await alice.tasks())
    file = (await alice.get("/export", params={"format": "csv"})).content
    await alice.delete("?confirm=all")
    assert await imported(alice, file) == {"created": 5, "updated": 0, "skipped": 0, "dry_run": False}
    assert without_tags(await alice.tasks()) == before


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00\r"), min_size=1, max_size=60))
def test_no_text_changes_on_its_way_through_a_spreadsheet(text: str) -> None:
    written = io.StringIO(newline="")
    csv.writer(written).writerow(["title"])
    csv.writer(written).writerow([csv_file._written(text)])
    [row] = csv_file.read_rows(written.getvalue().encode())
    assert row is not None
    assert row.document["title"] == text


@pytest.mark.parametrize(
    "file",
    [
        pytest.param("\ufefftitle,priority\r\nBuy milk,high\r\n", id="with a byte order mark"),
        pytest.param("title;priority\r\nBuy milk;high\r\n", id="separated by semicolons"),
        pytest.param("title\tpriority\nBuy milk\thigh\n", id="separated by tabs"),
        pytest.param("priority,title\nhigh,Buy milk", id="in another order, without an end"),
        pytest.param("title,priority\rBuy milk,high\r", id="with the line ends of old Macs"),
        pytest.param("Title,PRIORITY,,\r\nBuy milk,high,,\r\n,,,\r\n", id="with empty cells and lines at its ends"),
        pytest.param('"title","priority"\n"Buy milk","high"\n', id="with everything quoted"),
    ],
)
async def test_files_of_spreadsheets_are_read(alice: Caller, file: str) -> None:
    assert (await imported(alice, file))["created"] == 1
    [task] = await alice.tasks()
    assert (task["title"], task["priority"], task["status"]) == ("Buy milk", "high", "pending")


async def test_a_spreadsheet_may_write_its_booleans_in_capitals(alice: Caller) -> None:
    await imported(alice, "title,completed\nBuy milk,TRUE\nBuy bread,FALSE\n")
    assert {task["title"]: task["completed"] for task in await alice.tasks()} == {"Buy milk": True, "Buy bread": False}


async def test_errors_name_the_line_and_the_column(alice: Caller) -> None:
    errors = await refused(alice, 'title,priority,due_date\n"two\nlines",high,\nBuy bread,urgent,01.12.2026\n')
    assert [error["message"].partition(":")[0] for error in errors] == [
        'line 4, column "priority"',
        'line 4, column "due_date"',
    ]
    assert [error["index"] for error in errors] == [1, 1]


@pytest.mark.parametrize(
    ("file", "said"),
    [
        ("", "must begin with a line that names the columns"),
        ("Buy milk,high\n", "must begin with a line that names the columns"),
        ("title,title\nBuy milk,Buy bread\n", 'the column "title" twice'),
        ("title,colour\nBuy milk,red\n", 'line 2, column "colour": is not a field'),
        ("title,priority\nBuy milk,high,more\n", "line 2: has 3 cells under 2 columns"),
        ('title\n"Buy milk\n', "line 2: cannot be read"),
        ('title\n"Buy" milk\n', "line 2: cannot be read"),
    ],
)
async def test_what_is_no_table_is_refused_with_the_place(alice: Caller, file: str, said: str) -> None:
    [error] = await refused(alice, file)
    assert said in error["message"]


async def test_other_encodings_are_refused_with_advice(alice: Caller) -> None:
    answer = await send(alice, "title\nGrüße\n".encode("cp1252"))
    problem = assert_problem(answer, 400, "malformed-body")
    assert "CSV UTF-8" in problem["detail"]


async def test_a_dry_run_says_what_would_happen(alice: Caller) -> None:
    found = await imported(alice, "title\nBuy milk\n", dry_run="true")
    assert found == {"created": 1, "updated": 0, "skipped": 0, "dry_run": True}
    assert await alice.tasks() == []


async def test_a_file_has_at_most_ten_thousand_tasks(alice: Caller) -> None:
    [error] = await refused(alice, "title\n" + "Buy milk\n" * 10_001)
    assert error["limit"] == 10_000


async def test_a_media_type_of_another_kind_is_refused(alice: Caller) -> None:
    answer = await alice.post("/import", content=b"title\n", headers={"Content-Type": "text/plain"})
    assert_problem(answer, 415, "unsupported-media-type")


async def test_errors_after_a_row_that_is_none_name_their_own_row(alice: Caller) -> None:
    errors = await refused(alice, "title,priority\na,low,x\nb,urgent\n")
    assert [(error["index"], error["field"]) for error in errors] == [(0, ""), (1, "1.priority")]
