"""`litestar erase`: removes all tasks of a user for good."""

import rich_click as click

from taskservice.cli.operation import counted, pool_of, run_or_give_up, settings_or_give_up
from taskservice.database.session import sessions_of
from taskservice.settings import Settings
from taskservice.tasks import maintenance


@click.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do not ask.")
def erase(user: str, yes: bool) -> None:
    """Remove all tasks of USER for good, the trash included, and the e-mail address and name."""
    settings = settings_or_give_up()
    live, deleted = run_or_give_up("the tasks cannot be counted", _count(settings, user))
    if not yes:
        what = f"{counted(live, 'task')} and {counted(deleted, 'deleted task')}"
        click.confirm(f'Erase {what} of "{user}" for good?', abort=True)
    removed = run_or_give_up("the tasks cannot be erased", _erase(settings, user))
    if removed.busy:
        raise click.ClickException(
            f'"{user}" keeps writing: erased {counted(removed.tasks, "task")} so far. Run it again.'
        )
    click.echo(f'Erased {counted(removed.tasks, "task")} of "{user}" for good, with e-mail address and name.')


async def _count(settings: Settings, user: str) -> tuple[int, int]:
    async with pool_of(settings) as pool:
        return await maintenance.count_tasks(sessions_of(pool), user)


async def _erase(settings: Settings, user: str) -> maintenance.Removed:
    async with pool_of(settings) as pool:
        return await maintenance.erase_user(sessions_of(pool, seconds=maintenance.SECONDS), user)
