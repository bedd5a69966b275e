"""`litestar database …`: advanced-alchemy's commands over our migrations.

Its own plugin would also put a session, its dependencies and a hook into every request; requests need none of them.
"""

from typing import Any

from advanced_alchemy.config.asyncio import SQLAlchemyAsyncConfig
from click import ClickException, Command, Context, Group

from taskservice.database.bring_up import SchemaMissing
from taskservice.database.failures import classify, describe


class DatabaseGroup(Group):
    """Is filled when it is used: advanced-alchemy's commands load Alembic, 8 MB that `run` has no use for."""

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
        except (CommandError, SchemaMissing) as error:
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


def add_database_commands(cli: Group, config: SQLAlchemyAsyncConfig) -> None:
    @cli.group(cls=DatabaseGroup, name="database")
    def database(ctx: Context) -> None:
        """Create, migrate and check the schema."""
        ctx.obj = {"app": ctx.obj, "configs": [config]}
