"""How long each operation takes, as a client sees it."""

import time
from typing import Any

from tests.support.services import Caller


async def timed(caller: Caller, method: str, path: str, body: Any = None) -> float:
    """The seconds of one request that succeeds."""
    started = time.perf_counter()
    response = await caller.request(method, path, json=body)
    taken = time.perf_counter() - started
    assert response.is_success, response.text
    return taken


async def timed_operations(caller: Caller, rounds: int) -> dict[str, list[float]]:
    """The seconds of every operation on tasks, as often as there are rounds."""
    times: dict[str, list[float]] = {}
    for _ in range(rounds):
        task = await caller.create()
        for name, method, path, body in (
            ("list", "GET", "", None),
            ("create", "POST", "", {"title": "t"}),
            ("read", "GET", f"/{task['id']}", None),
            ("update", "PUT", f"/{task['id']}", {"title": "t2"}),
            ("change", "PATCH", f"/{task['id']}", {"title": "t3"}),
            ("complete", "PATCH", f"/{task['id']}/complete", None),
            ("delete", "DELETE", f"/{task['id']}", None),
        ):
            times.setdefault(name, []).append(await timed(caller, method, path, body))
    return times
