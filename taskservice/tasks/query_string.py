"""Reads query strings: parameters by name, and everything that is wrong with them at once."""

from collections.abc import Sequence
from typing import Final
from urllib.parse import unquote_to_bytes

from taskservice import rules
from taskservice.problems import FieldError
from taskservice.tasks.validation import Invalid

PARAMETERS_MAX: Final = 100


def read_parameters(
    query: bytes, allowed: Sequence[str], repeatable: frozenset[str] = frozenset()
) -> tuple[dict[str, list[str]], list[FieldError]]:
    """The query's parameters by name, and what is wrong with their names."""
    errors: list[FieldError] = []
    found: dict[str, list[str]] = {}
    pairs = [pair for pair in query.split(b"&") if pair]
    if len(pairs) > PARAMETERS_MAX:
        errors.append(
            Invalid("length", f"must have at most {PARAMETERS_MAX} parameters", limit=PARAMETERS_MAX).at("", "query")
        )
        return found, errors
    for raw_name, _, raw_value in (pair.partition(b"=") for pair in pairs):
        name, value = _decoded(raw_name), _decoded(raw_value)
        if name is None or name not in allowed:
            shown = raw_name.decode("latin-1") if name is None else name
            errors.append(Invalid("unknown_parameter", "is not a parameter here", allowed=allowed).at(shown, "query"))
        elif value is None:
            errors.append(Invalid("encoding", "must be percent-encoded UTF-8").at(name, "query"))
        elif "\x00" in value:
            errors.append(Invalid("characters", "must not contain the character NUL").at(name, "query"))
        elif name in found and name not in repeatable:
            errors.append(Invalid("repeated", "must be given once").at(name, "query"))
        else:
            found.setdefault(name, []).append(value)
    return found, errors


def _decoded(text: bytes) -> str | None:
    """None if it is no UTF-8."""
    try:
        return unquote_to_bytes(text.replace(b"+", b" ")).decode()
    except UnicodeDecodeError:
        return None


def read_limit(found: dict[str, list[str]], errors: list[FieldError]) -> int:
    if "limit" not in found:
        return rules.LIST_LIMIT
    text = found["limit"][0]
    if text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= rules.LIST_LIMIT:
        return int(text)
    message = f"must be a whole number from 1 to {rules.LIST_LIMIT}"
    errors.append(Invalid("range", message, limit=rules.LIST_LIMIT).at("limit", "query"))
    return rules.LIST_LIMIT
