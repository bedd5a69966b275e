"""`litestar purge`: removes expired trash, tombstones and idempotency keys for good."""

import datetime as dt

import rich_click as click

from taskservice.auth.users import find_users_table
from taskservice.cli.operation import counted, pool_of, run_or_give_up, settings_or_give_up
from taskservice.database.session import sessions_of
from taskservice.settings import Settings
from taskservice.tasks import maintenance


@click.command()
@click.option("--older-than", type=click.IntRange(0, 36500), metavar="DAYS", help="Default: the policy retention_days.")
@click.option("--orphans", is_flag=True, help="Also everything of users who are gone from the users table.")
def purge(older_than: int | None, orphans: bool) -> None:
    """Remove old trash, old tombstones and expired idempotency keys for good."""
    settings = settings_or_give_up()
    days = settings.retention_days if older_than is None else older_than
    work = _purge(settings, dt.timedelta(days=days), orphans=orphans)
    for line in run_or_give_up("the database cannot be purged", work):
        click.echo(line)


async def _purge(settings: Settings, older_than: dt.timedelta, *, orphans: bool) -> list[str]:
    async with pool_of(settings) as pool:
        if orphans:
            await find_users_table(settings.users_table, pool.fetch)
        sessions = sessions_of(pool, seconds=maintenance.SECONDS)
        purged = await maintenance.purge(sessions, older_than=older_than)
        lines = [
            f"Removed {counted(purged.tasks, 'deleted task')}, {counted(purged.tombstones, 'tombstone')} "
            f"and {counted(purged.idempotency_keys, 'idempotency key')}."
        ]
        if orphans:
            left = await maintenance.purge_orphans(sessions, settings.users_table)
            purged.busy += left.busy
            lines.append(
                f"Removed {counted(left.users, 'user')} who "
                f"{'is' if left.users == 1 else 'are'} gone, with {counted(left.tasks, 'task')}."
            )
        if purged.busy:
            were = "was" if purged.busy == 1 else "were"
            lines.append(f"Left {counted(purged.busy, 'user')} who {were} busy writing for the next purge.")
        return lines
