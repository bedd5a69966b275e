"""The lines of the log and their two formats: JSON for production, text for development."""

from collections.abc import Iterator
from datetime import datetime
from traceback import extract_tb
from types import TracebackType
from typing import Final

import msgspec

_encode_json: Final = msgspec.json.Encoder().encode


class AccessLine(msgspec.Struct, omit_defaults=True):
    """One request."""

    time: datetime
    level: str
    logger: str
    method: str
    path: str
    route: str | None
    status: int
    duration_ms: float
    database_ms: float
    user_id: str | None
    request_id: str
    client: str | None = None
    trace_id: str | None = None
    code: str | None = None
    error: list[str] | None = None
    traceback: list[str] | None = None


class MessageLine(msgspec.Struct, omit_defaults=True):
    """A message of our code or of a library."""

    time: datetime
    level: str
    logger: str
    message: str
    request_id: str | None = None
    client: str | None = None
    trace_id: str | None = None
    code: str | None = None
    error: list[str] | None = None
    traceback: list[str] | None = None


Line = AccessLine | MessageLine


def as_json(line: Line) -> bytes:
    try:
        return _encode_json(line) + b"\n"
    except UnicodeEncodeError:
        # JSON cannot carry a lone surrogate; the rest of the line still counts.
        clean = {
            name: value.encode("utf-8", "replace").decode() if isinstance(value, str) else value
            for name, value in msgspec.structs.asdict(line).items()
        }
        return _encode_json(clean) + b"\n"


def as_text(line: Line) -> bytes:
    clock = line.time.astimezone().strftime("%H:%M:%S.%f")[:-3]
    if isinstance(line, AccessLine):
        what = (
            f"{line.method} {_printable(line.path)} {line.status} {line.duration_ms:.1f} ms "
            f"(database {line.database_ms:.1f} ms) user={line.user_id or '-'}"
        )
    else:
        what = line.message
    ids = {"client": line.client, "code": line.code, "request": line.request_id, "trace": line.trace_id}
    what += "".join(f" {name}={value}" for name, value in ids.items() if value)
    text = [f"{clock} {line.level.upper():<7} {what}"]
    text += [f"    {error}" for error in line.error or ()]
    text += [f"      {frame}" for frame in line.traceback or ()]
    return ("\n".join(text) + "\n").encode("utf-8", "replace")


def _printable(text: str) -> str:
    """A path may hold any character; in a terminal it must not move the cursor or start a line of its own."""
    return text if text.isprintable() else text.encode("unicode_escape").decode()


def causes(error: BaseException) -> Iterator[str]:
    """An exception and what led to it, one line each, without the values that PostgreSQL adds in further lines."""
    seen: set[int] = set()
    link: BaseException | None = error
    while link is not None and id(link) not in seen:
        seen.add(id(link))
        message = str(link).partition("\n")[0][:300]
        kind = type(link)
        name = kind.__qualname__ if kind.__module__ == "builtins" else f"{kind.__module__}.{kind.__qualname__}"
        where = extract_tb(link.__traceback__)[-1:]
        place = f" (at {where[0].filename}:{where[0].lineno} in {where[0].name})" if where else ""
        yield f"{name}: {message}{place}" if message else name + place
        link = link.__cause__ or (None if link.__suppress_context__ else link.__context__)


def frames(traceback: TracebackType | None) -> list[str]:
    """Where it happened, innermost last: source lines, never values."""
    return [f"{frame.filename}:{frame.lineno} in {frame.name}: {frame.line}" for frame in extract_tb(traceback)]
