"""What the machine can do: bare ASGI, asyncpg and msgspec, with the service's queries and the same token check.

No framework, no query builder, and of every route only what the measurement asks for. It is a yardstick, not a model.
"""

import asyncio
import datetime as dt
import gc
import hmac
import os
import time
import uuid
from base64 import urlsafe_b64decode
from collections.abc import Awaitable, Callable, Mapping
from typing import Any, Literal
from urllib.parse import parse_qs

import asyncpg
import msgspec
from uuid_utils.compat import uuid7

SECRET = os.environ["BETTER_AUTH_SECRET"].encode()
CONNECTIONS = int(os.environ["TASKSERVICE_DATABASE_CONNECTIONS"])

Send = Callable[[dict[str, Any]], Awaitable[None]]
Receive = Callable[[], Awaitable[dict[str, Any]]]
Status = Literal["pending", "in_progress", "completed"]
Priority = Literal["low", "medium", "high"]

# Not what the program knows anyway: whose tasks they are, and whether they are completed.
COLUMNS = "id, title, description, status, priority, due_date, created_at, updated_at, completed_at"
TASK_COLUMNS = ", ".join(f"tasks.{name}" for name in COLUMNS.split(", "))

# A tag is made of the task's revision and its user's epoch.
OWN = f"{COLUMNS}, revision, (SELECT epoch FROM users WHERE id = $1) AS epoch"
# The user's revision comes with the rows, so that the list's ETag belongs to exactly these rows.
LIST = f"""
SELECT {OWN}, (SELECT revision FROM users WHERE id = $1) AS counter FROM tasks
WHERE user_id = $1 AND deleted_at IS NULL"""
GET = f"SELECT {OWN} FROM tasks WHERE user_id = $1 AND id = $2 AND deleted_at IS NULL"
EXISTS = "SELECT 1 FROM tasks WHERE id = $1 AND deleted_at IS NULL"
TAG = "SELECT revision, epoch FROM users WHERE id = $1"
CREATE = f"""
WITH counter AS (
    INSERT INTO users (id, revision) VALUES ($1, 1)
    ON CONFLICT (id) DO UPDATE SET revision = users.revision + 1 RETURNING revision, epoch
)
INSERT INTO tasks (user_id, id, title, description, status, priority, due_date, completed_at, revision)
SELECT $1, $2, $3, $4, $5, $6, $7, CASE WHEN $5 = 'completed' THEN now() END, counter.revision FROM counter
RETURNING {COLUMNS}, revision, (SELECT epoch FROM counter)"""
CREATE_MANY = f"""
WITH counter AS (
    INSERT INTO users (id, revision) VALUES ($1, $8)
    ON CONFLICT (id) DO UPDATE SET revision = users.revision + $8 RETURNING revision, epoch
)
INSERT INTO tasks (user_id, id, title, description, status, priority, due_date, completed_at, revision)
SELECT $1, item.id, title, description, status, priority, due_date, CASE WHEN status = 'completed' THEN now() END,
       counter.revision - $8 + position
FROM counter, unnest($2::uuid[], $3::text[], $4::text[], $5::text[], $6::text[], $7::timestamptz[])
     WITH ORDINALITY AS item (id, title, description, status, priority, due_date, position)
RETURNING {COLUMNS}, revision, (SELECT epoch FROM counter)"""
CHANGE = """
WITH counter AS (UPDATE users SET revision = revision + 1 WHERE id = $1 RETURNING revision, epoch)
UPDATE tasks SET {changes}, updated_at = greatest(clock_timestamp(), updated_at + interval '1 microsecond'),
                 revision = counter.revision
FROM counter WHERE tasks.id = $2 AND tasks.user_id = $1 AND tasks.deleted_at IS NULL
RETURNING {columns}, tasks.revision, counter.epoch"""
TOGGLE = CHANGE.format(
    changes="""status = CASE status WHEN 'completed' THEN 'pending' ELSE 'completed' END,
               completed_at = CASE status WHEN 'completed' THEN NULL ELSE now() END""",
    columns=TASK_COLUMNS,
)
DELETE = CHANGE.format(changes="deleted_at = now()", columns=TASK_COLUMNS)
CHANGES = f"""
SELECT {OWN}, deleted_at FROM tasks WHERE user_id = $1 AND revision > $2
UNION ALL
SELECT task_id, NULL, NULL, NULL, NULL, NULL, NULL, NULL, NULL, revision, NULL, deleted_at
FROM tombstones WHERE user_id = $1 AND revision > $2
ORDER BY revision LIMIT 1000"""


class Task(msgspec.Struct, gc=False):
    id: uuid.UUID
    user_id: str
    title: str
    description: str | None
    status: str
    completed: bool
    priority: str
    due_date: dt.datetime | None
    created_at: dt.datetime
    updated_at: dt.datetime
    completed_at: dt.datetime | None
    etag: str


# Moments travel as microseconds since 2000: asyncpg would take as long for a `datetime` as for the rest of a row.
YEAR_2000 = dt.datetime(2000, 1, 1, tzinfo=dt.UTC)
MICROSECOND = dt.timedelta(microseconds=1)


def moment(microseconds: int | None) -> dt.datetime | None:
    return None if microseconds is None else YEAR_2000 + microseconds * MICROSECOND


def microseconds_of(value: object) -> object:
    return (value - YEAR_2000) // MICROSECOND if isinstance(value, dt.datetime) else value


def tag_of(revision: int, epoch: str) -> str:
    return f'"{revision}-{epoch}"'


def task_of(user: str, row: Any) -> Task:
    (
        task_id, title, description, status, priority, due_date, created_at, updated_at, completed_at, revision, epoch,
        *_,
    ) = row  # fmt: skip
    created = YEAR_2000 + created_at * MICROSECOND
    updated = created if updated_at == created_at else YEAR_2000 + updated_at * MICROSECOND
    return Task(
        task_id,
        user,
        title,
        description,
        status,
        completed_at is not None,
        priority,
        moment(due_date),
        created,
        updated,
        updated if completed_at == updated_at else moment(completed_at),
        tag_of(revision, epoch),
    )


class NewTask(msgspec.Struct, forbid_unknown_fields=True):
    title: str
    description: str | None = None
    status: Status = "pending"
    priority: Priority = "medium"
    due_date: dt.datetime | None = None


class TaskChange(msgspec.Struct, forbid_unknown_fields=True, omit_defaults=True):
    title: str | msgspec.UnsetType = msgspec.UNSET
    description: str | msgspec.UnsetType | None = msgspec.UNSET
    status: Status | msgspec.UnsetType = msgspec.UNSET
    priority: Priority | msgspec.UnsetType = msgspec.UNSET
    due_date: dt.datetime | msgspec.UnsetType | None = msgspec.UNSET


class Creation(msgspec.Struct, tag_field="op", tag="create"):
    data: NewTask


class Batch(msgspec.Struct, forbid_unknown_fields=True):
    operations: list[Creation]


class Header(msgspec.Struct):
    alg: str


class Claims(msgspec.Struct):
    sub: str
    exp: float
    iat: float = 0
    nbf: float = 0


class RefusalError(Exception):
    def __init__(self, status: int, detail: str) -> None:
        super().__init__(detail)
        self.status = status
        self.detail = detail


class Connections:
    """Connections that are lent for one statement each, the last one back first. No session state is ever set here."""

    def __init__(self) -> None:
        self._idle: asyncio.LifoQueue[Any] = asyncio.LifoQueue()

    async def open(self) -> None:
        for _ in range(CONNECTIONS):
            connection = await asyncpg.connect(os.environ["DATABASE_URL"])
            await connection.set_builtin_type_codec(
                "timestamptz", schema="pg_catalog", codec_name="int8", format="binary"
            )
            self._idle.put_nowait(connection)

    async def close(self) -> None:
        while not self._idle.empty():
            await self._idle.get_nowait().close()

    async def fetch(self, query: str, *arguments: object) -> list[Any]:
        connection = await self._idle.get()
        try:
            rows: list[Any] = await connection.fetch(query, *arguments)
            return rows
        finally:
            self._idle.put_nowait(connection)


connections = Connections()
encode: Callable[[object], bytes] = msgspec.json.Encoder().encode
decode_header = msgspec.json.Decoder(Header).decode
decode_claims = msgspec.json.Decoder(Claims).decode
decode_new = msgspec.json.Decoder(NewTask).decode
decode_change = msgspec.json.Decoder(TaskChange).decode
decode_batch = msgspec.json.Decoder(Batch).decode


def user_of(headers: Mapping[bytes, bytes]) -> str:
    given = headers.get(b"authorization")
    if not given:
        raise RefusalError(401, "Missing authentication")
    scheme, _, token = given.partition(b" ")
    if scheme.lower() != b"bearer":
        raise RefusalError(401, "Invalid token")
    signed, _, signature = token.rpartition(b".")
    header, _, payload = signed.partition(b".")
    try:
        algorithm = decode_header(urlsafe_b64decode(header + b"==")).alg
        genuine = hmac.compare_digest(hmac.digest(SECRET, signed, "sha256"), urlsafe_b64decode(signature + b"=="))
        claims = decode_claims(urlsafe_b64decode(payload + b"=="))
    except (ValueError, msgspec.DecodeError):
        raise RefusalError(401, "Invalid token") from None
    now = time.time()
    if algorithm != "HS256" or not genuine or claims.iat > now + 30 or claims.nbf > now + 30:
        raise RefusalError(401, "Invalid token")
    if claims.exp <= now:
        raise RefusalError(401, "Token expired")
    return claims.sub


def check(task: NewTask | TaskChange) -> None:
    if task.title is not msgspec.UNSET:
        task.title = task.title.strip()
        if not 1 <= len(task.title) <= 200:
            raise RefusalError(422, "title: 1 to 200 characters")
    if task.description and len(task.description) > 1000:
        raise RefusalError(422, "description: at most 1000 characters")


async def missing(task_id: uuid.UUID) -> RefusalError:
    return (
        RefusalError(403, "Not your task")
        if await connections.fetch(EXISTS, task_id)
        else RefusalError(404, "Task not found")
    )


async def answer(send: Send, status: int, body: bytes, *headers: tuple[bytes, bytes]) -> None:
    sent = [(b"content-type", b"application/json"), (b"content-length", b"%d" % len(body)), *headers]
    await send({"type": "http.response.start", "status": status, "headers": sent})
    await send({"type": "http.response.body", "body": body})


async def answer_one(send: Send, status: int, user: str, row: Any, *headers: tuple[bytes, bytes]) -> None:
    task = task_of(user, row)
    await answer(send, status, encode(task), (b"etag", task.etag.encode()), *headers)


async def body_of(receive: Receive) -> bytes:
    body: bytes = b""
    while True:
        message = await receive()
        body += message.get("body", b"")
        if not message.get("more_body"):
            return body


def list_query(query: Mapping[str, list[str]], arguments: list[object]) -> str:
    """The list's statement; its text depends on the shape of the request only, so that asyncpg prepares it once."""
    conditions = ""
    for name in ("status", "priority"):
        if values := query.get(name):
            arguments.append(values)
            conditions += f" AND {name} = ANY(${len(arguments)})"
    sort = query.get("sort", ["created"])[0]
    column = {"created": "created_at", "updated": "updated_at", "title": 'title COLLATE "C"', "due": "due_date"}.get(
        sort.removeprefix("-")
    )
    limit = int(query.get("limit", ["1000"])[0])
    if column is None or not 1 <= limit <= 1000:
        raise RefusalError(422, "sort or limit")
    direction, nulls = ("DESC", "FIRST") if sort.startswith("-") else ("ASC", "LAST")
    arguments.append(limit)
    return f"{LIST}{conditions} ORDER BY {column} {direction} NULLS {nulls}, id {direction} LIMIT ${len(arguments)}"


async def list_tasks(user: str, headers: Mapping[bytes, bytes], query: Mapping[str, list[str]], send: Send) -> None:
    if (known := headers.get(b"if-none-match")) is not None:
        (current,) = await connections.fetch(TAG, user)
        if known == tag_of(*current).encode():
            await send({"type": "http.response.start", "status": 304, "headers": [(b"etag", known)]})
            await send({"type": "http.response.body"})
            return
    arguments: list[object] = [user]
    statement = list_query(query, arguments)
    rows = await connections.fetch(statement, *arguments)
    tag = tag_of(rows[0]["counter"], rows[0]["epoch"]) if rows else tag_of(0, "")
    await answer(send, 200, encode([task_of(user, row) for row in rows]), (b"etag", tag.encode()))


async def create(user: str, receive: Receive, send: Send) -> None:
    new = decode_new(await body_of(receive))
    check(new)
    (row,) = await connections.fetch(
        CREATE, user, uuid7(), new.title, new.description, new.status, new.priority, microseconds_of(new.due_date)
    )
    await answer_one(send, 201, user, row, (b"location", b"/api/tasks/%s" % str(row["id"]).encode()))


async def create_many(user: str, receive: Receive, send: Send) -> None:
    new = [creation.data for creation in decode_batch(await body_of(receive)).operations]
    if not 1 <= len(new) <= 100:
        raise RefusalError(422, "operations: 1 to 100")
    for task in new:
        check(task)
    rows = await connections.fetch(
        CREATE_MANY,
        user,
        [uuid7() for _ in new],
        [task.title for task in new],
        [task.description for task in new],
        [task.status for task in new],
        [task.priority for task in new],
        [microseconds_of(task.due_date) for task in new],
        len(new),
    )
    tasks = [task_of(user, row) for row in rows]
    results = [{"status": 201, "task": task, "etag": task.etag} for task in tasks]
    await answer(send, 200, encode({"results": results}))


async def list_changes(user: str, query: Mapping[str, list[str]], send: Send) -> None:
    since = int(query.get("since", ["0"])[0])
    rows = await connections.fetch(CHANGES, user, since)
    body = {
        "changes": [
            {"type": "upsert", "task": task_of(user, row), "etag": tag_of(row["revision"], row["epoch"])}
            if row["deleted_at"] is None
            else {"type": "delete", "id": row["id"], "deleted_at": moment(row["deleted_at"])}
            for row in rows
        ],
        "next": str(rows[-1]["revision"] if rows else since),
        "has_more": len(rows) == 1000,
    }
    await answer(send, 200, encode(body))


async def change(user: str, task_id: uuid.UUID, statement: str, send: Send, *values: object) -> None:
    rows = await connections.fetch(statement, user, task_id, *values)
    if not rows:
        raise await missing(task_id)
    if statement is DELETE:
        await send({"type": "http.response.start", "status": 204, "headers": []})
        await send({"type": "http.response.body"})
    else:
        await answer_one(send, 200, user, rows[0])


async def update(user: str, task_id: uuid.UUID, receive: Receive, send: Send) -> None:
    wanted = decode_change(await body_of(receive))
    check(wanted)
    values = {name: value for name in wanted.__struct_fields__ if (value := getattr(wanted, name)) is not msgspec.UNSET}
    if not values:
        raise RefusalError(422, "nothing to change")
    assignments = [f"{name} = ${index}" for index, name in enumerate(values, start=3)]
    if "status" in values:
        assignments.append("completed_at = CASE WHEN ${0} = 'completed' THEN coalesce(completed_at, now()) END")
        assignments[-1] = assignments[-1].format(3 + list(values).index("status"))
    statement = CHANGE.format(changes=", ".join(assignments), columns=TASK_COLUMNS)
    await change(user, task_id, statement, send, *map(microseconds_of, values.values()))


async def get(user: str, task_id: uuid.UUID, send: Send) -> None:
    rows = await connections.fetch(GET, user, task_id)
    if not rows:
        raise await missing(task_id)
    await answer_one(send, 200, user, rows[0])


async def route_collection(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    headers = dict(scope["headers"])
    user = user_of(headers)
    query = parse_qs(scope["query_string"].decode())
    match scope["method"], scope["path"]:
        case "GET", "/api/tasks":
            await list_tasks(user, headers, query, send)
        case "POST", "/api/tasks":
            await create(user, receive, send)
        case "POST", "/api/tasks/batch":
            await create_many(user, receive, send)
        case "GET", "/api/tasks/changes":
            await list_changes(user, query, send)
        case _:
            raise RefusalError(404, "Not found")


async def route_task(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    user = user_of(dict(scope["headers"]))
    text, _, action = scope["path"].removeprefix("/api/tasks/").partition("/")
    task_id = uuid.UUID(text)
    match scope["method"], action:
        case "GET", "":
            await get(user, task_id, send)
        case "PUT" | "PATCH", "":
            await update(user, task_id, receive, send)
        case "PATCH", "complete":
            await change(user, task_id, TOGGLE, send)
        case "DELETE", "":
            await change(user, task_id, DELETE, send)
        case _:
            raise RefusalError(404, "Not found")


async def route(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    path = scope["path"]
    if path == "/health/ready":
        await connections.fetch("SELECT 1")
        await answer(send, 200, b'{"status":"ready"}')
    elif path in {"/api/tasks", "/api/tasks/batch", "/api/tasks/changes"}:
        await route_collection(scope, receive, send)
    elif path.startswith("/api/tasks/"):
        await route_task(scope, receive, send)
    else:
        raise RefusalError(404, "Not found")


async def app(scope: dict[str, Any], receive: Receive, send: Send) -> None:
    if scope["type"] == "lifespan":
        await receive()
        await connections.open()
        gc.freeze()
        gc.set_threshold(10_000, 20, 20)
        await send({"type": "lifespan.startup.complete"})
        await receive()
        await connections.close()
        await send({"type": "lifespan.shutdown.complete"})
        return
    try:
        await route(scope, receive, send)
    except RefusalError as refusal:
        await answer(send, refusal.status, encode({"status": refusal.status, "detail": refusal.detail}))
    except (msgspec.DecodeError, ValueError) as error:
        await answer(send, 422, encode({"status": 422, "detail": str(error)}))
