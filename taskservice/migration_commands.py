"""`litestar database …`: advanced-alchemy's commands over our migrations.

Its own plugin would also put a session, its dependencies and a hook into every request; requests here need none of it.
"""

from typing import Any

from advanced_alchemy.config.asyncio import SQLAlchemyAsyncConfig
from click import Context, Group
from litestar.plugins import CLIPlugin


class MigrationCommands(CLIPlugin):
    def __init__(self, config: SQLAlchemyAsyncConfig) -> None:
        self._config = config

    def on_cli_init(self, cli: Group) -> None:
        # Slow to load, and of no use to a server.
        from advanced_alchemy.cli import add_migration_commands  # noqa: PLC0415
        from litestar.cli._utils import LitestarGroup  # noqa: PLC0415 (the documented way to get `app` injected)

        @cli.group(cls=LitestarGroup, name="database")
        def database(ctx: Context) -> None:
            """Create, migrate and check the schema."""
            ctx.obj = {"app": ctx.obj, "configs": [self._config]}

        commands: Any = database
        add_migration_commands(commands)
