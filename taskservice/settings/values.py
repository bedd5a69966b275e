"""Reads the values of settings from text. A `ValueError` says what the text must be, without quoting it.

Numbers, choices and switches are the types of the fields of `Settings`, which msgspec converts. The rest has a reader.
"""

import re
from typing import Any, Literal, get_args, get_origin
from urllib.parse import urlsplit

import msgspec
from msgspec.inspect import BoolType, FloatType, IntType, type_info


def convert(text: str, kind: Any) -> Any:
    """The value of this type."""
    try:
        return msgspec.convert(text, kind, strict=False)
    except msgspec.ValidationError:
        raise ValueError(f"must be {_expected(kind)}") from None


def allowed_values(kind: Any) -> str:
    """The values of this type as the documentation shows them; empty for a type that takes any text."""
    if get_origin(kind) is Literal:
        return ", ".join(f"`{value}`" for value in get_args(kind))
    match type_info(kind):
        case BoolType():
            return "`true`, `false`"
        case IntType(ge=low, le=high) | FloatType(ge=low, le=high):
            return f"{low:g}..{high:g}"
    return ""


def _expected(kind: Any) -> str:
    if get_origin(kind) is Literal:
        return f"one of {', '.join(get_args(kind))}"
    match type_info(kind):
        case BoolType():
            return "true or false"
        case IntType(ge=low, le=high):
            return f"a whole number from {low} to {high}"
        case FloatType(ge=low, le=high):
            return f"a number of seconds from {low:g} to {high:g}"
    return str(kind.__metadata__[0].description)


def string_list(text: str) -> tuple[str, ...]:
    if not text.lstrip().startswith("["):
        return tuple(item.strip() for item in text.split(",") if item.strip())
    try:
        return msgspec.json.decode(text, type=tuple[str, ...])
    except msgspec.MsgspecError:
        raise ValueError("must be a comma-separated list or a JSON array of strings") from None


def http_url(text: str) -> str:
    if _origin_or_none(text) is None or "@" in urlsplit(text).netloc or re.search(r"[?#\s]", text):
        raise ValueError("must be an absolute http or https URL without credentials, query or fragment")
    return text.rstrip("/")


def public_url(text: str) -> str:
    if not re.fullmatch(r"[!-~]+", text) or re.search(r"[<>\"'\\]", text):  # it is written into headers and pages
        raise ValueError("must be written in ASCII, other characters as %XX or punycode")
    return http_url(text)


def origin_of(url: str) -> str:
    """Scheme, host and port of an absolute URL, as browsers and Better Auth write them."""
    parts = urlsplit(url)
    default_port = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in {None, default_port} else "")


def _origin_or_none(text: str) -> str | None:
    """Without the standard library's error about a bad URL, which quotes it."""
    try:
        parts = urlsplit(text)
        return origin_of(text) if parts.scheme in {"http", "https"} and parts.hostname else None
    except ValueError:
        return None


def origins(text: str) -> tuple[str, ...]:
    found = string_list(text)
    for origin in found:
        if origin != "*" and origin != _origin_or_none(origin):
            raise ValueError(f"{origin!r} is no origin: write scheme://host[:port], nothing behind it")
    return found


def pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


def rotating_secrets(text: str) -> tuple[str, ...]:
    """The secrets of `2:new,1:old`, the current one first."""
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    found = [re.fullmatch(r"([0-9]+):(.+)", entry) for entry in entries]
    if not entries or not all(found):
        raise ValueError('must be of the form "2:new-secret,1:old-secret", the current one first')
    return tuple(match[2] for match in found if match)
