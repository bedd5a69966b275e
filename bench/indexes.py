"""`python -m bench.indexes`: what a write costs PostgreSQL, and what each index buys, into `docs/scaling.md`.

CPU time of the one backend that runs the service's own statements. Variants of the schema are databases of their own
and take turns of a few statements, so that they meet the same machine; a figure is the lower quartile of the turns.
"""

import asyncio
import statistics
import uuid
from collections.abc import Awaitable, Callable, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import uuid_utils

from bench.fill import Filling, create_database
from bench.postgres import Postgres, running_postgres
from bench.scaling import PAGE, table, written
from taskservice.database.moments import as_microseconds
from taskservice.database.pool import Transaction
from taskservice.principal import Principal
from taskservice.tasks.list_query import TOKEN_SURFACE, read_list_query, read_trash_query
from taskservice.tasks.read_statements import CHANGES, FOREIGN, list_page
from taskservice.tasks.schemas import TaskChange, TaskCreate
from taskservice.tasks.sharded_store import ShardedTaskStore
from taskservice.tasks.store import TaskStore
from taskservice.tasks.write_statements import Edit

Connection = Any
Run = Callable[[Connection, int], Awaitable[Any]]

TURNS: Final = 40
TURN: Final = 40
WRITERS: Final = Filling("writer", 100, 200)
SIZES: Final = (1_000, 10_000, 100_000)

TRASH, FEED, FOREIGN_TASK = "the trash", "the last changes", "whose a task is"
INDEXES: Final = {
    "ix_tasks_list_created": ("", "sort=-created", "created_after=2026-01-01"),
    "ix_tasks_list_updated": ("sort=updated", "sort=-updated"),
    "ix_tasks_list_completed": ("sort=completed", "completed_after=2026-01-01"),
    "ix_tasks_list_title": ("sort=title",),
    "ix_tasks_list_due": ("sort=due", "due=today"),
    "ix_tasks_list_priority": ("sort=-priority",),
    "ix_tasks_list_status": ("sort=status",),
    "ix_tasks_user_id_completed": ("status=completed", "status=completed&count=true"),
    "ix_tasks_trash": (TRASH,),
    "ix_tasks_feed": (FEED,),
    "ix_tasks_id": (FOREIGN_TASK,),
}
"""Each index, and what asks for it."""

BARE: Final = """
WITH counter AS (
    INSERT INTO users (id, revision) VALUES ($1, 1)
    ON CONFLICT (id) DO UPDATE SET revision = users.revision + 1 RETURNING revision, epoch
)
INSERT INTO tasks (user_id, id, title, description, status, priority, due_date, completed_at, revision)
SELECT $1, $2, $3, $4, $5, $6, $7, CASE WHEN $5 = 'completed' THEN now() END, counter.revision FROM counter
RETURNING id, title, description, status, priority, due_date, created_at, updated_at, completed_at, revision,
          (SELECT epoch FROM counter)"""
"""As `bench/peers/limit.py` has it: a create with the same counter, and nothing else."""


# ---- writes


async def create(connection: Connection, turn: int) -> None:
    await TaskStore(Transaction(connection)).create(_author(turn), [TaskCreate(title=f"Task {turn}")])


async def create_sharded(connection: Connection, turn: int) -> None:
    await connection.execute("BEGIN")
    await ShardedTaskStore(Transaction(connection)).create(_author(turn), [TaskCreate(title=f"Task {turn}")])
    await connection.execute("COMMIT")


async def create_barely(connection: Connection, turn: int) -> None:
    user = _author(turn).user_id
    await connection.fetch(BARE, user, str(uuid_utils.uuid7()), f"Task {turn}", None, "pending", "medium", None)


def _author(turn: int) -> Principal:
    return Principal(f"writer-{1 + turn % 100}", None, None)


def edits(*, toggle: bool) -> Run:
    known: dict[Connection, list[Any]] = {}

    async def edit(connection: Connection, turn: int) -> None:
        if connection not in known:
            known[connection] = await connection.fetch("SELECT user_id, id FROM tasks ORDER BY title LIMIT 5000")
        task = known[connection][turn * 7 % 5000]
        change = None if toggle else TaskChange(title=f"Changed {uuid.uuid4()}")
        asked = Edit(id=task["id"], toggle=toggle, change=change)
        await TaskStore(Transaction(connection)).edit(task["user_id"], [asked])

    return edit


def erasures(*, sharded: bool) -> Run:
    """Of tasks that exist: each task only once."""
    left: dict[Connection, Iterator[Any]] = {}

    async def erase(connection: Connection, _: int) -> None:
        if connection not in left:
            # From both ends, so that the two forms never meet.
            order = "DESC" if sharded else "ASC"
            left[connection] = iter(
                await connection.fetch(f"SELECT user_id, id FROM tasks ORDER BY id {order} LIMIT 5000")
            )
        task = next(left[connection])
        if not sharded:
            await TaskStore(Transaction(connection)).erase(task["user_id"], [Edit(id=task["id"])])
            return
        await connection.execute("BEGIN")
        await ShardedTaskStore(Transaction(connection)).erase(task["user_id"], [Edit(id=task["id"])])
        await connection.execute("COMMIT")

    return erase


# ---- turns


def cpu(connection: Connection) -> float:
    """Microseconds that the connection's backend has had of a processor."""
    return int(Path(f"/proc/{connection.get_server_pid()}/schedstat").read_text().split()[0]) / 1000


async def in_turns(candidates: dict[str, tuple[Connection, Run]]) -> dict[str, float]:
    """The cost of one execution of each, in microseconds."""
    costs: dict[str, list[float]] = {name: [] for name in candidates}
    for turn in range(TURNS):
        for name, (connection, run) in candidates.items():
            await run(connection, turn)
            before = cpu(connection)
            for number in range(TURN):
                await run(connection, turn * TURN + number)
            costs[name].append((cpu(connection) - before) / TURN)
    # The first ones prepare the statements.
    return {name: statistics.quantiles(of[3:], n=4)[0] for name, of in costs.items()}


async def writes(postgres: Postgres) -> str:
    statements: dict[str, Run] = {
        "create": create,
        "create, `TASKSERVICE_DATABASE_SHARDED=true`": create_sharded,
        "create of the bare limit (`bench/peers/limit.py`)": create_barely,
        "erase": erasures(sharded=False),
        "erase, `TASKSERVICE_DATABASE_SHARDED=true`": erasures(sharded=True),
        "update": edits(toggle=False),
        "toggle": edits(toggle=True),
    }
    connection = await copy(postgres, "written", "SELECT")
    costs = await in_turns({name: (connection, run) for name, run in statements.items()})
    await connection.close()
    return table("write", "PostgreSQL's CPU", rows=[(name, f"{cost:.0f} µs") for name, cost in costs.items()])


async def parts_of_writes(postgres: Postgres) -> str:
    drops = {f"`{name}`": f"DROP INDEX {name}" for name in INDEXES}
    constraints = await check_constraints(postgres)
    drops["CHECK constraints"] = "ALTER TABLE tasks " + ", ".join(f"DROP CONSTRAINT {name}" for name in constraints)
    drops["the foreign key"] = "ALTER TABLE tasks DROP CONSTRAINT fk_tasks_user_id_users"
    connections = {"": await copy(postgres, "whole", "SELECT")}
    for number, (name, drop) in enumerate(drops.items()):
        connections[name] = await copy(postgres, f"variant_{number}", drop)
    created = await in_turns({name: (connection, create) for name, connection in connections.items()})
    update = edits(toggle=False)
    updated = await in_turns({name: (connection, update) for name, connection in connections.items()})
    for connection in connections.values():
        await connection.close()
    rows = [(name, f"{created[''] - created[name]:.0f} µs", f"{updated[''] - updated[name]:.0f} µs") for name in drops]
    return table("without", "a create costs less by", "an update by", rows=rows)


async def check_constraints(postgres: Postgres) -> list[str]:
    async with postgres.connection("template_of_writes") as connection:
        rows = await connection.fetch(
            "SELECT conname FROM pg_constraint WHERE conrelid = 'tasks'::regclass AND contype = 'c'"
        )
        return [row["conname"] for row in rows]


async def copy(postgres: Postgres, name: str, change: str) -> Connection:
    async with postgres.connection() as connection:
        await connection.execute(f"CREATE DATABASE {name} TEMPLATE template_of_writes")
    connection = await asyncpg.connect(postgres.url(name))
    await as_microseconds(connection)
    await connection.execute(change)
    await connection.execute("VACUUM ANALYZE tasks")
    return connection


# ---- reads


def statement_for(asked: str, size: int) -> tuple[str, list[Any]]:
    user = f"of{size}-1"
    if asked == FEED:
        return CHANGES.call(user_id=user, since=size - 50, rows=101, deletions_after=0)
    if asked == FOREIGN_TASK:
        return FOREIGN.call(user_id=user, id=uuid.uuid4())
    query = read_trash_query(b"", b"") if asked == TRASH else read_list_query(asked.encode(), TOKEN_SURFACE, b"")
    return list_page(query.shape, 101).call(user_id=user, rows=101, **query.values)


async def cost_of(connection: Connection, asked: str, size: int) -> float:
    """Milliseconds for a page of a hundred, with the plan that PostgreSQL settles for."""
    sql, args = statement_for(asked, size)
    costs: list[float] = []
    for _ in range(16):
        before = cpu(connection)
        await connection.fetch(sql, *args)
        costs.append((cpu(connection) - before) / 1000)
    return statistics.quantiles(costs[6:], n=4)[0]


async def reads(postgres: Postgres) -> str:
    rows: list[tuple[str, ...]] = []
    async with postgres.connection("reads") as connection:
        await as_microseconds(connection)
        await connection.execute("UPDATE tasks SET deleted_at = updated_at WHERE revision % 50 = 0")
        await connection.execute("VACUUM ANALYZE tasks")
        for index, questions in INDEXES.items():
            definition = await connection.fetchval("SELECT pg_get_indexdef($1::text::regclass)", index)
            with_it = {asked: [await cost_of(connection, asked, size) for size in SIZES] for asked in questions}
            await connection.execute(f"DROP INDEX {index}")
            for asked in questions:
                without = [await cost_of(connection, asked, size) for size in SIZES]
                cells = (f"{this:.2f} / {that:.2f}" for this, that in zip(with_it[asked], without, strict=True))
                rows.append((f"`{index}`", _as_written(asked), *cells))
            await connection.execute(definition)
    return table("index", "asked", *(f"of {size:,} tasks" for size in SIZES), rows=rows)


def _as_written(asked: str) -> str:
    return f"`?{asked}`" if "=" in asked else asked or "the list"


def write(name: str, content: str) -> None:
    PAGE.write_text(written(PAGE.read_text("utf-8"), name, content), "utf-8")


def main() -> None:
    with running_postgres() as postgres:
        create_database(postgres, "template_of_writes", [WRITERS])
        write("writes", asyncio.run(writes(postgres)))
        write("parts of writes", asyncio.run(parts_of_writes(postgres)))
        create_database(
            postgres, "reads", [Filling("crowd", 100, 500), *(Filling(f"of{size}", 1, size) for size in SIZES)]
        )
        write("indexes", asyncio.run(reads(postgres)))


if __name__ == "__main__":
    main()
