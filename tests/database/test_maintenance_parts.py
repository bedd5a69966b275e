"""What commands do to many users, they do user by user: each statement that locks or writes stays in one part."""

import datetime as dt
import json
from collections.abc import AsyncIterator, Iterator
from pathlib import Path
from typing import Any, Final

import asyncpg
import pytest
from sqlalchemy import event

from taskservice.database.moments import as_microseconds
from taskservice.database.pool import Pool
from taskservice.database.server import DatabaseServer
from taskservice.database.session import sessions_of
from taskservice.settings import load_settings
from taskservice.tasks import maintenance
from taskservice.tasks.epochs import new_epochs
from tests.support.better_auth import SIGN_UP, USERS_TABLE
from tests.support.partitions import PARTITIONS, number_of, partition
from tests.support.postgres import ThrowawayPostgres
from tests.support.services import SECRET

pytestmark = pytest.mark.slow

FILL: Final = """
INSERT INTO users (id, revision) SELECT 'user ' || n, 4 FROM generate_series(1, 30) n;
INSERT INTO tasks (user_id, id, title, revision, deleted_at)
SELECT id, gen_random_uuid(), 'old', 1, now() - interval '400 days' FROM users
UNION ALL SELECT id, gen_random_uuid(), 'live', 2, NULL FROM users;
INSERT INTO tombstones (user_id, revision, task_id, deleted_at)
SELECT id, 3, gen_random_uuid(), now() - interval '400 days' FROM users;
INSERT INTO idempotency_keys (user_id, route, key, fingerprint, status, headers, body, created_at)
SELECT id, 'POST', 'key', '', 201, '[]', '', now() - interval '400 days' FROM users;
"""
LOCKS_OR_WRITES: Final = {"LockRows", "ModifyTable"}


class Recording:
    """Sessions that write down what is sent through them."""

    def __init__(self, url: str, directory: Path) -> None:
        settings = load_settings({"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET}, directory=directory)
        self._server = DatabaseServer(settings)
        self.sent: list[tuple[str, Any]] = []
        self.pool = Pool(self._connect, size=2, deadline=20)
        self.pool.serving = True
        self.sessions = sessions_of(self.pool)
        event.listen(self.sessions.kw["bind"].sync_engine, "before_cursor_execute", self._from_sqlalchemy)

    async def _connect(self, seconds: float) -> Any:
        connection = await self._server.connect(seconds)
        # Statements of `TaskStore` go straight to the driver. It does not log prepared ones, as SQLAlchemy's are.
        connection.add_query_logger(lambda logged: self.sent.append((logged.query, logged.args)))
        return connection

    def _from_sqlalchemy(self, _connection: Any, _cursor: Any, sql: str, args: Any, *_: Any) -> None:
        self.sent.append((sql, args))


@pytest.fixture
async def recording(
    postgres: ThrowawayPostgres, pytestconfig: pytest.Config, migrated_template: str, tmp_path: Path
) -> AsyncIterator[tuple[Recording, Any]]:
    """And a connection to look at the same database, which is split by user and has thirty of them."""
    url = postgres.create_database(template=migrated_template)
    if not pytestconfig.getoption("partitions"):
        await partition(url)
    connection = await asyncpg.connect(url)
    await as_microseconds(connection)
    await connection.execute(FILL)
    await connection.execute(USERS_TABLE)
    recording = Recording(url, tmp_path)
    yield recording, connection
    await recording.pool.close()
    await connection.close()


def nodes(plan: dict[str, Any]) -> Iterator[dict[str, Any]]:
    yield plan
    for part in plan.get("Plans", ()):
        yield from nodes(part)


async def parts_by_statement(connection: Any, sent: list[tuple[str, Any]]) -> list[tuple[str, set[int]]]:
    """The parts that each statement touches, of those that lock or write."""
    found: list[tuple[str, set[int]]] = []
    for sql, args in sent:
        if not sql.lstrip().startswith(("SELECT", "WITH", "INSERT", "UPDATE", "DELETE")):
            continue
        # Of those that run once for each user, one at a time.
        for values in args if args and isinstance(args, list) else [args]:
            [[text]] = await connection.fetch(f"EXPLAIN (FORMAT json) {sql}", *values)
            plan = [*nodes(json.loads(text)[0]["Plan"])]
            if LOCKS_OR_WRITES & {node["Node Type"] for node in plan}:
                numbers = {number_of(node["Relation Name"]) for node in plan if "Relation Name" in node}
                found.append((sql, {number for number in numbers if number is not None}))
    return found


@pytest.mark.parametrize("command", ["purge", "orphans", "erase", "new-epoch"])
async def test_no_statement_locks_or_writes_in_more_than_one_part(
    recording: tuple[Recording, Any], command: str
) -> None:
    recorded, connection = recording
    sessions = recorded.sessions
    if command == "purge":
        removed = await maintenance.purge(sessions, older_than=dt.timedelta(days=30))
        assert (removed.tasks, removed.tombstones, removed.idempotency_keys) == (30, 60, 30)
    elif command == "orphans":
        await connection.execute(SIGN_UP, "user 1")
        assert (await maintenance.purge_orphans(sessions, "user")).users == 29
    elif command == "erase":
        assert (await maintenance.erase_user(sessions, "user 1")).tasks == 2
    else:
        async with sessions() as session:
            assert await new_epochs(session) == 30
    found = await parts_by_statement(connection, recorded.sent)
    assert found
    for sql, touched in found:
        assert len(touched) == 1, sql
    # They were of many users, or this would prove nothing.
    assert command == "erase" or set[int]().union(*(touched for _, touched in found)) == set(range(PARTITIONS))
