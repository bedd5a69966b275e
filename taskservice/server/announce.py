"""Prints what an operator has to know at start: as one block, in production as one line of the log."""

import logging
import sys
import threading
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from taskservice import __version__
from taskservice.auth.tokens import key_sources
from taskservice.database.server import DatabaseServer
from taskservice.settings import SETTINGS, Settings

POLICIES: Final = (
    "title", "description_max", "delete", "retention_days", "users", "users_table", "foreign_task", "cors_origins",
    "cors_origin_regex",
)  # fmt: skip

log: Final = logging.getLogger("taskservice")


def announce(settings: Settings, server: DatabaseServer, address: str, workers: int) -> None:
    facts = {
        "listens on": address + (f" with {workers} workers" if workers > 1 else ""),
        "docs": f"{address}/docs" if address.startswith("http") else "/docs",
        "database": server.description,
        **_replicas(settings),
        "tokens": key_sources(settings),
        "policies": _changed_policies(settings) or "the defaults",
    }
    if settings.production:
        log.info("taskservice %s: %s", __version__, ", ".join(f"{name}: {said}" for name, said in facts.items()))
    else:
        width = max(map(len, facts))
        lines = [f"taskservice {__version__} ({settings.env})"]
        lines += [f"  {name:<{width}}  {said}" for name, said in facts.items()]
        sys.stdout.write("\n".join(lines) + "\n")
        sys.stdout.flush()
    for warning in settings.warnings:
        log.warning("%s", warning)


@contextmanager
def progress(what: str) -> Iterator[None]:
    """Say what the start waits for, once the wait takes longer than a second."""
    timer = threading.Timer(1.0, log.info, (f"{what} …",))
    timer.daemon = True
    timer.start()
    try:
        yield
    finally:
        timer.cancel()
        timer.join()


def _replicas(settings: Settings) -> dict[str, str]:
    addresses = [target.redacted for target in settings.database_replicas]
    return {"replicas": ", ".join(addresses)} if addresses else {}


def _changed_policies(settings: Settings) -> str:
    changed = []
    for setting in SETTINGS:
        if setting.key in POLICIES:
            value = getattr(settings, setting.key)
            if value != (None if setting.default is None else setting.parse(setting.default)):
                changed.append(f"{setting.key} = {', '.join(value) if isinstance(value, tuple) else value}")
    return "; ".join(changed)
