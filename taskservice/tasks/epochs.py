"""New epochs for all users after a restore: tags and tokens from before it become invalid."""

from typing import Final

import sqlalchemy as sa
from sqlalchemy.ext.asyncio import AsyncSession

from taskservice.tasks.models import NEW_EPOCH, users

BATCH: Final = 1000
"""Users per transaction, so that no writer waits long for a user's row."""


async def new_epochs(session: AsyncSession) -> int:
    """Give every user a new epoch; the counters keep their values. Returns the number of users."""
    after = sa.bindparam("after", type_=sa.Text)
    batch = sa.select(users.c.id).where(users.c.id > after).order_by(users.c.id).limit(BATCH).with_for_update()
    chosen = batch.cte("chosen")
    renewed = (
        sa.update(users)
        .values(epoch=sa.text(NEW_EPOCH))
        .where(users.c.id == chosen.c.id)
        .returning(users.c.id)
        .cte("renewed")
    )
    statement = sa.select(sa.func.count().label("number"), sa.func.max(renewed.c.id).label("last")).select_from(renewed)
    total, last = 0, ""
    while True:
        found = (await session.execute(statement, {"after": last})).one()
        await session.commit()
        count: int = found.number
        total += count
        if count < BATCH:
            return total
        last = found.last
