"""Clients of one user, who share what they know and get in each other's way: writers, readers, followers."""

import asyncio
import uuid
from typing import Any, Final, Protocol

import msgspec
from msgspec import Struct, field

from bench.reliability.history.abilities import Abilities
from bench.reliability.history.caller import Caller, Reply
from bench.reliability.history.record import Call, number_of

MANY_TASKS: Final = 45
"""From here on more is deleted than created."""
RETRIES: Final = 40

PRIORITIES: Final = ("low", "medium", "high")
STATUSES: Final = ("pending", "in_progress", "completed")
SORTS: Final = (
    "created",
    "-created",
    "updated",
    "-updated",
    "priority",
    "-status",
    "status,-updated",
    "-priority,created",
)


class Board(Struct):
    """What the clients of a user know together: ids with the newest tags that they saw, live and in the trash."""

    abilities: Abilities
    live: dict[str, str | None] = field(default_factory=dict)
    trash: dict[str, str | None] = field(default_factory=dict)
    others_tags: list[str] = field(default_factory=list)
    """List tags of other users, none of which may fit."""

    def is_live(self, task_id: str, tag: str | None) -> None:
        self.trash.pop(task_id, None)
        self.live[task_id] = tag

    def is_trashed(self, task_id: str) -> None:
        if self.live.pop(task_id, "") != "":
            self.trash[task_id] = None

    def is_gone(self, task_id: str) -> None:
        self.live.pop(task_id, None)
        self.trash.pop(task_id, None)


class Place(Struct, frozen=True):
    """Where a reader of the feed stands."""

    token: str | None = None
    first_page: int | None = None
    copy: int | None = None


class Client(Protocol):
    caller: Caller

    async def act(self) -> None:
        """Do one thing."""


class Writer:
    """Writes in every way there is. Every title is written once, so that a task says who wrote it last."""

    def __init__(self, caller: Caller, board: Board) -> None:
        self.caller = caller
        self._board = board
        self._chance = caller.chance
        self._titles = 0

    async def act(self) -> None:
        few = len(self._board.live) < 12
        many = len(self._board.live) > MANY_TASKS
        weights = {
            self._create: 30 if few else 14,
            self._put_create: (12 if few else 8) if self._board.abilities.put_create else 0,
            self._update: 20,
            self._toggle: 10,
            self._set: 6,
            self._batch: 8,
            self._delete: 40 if many else 8,
            self._restore: 8,
            self._erase: 16 if many else 4,
            self._clear: (4 if many else 1) if self._board.abilities.clear else 0,
            self._import: 3,
        }
        act = self._chance.choices(list(weights), list(weights.values()))[0]
        await act()

    # ---- single tasks

    async def _create(self) -> None:
        fields = self._fields(title=True)
        reply = await self._safely("create", "POST", self.caller.base(), fields, keyed=0.5, asked=fields)
        self._learn(reply)

    async def _put_create(self) -> None:
        fields, task = self._fields(title=True), str(uuid.UUID(int=self._chance.getrandbits(128), version=4))
        for _ in range(RETRIES):
            path = f"{self.caller.base()}/{task}"
            reply = await self.caller.call(
                "put_create", "PUT", path, fields, if_none_match="*", task=task, asked=fields
            )
            if not reply.call.worth_repeating or self._chance.random() < 0.2:
                break
            await asyncio.sleep(0.1)
        self._learn(reply)

    async def _update(self) -> None:
        fields = self._fields(title=self._chance.random() < 0.7)
        await self._edit("update", self._chance.choice(("PUT", "PATCH")), "", fields)

    async def _toggle(self) -> None:
        await self._edit("toggle", "PATCH", "/complete", None)

    async def _set(self) -> None:
        await self._edit("set", "PATCH", "/complete", {"completed": self._chance.random() < 0.6})

    async def _edit(self, kind: str, method: str, suffix: str, fields: dict[str, Any] | None) -> None:
        task = self._some(self._board.live)
        if task is not None:
            self._learn(
                await self._on(kind, method, task, suffix, fields, if_match=self._tag(task), asked=fields or {})
            )

    async def _delete(self) -> None:
        task = self._some(self._board.live)
        if task is not None:
            self._learn(await self._on("delete", "DELETE", task, "", None, if_match=self._tag(task)))

    async def _erase(self) -> None:
        task = self._some(self._chance.choice((self._board.live, self._board.trash)))
        if task is not None:
            self._learn(await self._on("erase", "DELETE", task, "?permanent=true", None))

    async def _restore(self) -> None:
        task = self._some(self._board.trash)
        if task is not None:
            path = f"{self.caller.base()}/{task}/restore"
            self._learn(await self._safely("restore", "POST", path, None, keyed=0.4, task=task))

    async def _on(
        self, kind: str, method: str, task: str, suffix: str, body: Any, *, if_match: str | None = None, **asked: Any
    ) -> Reply:
        keyed = 0.3 if self._board.abilities.keys_everywhere else 0.0
        path = f"{self.caller.base()}/{task}{suffix}"
        return await self._safely(kind, method, path, body, keyed=keyed, if_match=if_match, task=task, **asked)

    # ---- many tasks

    async def _batch(self) -> None:
        operations: list[dict[str, Any]] = []
        for _ in range(self._chance.randint(2, 5)):
            kind = self._chance.choice(("create", "update", "update", "complete", "delete", "restore"))
            known = self._board.trash if kind == "restore" else self._board.live
            task = self._some(known)
            if kind == "create" or task is None:
                operations.append({"op": "create", "data": self._fields(title=True)})
                continue
            operation: dict[str, Any] = {"op": kind, "id": task}
            if kind == "update":
                operation["data"] = self._fields(title=True)
            elif kind == "complete" and self._chance.random() < 0.5:
                operation["data"] = {"completed": True}
            elif kind == "delete" and self._chance.random() < 0.3:
                operation["permanent"] = True
            tag = known[task]
            if tag is not None and self._chance.random() < 0.2:
                operation["if_match"] = tag
            operations.append(operation)
        body = {"operations": operations}
        reply = await self._safely("batch", "POST", f"{self.caller.base()}/batch", body, keyed=0.4, asked=body)
        if not reply.call.succeeded:
            return
        for operation, result in zip(operations, reply.call.results, strict=True):
            if result.version is None:
                (self._board.is_gone if operation.get("permanent") else self._board.is_trashed)(operation["id"])
            else:
                shown = self.caller.recorder.history.versions[result.version]
                self._board.is_live(shown.id, shown.task.get("etag"))

    async def _clear(self) -> None:
        await self._safely(
            "clear", "DELETE", f"{self.caller.base()}?completed=true", None,
            keyed=0.3 if self._board.abilities.keys_everywhere else 0.0,
        )  # fmt: skip

    async def _import(self) -> None:
        ids = [str(uuid.UUID(int=self._chance.getrandbits(128), version=4)) for _ in range(self._chance.randint(1, 2))]
        existing = self._some(self._chance.choice((self._board.live, self._board.trash)))
        if existing is not None:
            ids.append(existing)
        tasks = [
            {"id": task, "created_at": "2025-03-01T08:00:00.5Z", "description": None, "priority": "medium"}
            | {"status": "pending"} | self._fields(title=True)
            for task in ids
        ]  # fmt: skip
        path = f"{self.caller.base()}/import?existing=update"
        reply = await self._safely("import", "POST", path, tasks, keyed=0.4, asked={"tasks": tasks})
        if reply.call.succeeded:
            for task in ids:
                self._board.is_live(task, None)

    # ---- how

    async def _safely(self, kind: str, method: str, path: str, body: Any, *, keyed: float, **call: Any) -> Reply:
        """With a key, repeated until it is answered, and sometimes sent twice at once or once more; else just once."""
        if self._chance.random() >= keyed:
            return await self.caller.call(kind, method, path, body, **call)
        key = f"{self.caller.name}-{self._chance.getrandbits(64):x}"
        if self._chance.random() < 0.15:
            both = [self.caller.call(kind, method, path, body, key=key, **call) for _ in range(2)]
            replies = await asyncio.gather(*both)
            reply = next((reply for reply in replies if reply.call.succeeded), replies[0])
        else:
            reply = await self.caller.call(kind, method, path, body, key=key, **call)
        for _ in range(RETRIES):
            if not reply.call.worth_repeating:
                break
            await asyncio.sleep(0.1)
            reply = await self.caller.call(kind, method, path, body, key=key, **call)
        if reply.call.succeeded and self._chance.random() < 0.1:
            await self.caller.call(kind, method, path, body, key=key, **call)
        return reply

    def _learn(self, reply: Reply) -> None:
        call = reply.call
        if call.succeeded and call.versions:
            shown = self.caller.versions(call)[0]
            self._board.is_live(shown.id, reply.tag)
        elif call.task is None:
            return
        elif call.status == 412:
            if reply.tag is not None and call.task in self._board.live:
                self._board.live[call.task] = reply.tag
        elif call.status == 204 and call.kind == "delete":
            self._board.is_trashed(call.task)
        elif call.kind in ("erase", "restore") and not call.worth_repeating:
            self._board.is_gone(call.task)
        elif call.status == 404:
            # Erased, or in the trash by somebody else's doing: a restore finds out.
            self._board.is_trashed(call.task)

    def _fields(self, *, title: bool) -> dict[str, Any]:
        fields: dict[str, Any] = {}
        if title:
            self._titles += 1
            fields["title"] = f"{self.caller.name} {self._titles}"
        if not title or self._chance.random() < 0.3:
            fields["priority"] = self._chance.choice(PRIORITIES)
        if self._chance.random() < 0.2:
            fields["status"] = self._chance.choice(STATUSES)
        if self._chance.random() < 0.2:
            fields["description"] = self._chance.choice((None, "a note", "another note"))
        return fields

    def _some(self, known: dict[str, str | None]) -> str | None:
        return self._chance.choice(list(known)) if known else None

    def _tag(self, task: str) -> str | None:
        return self._board.live.get(task) if self._chance.random() < 0.35 else None


class Reader:
    """Polls the list, single tasks and the trash, with the tags it was given."""

    def __init__(self, caller: Caller, board: Board) -> None:
        self.caller = caller
        self._board = board
        self._chance = caller.chance
        self._tags: dict[str, str] = {}

    async def act(self) -> None:
        what = self._chance.choices((self._list, self._pages, self._get, self._trash), (6, 2, 5, 1))[0]
        await what()

    async def _list(self) -> None:
        query = self._chance.choice(("", "", "?status=completed", f"?sort={self._chance.choice(SORTS)}"))
        url = self.caller.base() + query
        asked = dict(part.split("=") for part in query.removeprefix("?").split("&") if part)
        tag = self._tags.get(url)
        foreign = bool(self._board.others_tags) and self._chance.random() < 0.05
        if foreign:
            tag = self._chance.choice(self._board.others_tags)
        reply = await self.caller.call("list", "GET", url, if_none_match=tag, asked=asked | {"foreign": foreign})
        if reply.tag is not None:
            self._tags[url] = reply.tag

    async def _pages(self) -> None:
        sort, limit = self._chance.choice(SORTS), self._chance.randint(1, 12)
        url: str | None = f"{self.caller.base()}?sort={sort}&limit={limit}"
        after: int | None = None
        for _ in range(3):
            if url is None:
                return
            asked = {"sort": sort, "limit": limit, "after": after}
            reply = await self.caller.call("list", "GET", url, asked=asked)
            after = reply.call.versions[-1] if reply.call.versions else None
            url = reply.link[1 : reply.link.index(">")] if reply.link else None

    async def _get(self) -> None:
        known = self._board.live if self._chance.random() < 0.9 else self._board.trash
        if known:
            task = self._chance.choice(list(known))
            tag = known[task] if self._chance.random() < 0.6 else None
            await self.caller.call("get", "GET", f"{self.caller.base()}/{task}", if_none_match=tag, task=task)

    async def _trash(self) -> None:
        reply = await self.caller.call("trash", "GET", f"{self.caller.base()}/trash")
        if reply.call.succeeded:
            for version in self.caller.versions(reply.call):
                if version.id not in self._board.live:
                    self._board.trash[version.id] = version.task.get("etag")


class Follower:
    """Reads the feed: on from where it stands, and now and then from any token that it ever saw, or anew."""

    def __init__(self, caller: Caller, *, limits: tuple[int, int], wanders: float = 0.0) -> None:
        self.caller = caller
        self._limits = limits
        self._wanders = wanders
        self._chance = caller.chance
        self._at = Place()
        self._places: list[Place] = []

    async def act(self) -> None:
        if self._places and self._chance.random() < self._wanders:
            self._at = msgspec.structs.replace(self._chance.choice(self._places), copy=None)
        elif self._chance.random() < self._wanders / 5:
            self._at = Place()
        call = await self.page()
        if call.succeeded and not call.has_more and not call.entries:
            await asyncio.sleep(0.003)

    async def page(self) -> Call:
        """One page from where the reader stands, which moves on."""
        at, limit = self._at, self._chance.randint(*self._limits)
        query = f"?limit={limit}" + ("" if at.token is None else f"&since={at.token}")
        reply = await self.caller.call(
            "changes", "GET", f"{self.caller.base()}/changes{query}",
            since=number_of(at.token), first_page=at.first_page, copy=at.copy, asked={"limit": limit},
        )  # fmt: skip
        call = reply.call
        if at.token is None:
            call.copy = call.number
        if call.succeeded:
            first_page = call.number if at.token is None else at.first_page
            self._at = Place(reply.token, first_page if call.has_more else None, call.copy)
            if self._wanders:
                self._places.append(self._at)
        elif call.status == 410:
            self._at = Place()
        return call
