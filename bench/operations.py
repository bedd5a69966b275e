"""What is measured: each operation as the requests that make it up, and the answer they must get."""

import asyncio
from collections.abc import Awaitable, Callable, Sequence

import msgspec

from bench.candidates import Candidate
from bench.fill import Filling
from bench.http import Connection, connect, request
from bench.postgres import Postgres

READERS = Filling("reader", 50, 1000)
"""Nobody writes their tasks, so every list of theirs stays as it is."""
WRITERS = Filling("writer", 100, 500)
FILLINGS = [READERS, WRITERS]

FILTER = "status=pending&priority=high&sort=-due&limit=100"


class World(msgspec.Struct, frozen=True):
    """Ids of tasks in the database, by user."""

    readers: dict[str, list[str]]
    writers: dict[str, list[str]]
    """Only pending ones, so that two toggles lead back to where it began."""


def look_around(postgres: Postgres, database: str) -> World:
    def ids(prefix: str) -> dict[str, list[str]]:
        rows = postgres.fetch(
            database,
            """SELECT user_id, (array_agg(id::text ORDER BY created_at))[1:60] AS ids FROM tasks
               WHERE status = 'pending' AND deleted_at IS NULL AND starts_with(user_id, $1)
               GROUP BY user_id ORDER BY user_id""",
            f"{prefix}-",
        )
        return {row["user_id"]: row["ids"] for row in rows}

    return World(ids(READERS.prefix), ids(WRITERS.prefix))


Prepare = Callable[[World, Connection], Awaitable[list[bytes]]]


class Operation(msgspec.Struct, frozen=True):
    name: str
    statuses: frozenset[int]
    prepare: Prepare
    """Makes the requests; may ask the candidate first, for instance for an ETag."""
    writes: bool = False
    beyond: bool = False
    """Not every candidate offers it: see `Candidate.can`."""

    def offered_by(self, candidate: Candidate) -> bool:
        return not self.beyond or self.name in candidate.can

    def requests(self, world: World, port: int) -> list[bytes]:
        async def run() -> list[bytes]:
            connection = await connect(port)
            try:
                return await self.prepare(world, connection)
            finally:
                connection.close()

        return asyncio.run(run())


def _in_turn(lists: Sequence[list[bytes]]) -> list[bytes]:
    """One of each list, then the next of each: neighbouring requests belong to different users."""
    return [raw for row in zip(*lists, strict=True) for raw in row]


def _get(tasks: str = "/api/tasks") -> Prepare:
    async def prepare(world: World, _: Connection) -> list[bytes]:
        return _in_turn(
            [
                [request("GET", f"{tasks.format(user=user)}/{id_}", user) for id_ in ids]
                for user, ids in world.readers.items()
            ]
        )

    return prepare


def _list(query: str, tasks: str = "/api/tasks") -> Prepare:
    async def prepare(world: World, _: Connection) -> list[bytes]:
        return [request("GET", f"{tasks.format(user=user)}?{query}", user) for user in world.readers]

    return prepare


async def _not_modified(world: World, connection: Connection) -> list[bytes]:
    requests = []
    for user in world.readers:
        answer = await connection.send(request("GET", "/api/tasks?limit=100", user))
        known = {"If-None-Match": answer.headers["etag"]}
        requests.append(request("GET", "/api/tasks?limit=100", user, headers=known))
    return requests


def _new(title: str) -> dict[str, object]:
    return {
        "title": title,
        "description": "Semi-skimmed, two litres, and look for the blue cap",
        "priority": "high",
        "due_date": "2027-01-15T09:30:00.5Z",
    }


def _create(users: int) -> Prepare:
    async def prepare(world: World, _: Connection) -> list[bytes]:
        writers = list(world.writers)[:users]
        return [request("POST", "/api/tasks", user, _new(f"Buy milk {turn}")) for turn in range(20) for user in writers]

    return prepare


async def _mixed(world: World, _: Connection) -> list[bytes]:
    """Of each ten requests in a row seven list, two get and one creates, each for the next user."""
    requests = []
    writers = list(world.writers.items())
    for turn in range(10 * len(writers)):
        user, ids = writers[turn % len(writers)]
        # From one pass over the users to the next everybody goes on to another kind.
        kind = (turn * 7 + turn // len(writers)) % 10
        if kind < 7:
            requests.append(request("GET", "/api/tasks?limit=100", user))
        elif kind < 9:
            requests.append(request("GET", f"/api/tasks/{ids[turn % len(ids)]}", user))
        else:
            requests.append(request("POST", "/api/tasks", user, _new(f"Buy milk {turn}")))
    return requests


async def _batch(world: World, _: Connection) -> list[bytes]:
    operations = [{"op": "create", "data": _new(f"Buy milk {turn}")} for turn in range(100)]
    return [request("POST", "/api/tasks/batch", user, {"operations": operations}) for user in world.writers]


async def _update(world: World, _: Connection) -> list[bytes]:
    """Each pass over the tasks writes other titles, so that every request is a real change."""
    return [
        raw
        for turn in range(2)
        for raw in _in_turn(
            [
                [
                    request("PATCH", f"/api/tasks/{id_}", user, {"title": f"Buy milk {turn}", "priority": "low"})
                    for id_ in ids
                ]
                for user, ids in world.writers.items()
            ]
        )
    ]


async def _toggle(world: World, _: Connection) -> list[bytes]:
    return _in_turn(
        [[request("PATCH", f"/api/tasks/{id_}/complete", user) for id_ in ids] for user, ids in world.writers.items()]
    )


async def _changes(world: World, connection: Connection) -> list[bytes]:
    """Readers who were away while a hundred of their tasks changed."""
    requests = []
    for user in list(world.writers)[:10]:
        answer = msgspec.json.decode((await connection.send(request("GET", "/api/tasks/changes", user))).body)
        while answer["has_more"]:
            path = f"/api/tasks/changes?since={answer['next']}"
            answer = msgspec.json.decode((await connection.send(request("GET", path, user))).body)
        operations = [{"op": "create", "data": _new(f"Buy bread {turn}")} for turn in range(100)]
        await connection.send(request("POST", "/api/tasks/batch", user, {"operations": operations}))
        requests.append(request("GET", f"/api/tasks/changes?since={answer['next']}", user))
    return requests


OK = frozenset({200})
CREATED = frozenset({201})

GET = Operation("get", OK, _get())
LIST_100 = Operation("list 100", OK, _list("limit=100"))
LIST_1000 = Operation("list 1000", OK, _list("limit=1000"))
LIST_FILTERED = Operation("list filtered and sorted", OK, _list(FILTER))
NOT_MODIFIED = Operation("list not modified", frozenset({304}), _not_modified, beyond=True)
CREATE = Operation("create", CREATED, _create(WRITERS.users), writes=True)
UPDATE = Operation("update", OK, _update, writes=True)
TOGGLE = Operation("toggle", OK, _toggle, writes=True)
MIXED = Operation("70 % list 100, 20 % get, 10 % create", OK | CREATED, _mixed, writes=True)
BATCH = Operation("batch of 100", OK, _batch, writes=True, beyond=True)
CHANGES = Operation("changes", OK, _changes, writes=True, beyond=True)
ALL = (GET, LIST_100, LIST_1000, LIST_FILTERED, NOT_MODIFIED, CREATE, UPDATE, TOGGLE, MIXED, BATCH, CHANGES)
QUICK = (GET, LIST_100, NOT_MODIFIED, CREATE, UPDATE, TOGGLE, MIXED, BATCH)

# What only the service has, or what says something only beside another operation of its own: see `bench.comparisons`.
GET_BY_PATH = Operation("get, path surface", OK, _get("/api/{user}/tasks"))
LIST_BY_PATH = Operation("list 100, path surface", OK, _list("limit=100", "/api/{user}/tasks"))
CREATE_ALONE = Operation("create, one user", CREATED, _create(1), writes=True)
