"""The database that everybody is measured on: the service's own schema, filled by the server itself."""

import tempfile
from pathlib import Path

import msgspec

from bench.candidates import SERVICE, running
from bench.postgres import Postgres

DATABASE = "bench"
USERS = 100
TASKS = 100_000


class Filling(msgspec.Struct, frozen=True):
    """How many tasks each of a series of users gets: `prefix-1` to `prefix-{users}`."""

    prefix: str
    users: int
    tasks_each: int


# Users of one round take turns, so that the tasks of one user lie scattered over the table as they do after some
# months of use. Every date is an instant: the typical peer knows no plain dates, and answers must be equal.
FILL = """
INSERT INTO tasks (id, user_id, title, description, status, priority, due_date,
                   created_at, updated_at, completed_at, revision)
SELECT uuidv7(created_at - now()), '{prefix}-' || member, 'Task ' || turn || ' of {prefix} ' || member,
       CASE WHEN turn % 2 = 0 THEN 'Things to remember about it: ' || repeat('word ', 5 + turn % 12) END,
       status, (ARRAY['low', 'medium', 'high'])[1 + turn % 3],
       CASE WHEN turn % 5 < 3
            THEN timestamptz '2026-12-01 17:00:00.25Z' + (turn * 7919 % 100000) * interval '1 minute' END,
       created_at, created_at, CASE WHEN status = 'completed' THEN created_at END, turn
FROM generate_series({first_turn}, {last_turn}) AS turn, generate_series(1, {users}) AS member,
     LATERAL (SELECT now() - interval '400 days' + turn * interval '20.000019 seconds'
                           + member * interval '3 microseconds' AS created_at,
              CASE WHEN turn % 20 < 12 THEN 'pending' WHEN turn % 20 < 15 THEN 'in_progress' ELSE 'completed' END
              AS status) AS derived
"""


def users_of(filling: Filling) -> str:
    return f"""
INSERT INTO users (id, revision) SELECT '{filling.prefix}-' || member, {filling.tasks_each}
FROM generate_series(1, {filling.users}) AS member"""


def tasks_of(filling: Filling) -> str:
    return FILL.format(prefix=filling.prefix, users=filling.users, first_turn=1, last_turn=filling.tasks_each)


def create_database(postgres: Postgres, name: str, fillings: list[Filling]) -> None:
    """A migrated database with these tasks in it, vacuumed and analysed."""
    postgres.execute("postgres", [f"CREATE DATABASE {name}"])
    migrate(postgres.url(name))
    # A typical peer knows no change counter and leaves the column out.
    postgres.execute(name, ["ALTER TABLE tasks ALTER revision SET DEFAULT 0"])
    fill(postgres, name, fillings)


def fill(postgres: Postgres, name: str, fillings: list[Filling]) -> None:
    """Millions of rows go in without the secondary indexes, which are made again afterwards: several times faster."""
    indexes = postgres.fetch(
        name,
        """SELECT indexdef, indexrelid::regclass::text AS name FROM pg_index
           JOIN pg_indexes ON indexname = indexrelid::regclass::text
           WHERE indrelid = 'tasks'::regclass AND NOT indisprimary""",
    )
    postgres.execute(
        name,
        [
            *(f"DROP INDEX {index['name']}" for index in indexes),
            *(statement for filling in fillings for statement in (users_of(filling), tasks_of(filling))),
            *(index["indexdef"] for index in indexes),
            "VACUUM (ANALYZE) tasks",
            "VACUUM (ANALYZE) users",
            "CHECKPOINT",
        ],
    )


def migrate(url: str) -> None:
    """The service itself does it when it starts."""
    with tempfile.TemporaryDirectory(prefix="bench-logs-") as logs, running(SERVICE, url, Path(logs)):
        pass
