"""All tasks of a user as a file, a page at a time: JSON to take back, CSV for spreadsheets, iCalendar for calendars."""

from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

import msgspec

from taskservice.tasks import calendar, csv_file
from taskservice.tasks.filters import Shape
from taskservice.tasks.list_query import ListQuery
from taskservice.tasks.schemas import Task, task_from
from taskservice.tasks.store import Reads

PAGE: Final = 500

_encode: Final = msgspec.json.Encoder().encode


class Format(msgspec.Struct, frozen=True):
    """How a file begins, goes on with a page of tasks, and ends."""

    media_type: str
    extension: str
    head: bytes
    page: Callable[[Sequence[Task], bool], bytes]
    tail: bytes


async def export(tasks: Reads, owner: str, form: Format) -> AsyncGenerator[bytes, None]:
    """The file in pieces. A task that exists throughout is in it once, whatever is written meanwhile."""
    query = ListQuery(Shape(), {}, PAGE)
    first = True
    while True:
        page = await tasks.page(owner, query)
        piece = form.page([task_from(owner, row) for row in page.rows], first)
        if page.next_cursor is None:
            yield (form.head if first else b"") + piece + form.tail
            return
        yield (form.head if first else b"") + piece
        query, first = query.after(page.rows[-1]), False


def _json_page(tasks: Sequence[Task], first: bool) -> bytes:
    rows = b",\n".join(_encode(task) for task in tasks)
    return rows if first or not rows else b",\n" + rows


FORMATS: Final[dict[str, Format]] = {
    "json": Format("application/json", "json", b"[", _json_page, b"]\n"),
    "csv": Format("text/csv; charset=utf-8", "csv", csv_file.HEAD, csv_file.write_page, b""),
    "ics": Format("text/calendar; charset=utf-8", "ics", calendar.HEAD, calendar.write_todos, calendar.TAIL),
}
EVENTS: Final = msgspec.structs.replace(FORMATS["ics"], page=calendar.write_events)
"""`format=ics` for calendars that show events only."""
