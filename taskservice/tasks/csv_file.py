"""Tasks as CSV: how an export writes them for spreadsheets, and how an import reads what a spreadsheet saved."""

import csv
import datetime as dt
import io
from collections.abc import Iterator, Sequence
from typing import Any, Final

import msgspec
import uuid_utils
from msgspec import Struct

from taskservice import rules
from taskservice.problems import FieldError
from taskservice.tasks.schemas import Task
from taskservice.tasks.validation import Invalid

COLUMNS: Final = tuple(field for field in Task.__struct_fields__ if field not in {"user_id", "etag"})
HEAD: Final = ",".join(COLUMNS).encode() + b"\r\n"

ROW_MAX: Final = rules.BODY_MAX
"""How many characters a row may have: as many as the body that creates a task has bytes."""

_FORMULA: Final = ("=", "+", "-", "@", "\t", "\r", "\n", "\uff1d", "\uff0b", "\uff0d", "\uff20")
"""Characters that begin a formula in a spreadsheet, with the full-width ones of Japanese keyboards."""
_DELIMITERS: Final = (",", ";", "\t")
"""Where the comma separates decimals, spreadsheets separate cells by semicolons."""
_BOOLEANS: Final = {"true": True, "false": False}


def write_page(tasks: Sequence[Task]) -> bytes:
    """The rows of some tasks."""
    text = io.StringIO(newline="")
    writer = csv.writer(text)
    for task in tasks:
        shown = msgspec.to_builtins(task)
        writer.writerow([_written(shown[column]) for column in COLUMNS])
    return text.getvalue().encode()


def _written(value: object) -> str:
    if isinstance(value, bool):
        return "true" if value else "false"
    text = "" if value is None else str(value)
    return f"'{text}" if _looks_protected(text) else text


def _looks_protected(text: str) -> bool:
    """Whether a text is a formula behind any number of apostrophes.

    An apostrophe keeps a spreadsheet from running a formula. A text that begins with apostrophes of its own gets one
    more, so that taking one away gives every text back.
    """
    return text.lstrip("'").startswith(_FORMULA)


class Row(Struct, frozen=True):
    """One line of a file as the equivalent JSON document, or `problem`: why it cannot be read."""

    line: int
    document: dict[str, Any]
    problem: Invalid | None = None

    def place(self, error: FieldError) -> FieldError:
        """The error with the line and the column in its message."""
        column = error.field.partition(".")[2]
        where = f'line {self.line}, column "{column}"' if column else f"line {self.line}"
        return msgspec.structs.replace(error, message=f"{where}: {error.message}")


class _Lines:
    """The lines of a file, which stop where a row becomes too large: one row may have millions of cells."""

    def __init__(self, text: io.TextIOBase) -> None:
        self._text = text
        self._number = 0
        self.row_size = 0

    def __iter__(self) -> Iterator[str]:
        return self

    def __next__(self) -> str:
        line = self._text.readline(ROW_MAX + 1)
        if not line:
            raise StopIteration
        self._number += 1
        self.row_size += len(line)
        if self.row_size > ROW_MAX:
            raise Invalid("csv", f"line {self._number}: the row is larger than {ROW_MAX} characters", limit=ROW_MAX)
        return line


def read_rows(raw: bytes | bytearray) -> Iterator[Row | None]:
    """The rows of a file: with or without a byte order mark, separated by commas, semicolons or tabs, in any order of
    columns, with any line ends. An empty cell is an absent field. A row without an id is a new task.
    None stands for an empty row.

    Raises `Invalid` for a file that does not begin with the names of columns, `UnicodeDecodeError` for other encodings.
    """
    # Decoded as it is read: as one text, 16 MiB with a single emoji take 64.
    text = io.TextIOWrapper(io.BytesIO(raw), encoding="utf-8-sig", newline="")
    source = _Lines(text)
    lines = csv.reader(source, delimiter=_delimiter(raw), strict=True)
    names = _names(lines)
    while True:
        source.row_size = 0
        line = lines.line_num + 1
        try:
            cells = next(lines, None)
        except csv.Error as error:
            yield Row(line, {}, Invalid("csv", f"cannot be read: {error}"))
            return
        if cells is None:
            return
        if not any(cells):
            yield None
        elif any(cells[len(names) :]):
            yield Row(line, {}, Invalid("csv", f"has {len(cells)} cells under {len(names)} columns"))
        else:
            pairs = zip(names, cells, strict=False)
            found = {name: _read(name, cell) for name, cell in pairs if name and cell}
            new = {"id": str(uuid_utils.uuid7()), "created_at": dt.datetime.now(dt.UTC).isoformat()}
            yield Row(line, new | found)


def _delimiter(raw: bytes | bytearray) -> str:
    """The one that finds most of our columns in the first line."""
    head = raw[:4096].decode("utf-8-sig", "replace").splitlines()[:1]

    def found(delimiter: str) -> int:
        return sum(name.strip(' "').lower() in COLUMNS for line in head for name in line.split(delimiter))

    return max(_DELIMITERS, key=found)


def _names(lines: Iterator[list[str]]) -> list[str]:
    try:
        names = [name.strip().lower() for name in next(lines, [])]
    except csv.Error as error:
        raise Invalid("csv", f"line 1 cannot be read: {error}") from None
    while names and not names[-1]:
        names.pop()
    if len(names) > 2 * len(COLUMNS) or "title" not in names:
        raise Invalid("csv", f"must begin with a line that names the columns: {', '.join(COLUMNS)}", allowed=COLUMNS)
    repeated = next((name for name in names if name and names.count(name) > 1), None)
    if repeated is not None:
        raise Invalid("csv", f'line 1 names the column "{repeated}" twice')
    return names


def _read(name: str, cell: str) -> Any:
    if name == "completed":
        return _BOOLEANS.get(cell.strip().lower(), cell)
    if name in {"title", "description"}:
        return cell[1:] if cell.startswith("'") and _looks_protected(cell) else cell
    return cell.strip()
