"""`litestar export`: all tasks of a user as a file on standard output."""

import sys

import rich_click as click

from taskservice.cli.operation import pool_of, run_or_give_up, settings_or_give_up
from taskservice.database.session import sessions_of
from taskservice.settings import Settings
from taskservice.tasks import maintenance
from taskservice.tasks.export import EVENTS, FORMATS
from taskservice.tasks.export import export as exported
from taskservice.tasks.store import TaskStore


@click.command()
@click.argument("user")
@click.option(
    "--format", "form", type=click.Choice([*FORMATS]), default="json", show_default=True,
    help="JSON to import again, CSV for spreadsheets, iCalendar for calendars.",
)  # fmt: skip
@click.option("--events", is_flag=True, help="With --format ics: an event for each task with a due date, no to-dos.")
def export(user: str, form: str, events: bool) -> None:
    """Write all live tasks of USER to standard output."""
    if events and form != "ics":
        raise click.UsageError("--events goes with --format ics.")
    run_or_give_up("the tasks cannot be exported", _export(settings_or_give_up(), user, form, events=events))


async def _export(settings: Settings, user: str, form: str, *, events: bool) -> None:
    async with pool_of(settings) as pool:
        await maintenance.count_tasks(sessions_of(pool), user)  # raises for a user who is not there
        async for piece in exported(TaskStore(pool), user, EVENTS if events else FORMATS[form]):
            sys.stdout.buffer.write(piece)
        sys.stdout.buffer.flush()
