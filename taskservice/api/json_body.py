"""Bodies, strictly: of the right type and size, one JSON document in UTF-8, each name once."""

import asyncio
import json
import re
from typing import Any, Final

import msgspec
from litestar import Request

from taskservice.problems import MalformedBody, UnsupportedMediaType

JSON: Final = frozenset({"application/json"})
LARGE: Final = 256 * 1024
MERGE_PATCH: Final = JSON | {"application/merge-patch+json"}

_decoder: Final = msgspec.json.Decoder()


class _DuplicateName(ValueError):
    pass


def _each_name_once(pairs: list[tuple[str, Any]]) -> dict[str, Any]:
    found = dict(pairs)
    if len(found) != len(pairs):
        names = [name for name, _ in pairs]
        raise _DuplicateName(next(name for name in names if names.count(name) > 1))
    return found


_strictly: Final = json.JSONDecoder(object_pairs_hook=_each_name_once)


_APART: Final = re.compile(rb'"[ \t\r\n]+:')
_CONTAINERS: Final = (dict, list)


def _names_in(document: Any) -> int:
    """How many names its objects have, all together."""
    count = 0
    unseen = [document]
    while unseen:
        value = unseen.pop()
        if isinstance(value, dict):
            count += len(value)
            unseen += [item for item in value.values() if isinstance(item, _CONTAINERS)]
        elif isinstance(value, list):
            unseen += [item for item in value if isinstance(item, _CONTAINERS)]
    return count


async def read_json(request: Request[Any, Any, Any], media_types: frozenset[str] = JSON) -> Any:
    """The request's document. Raises the problems 413, 415 and 400, in this order."""
    raw = await request.body()
    _check_media_type(request.scope, media_types)
    if not raw:
        raise MalformedBody("The body is empty")
    # A large one would hold up everybody else's requests.
    return parse_json(raw) if len(raw) < LARGE else await asyncio.to_thread(parse_json, raw)


def parse_json(raw: bytes) -> Any:
    try:
        document = _decoder.decode(raw)
        # msgspec keeps the last of two equal names without a word; which of them a client meant cannot be known.
        # Where no name stands apart from its colon, there are no more than `":`; if that many are left, none is lost.
        if _APART.search(raw) or raw.count(b'":') != _names_in(document):
            _strictly.decode(raw.decode())
    except _DuplicateName as error:
        raise MalformedBody(f"The name {str(error)[:100]!r} stands twice in one object") from None
    except UnicodeDecodeError:
        raise MalformedBody("The body is not valid UTF-8") from None
    except RecursionError:
        raise MalformedBody("The body is nested too deeply") from None
    except ValueError as error:  # msgspec.DecodeError is one
        raise MalformedBody(f"The body is not valid JSON: {error}") from None
    return document


def _check_media_type(scope: Any, media_types: frozenset[str]) -> None:
    sent = [value for name, value in scope["headers"] if name == b"content-type"]
    if sent == [b"application/json"]:
        return
    media_type, *parameters = (sent[0].decode("latin-1").lower() if len(sent) == 1 else "").split(";")
    # JSON knows no parameters; one that contradicts it is refused, others are passed over.
    charsets = [
        value.strip(' "')
        for name, _, value in (item.partition("=") for item in parameters)
        if name.strip() == "charset"
    ]
    if media_type.strip() not in media_types or not set(charsets) <= {"utf-8", "utf8"}:
        raise UnsupportedMediaType(f"Content-Type must be {' or '.join(sorted(media_types))}")
