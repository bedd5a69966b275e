"""`litestar demo`: sample tasks, so that there is something to look at."""

import datetime as dt

import rich_click as click

from taskservice import rules
from taskservice.cli.ending import give_up
from taskservice.cli.operation import counted, pool_of, run_or_give_up, settings_or_give_up
from taskservice.principal import Principal
from taskservice.program_name import litestar
from taskservice.settings import Settings
from taskservice.tasks.samples import sample_tasks
from taskservice.tasks.store import TaskStore


@click.command()
@click.argument("user")
@click.option("--yes", is_flag=True, help="Do it in production, too.")
def demo(user: str, yes: bool) -> None:
    """Make a dozen sample tasks for USER, for development and demonstrations."""
    settings = settings_or_give_up()
    if settings.production and not yes:
        give_up("TASKSERVICE_ENV is production: sample tasks are made there only with --yes")
    if not rules.is_user_id(user):
        give_up(f"a user id has 1 to {rules.USER_ID_MAX} printable characters")
    made = run_or_give_up("the sample tasks cannot be made", _make(settings, user))
    click.echo(
        f'Made {counted(made, "task")} for "{user}". `{litestar()} token {user}` prints a token to see them with.'
    )


async def _make(settings: Settings, user: str) -> int:
    async with pool_of(settings) as pool:
        rows = await TaskStore(pool).create(Principal(user, None, None), sample_tasks(dt.datetime.now(dt.UTC)))
        return len(rows)
