"""Removes expired data for good: old trash, tombstones and kept answers, and everything of users who are gone.

One user at a time, in short transactions that lock the user's row first, as every writer does. The statements that look
for such users span all of them and lock nothing.
"""

import datetime as dt
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.ext.asyncio import AsyncSession

from taskservice import rules
from taskservice.database.failures import Failure, classify
from taskservice.database.session import Sessions
from taskservice.tasks.models import tasks
from taskservice.tasks.repository import TaskRepository
from taskservice.tasks.user_repositories import IdempotencyKeyRepository, TombstoneRepository, UserRepository

BATCH: Final = 1000
"""Rows of a kind in one transaction, so that the user's requests do not wait long."""

SECONDS: Final = 3600.0
"""How long one unit of work may take: the look-up of users reads all expired rows."""

USERS: Final = 1000
"""How many users are looked up at once."""


class Removed(Struct):
    """How many were removed."""

    tasks: int = 0
    tombstones: int = 0
    idempotency_keys: int = 0
    users: int = 0
    busy: int = 0
    """Users whose row another writer held for too long. They are left for the next run."""

    def add(self, other: "Removed") -> None:
        for name in self.__struct_fields__:
            setattr(self, name, getattr(self, name) + getattr(other, name))


class UsersTableEmpty(Exception):
    """The users table is empty, which looks like a mistake: everything would be removed."""


class NoSuchUser(Exception):
    """Nothing is stored for this user."""


async def purge(sessions: Sessions, *, older_than: dt.timedelta) -> Removed:
    """Remove trash deleted longer ago than this, and tombstones and answers that are past their time."""
    now = dt.datetime.now(dt.UTC)
    trash = now - older_than
    deletions = now - dt.timedelta(days=rules.TOMBSTONE_DAYS)
    answers = now - dt.timedelta(hours=rules.IDEMPOTENCY_HOURS)

    async def step(session: AsyncSession, user: str) -> Removed:
        # Trash first: a deletion older than the change feed keeps it leaves a tombstone that goes at once.
        return Removed(
            tasks=await TaskRepository(session=session, owner=user).purge(before=trash, limit=BATCH),
            tombstones=await TombstoneRepository(session=session, owner=user).purge(before=deletions, limit=BATCH),
            idempotency_keys=await IdempotencyKeyRepository(session=session, owner=user).purge(
                before=answers, limit=BATCH
            ),
        )

    async def users() -> AsyncIterator[str]:
        after = ""
        while True:
            async with sessions.begin() as session:
                await _take_time(session)
                found = await UserRepository(session=session).with_something_old(
                    trash=trash, deletions=deletions, answers=answers, after=after, limit=USERS
                )
            for user in found:
                yield user
            if len(found) < USERS:
                return
            after = found[-1]

    removed = Removed()
    async for user in users():
        removed.add(await _in_steps(sessions, user, step))
    return removed


async def purge_orphans(sessions: Sessions, users_table: str) -> Removed:
    """Remove everything of users who are not in Better Auth's table any more."""
    schema, _, name = users_table.rpartition(".")
    registered = sa.table(sa.sql.quoted_name(name, quote=True), sa.column("id"), schema=schema or None)
    async with sessions.begin() as session:
        if not await session.scalar(sa.select(sa.exists().select_from(registered))):
            raise UsersTableEmpty(f'the table "{users_table}" is empty; nothing was removed')
        await _take_time(session)
        orphans = await UserRepository(session=session).not_in(registered)

    async def step(session: AsyncSession, user: str) -> Removed:
        removed = Removed(
            tasks=await TaskRepository(session=session, owner=user).forget(limit=BATCH),
            tombstones=await TombstoneRepository(session=session, owner=user).forget(limit=BATCH),
            idempotency_keys=await IdempotencyKeyRepository(session=session, owner=user).purge(limit=BATCH),
        )
        if not _is_full(removed):
            removed.users = await UserRepository(session=session).remove(user)
        return removed

    removed = Removed()
    for orphan in orphans:
        removed.add(await _in_steps(sessions, orphan, step))
    return removed


async def count_tasks(sessions: Sessions, user: str) -> tuple[int, int]:
    """How many live and how many deleted tasks a user has. Raises `NoSuchUser`."""
    async with sessions.begin() as session:
        if not await UserRepository(session=session).exists(id=user):
            raise NoSuchUser(user)
        live = await TaskRepository(session=session, owner=user).count()
        return live, await TaskRepository(session=session, owner=user, trash=True).count()


async def erase_user(sessions: Sessions, user: str) -> Removed:
    """Remove a user's tasks, e-mail address and name for good. Each task leaves a tombstone: an id and a date.

    Raises `NoSuchUser`. Repeating it goes on where it stopped.
    """

    async def step(session: AsyncSession, user: str) -> Removed:
        await UserRepository(session=session).forget_person(user)
        some = sa.select(tasks.c.id).where(tasks.c.user_id == user).limit(BATCH)
        ids = [*await session.scalars(some)]
        return Removed(
            tasks=await TaskRepository(session=session, owner=user).erase(ids) if ids else 0,
            idempotency_keys=await IdempotencyKeyRepository(session=session, owner=user).purge(limit=BATCH),
        )

    await count_tasks(sessions, user)
    return await _in_steps(sessions, user, step)


async def _in_steps(sessions: Sessions, user: str, step: Callable[[AsyncSession, str], Awaitable[Removed]]) -> Removed:
    """Transactions of one user, each with the user's row locked, until one of them has less than a batch to do."""
    removed = Removed()
    while True:
        try:
            async with sessions.begin() as session:
                await UserRepository(session=session).lock(user)
                done = await step(session, user)
        except Exception as error:
            if classify(error) is not Failure.SLOW:
                raise
            removed.busy = 1
            return removed
        removed.add(done)
        if not _is_full(done):
            return removed


def _is_full(removed: Removed) -> bool:
    return BATCH in msgspec.structs.astuple(removed)


async def _take_time(session: AsyncSession) -> None:
    """Lift the time limit: no request waits for this statement, and it may read many rows."""
    await session.execute(sa.text("SET LOCAL statement_timeout = 0"))
