"""What `litestar purge` removes: old trash, old tombstones, spent idempotency keys, and what deleted users left.

The only statements that span users; they run on an operator's session, never in a request.
"""

import datetime as dt
from typing import Final

import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects import postgresql
from sqlalchemy.ext.asyncio import AsyncSession

from taskservice import rules
from taskservice.tasks.models import idempotency_keys, tasks, tombstones, users

BATCH: Final = 1000
"""Rows a transaction, so that nobody waits long for a lock."""


class Purged(Struct):
    """How many were removed."""

    tasks: int = 0
    tombstones: int = 0
    idempotency_keys: int = 0
    users: int = 0


class UsersTableEmpty(Exception):
    """The users table holds nobody, which looks like a mistake: everything would be removed."""


async def purge(session: AsyncSession, *, older_than: dt.timedelta) -> Purged:
    """Remove trash deleted longer ago than this, and what is only kept for a time anyway."""
    now = dt.datetime.now(dt.UTC)
    return Purged(
        tasks=await _purge_trash(session, now - older_than),
        tombstones=await _purge_tombstones(session, now - dt.timedelta(days=rules.TOMBSTONE_DAYS)),
        idempotency_keys=await _purge_keys(session, now - dt.timedelta(hours=rules.IDEMPOTENCY_HOURS)),
    )


async def _purge_trash(session: AsyncSession, before: dt.datetime) -> int:
    doomed = (
        sa.select(tasks.c.id)
        .where(tasks.c.deleted_at < before)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
        .cte("doomed")
    )
    gone = (
        sa.delete(tasks)
        .where(tasks.c.id == doomed.c.id)
        .returning(tasks.c.user_id, tasks.c.revision, tasks.c.id, tasks.c.deleted_at)
        .cte("gone")
    )
    # The deletion keeps its number: readers of the feed hear of it once, in its place.
    told = postgresql.insert(tombstones).from_select(
        ["user_id", "revision", "task_id", "deleted_at"], sa.select(*gone.c)
    )
    return await _until_done(session, told)


async def _purge_tombstones(session: AsyncSession, before: dt.datetime) -> int:
    doomed = (
        sa.select(tombstones.c.user_id, tombstones.c.revision)
        .where(tombstones.c.deleted_at < before)
        .order_by(tombstones.c.deleted_at)
        .limit(BATCH)
        .cte("doomed")
    )
    gone = (
        sa.delete(tombstones)
        .where(tombstones.c.user_id == doomed.c.user_id, tombstones.c.revision == doomed.c.revision)
        .returning(tombstones.c.user_id, tombstones.c.revision)
        .cte("gone")
    )
    newest = sa.select(gone.c.user_id, sa.func.max(gone.c.revision).label("revision")).group_by(gone.c.user_id)
    newest_gone = newest.cte("newest_gone")
    forgotten = (
        sa.update(users)
        .values(forgotten=sa.func.greatest(users.c.forgotten, newest_gone.c.revision))
        .where(users.c.id == newest_gone.c.user_id)
        .returning(users.c.id)
        .cte("forgotten")
    )
    removed = 0
    while True:
        count = await session.scalar(sa.select(sa.func.count()).select_from(gone).add_cte(forgotten)) or 0
        await session.commit()
        removed += count
        if count < BATCH:
            return removed


async def _purge_keys(session: AsyncSession, before: dt.datetime) -> int:
    doomed = (
        sa.select(idempotency_keys.c.user_id, idempotency_keys.c.route, idempotency_keys.c.key)
        .where(idempotency_keys.c.created_at < before)
        .limit(BATCH)
        .with_for_update(skip_locked=True)
        .cte("doomed")
    )
    return await _until_done(
        session,
        sa.delete(idempotency_keys).where(
            idempotency_keys.c.user_id == doomed.c.user_id,
            idempotency_keys.c.route == doomed.c.route,
            idempotency_keys.c.key == doomed.c.key,
        ),
    )


async def purge_orphans(session: AsyncSession, users_table: str) -> Purged:
    """Remove everything of users who are not in Better Auth's table any more."""
    schema, _, name = users_table.rpartition(".")
    registered = sa.table(sa.sql.quoted_name(name, quote=True), sa.column("id"), schema=schema or None)
    if not await session.scalar(sa.select(sa.exists().select_from(registered))):
        raise UsersTableEmpty(f'the table "{users_table}" is empty; nothing was removed')
    known = sa.select(sa.cast(registered.c.id, sa.Text))
    orphans = (await session.scalars(sa.select(users.c.id).where(users.c.id.not_in(known)))).all()
    purged = Purged(users=len(orphans))
    for orphan in orphans:
        # No request waits for this, and a user may have left much.
        await session.execute(sa.text("SET LOCAL statement_timeout = 0"))
        # One user at a time, each locked first, as every writer does.
        await session.execute(sa.select(users.c.id).where(users.c.id == orphan).with_for_update())
        for table in (tasks, tombstones, idempotency_keys):
            result = await session.execute(sa.delete(table).where(table.c.user_id == orphan))
            removed: int = result.rowcount  # type: ignore[attr-defined]
            setattr(purged, table.name, getattr(purged, table.name) + removed)
        await session.execute(sa.delete(users).where(users.c.id == orphan))
        await session.commit()
    return purged


async def _until_done(session: AsyncSession, statement: sa.Executable) -> int:
    removed = 0
    while True:
        result = await session.execute(statement)
        await session.commit()
        count: int = result.rowcount  # type: ignore[attr-defined]
        removed += count
        if count < BATCH:
            return removed
