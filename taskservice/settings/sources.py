"""Reads the settings' sources: the environment over `.env` over `litestar.toml`."""

import io
import json
import tomllib
from collections.abc import Collection, Mapping
from pathlib import Path
from typing import Any, Final

from dotenv import dotenv_values
from dotenv.parser import parse_stream

SERVER_KEYS: Final = frozenset({"app", "host", "port"})
"""What `[litestar]` of `litestar.toml` may say; the command line reads it, see `cli/environment.py`."""


def read_sources(
    environ: Mapping[str, str], directory: Path | None, by_key: Mapping[str, str], problems: list[str]
) -> dict[str, str]:
    """The values that are set, as text, by variable. `by_key`: the variables that `litestar.toml` may set."""
    texts: dict[str, str] = {}
    if directory:
        texts |= _toml_texts(directory, by_key, problems)
        try:
            texts |= read_dotenv(directory)
        except ValueError as error:
            problems.append(str(error))
    return texts | {name: value for name, value in environ.items() if value.strip()}


def describe_sources(environ: Mapping[str, str], directory: Path, variables: Collection[str]) -> str:
    """Which of `variables` each source sets, without the values.

    The command line copies `.env` into the environment, so a variable with the same value in both counts as of `.env`.
    """
    dotenv = read_dotenv(directory)
    given = {name: environ[name] for name in variables if environ.get(name, "").strip()}
    in_environment = [name for name, value in given.items() if dotenv.get(name) != value]
    in_dotenv = [name for name in variables if name in dotenv and name not in in_environment]
    in_toml = len(read_toml(directory).get("taskservice", {}))
    dotenv_is_there, toml_is_there = ((directory / name).exists() for name in (".env", "litestar.toml"))
    said = {
        "environment": ", ".join(in_environment) or "nothing",
        ".env": (", ".join(in_dotenv) or "nothing") if dotenv_is_there else "not in this directory",
        "litestar.toml": f"{in_toml} settings" if toml_is_there else "not in this directory",
    }
    return "; ".join([*(f"{source}: {what}" for source, what in said.items()), "the rest: defaults"])


def _toml_texts(directory: Path, by_key: Mapping[str, str], problems: list[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    try:
        document = read_toml(directory)
    except ValueError as error:
        problems.append(str(error))
        return texts
    for key, value in _table(document, "taskservice", problems).items():
        if key not in by_key:
            problems.append(f"litestar.toml: [taskservice] {key}: no such setting")
        elif not isinstance(value, str):
            texts[by_key[key]] = json.dumps(value, default=str)
        elif value.strip():
            texts[by_key[key]] = value
    unknown = set(_table(document, "litestar", problems)) - SERVER_KEYS
    problems += [f"litestar.toml: [litestar] {key}: no such setting" for key in sorted(unknown)]
    problems += [f"litestar.toml: {table}: no such table" for table in sorted(document)]
    return texts


def _table(document: dict[str, Any], name: str, problems: list[str]) -> dict[str, Any]:
    """Take this table out of the document."""
    table = document.pop(name, {})
    if isinstance(table, dict):
        return table
    problems.append(f"litestar.toml: {name}: must be a table, [{name}]")
    return {}


def read_toml(directory: Path) -> dict[str, Any]:
    """The content of this directory's `litestar.toml`. Raises `ValueError`, in one line, if it cannot be read."""
    text = _file_text(directory / "litestar.toml")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"litestar.toml: {error}") from None


def read_dotenv(directory: Path) -> dict[str, str]:
    """The variables in this directory's `.env`. Raises `ValueError`, in one line, if it cannot be read."""
    text = _file_text(directory / ".env")
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:  # python-dotenv would skip it: after an open quote, a secret would be missing without a word
            raise ValueError(f".env: what begins at line {binding.original.line} is not NAME=value")
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value and value.strip()}


def _file_text(path: Path) -> str:
    """Empty where there is no such file."""
    if not path.exists():
        return ""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: is not valid UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path.name}: cannot be read: {error.strerror}") from None
