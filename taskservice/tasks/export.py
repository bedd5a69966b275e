"""All tasks of a user as a file, a page at a time: JSON to take back, CSV for spreadsheets, iCalendar for calendars."""

import asyncio
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

import msgspec

from taskservice.tasks import calendar, csv_file
from taskservice.tasks.filters import Shape
from taskservice.tasks.list_query import ListQuery
from taskservice.tasks.schemas import Task, task_from
from taskservice.tasks.store import Reads

PAGE: Final = 500
PIECE: Final = 50
"""Tasks between two turns of the event loop: a calendar takes longest to write."""

_encode: Final = msgspec.json.Encoder().encode


class Format(msgspec.Struct, frozen=True):
    """How a file begins, goes on with a page of tasks, and ends."""

    media_type: str
    extension: str
    head: bytes
    page: Callable[[Sequence[Task]], bytes]
    tail: bytes = b""
    between: bytes = b""
    """What stands between two pages."""


async def export(tasks: Reads, owner: str, form: Format) -> AsyncGenerator[bytes, None]:
    """The file in pieces. A task that exists throughout is in it once, whatever is written meanwhile."""
    query = ListQuery(Shape(), {}, PAGE)
    page = await tasks.page(owner, query)
    yield form.head  # after the first page: without a database no part of the file has been sent
    between = b""
    while True:
        for start in range(0, len(page.rows), PIECE):
            yield between + form.page([task_from(owner, row) for row in page.rows[start : start + PIECE]])
            between = form.between
            await asyncio.sleep(0)
        if page.next_cursor is None:
            break
        query = query.after(page.rows[-1])
        page = await tasks.page(owner, query)
    if form.tail:
        yield form.tail


def _json_page(tasks: Sequence[Task]) -> bytes:
    return b",\n".join(_encode(task) for task in tasks)


FORMATS: Final[dict[str, Format]] = {
    "json": Format("application/json", "json", b"[", _json_page, b"]\n", between=b",\n"),
    "csv": Format("text/csv; charset=utf-8", "csv", csv_file.HEAD, csv_file.write_page),
    "ics": Format("text/calendar; charset=utf-8", "ics", calendar.HEAD, calendar.write_todos, calendar.TAIL),
}
EVENTS: Final = msgspec.structs.replace(FORMATS["ics"], page=calendar.write_events)
"""`format=ics` for calendars that show events only."""
