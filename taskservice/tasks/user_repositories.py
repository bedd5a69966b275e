"""Repositories of the other rows of a user: the reference row, tombstones, and answers for safe retries."""

import datetime as dt
from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from taskservice.database.session import row_count
from taskservice.tasks.models import (
    IdempotencyKeyModel,
    TombstoneModel,
    UserModel,
    idempotency_keys,
    tasks,
    tombstones,
    users,
)
from taskservice.tasks.reading_repository import ReadingRepository


class UserRepository(ReadingRepository[UserModel]):
    """The reference rows of all users."""

    model_type = UserModel
    instead = "a row is made by its user's first task"

    def __init__(self, *, session: AsyncSession) -> None:
        super().__init__(session=session, statement=sa.select(UserModel))

    async def lock(self, user_id: str) -> None:
        """Lock the user's row: until the end of the transaction no other one writes this user's tasks."""
        # As every writer does: NO KEY UPDATE, which lets foreign keys to the row be checked.
        await self.session.execute(sa.select(users.c.id).where(users.c.id == user_id).with_for_update(key_share=True))

    async def with_something_old(
        self, *, trash: dt.datetime, deletions: dt.datetime, answers: dt.datetime, after: str, limit: int
    ) -> list[str]:
        """The next users, by id, who have trash, tombstones or answers from before then. Locks nothing."""
        old = sa.union(
            sa.select(tasks.c.user_id).where(tasks.c.deleted_at < trash, tasks.c.user_id > after),
            sa.select(tombstones.c.user_id).where(tombstones.c.deleted_at < deletions, tombstones.c.user_id > after),
            sa.select(idempotency_keys.c.user_id).where(
                idempotency_keys.c.created_at < answers, idempotency_keys.c.user_id > after
            ),
        ).subquery()
        return [*await self.session.scalars(sa.select(old.c.user_id).order_by(old.c.user_id).limit(limit))]

    async def not_in(self, registered: sa.TableClause) -> list[str]:
        """The ids of users who are missing in a table of users, whose ids are in its column `id`."""
        known = sa.select(sa.cast(registered.c.id, sa.Text))
        return [*await self.session.scalars(sa.select(users.c.id).where(users.c.id.not_in(known)).order_by(users.c.id))]

    async def forget_person(self, user_id: str) -> None:
        """Remove the e-mail address and the name."""
        await self.session.execute(sa.update(users).where(users.c.id == user_id).values(email=None, name=None))

    async def remove(self, user_id: str) -> int:
        """Remove the row of a user of whom nothing else is left."""
        return await row_count(self.session, sa.delete(users).where(users.c.id == user_id))


class TombstoneRepository(ReadingRepository[TombstoneModel]):
    """Records of one user's erased tasks, kept so that the change feed can report them."""

    model_type = TombstoneModel
    instead = "call TaskRepository.erase, which leaves a tombstone"

    def __init__(self, *, session: AsyncSession, owner: str) -> None:
        self.owner: Final = owner
        statement = sa.select(TombstoneModel).where(tombstones.c.user_id == owner)
        super().__init__(session=session, statement=statement)

    async def purge(self, *, before: dt.datetime, limit: int) -> int:
        """Remove up to `limit` tombstones from before then; how many there were.

        The user's row remembers up to which number, so that older readers of the feed are told to begin again.
        """
        old = (
            sa.select(tombstones.c.revision)
            .where(tombstones.c.user_id == self.owner, tombstones.c.deleted_at < before)
            .order_by(tombstones.c.deleted_at)
            .limit(limit)
        )
        purge = sa.delete(tombstones).where(tombstones.c.user_id == self.owner, tombstones.c.revision.in_(old))
        removed = [*await self.session.scalars(purge.returning(tombstones.c.revision))]
        if removed:
            forgotten = sa.func.greatest(users.c.forgotten, max(removed))
            await self.session.execute(sa.update(users).where(users.c.id == self.owner).values(forgotten=forgotten))
        return len(removed)

    async def forget(self, *, limit: int) -> int:
        """Remove up to `limit` tombstones of a user who is gone; how many there were."""
        some = sa.select(tombstones.c.revision).where(tombstones.c.user_id == self.owner).limit(limit)
        forgotten = sa.delete(tombstones).where(tombstones.c.user_id == self.owner, tombstones.c.revision.in_(some))
        return await row_count(self.session, forgotten)


class IdempotencyKeyRepository(ReadingRepository[IdempotencyKeyModel]):
    """The first answers to one user's requests, kept for safe retries."""

    model_type = IdempotencyKeyModel
    instead = "an answer is kept in the transaction of its write"

    def __init__(self, *, session: AsyncSession, owner: str) -> None:
        self.owner: Final = owner
        statement = sa.select(IdempotencyKeyModel).where(idempotency_keys.c.user_id == owner)
        super().__init__(session=session, statement=statement)

    async def purge(self, *, before: dt.datetime | None = None, limit: int) -> int:
        """Remove up to `limit` answers, or of those from before then; how many there were."""
        key = sa.tuple_(idempotency_keys.c.route, idempotency_keys.c.key)
        old = sa.select(idempotency_keys.c.route, idempotency_keys.c.key).where(
            idempotency_keys.c.user_id == self.owner
        )
        if before is not None:
            old = old.where(idempotency_keys.c.created_at < before)
        purge = sa.delete(idempotency_keys).where(idempotency_keys.c.user_id == self.owner, key.in_(old.limit(limit)))
        return await row_count(self.session, purge)
