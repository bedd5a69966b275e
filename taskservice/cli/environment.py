"""Applies `.env` and `litestar.toml` of this directory before Litestar looks for its app."""

import contextlib
import importlib
import os
import re
from pathlib import Path
from typing import Any, Final

from taskservice.cli.ending import give_up
from taskservice.settings import SettingsError, load_settings
from taskservice.settings.sources import SERVER_KEYS, read_dotenv, read_toml

APP: Final = "taskservice.app:create_app"


def prepare_environment() -> None:
    """Set the variables that Litestar reads. The environment wins over `.env`, and that over `litestar.toml`."""
    for name in [name for name, value in os.environ.items() if name.startswith("LITESTAR_") and not value.strip()]:
        del os.environ[name]  # to Litestar it would be set
    # `load_settings` reports what is wrong with either file.
    with contextlib.suppress(ValueError):
        for name, value in read_dotenv(Path()).items():
            _set_default(name, value)
    # Most platforms set PORT. It counts where LITESTAR_PORT is not set, and wins over litestar.toml.
    if os.environ.get("PORT", "").strip():
        _set_default("LITESTAR_PORT", os.environ["PORT"])
    server: Any = {}
    with contextlib.suppress(ValueError):
        server = read_toml(Path()).get("litestar")
    if not isinstance(server, dict):
        server = {}
    for key in SERVER_KEYS & server.keys():
        _set_default(f"LITESTAR_{key.upper()}", str(server[key]))
    if not server and Path("litestar.toml").exists():
        _set_default("LITESTAR_APP", APP)
    _check_what_litestar_reads()


def _check_what_litestar_reads() -> None:
    """Litestar reads these by itself, and answers with a traceback if they make no sense."""
    problems = []
    if not _is_port(os.environ.get("LITESTAR_PORT", "0")):
        problems.append("LITESTAR_PORT, PORT, or port in litestar.toml: must be a whole number up to 65535")
    if os.environ.get("LITESTAR_APP", APP) != APP and not _is_there(os.environ["LITESTAR_APP"]):
        problems.append(f"LITESTAR_APP, or app in litestar.toml: there is no such application; ours is {APP}")
    if problems:
        give_up("\n".join(["taskservice cannot start:", *problems, *_wrong_settings()]))


def _set_default(name: str, value: str) -> None:
    """A variable that is empty is not set."""
    if not os.environ.get(name, "").strip():
        os.environ[name] = value


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and int(text) <= 65535


def _is_there(app: str) -> bool:
    module, _, name = app.partition(":")
    try:
        return hasattr(importlib.import_module(module), name)
    except (ImportError, ValueError):
        return False


def _wrong_settings() -> list[str]:
    try:
        load_settings()
    except SettingsError as error:
        return error.problems
    return []
