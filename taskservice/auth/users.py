"""Policy `users = "registered"`: a sound token is not enough, its user must exist in Better Auth's own table.

A user found there is remembered for `FOUND_SECONDS`, so a deleted user may go on for that long; a missing one is looked
up again after `MISSING_SECONDS`, so a request just before the sign-up does not shut the new user out.
"""

import time
from collections.abc import Awaitable, Callable, Sequence
from typing import Any, Final
from uuid import UUID

import asyncpg

from taskservice.database.failures import Unusable
from taskservice.database.pool import Pool, Transaction
from taskservice.problems import NotReady, UnknownUser

FOUND_SECONDS: Final = 10
MISSING_SECONDS: Final = 1
REMEMBERED_MAX: Final = 10_000

_TEXT: Final = frozenset({"text", "character varying"})
_INTEGER: Final = {"smallint": 2, "integer": 4, "bigint": 8}
_TYPE_OF_ID: Final = """
SELECT a.atttypid::regtype::text AS type
FROM (SELECT to_regclass($1) AS oid) AS t LEFT JOIN pg_attribute AS a
  ON a.attrelid = t.oid AND a.attname = 'id' AND NOT a.attisdropped
WHERE t.oid IS NOT NULL
"""

Fetch = Callable[[str, Sequence[Any]], Awaitable[Sequence[Any]]]
"""Runs one statement with its arguments."""


class UsersTableError(Unusable):
    """The users table cannot be used; the message tells the operator why."""


class UsersTable:
    """A table of users with a column `id` of text, uuid or integers. Quoted always: `user` alone is a keyword."""

    def __init__(self, name: str, id_type: str) -> None:
        self._id_type = id_type
        # Comparing as text would be simpler, but could not use the primary key.
        condition = "id = $1" if id_type in {*_TEXT, *_INTEGER, "uuid"} else "id::text = $1"
        self._statement = f"SELECT 1 FROM {quoted(name)} WHERE {condition}"  # noqa: S608 (an identifier, quoted)

    async def has(self, user_id: str, fetch: Fetch) -> bool:
        key = self._key(user_id)
        return key is not None and bool(await fetch(self._statement, [key]))

    def _key(self, user_id: str) -> str | int | UUID | None:
        """The id as the column holds it. None, if no value of the column is written like this."""
        try:
            key: str | int | UUID = user_id
            if self._id_type == "uuid":
                key = UUID(user_id)
            elif self._id_type in _INTEGER:
                key = int(user_id)
                key.to_bytes(_INTEGER[self._id_type], signed=True)
        except (ValueError, OverflowError):
            return None
        return key if str(key) == user_id else None


async def find_users_table(name: str, fetch: Fetch) -> UsersTable:
    """Look at the table. Raises `UsersTableError` if it is not there or cannot be read."""
    found = await fetch(_TYPE_OF_ID, [quoted(name)])
    if not found:
        raise UsersTableError(
            f"TASKSERVICE_USERS_TABLE: there is no table {quoted(name)} in this database; "
            "run Better Auth's migration first, or name its table"
        )
    id_type = found[0]["type"]
    if id_type is None:
        raise UsersTableError(f"TASKSERVICE_USERS_TABLE: the table {quoted(name)} has no column id")
    table = UsersTable(name, id_type)
    try:
        await table.has("0", fetch)
    except asyncpg.InsufficientPrivilegeError:
        raise UsersTableError(
            f"TASKSERVICE_USERS_TABLE: the database user may not read {quoted(name)}; grant it SELECT"
        ) from None
    return table


def quoted(name: str) -> str:
    """`user`, or `auth.user` with its schema, as an SQL identifier."""
    return ".".join('"' + part.replace('"', '""') + '"' for part in name.split(".", 1))


class RegisteredUsers:
    """Looks users up in the database, and remembers the answers for seconds."""

    def __init__(self, name: str, pool: Pool, *, clock: Callable[[], float] = time.monotonic) -> None:
        self._name = name
        self._pool = pool
        self._clock = clock
        self._table: UsersTable | None = None
        self._remembered: dict[str, tuple[bool, float]] = {}

    async def require(self, user_id: str) -> None:
        """Raises `UnknownUser` if there is no such user, `DatabaseUnavailable` if that cannot be found out now."""
        exists, until = self._remembered.get(user_id, (False, 0.0))
        if self._clock() >= until:
            exists = await self._look(user_id)
            self._remember(user_id, exists)
        if not exists:
            raise UnknownUser

    async def check(self, connection: Any) -> None:
        """Check the table before the first look-up. Raises `UsersTableError` if it cannot be used."""
        self._table = await find_users_table(self._name, Transaction(connection).fetch)

    async def _look(self, user_id: str) -> bool:
        if self._table is None:
            raise NotReady
        return await self._table.has(user_id, self._fetch)

    async def _fetch(self, sql: str, arguments: Sequence[Any]) -> Sequence[Any]:
        return await self._pool.fetch(sql, arguments, repeatable=True)

    def _remember(self, user_id: str, exists: bool) -> None:
        now = self._clock()
        if len(self._remembered) >= REMEMBERED_MAX:
            self._remembered = {who: what for who, what in self._remembered.items() if what[1] > now}
        if len(self._remembered) < REMEMBERED_MAX:
            self._remembered[user_id] = (exists, now + (FOUND_SECONDS if exists else MISSING_SECONDS))
