"""New epochs for all users after a restore: tags and tokens from before it become invalid."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from taskservice.tasks.models import NEW_EPOCH, users

BATCH: Final = 1000
"""Users per transaction, so that no writer waits long for a user's row."""


async def new_epochs(session: AsyncSession) -> int:
    """Give every user a new epoch; the counters keep their values. Returns the number of users."""
    # One statement for each user, and the random value in a step of its own: a sharded database takes both.
    fresh = sa.select(sa.literal_column(NEW_EPOCH, sa.Text).label("epoch")).cte("fresh")
    renew = (
        sa.update(users)
        .where(users.c.id == sa.bindparam("user_id"))
        .values(epoch=sa.select(fresh.c.epoch).scalar_subquery())
    )
    total, last = 0, ""
    while True:
        following = sa.select(users.c.id).where(users.c.id > last).order_by(users.c.id).limit(BATCH)
        found = [*await session.scalars(following)]
        if found:
            await session.execute(renew, [{"user_id": user_id} for user_id in found])
            last = found[-1]
        await session.commit()
        total += len(found)
        if len(found) < BATCH:
            return total
