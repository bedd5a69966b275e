"""`component=event`: the calendar that people subscribe to."""

import datetime as dt
from typing import Any

import icalendar

from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller


async def events(caller: Caller) -> dict[str, Any]:
    answer = await caller.get("/export", params={"format": "ics", "component": "event"})
    assert answer.status_code == 200
    assert answer.headers["content-type"] == "text/calendar; charset=utf-8"
    calendar = icalendar.Calendar.from_ical(answer.content)
    assert not calendar.walk("VTODO")
    return {str(event["SUMMARY"]): event for event in calendar.walk("VEVENT")}


async def test_a_plain_date_is_an_event_of_the_whole_day(alice: Caller) -> None:
    task = await alice.create("Pay rent", due_date="2026-12-01", description="by transfer")
    event = (await events(alice))["Pay rent"]
    assert event["DTSTART"].dt == dt.date(2026, 12, 1)
    assert event["DTSTART"].params["VALUE"] == "DATE"
    assert str(event["DESCRIPTION"]) == "by transfer"
    assert str(event["UID"]).startswith(task["id"])


async def test_an_instant_is_an_event_at_that_moment(alice: Caller) -> None:
    await alice.create("Call Ann", due_date="2026-12-01T10:00:00+02:00")
    assert (await events(alice))["Call Ann"]["DTSTART"].dt == dt.datetime(2026, 12, 1, 8, tzinfo=dt.UTC)


async def test_only_tasks_with_a_due_date_are_events(alice: Caller) -> None:
    await alice.create("some day")
    assert await events(alice) == {}


async def test_an_event_says_that_its_task_is_done_and_keeps_nobody_busy(alice: Caller) -> None:
    await alice.create("Pay rent", due_date="2026-12-01", status="completed")
    [(summary, event)] = (await events(alice)).items()
    assert summary == "\u2713 Pay rent"
    assert str(event["TRANSP"]) == "TRANSPARENT"


async def test_without_the_component_tasks_are_todos(alice: Caller) -> None:
    await alice.create("Pay rent", due_date="2026-12-01")
    answer = await alice.get("/export", params={"format": "ics"})
    assert len(icalendar.Calendar.from_ical(answer.content).walk("VTODO")) == 1


async def test_other_formats_have_no_components(alice: Caller) -> None:
    answer = await alice.get("/export", params={"format": "csv", "component": "event"})
    assert fields_of(assert_problem(answer, 422, "validation-failed")) == {"component"}
