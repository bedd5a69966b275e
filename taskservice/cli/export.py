"""`litestar export`: all tasks of a user as a file on standard output."""

import sys
from typing import TYPE_CHECKING

import rich_click as click

if TYPE_CHECKING:
    from taskservice.settings import Settings


@click.command()
@click.argument("user")
@click.option(
    "--format", "form", type=click.Choice(["json", "csv", "ics"]), default="json", show_default=True,
    help="JSON to import again, CSV for spreadsheets, iCalendar for calendars.",
)  # fmt: skip
@click.option("--events", is_flag=True, help="With --format ics: an event for each task with a due date, no to-dos.")
def export(user: str, form: str, events: bool) -> None:
    """Write all live tasks of USER to standard output."""
    from taskservice.cli.operation import run_or_give_up, settings_or_give_up  # noqa: PLC0415 (see the package)

    if events and form != "ics":
        raise click.UsageError("--events goes with --format ics.")
    run_or_give_up("the tasks cannot be exported", _export(settings_or_give_up(), user, form, events=events))


async def _export(settings: "Settings", user: str, form: str, *, events: bool) -> None:
    from taskservice.cli.operation import pool_of  # noqa: PLC0415 (see the package)
    from taskservice.database.session import sessions_of  # noqa: PLC0415
    from taskservice.tasks import maintenance  # noqa: PLC0415
    from taskservice.tasks.export import EVENTS, FORMATS, export  # noqa: PLC0415
    from taskservice.tasks.store import TaskStore  # noqa: PLC0415

    async with pool_of(settings) as pool:
        await maintenance.count_tasks(sessions_of(pool), user)  # raises for a user who is not there
        async for piece in export(TaskStore(pool), user, EVENTS if events else FORMATS[form]):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
