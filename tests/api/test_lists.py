"""Filters and sorts, each held against the same rule said in plain Python (contract, section 6)."""

import itertools
from datetime import UTC, datetime, timedelta
from typing import Any
from zoneinfo import ZoneInfo

import pytest
import pytest_asyncio

from tests.support.model import PRIORITIES, SORT_KEYS, STATUSES, in_order, matches
from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller, Service

TITLES = [
    "apple",
    "Apple",
    "banana",
    "Banana 100%",
    "under_score",
    "back\\slash",
    "Zebra",
    "ärger",
    "Ärger",
    "éclair",
    "日本",
    "a'b",
    'a"b',
    "10",
    "9",
]
DUES = [
    None,
    "2026-12-01",
    "2026-12-01T00:00:00Z",
    "2026-12-01T12:00:00Z",
    "2026-11-30",
    "2030-01-01T00:00:00+02:00",
    "1999-01-01",
]
DESCRIPTIONS = [None, "", "APPLE pie", "100% sure", "snake_case", "ends with \\"]


@pytest_asyncio.fixture(scope="session")
async def librarian(service: Service) -> Caller:
    """A user with many different tasks."""
    caller = service.user("librarian")
    for title, due, description, status, priority in itertools.islice(
        zip(
            itertools.cycle(TITLES),
            itertools.cycle(DUES),
            itertools.cycle(DESCRIPTIONS),
            itertools.cycle(STATUSES),
            itertools.cycle([*PRIORITIES, "medium", "low"]),
            strict=False,
        ),
        60,
    ):
        await caller.create(title, due_date=due, description=description, status=status, priority=priority)
    for task in (await caller.tasks())[::7]:
        await caller.patch(f"/{task['id']}", json={"title": task["title"] + "!"})
    deleted = await caller.create("deleted apple")
    await caller.delete(f"/{deleted['id']}")
    return caller


@pytest.fixture
def reader(librarian: Caller, surface: Any) -> Caller:
    return librarian.on(surface)


FILTERS = [
    ("status", "pending"), ("status", "completed"), ("status", "all"), ("completed", "true"), ("completed", "false"),
    ("priority", "low"), ("priority", "low,high"), ("priority", "medium"), ("due", "none"), ("due", "any"),
    ("due", "any,none"),
    ("due_before", "2026-12-01"), ("due_before", "2026-12-01T12:00:00Z"), ("due_after", "2026-12-01"),
    ("due_after", "2026-11-30T23:59:59.999999Z"), ("due_before", "2026-12-01T13:00:00+01:00"),
    ("q", "apple"), ("q", "APPLE"), ("q", "%"), ("q", "_"), ("q", "\\"), ("q", "100%"), ("q", "Ä"), ("q", "日"),
    ("q", "'"), ("q", '"'), ("q", "nothing like this"), ("q", " "), ("q", "a'b"),
]  # fmt: skip
TOKEN_ONLY = [("status", "in_progress"), ("status", "pending,completed"), ("status", "in_progress,pending")]


@pytest.mark.parametrize(("name", "value"), FILTERS)
async def test_a_filter_keeps_what_matches_and_nothing_else(reader: Caller, name: str, value: str) -> None:
    everything = await reader.tasks()
    assert len(everything) == 60
    open_is_pending = reader.surface == "path"
    wanted = [task for task in everything if matches(task, name, value, pending_is_open=open_is_pending)]
    assert await reader.tasks(**{name: value}) == wanted


@pytest.mark.parametrize(("name", "value"), TOKEN_ONLY)
async def test_the_token_surface_tells_states_apart(librarian: Caller, name: str, value: str) -> None:
    everything = await librarian.tasks()
    wanted = [task for task in everything if matches(task, name, value, pending_is_open=False)]
    assert 0 < len(wanted) < len(everything)
    assert await librarian.tasks(**{name: value}) == wanted
    assert await librarian.tasks(status=value.split(",")) == wanted
    answer = await librarian.on("path").get("", params={"status": "in_progress"})
    [error] = assert_problem(answer, 422)["errors"]
    assert error["allowed"] == ["pending", "completed", "all"]


async def test_filters_may_be_repeated_or_joined_by_comma(reader: Caller) -> None:
    joined = await reader.tasks(priority="low,high")
    assert await reader.tasks(priority=["low", "high"]) == joined
    assert await reader.tasks(priority=["high,low", "low"]) == joined
    assert await reader.tasks(status=["pending", "all"]) == await reader.tasks()


async def test_filters_are_combined_with_and(reader: Caller) -> None:
    everything = await reader.tasks()
    asked = {"completed": "false", "priority": "low,medium", "due": "any", "q": "a", "due_after": "2026-11-30"}
    wanted = [
        task
        for task in everything
        if all(matches(task, name, value, pending_is_open=False) for name, value in asked.items())
    ]
    assert wanted
    assert await reader.tasks(**asked) == wanted


@pytest.mark.parametrize("name", ["created", "updated", "completed"])
async def test_moments_bound_a_list_on_both_sides(reader: Caller, name: str) -> None:
    everything = await reader.tasks()
    everything = [task for task in everything if task[f"{name}_at"]]
    middle = everything[len(everything) // 2][f"{name}_at"]
    before, after = await reader.tasks(**{f"{name}_before": middle}), await reader.tasks(**{f"{name}_after": middle})
    assert before == [task for task in everything if task[f"{name}_at"] < middle]
    assert after == [task for task in everything if task[f"{name}_at"] > middle]
    assert len(before) + len(after) == len(everything) - 1 > 10


SORTS = [*SORT_KEYS, *(f"-{name}" for name in SORT_KEYS)]
SEVERAL = [
    "priority,title",
    "-priority,due",
    "status,-priority,title",
    "due,-created",
    "-due,priority,-title",
    "title,-updated",
    "-status,-priority",
]


@pytest.mark.parametrize("sort", SORTS + SEVERAL)
async def test_a_sort_orders_all_and_breaks_ties_by_id(reader: Caller, sort: str) -> None:
    everything = await reader.tasks()
    assert [task["id"] for task in await reader.tasks(sort=sort)] == [task["id"] for task in in_order(everything, sort)]


@pytest.mark.parametrize("sort", list(SORT_KEYS))
async def test_minus_reverses_exactly(reader: Caller, sort: str) -> None:
    assert await reader.tasks(sort=f"-{sort}") == (await reader.tasks(sort=sort))[::-1]


async def test_without_a_sort_it_is_by_creation(reader: Caller) -> None:
    assert await reader.tasks() == await reader.tasks(sort="created")


async def test_tasks_without_a_due_date_come_last(reader: Caller) -> None:
    dues = [task["due_date"] for task in await reader.tasks(sort="due")]
    assert dues[0] is not None
    assert None not in dues[: dues.index(None)]
    assert set(dues[dues.index(None) :]) == {None}


class TestClock:
    """`due=today` and `due=overdue`, in a time zone."""

    @pytest.mark.parametrize(
        "zone", ["UTC", "Pacific/Kiritimati", "America/Los_Angeles", "Asia/Kolkata", "Pacific/Pago_Pago"]
    )
    async def test_today_is_the_day_of_the_zone(self, alice: Caller, zone: str) -> None:
        now = datetime.now(ZoneInfo(zone))
        today = now.date()
        start = datetime(today.year, today.month, today.day, tzinfo=ZoneInfo(zone))
        inside = ["the day", "its first moment", "its noon"]
        await alice.create("the day", due_date=today.isoformat())
        await alice.create("the day before", due_date=(today - timedelta(days=1)).isoformat())
        await alice.create("the day after", due_date=(today + timedelta(days=1)).isoformat())
        await alice.create("its first moment", due_date=start.isoformat())
        await alice.create("its noon", due_date=(start + timedelta(hours=12)).isoformat())
        await alice.create("a moment before", due_date=(start - timedelta(microseconds=1)).isoformat())
        await alice.create("two days on", due_date=(start + timedelta(hours=49)).isoformat())
        await alice.create("never")
        assert await alice.titles(due="today", tz=zone) == inside

    async def test_overdue_is_past_and_not_completed(self, alice: Caller) -> None:
        now = datetime.now(UTC)
        await alice.create("an hour ago", due_date=(now - timedelta(hours=1)).isoformat())
        await alice.create("in an hour", due_date=(now + timedelta(hours=1)).isoformat())
        await alice.create("two days ago", due_date=(now - timedelta(days=2)).date().isoformat())
        await alice.create("today", due_date=now.date().isoformat())
        await alice.create("long ago, but done", due_date="2001-01-01", completed=True)
        await alice.create("never")
        assert await alice.titles(due="overdue") == ["an hour ago", "two days ago"]

    async def test_a_day_is_overdue_when_it_is_over_in_the_zone(self, alice: Caller) -> None:
        east, west = ZoneInfo("Pacific/Kiritimati"), ZoneInfo("Pacific/Pago_Pago")
        day = datetime.now(west).date()
        assert day < datetime.now(east).date()
        await alice.create("that day", due_date=day.isoformat())
        assert await alice.titles(due="overdue", tz="Pacific/Kiritimati") == ["that day"]
        assert await alice.titles(due="overdue", tz="Pacific/Pago_Pago") == []

    @pytest.mark.parametrize(
        "zone", ["Nowhere", "", "europe/berlin ", "../../etc/passwd", "UTC+1", "+01:00", "Europe", "posixrules\x01"]
    )
    async def test_what_is_no_zone_is_422(self, alice: Caller, zone: str) -> None:
        assert fields_of(assert_problem(await alice.get("", params={"due": "today", "tz": zone}), 422)) == {"tz"}


@pytest.mark.parametrize(
    ("query", "field", "allowed"),
    [
        ("status=done", "status", True), ("status=", "status", True), ("status=pending,", "status", True),
        ("completed=yes", "completed", True), ("completed=1", "completed", True),
        ("completed=true&completed=false", "completed", False), ("priority=urgent", "priority", True),
        ("priority=low&priority=x", "priority", True), ("due=tomorrow", "due", True),
        ("due=none,never", "due", True), ("due=none&due=x", "due", True), ("count=1", "count", True),
        ("count=true,true", "count", False), ("count=true&count=true", "count", False), ("ids=", "ids", False),
        ("ids=x", "ids", False), ("ids=01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e,", "ids", False),
        ("ids=01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e&ids=01976b2e-0b3c-7c4e-9d57-1f2a3b4c5d6e", "ids", False),
        ("completed_before=soon", "completed_before", False), ("completed_after=", "completed_after", False),
        ("due=none&tz=UTC", "tz", False), ("due_before=soon", "due_before", False),
        ("due_after=", "due_after", False),
        ("created_before=2026-13-01", "created_before", False), ("created_after=0", "created_after", False),
        ("updated_before=2026-12-01T99:00:00Z", "updated_before", False), ("updated_after=x", "updated_after", False),
        ("due_before=10000-01-01", "due_before", False), ("due_before=0000-01-01", "due_before", False),
        ("due_before=9999-12-31T23:59:59-12:00", "due_before", False),
        ("q=", "q", False), ("q=%00", "q", False), ("q=a&q=b", "q", False), ("sort=", "sort", True),
        ("sort=name", "sort", True), ("sort=title,", "sort", True), ("sort=title,title", "sort", False),
        ("sort=title,-title", "sort", False), ("sort=--title", "sort", True), ("sort=+title", "sort", True),
        ("sort=Title", "sort", True), ("sort=title&sort=due", "sort", False), ("limit=0", "limit", False),
        ("limit=1001", "limit", False), ("limit=-1", "limit", False), ("limit=x", "limit", False),
        ("limit=", "limit", False),
        ("limit=1.5", "limit", False), ("limit=99999999999999999999", "limit", False), ("limit=%D9%A3", "limit", False),
        ("limit=1&limit=2", "limit", False), ("cursor=", "cursor", False),
        ("page=2", "page", True), ("Status=all", "Status", True),
        ("offset=1", "offset", True), ("tz=UTC", "tz", False), ("=x", "", True), ("x", "x", True),
    ],
)  # fmt: skip
async def test_a_bad_value_is_422_naming_parameter_and_what_is_allowed(
    alice: Caller, query: str, field: str, allowed: bool
) -> None:
    document = assert_problem(await alice.get(f"?{query}"), 422, "validation-failed")
    assert fields_of(document) == {field}
    for error in document["errors"]:
        assert error["location"] == "query"
        assert bool(error.get("allowed")) is allowed


@pytest.mark.parametrize("query", ["q=%FF", "q=%ED%A0%80", "%FF=1", "q=%C3%28"])
async def test_what_is_not_utf8_in_a_query_is_named_with_all_else(alice: Caller, query: str) -> None:
    name = query.partition("=")[0]
    for path in ("", "/trash", "/changes"):
        answer = await alice.get(f"{path}?{query}&limit=0")
        assert fields_of(assert_problem(answer, 422, "validation-failed")) == {name, "limit"}
    answer = await alice.post(f"?{query}", json={"title": ""})
    assert fields_of(assert_problem(answer, 422, "validation-failed")) == {name, "title"}


async def test_more_than_a_hundred_parameters_are_refused_as_what_they_are(alice: Caller) -> None:
    document = assert_problem(await alice.get("?" + "&".join(["status=pending"] * 101)), 422, "validation-failed")
    assert document["errors"][0]["limit"] == 100
    assert len(await alice.tasks(status=["pending"] * 100)) == 0


async def test_a_bad_condition_is_named_together_with_bad_parameters(alice: Caller) -> None:
    answer = await alice.get("?limit=0&foo=1", headers={"If-None-Match": "garbage"})
    assert fields_of(assert_problem(answer, 422, "validation-failed")) == {"limit", "foo", "If-None-Match"}


@pytest.mark.parametrize("zone", ["localtime", "europe/berlin", "../UTC", "posix/UTC", "UTC+1", ""])
async def test_what_is_no_iana_zone_is_refused(alice: Caller, zone: str) -> None:
    answer = await alice.get("", params={"due": "today", "tz": zone})
    assert fields_of(assert_problem(answer, 422, "validation-failed")) == {"tz"}


async def test_all_bad_parameters_are_named_at_once(alice: Caller) -> None:
    query = "status=x&priority=x&due=x&due_before=x&limit=x&sort=x&q=&nonsense=1&cursor=x&completed=x"
    assert fields_of(assert_problem(await alice.get(f"?{query}"), 422)) == {
        "status", "priority", "due", "due_before", "limit", "sort", "q", "nonsense", "cursor", "completed",
    }  # fmt: skip


async def test_a_very_long_query_is_a_4xx(alice: Caller) -> None:
    for query in ("q=" + "x" * 5000, "&".join(f"p{n}=1" for n in range(500)), "sort=" + "title," * 500):
        answer = await alice.get(f"?{query}")
        assert 400 <= answer.status_code < 500
        assert_problem(answer, answer.status_code)
    assert await alice.tasks(priority="low," * 900 + "low") == []


async def test_the_list_is_a_plain_array(alice: Caller) -> None:
    await alice.create()
    answer = await alice.get()
    assert isinstance(answer.json(), list)
    assert answer.headers["content-type"] == "application/json"
    assert "link" not in answer.headers


async def test_tasks_of_one_batch_are_listed_in_its_order(alice: Caller) -> None:
    titles = [f"task {n}" for n in range(100)]
    operations = [{"op": "create", "data": {"title": title}} for title in titles]
    assert (await alice.post("/batch", json={"operations": operations})).status_code == 200
    assert await alice.titles() == titles


async def test_an_infinite_due_date_that_was_written_by_hand_spoils_no_list(alice: Caller) -> None:
    tasks = [await alice.create(title, due_date="2030-01-31T09:00:00Z") for title in ("never", "soon", "always")]
    for task, due in ((tasks[0], "infinity"), (tasks[2], "-infinity")):
        await alice.service.execute(f"UPDATE tasks SET due_date = '{due}' WHERE id = $1", task["id"])
    assert [(task["title"], task["due_date"]) for task in await alice.tasks(sort="due")] == [
        ("always", "0001-01-01T00:00:00.000000Z"),
        ("soon", "2030-01-31T09:00:00.000000Z"),
        ("never", "9999-12-31T23:59:59.999999Z"),
    ]
