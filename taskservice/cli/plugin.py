"""Adds the commands that need the application to `litestar`, and replaces or removes misleading ones of Litestar."""

from advanced_alchemy.config.asyncio import SQLAlchemyAsyncConfig
from click import Group
from litestar.plugins import CLIPlugin

from taskservice.cli.about import info, version
from taskservice.cli.database import add_database_commands


class CommandLine(CLIPlugin):
    """The other commands are entry points of `litestar.commands`, as they work without the application too."""

    def __init__(self, migrations: SQLAlchemyAsyncConfig) -> None:
        self._migrations = migrations

    def on_cli_init(self, cli: Group) -> None:
        cli.add_command(version)
        cli.add_command(info)
        # There are no sessions here, and its TypeScript cannot be used: docs/typescript.md shows how to get some.
        cli.commands.pop("sessions", None)
        schema = cli.commands.get("schema")
        if isinstance(schema, Group):
            schema.commands.pop("typescript", None)
        add_database_commands(cli, self._migrations)
