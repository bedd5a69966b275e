"""No body that one client sends holds up the event loop, or takes much more memory than its own size."""

import asyncio
import json
import uuid
from collections.abc import Callable
from pathlib import Path

import httpx
import psutil
import pytest

from taskservice import rules
from tests.attack.conftest import Unheld
from tests.support.services import Service, Services
from tests.support.tokens import bearer, signed
from tests.web.launched import launched

pytestmark = pytest.mark.timing

GROWTH_MAX = 64 * 1024 * 1024
"""Bytes beyond the body itself."""


def names(count: int) -> str:
    return ",".join(f'"n{number}":0' for number in range(count))


def filled(head: str, part: str, size: int, tail: str) -> bytes:
    """As many parts as fit in a body of this size."""
    return (head + part * ((size - len(head) - len(tail)) // len(part)) + tail).encode()


BODIES: dict[str, tuple[str, bytes, set[int]]] = {
    "a name twice among thousands, in a task": ("", f'{{{names(5_500)},"n5499":0}}'.encode(), {400}),
    "a name twice among tens of thousands, in a batch": ("/batch", f'{{{names(90_000)},"n89999":0}}'.encode(), {400}),
    "nothing but unknown names, in a task": ("", f"{{{names(6_000)}}}".encode(), {422}),
    "nothing but unknown names, in a batch": ("/batch", f"{{{names(95_000)}}}".encode(), {422}),
    "unknown names in every operation": (
        "/batch",
        ('{"operations":[' + ",".join(f'{{"op":"create","data":{{{names(900)}}}}}' for _ in range(99)) + "]}").encode(),
        {422},
    ),
    "empty objects in a batch": ("/batch", filled('{"operations":[{}', ",{}", rules.BATCH_BODY_MAX, "]}"), {422}),
    "empty arrays in a batch": ("/batch", filled('{"a":[[]', ",[]", rules.BATCH_BODY_MAX, "]}"), {422}),
    "millions of elements in an import": (
        "/import", filled('[{"a" :0}', ",{}", rules.IMPORT_BODY_MAX, "]"), {422},
    ),
    "one element of unknown names in an import": ("/import", f"[{{{names(1_300_000)}}}]".encode(), {400}),
    "white space in an import": ("/import", filled("[", " ", rules.IMPORT_BODY_MAX, "]"), {200}),
    "one text in an import": ("/import", filled('["', "x", rules.IMPORT_BODY_MAX, '"]'), {400}),
    "no array in an import": ("/import", filled('{"a":[0', ",0", rules.IMPORT_BODY_MAX, "]}"), {422}),
    "elements as large as they may be in an import": (
        "/import", ("[" + ",".join([f"{{{names(5_000)}}}"] * 200) + "]").encode(), {422},
    ),
}  # fmt: skip


@pytest.mark.parametrize("name", BODIES)
async def test_no_body_holds_up_the_event_loop(
    service: Service, someone: Callable[[str], str], unheld: Unheld, name: str
) -> None:
    path, body, statuses = BODIES[name]
    alice = service.user(someone("alice"))
    await alice.get()
    async with unheld(service):
        answer = await alice.post(path, content=body, headers={"Content-Type": "application/json"}, timeout=120)
    assert answer.status_code in statuses, answer.text[:500]


FILES: dict[str, bytes] = {
    "empty rows": filled("title\n", "\n", rules.IMPORT_BODY_MAX, ""),
    "rows with too many cells": filled("title\n", "a,b\n", rules.IMPORT_BODY_MAX, ""),
    "one row with millions of cells": filled("title\n", ",", rules.IMPORT_BODY_MAX, ""),
    "one row with millions of cells, over many lines": filled("title\n", ',,,"\n"', rules.IMPORT_BODY_MAX, ""),
    "one column with a long name": filled("title,", "n", rules.IMPORT_BODY_MAX, ""),
}


@pytest.mark.parametrize("name", FILES)
async def test_no_csv_file_holds_up_the_event_loop(
    service: Service, someone: Callable[[str], str], unheld: Unheld, name: str
) -> None:
    alice = service.user(someone("alice"))
    await alice.get()
    async with unheld(service):
        headers = {"Content-Type": "text/csv"}
        answer = await alice.post("/import", content=FILES[name], headers=headers, timeout=120)
    assert answer.status_code == (200 if name == "empty rows" else 422), answer.text[:500]


@pytest.mark.parametrize("existing", ["skip", "update"])
async def test_the_largest_import_does_not_hold_up_the_event_loop(
    services: Services, someone: Callable[[str], str], unheld: Unheld, existing: str
) -> None:
    """As many tasks as there may be, of the largest size that lets them in, under a key, twice."""
    service = services.shared(database_deadline="60")
    alice = service.user(someone("alice"))
    each = (rules.IMPORT_BODY_MAX // rules.IMPORT_MAX - 200) // 2
    tasks = [
        {"id": str(uuid.uuid4()), "title": "t" * 200, "description": "d" * each, "created_at": "2026-01-01T00:00:00Z"}
        for _ in range(rules.IMPORT_MAX)
    ]
    body = json.dumps(tasks).encode()
    async with unheld(service):
        for _ in range(2):
            headers = {"Content-Type": "application/json", "Idempotency-Key": str(uuid.uuid4())}
            answer = await alice.post(f"/import?existing={existing}", content=body, headers=headers, timeout=120)
            assert answer.status_code == 200, answer.text[:500]


def peak(process: psutil.Process) -> int:
    """The largest resident size that Linux saw of a process."""
    status = Path(f"/proc/{process.pid}/status").read_text("ascii")
    return int(status.partition("VmHWM:")[2].split()[0]) * 1024


def test_imports_take_little_memory_however_many_come(
    database_url: str, tmp_path: Path, within: Callable[[int, int], None]
) -> None:
    with launched(["litestar", "run"], tmp_path, database_url) as service:
        process = max(
            psutil.Process().children(recursive=True), key=lambda child: "litestar" in " ".join(child.cmdline())
        )
        before = peak(process)
        _, body, _ = BODIES["millions of elements in an import"]
        _, elements, _ = BODIES["elements as large as they may be in an import"]
        sent = [("application/json", one) for one in (body, elements) * 4]
        sent += [("text/csv", one) for name, one in FILES.items() if name != "empty rows"]

        async def flood() -> set[int]:
            async with httpx.AsyncClient(base_url=service.url, timeout=120, trust_env=False) as http:
                answers = await asyncio.gather(
                    *(
                        http.post(
                            "/api/tasks/import",
                            content=content,
                            headers=bearer(signed({"sub": f"mallory {number}"})) | {"Content-Type": media_type},
                        )
                        for number, (media_type, content) in enumerate(sent)
                    )
                )
                return {answer.status_code for answer in answers}

        assert asyncio.run(flood()) <= {422, 503}
        within(peak(process) - before, 2 * rules.IMPORT_BODY_MAX + GROWTH_MAX)
