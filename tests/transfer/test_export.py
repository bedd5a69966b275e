"""Export: every task once, in files that other programs can read and that do them no harm."""

import asyncio
import csv
import datetime as dt
import io
import json
import signal
import socket
import subprocess
import time
import uuid
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import icalendar
import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskservice.database.moments import microseconds_of
from taskservice.tasks.export import FORMATS
from taskservice.tasks.fields import ROW
from taskservice.tasks.schemas import Task, task_from
from tests.support.commands import Operator
from tests.support.postgres import ThrowawayPostgres
from tests.support.problems import assert_problem, fields_of
from tests.support.services import SECRET, Caller, Service
from tests.support.tokens import bearer, signed
from tests.support.wire import Wire

pytestmark = pytest.mark.slow

FILL = (
    "INSERT INTO tasks (id, user_id, title, description, revision) SELECT gen_random_uuid(), $1, 'task ' || n, "
    "repeat('x', $3), n FROM generate_series(1, $2::int) n"
)


async def fill(service: Service, user: str, count: int, length: int = 10) -> None:
    """Straight into the database: many."""
    await service.execute("INSERT INTO users (id, revision) VALUES ($1, $2)", user, count)
    await service.execute(FILL, user, count, length)


async def export(caller: Caller, form: str = "json") -> httpx.Response:
    answer = await caller.get("/export", params={"format": form})
    assert answer.status_code == 200, answer.text
    return answer


async def todos(caller: Caller) -> list[Any]:
    calendar: Any = icalendar.Calendar.from_ical((await export(caller, "ics")).content)
    assert (calendar["VERSION"], calendar.errors) == ("2.0", [])
    assert "taskservice" in calendar["PRODID"]
    return list(calendar.walk("VTODO"))


# ---- every format


@pytest.mark.parametrize(
    ("form", "media_type"),
    [("json", "application/json"), ("csv", "text/csv; charset=utf-8"), ("ics", "text/calendar; charset=utf-8")],
)
async def test_a_file_says_what_it_is(alice: Caller, form: str, media_type: str) -> None:
    answer = await export(alice, form)
    assert answer.headers["content-type"] == media_type
    assert answer.headers["content-disposition"] == f'attachment; filename="tasks.{form}"'
    assert "private" in answer.headers["cache-control"]


async def test_without_a_format_it_is_json(alice: Caller) -> None:
    task = await alice.create(due_date="2026-12-01", description="two\nlines")
    answer = await alice.get("/export")
    assert answer.json() == [task]


async def test_somebody_without_tasks_gets_an_empty_file(alice: Caller) -> None:
    assert (await export(alice)).json() == []
    assert list(csv.DictReader(io.StringIO((await export(alice, "csv")).text))) == []
    assert await todos(alice) == []


@pytest.mark.parametrize("query", ["format=xml", "format=", "format=JSON", "format=json&format=csv", "status=pending"])
async def test_bad_parameters_are_422(alice: Caller, query: str) -> None:
    document = assert_problem(await alice.get(f"/export?{query}"), 422)
    assert fields_of(document) == {query.partition("=")[0]}


async def test_only_ones_own_living_tasks_are_in_it(alice: Caller, bob: Caller) -> None:
    mine, gone = await alice.create("mine"), await alice.create("gone")
    await alice.delete(f"/{gone['id']}")
    await bob.create("bob's")
    assert (await export(alice)).json() == [mine]
    assert [row["title"] for row in csv.DictReader(io.StringIO((await export(alice, "csv")).text))] == ["mine"]
    assert [str(todo["SUMMARY"]) for todo in await todos(alice)] == ["mine"]


@pytest.mark.parametrize("count", [499, 500, 501, 1000])
async def test_pages_join_without_a_seam(service: Service, someone: Any, count: int) -> None:
    alice = service.user(someone("alice"))
    await fill(service, alice.user, count)
    tasks = (await export(alice)).json()
    assert {task["title"] for task in tasks} == {f"task {number}" for number in range(1, count + 1)}
    assert len(tasks) == len(list(csv.DictReader(io.StringIO((await export(alice, "csv")).text)))) == count
    assert len(await todos(alice)) == count


async def test_what_stays_is_in_it_once_while_others_come_and_go(service: Service, someone: Any) -> None:
    alice = service.user(someone("alice"))
    await fill(service, alice.user, 3000)
    tasks = (await export(alice)).json()
    staying = {task["id"] for task in tasks[::2]}
    going = iter([task["id"] for task in tasks[1::2]])
    over = asyncio.Event()

    async def write() -> None:
        while not over.is_set():
            await alice.create("new")
            await alice.delete(f"/{next(going)}?permanent=true")
            await alice.patch(f"/{tasks[0]['id']}", json={"title": f"changed {time.monotonic_ns()}"})

    writers = [asyncio.create_task(write()) for _ in range(3)]
    try:
        for form in ("json", "csv", "json"):
            answer = await export(alice, form)
            found = answer.json() if form == "json" else list(csv.DictReader(io.StringIO(answer.text)))
            ids = [task["id"] for task in found]
            assert len(ids) == len(set(ids))
            assert staying <= set(ids)
    finally:
        over.set()
        await asyncio.gather(*writers)


async def test_a_reader_who_leaves_holds_nothing_up(service: Service, someone: Any) -> None:
    alice = service.user(someone("alice"))
    await fill(service, alice.user, 5000, length=1000)
    for _ in range(12):  # more than there are connections to the database
        async with service.http.stream("GET", alice.url("/export"), headers=alice.headers) as answer:
            await anext(answer.aiter_raw())
    assert len(await alice.tasks(limit=1)) == 1


async def test_a_file_that_breaks_off_cannot_be_taken_for_whole(severed: tuple[Service, Wire], someone: Any) -> None:
    service, wire = severed
    alice = service.user(someone("alice"))
    await fill(service, alice.user, 20_000, length=1000)

    async def read_while_the_database_goes_away() -> None:
        async with service.http.stream("GET", alice.url("/export"), headers=alice.headers) as answer:
            assert answer.status_code == 200
            await asyncio.to_thread(wire.cut)
            async for _ in answer.aiter_raw():
                pass

    with pytest.raises(httpx.RemoteProtocolError):
        await read_while_the_database_goes_away()


async def test_a_file_that_cannot_begin_is_a_503(severed: tuple[Service, Wire], someone: Any) -> None:
    service, wire = severed
    alice = service.user(someone("alice"))
    await asyncio.to_thread(wire.cut)
    assert_problem(await alice.get("/export?format=csv"), 503)


# ---- in bounded memory


@pytest.fixture
def running(tmp_path: Path, database_url: str) -> Iterator[tuple[str, psutil.Process]]:
    """A service in a process of its own: its address, and the process."""
    with socket.create_server(("127.0.0.1", 0)) as free:
        port = free.getsockname()[1]
    operator = Operator(tmp_path, DATABASE_URL=database_url, BETTER_AUTH_SECRET=SECRET)
    process = subprocess.Popen(
        ["litestar", "run", "--port", str(port)],
        cwd=tmp_path,
        env=operator.environ(),
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
    )
    url = f"http://127.0.0.1:{port}"
    until = time.monotonic() + 60
    while time.monotonic() < until:
        try:
            if httpx.get(url + "/health/ready", trust_env=False).status_code == 200:
                break
        except httpx.HTTPError:
            time.sleep(0.1)
    yield url, psutil.Process(process.pid)
    process.send_signal(signal.SIGTERM)
    assert process.wait(30) == 0


@pytest.mark.timing
def test_many_tasks_are_streamed_in_little_memory(
    running: tuple[str, psutil.Process], postgres: ThrowawayPostgres, database_url: str
) -> None:
    url, process = running
    postgres.execute("INSERT INTO users (id, revision) VALUES ('alice', 20000), ('bob', 100)", database_url)
    for user, count in (("alice", 20_000), ("bob", 1000)):
        statement = FILL.replace("$1", f"'{user}'").replace("$2", str(count)).replace("$3", "1000")
        postgres.execute(statement, database_url)
    largest = 0
    with httpx.Client(base_url=url, trust_env=False, timeout=60) as http:
        for form in FORMATS:  # what the first call of each takes is no matter of the number of tasks
            http.get(f"/api/tasks/export?format={form}", headers=bearer(signed({"sub": "bob"})))
        before = process.memory_info().rss
        for form in FORMATS:
            size = 0
            path = f"/api/tasks/export?format={form}"
            with http.stream("GET", path, headers=bearer(signed({"sub": "alice"}))) as answer:
                assert "content-length" not in answer.headers
                time.sleep(0.5)  # a slow reader does not make the service run ahead
                for number, piece in enumerate(answer.iter_raw()):
                    size += len(piece)
                    if number % 16 == 0:
                        largest = max(largest, process.memory_info().rss)
            assert size > 20_000 * 1000
    assert largest - before < 12 * 1024 * 1024


# ---- CSV

FORMULAS = ["=1+1", "+1", "-1", "@SUM(A1)", "=cmd|' /C calc'!A0", "＝1+1", "＋1", "－1", "＠x"]  # noqa: RUF001


async def test_a_spreadsheet_takes_nothing_for_a_formula(alice: Caller) -> None:
    for text in FORMULAS:
        await alice.create(text, description=text)
    for text in ("\t=1+1", "\r=1+1", "\n=1+1"):
        await alice.create("control", description=text)
    rows = list(csv.DictReader(io.StringIO((await export(alice, "csv")).text, newline="")))
    assert [row["title"] for row in rows[: len(FORMULAS)]] == [f"'{text}" for text in FORMULAS]
    for row in rows:
        for value in row.values():
            assert not value.startswith(("=", "+", "-", "@", "\t", "\r", "\n", "＝", "＋", "－", "＠"))  # noqa: RUF001
    assert all(row["description"].startswith("'") for row in rows)


async def test_a_spreadsheet_finds_every_field(alice: Caller) -> None:
    task = await alice.create(
        'a "quoted", title', description='lines\r\nand "more";\n, \U0001f600', due_date="2026-12-01", priority="high"
    )
    task = (await alice.patch(f"/{task['id']}/complete")).json()
    text = (await export(alice, "csv")).text
    [row] = csv.DictReader(io.StringIO(text, newline=""))
    assert row.pop("completed") == "true"
    assert row == {name: value for name, value in task.items() if name not in {"user_id", "completed", "etag"}}
    assert text.startswith("id,title,description,")
    assert text.endswith("\r\n")


async def test_what_is_null_is_an_empty_cell(alice: Caller) -> None:
    await alice.create()
    [row] = csv.DictReader(io.StringIO((await export(alice, "csv")).text))
    assert (row["description"], row["due_date"], row["completed_at"], row["completed"]) == ("", "", "", "false")


# ---- iCalendar


async def test_a_calendar_reads_every_field(alice: Caller) -> None:
    task = await alice.create(
        "Call; Bob, soon\\", description="one\ntwo\r\nthree", priority="high", status="in_progress"
    )
    [todo] = await todos(alice)
    assert (todo["UID"], todo["SUMMARY"]) == (task["id"], task["title"])
    assert todo["DESCRIPTION"] == "one\ntwo\nthree"
    assert (todo["STATUS"], todo["PRIORITY"]) == ("IN-PROCESS", 1)
    created = dt.datetime.fromisoformat(task["created_at"]).replace(microsecond=0)
    assert todo.decoded("CREATED") == todo.decoded("DTSTAMP") == todo.decoded("LAST-MODIFIED") == created
    assert "DUE" not in todo
    assert "COMPLETED" not in todo


async def test_a_completed_task_is_completed_in_a_calendar(alice: Caller) -> None:
    task = await alice.create(status="completed", priority="low")
    [todo] = await todos(alice)
    assert (todo["STATUS"], todo["PERCENT-COMPLETE"], todo["PRIORITY"]) == ("COMPLETED", 100, 9)
    assert todo.decoded("COMPLETED") == dt.datetime.fromisoformat(task["completed_at"]).replace(microsecond=0)


@pytest.mark.parametrize(
    ("due", "meant"),
    [
        ("2026-12-01", dt.date(2026, 12, 1)),
        ("2026-12-01T00:00:00Z", dt.datetime(2026, 12, 1, tzinfo=dt.UTC)),
        ("2026-12-01T09:30:00.123456+02:00", dt.datetime(2026, 12, 1, 7, 30, tzinfo=dt.UTC)),
        ("0001-01-01", dt.date(1, 1, 1)),
        ("9999-12-31", dt.date(9999, 12, 31)),
        ("0999-12-31T23:59:59Z", dt.datetime(999, 12, 31, 23, 59, 59, tzinfo=dt.UTC)),
    ],
)
async def test_a_day_stays_a_day_and_a_moment_a_moment(alice: Caller, due: str, meant: dt.date) -> None:
    await alice.create(due_date=due)
    [todo] = await todos(alice)
    assert todo.decoded("DUE") == meant
    assert type(todo.decoded("DUE")) is type(meant)


@pytest.mark.parametrize(
    "text", ["x" * 200, "ä" * 200, "日本語" * 66, "\U0001f469\u200d\U0001f680" * 60, "a,b;c\\n" * 28]
)
async def test_long_lines_are_folded_between_characters(alice: Caller, text: str) -> None:
    await alice.create(text, description=text * 3)
    content = (await export(alice, "ics")).content
    for line in content.split(b"\r\n"):
        assert len(line) <= 75
        assert b"\n" not in line
        line.decode()
    [todo] = await todos(alice)
    assert (todo["SUMMARY"], todo["DESCRIPTION"]) == (text, text * 3)


NOW = microseconds_of(dt.datetime(2026, 11, 20, 9, 15, 30, tzinfo=dt.UTC))


def task(**fields: Any) -> Task:
    known = {"title": "t", "description": None} | fields
    row = {
        "id": uuid.UUID(int=1), "status": "pending", "priority": "medium", "due_date": None, "due_all_day": False,
        "created_at": NOW, "updated_at": NOW, "completed_at": None, "deleted_at": None, "revision": 1,
        "epoch": "k3f9q2x1",
    } | known  # fmt: skip
    return task_from("alice", [row[name] for name in ROW])


def as_calendar(one: Task) -> Any:
    form = FORMATS["ics"]
    [todo] = icalendar.Calendar.from_ical(form.head + form.page([one]) + form.tail).walk("VTODO")
    return todo


@given(
    st.text(
        st.characters(codec="utf-8", exclude_categories=["Cc"], include_characters="\n\t"), min_size=1, max_size=300
    )
)
def test_any_text_survives_a_calendar(text: str) -> None:
    todo = as_calendar(task(title=text, description=text))
    assert (str(todo["SUMMARY"]), str(todo["DESCRIPTION"])) == (text, text)


@given(st.text(st.characters(codec="utf-8", exclude_characters="\x00"), max_size=300))
def test_no_text_spoils_a_calendar_or_a_table(text: str) -> None:
    assert as_calendar(task(description=text))["STATUS"] == "NEEDS-ACTION"
    form = FORMATS["csv"]
    [_, row] = csv.reader(io.StringIO((form.head + form.page([task(description=text)])).decode(), newline=""))
    assert row[2] in {text, f"'{text}"}
    assert not row[2].startswith(("=", "+", "-", "@", "\t", "\r", "\n"))
    assert json.loads(FORMATS["json"].page([task(description=text)]))["description"] == text
