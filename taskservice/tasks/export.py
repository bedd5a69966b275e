"""All tasks of a user as a file, a page at a time: JSON to take back, CSV for spreadsheets, iCalendar for calendars."""

import csv
import datetime as dt
import io
from collections.abc import AsyncGenerator, Callable, Sequence
from typing import Final

import msgspec

from taskservice import __version__, rules
from taskservice.tasks.filters import Shape
from taskservice.tasks.list_query import ListQuery
from taskservice.tasks.schemas import Task, task_from
from taskservice.tasks.store import TaskStore

PAGE: Final = 500

_encode: Final = msgspec.json.Encoder().encode


class Format(msgspec.Struct, frozen=True):
    """How a file begins, goes on with a page of tasks, and ends."""

    media_type: str
    extension: str
    head: bytes
    page: Callable[[Sequence[Task], bool], bytes]
    tail: bytes


async def export(tasks: TaskStore, owner: str, form: Format) -> AsyncGenerator[bytes, None]:
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


# ---- CSV

_COLUMNS: Final = tuple(field for field in Task.__struct_fields__ if field not in {"user_id", "etag"})
_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""What spreadsheets take for the beginning of a formula, the full-width ones of Japanese keyboards too."""


def _csv_page(tasks: Sequence[Task], _first: bool) -> bytes:
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for task in tasks:
        shown = msgspec.to_builtins(task)
        writer.writerow([_cell(shown[column]) for column in _COLUMNS])
    return text.getvalue().encode()


def _cell(value: object) -> str:
    """An apostrophe keeps a spreadsheet from taking a title for a formula."""
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "" if value is None else str(value)
    return f"'{text}" if text.startswith(_FORMULA) else text


# ---- iCalendar (RFC 5545)

_CONTROLS: Final = dict.fromkeys([*range(0x09), *range(0x0A, 0x20), 0x7F])
_STATUS: Final = {"pending": "NEEDS-ACTION", "in_progress": "IN-PROCESS", rules.COMPLETED: "COMPLETED"}
_PRIORITY: Final = {"high": 1, "medium": 5, "low": 9}


def _ics_page(tasks: Sequence[Task], _first: bool) -> bytes:
    return b"".join(_fold(line) for task in tasks for line in _todo(task))


def _todo(task: Task) -> list[str]:
    lines = [
        "BEGIN:VTODO",
        f"UID:{task.id}",
        f"DTSTAMP:{_utc(task.updated_at)}",
        f"CREATED:{_utc(task.created_at)}",
        f"LAST-MODIFIED:{_utc(task.updated_at)}",
        f"SUMMARY:{_text(task.title)}",
        f"STATUS:{_STATUS[task.status]}",
        f"PRIORITY:{_PRIORITY[task.priority]}",
    ]
    if task.description:
        lines.append(f"DESCRIPTION:{_text(task.description)}")
    if isinstance(task.due_date, dt.date) and not isinstance(task.due_date, dt.datetime):
        lines.append(f"DUE;VALUE=DATE:{task.due_date.year:04}{task.due_date:%m%d}")
    elif task.due_date is not None:
        lines.append(f"DUE:{_utc(task.due_date)}")
    if task.completed_at is not None:
        lines += [f"COMPLETED:{_utc(task.completed_at)}", "PERCENT-COMPLETE:100"]
    return [*lines, "END:VTODO"]


def _utc(moment: dt.datetime | str) -> str:
    at = dt.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{at.year:04}{at:%m%dT%H%M%SZ}"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    escaped = escaped.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")
    # Other control characters have no place in a content line.
    return escaped.translate(_CONTROLS)


def _fold(line: str) -> bytes:
    """At most 75 octets a line, the space that goes before a continued one included; never within a character."""
    octets = line.encode()
    pieces, start, end = [], 0, 75
    while end < len(octets):
        while octets[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(octets[start:end])
        start, end = end, end + 74
    return b"\r\n ".join([*pieces, octets[start:]]) + b"\r\n"


FORMATS: Final[dict[str, Format]] = {
    "json": Format("application/json", "json", b"[", _json_page, b"]\n"),
    "csv": Format("text/csv; charset=utf-8", "csv", ",".join(_COLUMNS).encode() + b"\r\n", _csv_page, b""),
    "ics": Format(
        "text/calendar; charset=utf-8",
        "ics",
        f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//taskservice//{__version__}//EN\r\n".encode(),
        _ics_page,
        b"END:VCALENDAR\r\n",
    ),
}
