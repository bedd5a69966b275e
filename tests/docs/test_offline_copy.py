"""The lines of docs/sync.md keep a true copy, whatever other devices do and however long they were away."""

import asyncio
import json
import random
from collections.abc import AsyncIterator, Awaitable, Callable
from pathlib import Path
from typing import Any

import pytest

from tests.support import needs
from tests.support.commands import Operator
from tests.support.services import Caller, Service
from tests.typescript.compiler import code_of, compiled

pytestmark = pytest.mark.slow

DRIVER = """
import { createInterface } from "node:readline";
import { connect } from "./frontend.js";
import { Copy } from "./sync.js";

const [api, token, limit] = process.argv.slice(2);
const call = connect(api, async () => token);
const copy = new Copy();
for await (const _ of createInterface({ input: process.stdin })) {
  await copy.catchUp(call, Number(limit));
  console.log(JSON.stringify({ since: copy.since, tasks: Object.fromEntries(copy.tasks) }));
}
"""


class Device:
    """A program that holds a copy, made of what the pages show. It looks for changes when it is told to."""

    def __init__(self, process: asyncio.subprocess.Process, caller: Caller) -> None:
        self._process = process
        self._caller = caller

    async def catch_up(self) -> dict[str, Any]:
        """The copy afterwards, by id."""
        assert self._process.stdin
        assert self._process.stdout
        self._process.stdin.write(b"\n")
        line = await self._process.stdout.readline()
        assert line, "the program ended"
        tasks: dict[str, Any] = json.loads(line)["tasks"]
        return tasks

    async def assert_true(self) -> dict[str, Any]:
        copy = await self.catch_up()
        assert {key: entry["task"] for key, entry in copy.items()} == {
            task["id"]: task for task in await self._caller.tasks()
        }
        for key, entry in copy.items():
            assert entry["etag"] == await self._caller.tag(key)
        return copy


Devices = Callable[..., Awaitable[Device]]


@pytest.fixture(scope="module")
def program(tmp_path_factory: pytest.TempPathFactory) -> Path:
    directory = tmp_path_factory.mktemp("sync")
    modules = [directory / name for name in ("frontend.ts", "sync.ts")]
    for module in modules:
        module.write_text(code_of("sync.md" if module.stem == "sync" else "frontend.md"), "utf-8")
    compiled(directory, *modules)
    driver = directory / "driver.mjs"
    driver.write_text(DRIVER, "utf-8")
    return driver


@pytest.fixture
def alice(service: Service, someone: Callable[[str], str]) -> Caller:
    return service.user(someone("offline"))


@pytest.fixture
async def device(program: Path, alice: Caller) -> AsyncIterator[Devices]:
    processes: list[asyncio.subprocess.Process] = []

    async def start(*, limit: int = 1000) -> Device:
        token = alice.headers["Authorization"].removeprefix("Bearer ")
        processes.append(
            await asyncio.create_subprocess_exec(
                needs.node(), program, f"{alice.service.url}{alice.root}", token, str(limit),
                stdin=asyncio.subprocess.PIPE, stdout=asyncio.subprocess.PIPE, limit=2**24,
            )
        )  # fmt: skip
        return Device(processes[-1], alice)

    yield start
    for process in processes:
        process.stdin.close()  # type: ignore[union-attr]
        await process.wait()


async def write_at_random(alice: Caller, dice: random.Random) -> None:
    """Another device of the same user."""
    own = [(await alice.create(f"first of {dice.random()}"))["id"]]
    for _ in range(20):
        target = dice.choice(own)
        match dice.randrange(6):
            case 0 | 1:
                own.append((await alice.create(f"task {dice.random()}"))["id"])
            case 2:
                await alice.patch(f"/{target}", json={"title": f"title {dice.random()}"})
            case 3:
                await alice.delete(f"/{target}")
            case 4:
                await alice.post(f"/{target}/restore")
            case _:
                await alice.delete(f"/{target}?permanent=true")


@pytest.mark.parametrize("limit", [1000, 3])
async def test_a_copy_is_true_after_others_wrote_while_it_read(alice: Caller, device: Devices, limit: int) -> None:
    for number in range(7):
        await alice.create(f"before {number}")
    early = await device(limit=limit)
    await early.assert_true()
    done = asyncio.Event()

    async def follow() -> None:
        while not done.is_set():
            await early.catch_up()

    following = asyncio.create_task(follow())
    await asyncio.gather(*(write_at_random(alice, random.Random(seed)) for seed in range(4)))
    done.set()
    await following
    assert await early.assert_true() == await (await device(limit=limit)).assert_true()


async def test_a_copy_drops_what_was_deleted_while_it_was_away(alice: Caller, device: Devices) -> None:
    kept, trashed, erased = [await alice.create(title) for title in ("kept", "trashed", "erased")]
    copy = await device()
    assert len(await copy.assert_true()) == 3
    await alice.delete(f"/{trashed['id']}")
    await alice.delete(f"/{erased['id']}?permanent=true")
    assert list(await copy.assert_true()) == [kept["id"]]


async def test_a_copy_that_was_away_for_too_long_begins_again(alice: Caller, device: Devices, tmp_path: Path) -> None:
    kept, erased = await alice.create("kept"), await alice.create("erased")
    copy = await device()
    assert len(await copy.assert_true()) == 2
    await alice.delete(f"/{erased['id']}?permanent=true")
    await alice.service.execute(
        "UPDATE tombstones SET deleted_at = deleted_at - interval '91 days' WHERE user_id = $1", alice.user
    )
    purged = Operator(tmp_path, DATABASE_URL=alice.service.database_url).litestar("purge")
    assert "1 tombstone " in purged.out, purged
    assert list(await copy.assert_true()) == [kept["id"]]


async def test_sending_the_same_creation_again_makes_one_task(alice: Caller) -> None:
    key = {"Idempotency-Key": "kept with the task"}
    first, again = [await alice.post("", json={"title": "Written on a train"}, headers=key) for _ in range(2)]
    assert first.json() == again.json()
    assert await alice.titles() == ["Written on a train"]


async def test_edits_of_a_copy_that_is_behind_are_refused_alone_and_in_a_batch(alice: Caller, device: Devices) -> None:
    one, two = await alice.create("one"), await alice.create("two")
    copy = await (await device()).catch_up()
    await alice.patch(f"/{two['id']}", json={"title": "somebody was faster"})
    edit = await alice.patch(f"/{two['id']}", json={"title": "mine"}, headers={"If-Match": copy[two["id"]]["etag"]})
    assert edit.status_code == 412
    operations = [
        {"op": "update", "id": task["id"], "data": {"title": "mine"}, "if_match": copy[task["id"]]["etag"]}
        for task in (one, two)
    ]
    assert (await alice.post("/batch", json={"operations": operations})).status_code == 412
    assert sorted(await alice.titles()) == ["one", "somebody was faster"]


async def test_an_unchanged_list_is_a_304_without_a_body(alice: Caller) -> None:
    await alice.create()
    before = await alice.get("")
    poll = {"If-None-Match": before.headers["etag"]}
    again = await alice.get("", headers=poll)
    assert (again.status_code, again.content) == (304, b"")
    await alice.create()
    assert (await alice.get("", headers=poll)).status_code == 200
