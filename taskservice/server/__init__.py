"""The server around the application: `litestar run`, its processes, and the limits on the wire."""

from click import Group
from litestar.plugins import CLIPlugin


class RunCommand(CLIPlugin):
    """Replaces Litestar's `run` with ours: plugins register after its own commands."""

    def on_cli_init(self, cli: Group) -> None:
        from taskservice.server.run import run  # noqa: PLC0415 (nobody else needs what it loads)

        cli.add_command(run)
