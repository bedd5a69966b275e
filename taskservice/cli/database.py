"""`litestar database …`: advanced-alchemy's commands over our migrations, and `new-epoch`.

Its own plugin would also put a session, its dependencies and a hook into every request; requests need none of them.
"""

from typing import Any

import rich_click as click
from advanced_alchemy.config.asyncio import SQLAlchemyAsyncConfig
from click import ClickException, Command, Context, Group

from taskservice.cli.operation import counted, pool_of, run_or_give_up, settings_or_give_up
from taskservice.database.failures import classify, describe
from taskservice.database.session import sessions_of
from taskservice.settings import Settings
from taskservice.tasks import maintenance
from taskservice.tasks.epochs import new_epochs


class DatabaseGroup(Group):
    """Loads its commands when it is used: advanced-alchemy's load Alembic, 8 MB that `run` does not need."""

    def list_commands(self, ctx: Context) -> list[str]:
        self._load()
        return super().list_commands(ctx)

    def get_command(self, ctx: Context, cmd_name: str) -> Command | None:
        self._load()
        return super().get_command(ctx, cmd_name)

    def invoke(self, ctx: Context) -> Any:
        from alembic.util import CommandError  # noqa: PLC0415 (see above)

        try:
            return super().invoke(ctx)
        except CommandError as error:
            raise ClickException(str(error)) from None
        except Exception as error:
            if classify(error, connecting=True) is None:
                raise
            raise ClickException(describe(error)) from None

    def _load(self) -> None:
        if not self.commands:
            from advanced_alchemy.cli import add_migration_commands  # noqa: PLC0415 (see above)

            group: Any = self
            add_migration_commands(group)
            self.add_command(new_epoch)


def add_database_commands(cli: Group, config: SQLAlchemyAsyncConfig) -> None:
    @cli.group(cls=DatabaseGroup, name="database")
    def database(ctx: Context) -> None:
        """Create, migrate and check the schema; `new-epoch` after a restore."""
        ctx.obj = {"app": ctx.obj, "configs": [config]}


@click.command(name="new-epoch")
@click.option("--yes", is_flag=True, help="Do not ask.")
def new_epoch(yes: bool) -> None:
    """Make the tags and tokens that clients hold invalid. Run it after every restore from a backup.

    No task changes. A request with an old If-None-Match gets the full answer, an edit with an old If-Match is refused
    with 412, and a reader of the change feed with an old token gets 410 and starts with a full copy.
    """
    settings = settings_or_give_up()
    if not yes:
        click.confirm("Every client will have to read its tasks anew. Go on?", abort=True)
    renewed = run_or_give_up("the epochs cannot be renewed", _renew_epochs(settings))
    click.echo(f"Renewed the epoch of {counted(renewed, 'user')}. What clients see now:")
    click.echo("  an old If-None-Match gets the full answer, once;")
    click.echo("  an old If-Match is refused with 412: read the task, then edit it again;")
    click.echo("  an old token of the change feed is refused with 410: start with a full copy.")


async def _renew_epochs(settings: Settings) -> int:
    async with pool_of(settings) as pool, sessions_of(pool, seconds=maintenance.SECONDS)() as session:
        return await new_epochs(session)
