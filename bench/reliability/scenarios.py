"""What can go wrong, one function each. Small numbers prove it in a test, large ones make a figure."""

import asyncio
import time
from collections import Counter
from typing import Any

import msgspec

from bench.http import Connection, request
from bench.processes import free_port
from bench.reliability.database import KillablePostgres, running_pgbouncer, url_through, wired
from bench.reliability.program import Program, running_program
from bench.reliability.writers import Writers, lost

DEADLINE = 5.0


class Killed(msgspec.Struct, frozen=True):
    acknowledged: int
    kills: int
    lost: int
    hung: int
    longest_answer: float
    longest_to_heal: float
    other_answers: dict[int, int]


async def database_killed(
    postgres: KillablePostgres, *, writes: int, kills: int, workers: int = 1, sharded: str = "false"
) -> Killed:
    """kill -9 of PostgreSQL with all its processes while 16 clients write."""
    healed: list[float] = []
    async with (
        wired(postgres) as wire,
        running_program(
            "--wc", str(workers), database_url=url_through(wire.port), taskservice_database_sharded=sharded
        ) as program,
        Writers(program, 16) as writers,
    ):
        for kill in range(1, kills + 1):
            await writers.until(writes * kill // (kills + 1))
            postgres.kill()
            await asyncio.sleep(0.3)
            await postgres.start()
            healed.append(await writers.heal())
        await writers.until(writes)
    return await _killed(postgres, writers, kills, healed)


async def workers_killed(postgres: KillablePostgres, *, writes: int, kills: int) -> Killed:
    """kill -9 of one of two workers while 16 clients write."""
    healed: list[float] = []
    async with (
        wired(postgres) as wire,
        running_program("--wc", "2", database_url=url_through(wire.port)) as program,
        Writers(program, 16) as writers,
    ):
        for kill in range(1, kills + 1):
            await writers.until(writes * kill // (kills + 1))
            program.workers()[0].kill()
            healed.append(await writers.heal())
        await writers.until(writes)
    return await _killed(postgres, writers, kills, healed)


async def _killed(postgres: KillablePostgres, writers: Writers, kills: int, healed: list[float]) -> Killed:
    rows = await postgres.rows("SELECT id, title FROM tasks")
    others = {status: count for status, count in writers.answers.items() if status != 201}
    return Killed(
        len(writers.acknowledged), kills, lost(writers, rows), writers.hung, writers.longest, max(healed), others
    )


class Pooled(msgspec.Struct, frozen=True):
    requests: int
    wrong: int
    errors: int


async def behind_pgbouncer(postgres: KillablePostgres, *, requests: int, clients: int = 40) -> Pooled:
    """Readers and writers of many users over five server connections that change hands after each statement."""
    port = free_port()
    async with (
        wired(postgres) as wire,
        running_pgbouncer(wire.port, port),
        running_program(
            "--wc", "2",
            database_url=url_through(port),
            database_direct_url=url_through(wire.port),
            taskservice_database_pooler="true",
        ) as program,
    ):  # fmt: skip
        found: Counter[str] = Counter()
        await asyncio.gather(*(_check_rows(program, f"pooled-{n}", requests // clients, found) for n in range(clients)))
    return Pooled(found["requests"], found["wrong"], found["errors"])


async def _check_rows(program: Program, user: str, requests: int, found: Counter[str]) -> None:
    """Whatever comes back must be this user's, in the state this user left it in."""
    connection = await program.connect()
    answer = await connection.send(request("POST", "/api/tasks", user, {"title": f"{user} 0"}))
    created: Any = answer.json()
    task_id = created["id"]
    title = f"{user} 0"
    for number in range(1, requests):
        kind = number % 4
        if kind == 0:
            title = f"{user} {number}"
            answer = await connection.send(request("PUT", f"/api/tasks/{task_id}", user, {"title": title}))
        elif kind == 1:
            answer = await connection.send(request("GET", f"/api/{user}/tasks?sort=-created&limit=3", user))
        elif kind == 2:
            answer = await connection.send(request("GET", "/api/tasks?q=POOLED&status=pending", user))
        else:
            answer = await connection.send(request("GET", f"/api/tasks/{task_id}", user))
        found["requests"] += 1
        if answer.status != 200:
            found["errors"] += 1
            continue
        document: Any = answer.json()
        tasks: list[Any] = document if isinstance(document, list) else [document]
        if [(task["user_id"], task["id"], task["title"]) for task in tasks] != [(user, task_id, title)]:
            found["wrong"] += 1
    connection.close()


class Outage(msgspec.Struct, frozen=True):
    kind: str
    answers: dict[int, int]
    without_retry_after: int
    hung: int
    longest_answer: float
    seconds_to_heal: float


async def outage(postgres: KillablePostgres, kind: str, *, seconds: float) -> Outage:
    """The way to the database is cut, reset all the time, or silent; readers and writers go on asking."""
    async with (
        wired(postgres) as wire,
        running_program(database_url=url_through(wire.port)) as program,
        Writers(program, 16, patience=DEADLINE * 3) as writers,
    ):
        await writers.until(50)
        writers.answers.clear()
        writers.longest = 0.0
        if kind == "refused":
            wire.cut()
            await asyncio.sleep(seconds)
        elif kind == "silent":
            wire.silence()
            await asyncio.sleep(seconds)
        else:
            until = time.monotonic() + seconds
            while time.monotonic() < until:
                wire.reset()
                await asyncio.sleep(0.01)
        others = {status: count for status, count in writers.answers.items() if status != 201}
        await wire.mend()
        healed = await writers.heal()
    return Outage(kind, others, writers.without_retry_after, writers.hung, writers.longest, healed)


class Crowd(msgspec.Struct, frozen=True):
    clients: int
    requests: int
    errors: int
    p50: float
    p99: float


async def crowd(postgres: KillablePostgres, *, clients: int, rounds: int) -> Crowd:
    """All stay connected, and ask at the same time."""
    async with running_program(database_url=_socket_url(postgres)) as program:
        times: list[float] = []
        errors = 0
        connections = await asyncio.gather(*(program.connect() for _ in range(clients)))

        async def ask(number: int, connection: Connection) -> None:
            nonlocal errors
            for turn in range(rounds):
                raw = (
                    request("POST", "/api/tasks", f"crowd-{number}", {"title": f"task {turn}"})
                    if turn % 5 == 0
                    else request("GET", "/api/tasks?limit=10", f"crowd-{number}")
                )
                began = time.monotonic()
                try:
                    answer = await connection.send(raw)
                except OSError:
                    errors += 1
                    return
                times.append(time.monotonic() - began)
                errors += answer.status not in (200, 201)

        await asyncio.gather(*(ask(number, connection) for number, connection in enumerate(connections)))
        for connection in connections:
            connection.close()
    times.sort()
    return Crowd(clients, len(times), errors, times[len(times) // 2], times[len(times) * 99 // 100])


class Stopped(msgspec.Struct, frozen=True):
    answered: int
    lost: int
    exit_code: int
    seconds: float


async def stopped_under_load(postgres: KillablePostgres, *, clients: int = 64, workers: int = 1) -> Stopped:
    """SIGTERM while clients write as fast as they can. A request counts as lost when it was sent on a connection that
    the service had not announced to close, and was not answered."""
    async with running_program("--wc", str(workers), database_url=_socket_url(postgres)) as program:
        answered = lost_requests = 0
        refused = asyncio.Event()

        async def ask(number: int) -> None:
            nonlocal answered, lost_requests
            raw = request("POST", "/api/tasks", f"stop-{number}", {"title": "task"})
            while not refused.is_set():
                try:
                    connection = await program.connect()
                except OSError:
                    refused.set()
                    return
                try:
                    while True:
                        answer = await connection.send(raw)
                        answered += answer.status == 201
                        lost_requests += answer.status != 201
                        if answer.headers.get("connection") == "close":
                            break
                except OSError:
                    lost_requests += 1
                connection.close()

        asking = [asyncio.create_task(ask(number)) for number in range(clients)]
        await asyncio.sleep(1)
        began = time.monotonic()
        program.terminate()
        code = await program.ended()
        seconds = time.monotonic() - began
        await asyncio.gather(*asking)
    return Stopped(answered, lost_requests, code, seconds)


class Grown(msgspec.Struct, frozen=True):
    requests: int
    before: int
    after: int

    @property
    def bytes(self) -> int:
        return self.after - self.before


async def memory_of_requests(postgres: KillablePostgres, *, requests: int, clients: int = 32) -> Grown:
    """Reads and writes of every kind by a fixed set of users, after a tenth of them to warm up."""
    async with running_program(database_url=_socket_url(postgres)) as program:
        await _mixed(program, requests // 10, clients)
        before = program.resident_bytes()
        await _mixed(program, requests, clients)
        return Grown(requests, before, program.resident_bytes())


async def _mixed(program: Program, requests: int, clients: int) -> None:
    async def ask(number: int) -> None:
        user = f"soak-{number}"
        connection = await program.connect()
        for _ in range(requests // clients // 8):
            created = await connection.send(request("POST", "/api/tasks", user, {"title": "soak"}))
            task: Any = created.json()
            path = f"/api/tasks/{task['id']}"
            for raw in (
                request("GET", "/api/tasks?limit=20", user),
                request("GET", path, user),
                request("PATCH", f"{path}/complete", user),
                request("GET", "/api/tasks?status=completed&sort=title", user),
                request("PUT", path, user, {"description": "changed"}),
                request("POST", "/api/tasks", user, {"title": ""}),
                request("DELETE", f"{path}?permanent=true", user),
            ):
                await connection.send(raw)
        connection.close()

    await asyncio.gather(*(ask(number) for number in range(clients)))


async def memory_of_a_large_body(postgres: KillablePostgres, *, megabytes: int = 50) -> Grown:
    """Sent in full by a client that takes no hint: the answer is 413, and nothing of it is kept."""
    async with running_program(database_url=_socket_url(postgres)) as program:
        await program.once(request("POST", "/api/tasks", "large", {"title": "x" * 150}))
        before = most = program.resident_bytes()
        for chunked in (False, True):
            reader, writer = await asyncio.open_connection("127.0.0.1", program.port)
            head = request("POST", "/api/tasks", "large").removesuffix(b"\r\n")
            length = b"Transfer-Encoding: chunked" if chunked else b"Content-Length: %d" % (megabytes << 20)
            writer.write(head + b"Content-Type: application/json\r\n" + length + b"\r\n\r\n")
            piece = b" " * (1 << 20)
            for _ in range(megabytes):
                writer.write(b"%x\r\n%b\r\n" % (len(piece), piece) if chunked else piece)
                try:
                    await writer.drain()
                except OSError:
                    break
                most = max(most, program.resident_bytes())
            answer = await reader.read(64)
            assert answer.startswith(b"HTTP/1.1 413 "), answer
            writer.close()
        return Grown(2, before, max(most, program.resident_bytes()))


def _socket_url(postgres: KillablePostgres) -> str:
    return f"postgresql://taskservice@/taskservice?host={postgres.socket.parent}"
