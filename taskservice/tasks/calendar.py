"""Tasks as iCalendar (RFC 5545): to-dos for programs that know them, and events for every calendar."""

import datetime as dt
from collections.abc import Iterable, Sequence
from typing import Final

from taskservice import __version__, rules
from taskservice.tasks.schemas import Task

HEAD: Final = f"BEGIN:VCALENDAR\r\nVERSION:2.0\r\nPRODID:-//taskservice//{__version__}//EN\r\n".encode()
TAIL: Final = b"END:VCALENDAR\r\n"

_CONTROLS: Final = dict.fromkeys([*range(0x09), *range(0x0A, 0x20), 0x7F])
_STATUS: Final = {"pending": "NEEDS-ACTION", "in_progress": "IN-PROCESS", rules.COMPLETED: "COMPLETED"}
_PRIORITY: Final = {"high": 1, "medium": 5, "low": 9}
_DONE: Final = "\u2713 "


def write_todos(tasks: Sequence[Task]) -> bytes:
    """A VTODO for each task."""
    return _encoded(line for task in tasks for line in _todo(task))


def write_events(tasks: Sequence[Task]) -> bytes:
    """A VEVENT for each task with a due date. Calendars that people subscribe to show events only."""
    return _encoded(line for task in tasks if task.due_date is not None for line in _event(task, task.due_date))


def _todo(task: Task) -> list[str]:
    lines = ["BEGIN:VTODO", f"UID:{task.id}", *_common(task), f"SUMMARY:{_text(task.title)}"]
    lines.append(f"STATUS:{_STATUS[task.status]}")
    if task.due_date is not None:
        lines.append(_moment("DUE", task.due_date))
    if task.completed_at is not None:
        lines += [f"COMPLETED:{_utc(task.completed_at)}", "PERCENT-COMPLETE:100"]
    return [*lines, "END:VTODO"]


def _event(task: Task, due: dt.date | dt.datetime | str) -> list[str]:
    # A UID of its own: a calendar that has both files takes equal ones for the same object.
    # Transparent: a task that is due does not make its owner busy.
    return [
        "BEGIN:VEVENT",
        f"UID:{task.id}-due",
        *_common(task),
        f"SUMMARY:{_DONE if task.completed else ''}{_text(task.title)}",
        _moment("DTSTART", due),
        "TRANSP:TRANSPARENT",
        "END:VEVENT",
    ]


def _common(task: Task) -> list[str]:
    lines = [
        f"DTSTAMP:{_utc(task.updated_at)}",
        f"CREATED:{_utc(task.created_at)}",
        f"LAST-MODIFIED:{_utc(task.updated_at)}",
        f"PRIORITY:{_PRIORITY[task.priority]}",
    ]
    return [*lines, f"DESCRIPTION:{_text(task.description)}"] if task.description else lines


def _moment(name: str, at: dt.date | dt.datetime | str) -> str:
    if isinstance(at, dt.date) and not isinstance(at, dt.datetime):
        return f"{name};VALUE=DATE:{at.year:04}{at:%m%d}"
    return f"{name}:{_utc(at)}"


def _utc(moment: dt.datetime | str) -> str:
    at = dt.datetime.fromisoformat(moment) if isinstance(moment, str) else moment
    return f"{at.year:04}{at:%m%dT%H%M%SZ}"


def _text(value: str) -> str:
    escaped = value.replace("\\", "\\\\").replace(";", "\\;").replace(",", "\\,")
    escaped = escaped.replace("\r\n", "\\n").replace("\n", "\\n").replace("\r", "\\n")
    # Other control characters have no place in a content line.
    return escaped.translate(_CONTROLS)


def _encoded(lines: Iterable[str]) -> bytes:
    return b"".join(_fold(line) for line in lines)


def _fold(line: str) -> bytes:
    """At most 75 octets a line, with the space before a continued one, and never within a character."""
    octets = line.encode()
    pieces, start, end = [], 0, 75
    while end < len(octets):
        while octets[end] & 0xC0 == 0x80:
            end -= 1
        pieces.append(octets[start:end])
        start, end = end, end + 74
    return b"\r\n ".join([*pieces, octets[start:]]) + b"\r\n"
