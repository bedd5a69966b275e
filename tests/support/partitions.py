"""The schema on PostgreSQL's own hash partitions by user, which stand for the shards of a distributed database.

Both need the same of tables and statements: each table's key begins with the user, and a statement that compares every
table's user with its parameter touches one part. Of partitions, PostgreSQL's own EXPLAIN tells which are touched.
"""

from typing import Any, Final

import asyncpg

PARTITIONS: Final = 8

USER_COLUMNS: Final = {"users": "id", "tasks": "user_id", "tombstones": "user_id", "idempotency_keys": "user_id"}
"""What each table is split by."""

_CONSTRAINTS: Final = """
SELECT format('ALTER TABLE %I ADD CONSTRAINT %I %s', $1::text, conname, pg_get_constraintdef(oid))
FROM pg_constraint WHERE conrelid = $1::text::regclass AND contype IN ('p', 'f') ORDER BY contype DESC
"""
_INDEXES: Final = """
SELECT pg_get_indexdef(indexrelid) FROM pg_index WHERE indrelid = $1::text::regclass AND NOT indisprimary
"""


async def partition(url: str) -> None:
    """Replace the migrated, empty tables by partitioned ones with the same columns, constraints and indexes."""
    connection = await asyncpg.connect(url)
    try:
        async with connection.transaction():
            await _partition(connection)
    finally:
        await connection.close()


async def _partition(connection: Any) -> None:
    definitions: list[str] = []
    for kind in (_CONSTRAINTS, _INDEXES):
        for table in USER_COLUMNS:
            definitions += [row[0] for row in await connection.fetch(kind, table)]
    for table in USER_COLUMNS:
        assert await connection.fetchval(f"SELECT count(*) FROM {table}") == 0, f"{table} has rows"
        await connection.execute(f"ALTER TABLE {table} RENAME TO {table}_whole")
    for table, column in USER_COLUMNS.items():
        await connection.execute(
            f"CREATE TABLE {table} (LIKE {table}_whole INCLUDING ALL EXCLUDING INDEXES) PARTITION BY HASH ({column})"
        )
        for number in range(PARTITIONS):
            await connection.execute(
                f"CREATE TABLE {name_of(table, number)} PARTITION OF {table} "
                f"FOR VALUES WITH (MODULUS {PARTITIONS}, REMAINDER {number})"
            )
    await connection.execute(f"DROP TABLE {', '.join(f'{table}_whole' for table in USER_COLUMNS)}")
    for definition in definitions:
        await connection.execute(definition)


def name_of(table: str, number: int) -> str:
    return f"{table}_part_{number}"


def number_of(relation: str) -> int | None:
    """Which part a table is; None for a table that is none."""
    _, _, number = relation.rpartition("_part_")
    return int(number) if number.isdecimal() else None
