"""Reads the file of an import task by task: no other request waits for it, and only the tasks stay in memory."""

import asyncio
import codecs
import json
import re
from collections.abc import AsyncGenerator
from time import perf_counter
from typing import Any, Final

from taskservice import rules
from taskservice.api.json_body import decode_element, malformed, parse_json
from taskservice.api.request import TaskRequest
from taskservice.problems import MalformedBody
from taskservice.tasks import csv_file
from taskservice.tasks.importing import ImportReader
from taskservice.tasks.schemas import TaskImport
from taskservice.tasks.validation import Invalid

TURN_SECONDS: Final = 0.005
"""How long an import is read before other requests have their turn."""
TASK_MAX: Final = rules.BODY_MAX
"""How large a task of a file may be: as large as the body that creates one."""
_WINDOW: Final = 4 * TASK_MAX

_SPACE: Final = re.compile(r"[ \t\n\r]*")
_ARRAY: Final = re.compile(rb"[ \t\n\r]*\[")


async def read_csv_import(request: TaskRequest, raw: bytearray) -> list[TaskImport]:
    """The tasks of a CSV file. Errors say in which line and column they are."""
    errors = request.errors
    reader = ImportReader(request.service.bodies, errors)
    turn_began = perf_counter()
    try:
        for row in csv_file.read_rows(raw):
            if row is not None:
                known = len(errors)
                goes_on = reader.read(row.document, row.problem)
                errors[known:] = [row.place(error) for error in errors[known:]]
                if not goes_on:
                    break
            if perf_counter() - turn_began > TURN_SECONDS:
                await asyncio.sleep(0)
                turn_began = perf_counter()
    except Invalid as invalid:
        errors.append(invalid.at("", "body"))
    except UnicodeDecodeError:
        raise MalformedBody("The body is not valid UTF-8; spreadsheets call the right format CSV UTF-8") from None
    return reader.tasks


async def read_json_import(request: TaskRequest, raw: bytearray) -> list[TaskImport]:
    """The tasks of a JSON file. Everything that is wrong with them is noted on the request."""
    reader = ImportReader(request.service.bodies, request.errors)
    if not _ARRAY.match(raw):
        if len(raw) <= TASK_MAX:
            parse_json(bytes(raw))
        reader.refuse()
        return []
    async for item in _elements(_Text(raw)):
        if not reader.read(item):
            break
    return reader.tasks


class _Text:
    """A body as text, of which a window is decoded at a time."""

    def __init__(self, raw: bytes | bytearray) -> None:
        self._raw = raw
        self._read = 0
        self._decoder = codecs.getincrementaldecoder("utf-8")()
        self._turn_began = perf_counter()
        self.text = ""
        self.at = 0

    @property
    def whole(self) -> bool:
        """Whether the window reaches to the end of the body."""
        return self._read == len(self._raw)

    async def look_ahead(self) -> None:
        """Skip white space, and have the longest task in the window."""
        self.at = _end_of_space(self.text, self.at)
        while not self.whole and len(self.text) - self.at < TASK_MAX:
            if perf_counter() - self._turn_began > TURN_SECONDS:
                await asyncio.sleep(0)
                self._turn_began = perf_counter()
            piece = self._raw[self._read : self._read + _WINDOW]
            self._read += len(piece)
            self.text = self.text[self.at :] + self._decoder.decode(piece, final=self.whole)
            self.at = _end_of_space(self.text, 0)
        if perf_counter() - self._turn_began > TURN_SECONDS:
            await asyncio.sleep(0)
            self._turn_began = perf_counter()

    def take(self, marks: str) -> str:
        """One of these characters, or what is wrong."""
        found = self.text[self.at : self.at + 1]
        if not found or found not in marks:
            raise MalformedBody(f"The body is not valid JSON: expected {' or '.join(marks)} after an array's element")
        self.at += 1
        return found


async def _elements(text: _Text) -> AsyncGenerator[Any, None]:
    """The elements of the array that a body is, one by one."""
    try:
        await text.look_ahead()
        text.take("[")
        await text.look_ahead()
        if text.text[text.at : text.at + 1] == "]":
            text.at += 1
        else:
            while True:
                yield _element(text)
                await text.look_ahead()
                if text.take(",]") == "]":
                    break
                await text.look_ahead()
        await text.look_ahead()
    except ValueError as error:
        raise malformed(error) from None
    if text.at < len(text.text):
        raise MalformedBody("The body is not valid JSON: it goes on after the array")


def _element(text: _Text) -> Any:
    window = text.text[text.at : text.at + TASK_MAX]
    try:
        item, length = decode_element(window)
    except json.JSONDecodeError:
        if text.whole and len(text.text) - text.at <= TASK_MAX:
            raise
        raise MalformedBody(f"A task is larger than {TASK_MAX} bytes, or not valid JSON") from None
    except RecursionError:
        raise MalformedBody("The body is nested too deeply") from None
    text.at += length
    return item


def _end_of_space(text: str, start: int) -> int:
    found = _SPACE.match(text, start)
    return found.end() if found else start
