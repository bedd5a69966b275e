"""Reads JSON bodies strictly: the right media type, one document in UTF-8, each name once per object."""

import asyncio
import json
import math
import re
from collections import Counter
from collections.abc import Collection
from typing import Any, Final, NoReturn

import msgspec
from litestar.types import Scope

from taskservice.problems import MalformedBody, UnsupportedMediaType

JSON: Final = frozenset({"application/json"})
MERGE_PATCH: Final = JSON | {"application/merge-patch+json"}

LARGE: Final = 64 * 1024
"""Larger bodies are parsed in a thread, so that other requests do not wait for them."""

_SURROGATE: Final = re.compile(rb"\\u[dD][89a-fA-F]")


def _object(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        # Which of the two values the client means cannot be known.
        counted = Counter(name for name, _ in pairs)
        name = next(name for name, count in counted.items() if count > 1)
        raise MalformedBody(f"The name {name[:100]!r} appears twice in one object")
    return found


def _number(text: str) -> float:
    found = float(text)
    if math.isinf(found):
        raise ValueError(f"the number {text[:20]} is out of range")
    return found


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON value")


decoder: Final = json.JSONDecoder(object_pairs_hook=_object, parse_float=_number, parse_constant=_refuse_constant)


async def read_json(raw: bytes) -> Any:
    """The document in a body that arrived in full."""
    return parse_json(raw) if len(raw) <= LARGE else await asyncio.to_thread(parse_json, raw)


def decode_element(text: str) -> tuple[Any, int]:
    """The JSON value with which a text begins, and its length."""
    value, length = decoder.raw_decode(text)
    element = text[:length]
    if "\\u" in element:
        msgspec.json.decode(element)
    return value, length


def parse_json(raw: bytes) -> Any:
    """The document, or `MalformedBody` with what is wrong."""
    if not raw:
        raise MalformedBody("The body is empty")
    try:
        document = decoder.decode(raw.decode())
        if _SURROGATE.search(raw):
            # The standard library accepts half a surrogate pair, which no database can store. msgspec refuses it.
            msgspec.json.decode(raw)
    except ValueError as error:  # those of msgspec and of decoding are ValueErrors, too
        raise malformed(error) from None
    except RecursionError:
        raise MalformedBody("The body is nested too deeply") from None
    return document


def malformed(error: ValueError) -> MalformedBody:
    """The problem that describes the error."""
    if isinstance(error, UnicodeDecodeError):
        return MalformedBody("The body is not valid UTF-8")
    return MalformedBody(f"The body is not valid JSON: {error}")


def check_media_type(scope: Scope, media_types: Collection[str]) -> str:
    """The media type of the request. Raises `UnsupportedMediaType` unless it is given once, and among these."""
    sent = [value for name, value in scope["headers"] if name == b"content-type"]
    if sent == [b"application/json"]:
        return "application/json"
    media_type, *parameters = (sent[0].decode("latin-1").lower() if len(sent) == 1 else "").split(";")
    # The charset is always UTF-8. A parameter that contradicts it is refused, others are ignored.
    charsets = [
        value.strip(' "')
        for name, _, value in (item.partition("=") for item in parameters)
        if name.strip() == "charset"
    ]
    if media_type.strip() not in media_types or not set(charsets) <= {"utf-8", "utf8"}:
        raise UnsupportedMediaType(f"Content-Type must be {' or '.join(sorted(media_types))}")
    return media_type.strip()
