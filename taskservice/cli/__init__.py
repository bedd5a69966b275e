"""The commands that join `litestar`. Loaded at every call of it, so each command imports what it needs when it runs."""

import asyncio
import contextlib
import datetime as dt
import importlib
import os
import re
import sys
from pathlib import Path
from typing import TYPE_CHECKING, Any, Final, NoReturn

import rich_click as click

from taskservice.settings import SERVER_KEYS, read_dotenv, read_toml

if TYPE_CHECKING:
    from taskservice.database.server import DatabaseServer
    from taskservice.settings import Settings


APP: Final = "taskservice.app:create_app"


def _prepare_environment() -> None:
    """Give `.env` and `litestar.toml` of this directory their meaning before Litestar looks for its app."""
    for name in [name for name, value in os.environ.items() if name.startswith("LITESTAR_") and not value.strip()]:
        del os.environ[name]  # to Litestar it would be set
    # What is wrong with either, the settings say.
    with contextlib.suppress(ValueError):
        for name, value in read_dotenv(Path()).items():
            _set_default(name, value)
    server: Any = {}
    with contextlib.suppress(ValueError):
        server = read_toml(Path()).get("litestar")
    if not isinstance(server, dict):
        server = {}
    for key in SERVER_KEYS & server.keys():
        _set_default(f"LITESTAR_{key.upper()}", str(server[key]))
    if not server and Path("litestar.toml").exists():
        _set_default("LITESTAR_APP", APP)
    # Litestar reads these by itself, with a traceback if they make no sense.
    problems = []
    if not _is_port(os.environ.get("LITESTAR_PORT", "0")):
        problems.append("LITESTAR_PORT, or port in litestar.toml: must be a whole number up to 65535")
    if os.environ.get("LITESTAR_APP", APP) != APP and not _is_there(os.environ["LITESTAR_APP"]):
        problems.append(f"LITESTAR_APP, or app in litestar.toml: there is no such application; ours is {APP}")
    if problems:
        _give_up("\n".join(["taskservice cannot start:", *problems, *_wrong_settings()]))


def _set_default(name: str, value: str) -> None:
    """A variable that is empty is not set."""
    if not os.environ.get(name, "").strip():
        os.environ[name] = value


def _is_port(text: str) -> bool:
    return re.fullmatch(r"[0-9]{1,5}", text) is not None and int(text) <= 65535


def _is_there(app: str) -> bool:
    module, _, name = app.partition(":")
    try:
        return hasattr(importlib.import_module(module), name)
    except (ImportError, ValueError):
        return False


def _wrong_settings() -> list[str]:
    from taskservice.settings import SettingsError, load_settings  # noqa: PLC0415

    try:
        load_settings()
    except SettingsError as error:
        return error.problems
    return []


class Span(click.ParamType[dt.timedelta]):
    """`90s`, `15m`, `24h` or `7d`."""

    name = "span"
    _units = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}  # noqa: RUF012 (click's attribute style)

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.timedelta:
        if isinstance(value, dt.timedelta):
            return value
        found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a span such as 90s, 15m, 24h or 7d", param, ctx)
        return dt.timedelta(**{self._units[found[2]]: int(found[1])})


@click.command()
@click.argument("user")
@click.option("--email", help="The e-mail address that the token carries.")
@click.option("--ttl", type=Span(), default="24h", show_default=True, help="How long the token is good.")
def token(user: str, email: str | None, ttl: dt.timedelta) -> None:
    """Print a bearer token for USER, signed with the shared secret."""
    from taskservice.auth.tokens import issue_token  # noqa: PLC0415

    try:
        click.echo(issue_token(_settings(), user, email=email, ttl=ttl))
    except ValueError as error:
        _give_up(str(error))


@click.command()
@click.option("--older-than", type=click.IntRange(0, 36500), metavar="DAYS", help="Default: the policy retention_days.")
@click.option("--orphans", is_flag=True, help="Also everything of users who are gone from the users table.")
def purge(older_than: int | None, orphans: bool) -> None:
    """Remove old trash, old tombstones and spent idempotency keys for good."""
    from taskservice.auth.users import UsersTableError  # noqa: PLC0415
    from taskservice.database.failures import describe  # noqa: PLC0415
    from taskservice.tasks.maintenance import UsersTableEmpty  # noqa: PLC0415

    settings = _settings()
    days = settings.retention_days if older_than is None else older_than
    try:
        lines = asyncio.run(_purge(settings, dt.timedelta(days=days), orphans=orphans))
    except (UsersTableEmpty, UsersTableError) as error:
        _give_up(str(error))
    except Exception as error:  # noqa: BLE001 (an operator is served by one line, not by a stack)
        _give_up(f"the database cannot be purged: {describe(error)}; `litestar doctor` says more")
    for line in lines:
        click.echo(line)


async def _purge(settings: "Settings", older_than: dt.timedelta, *, orphans: bool) -> list[str]:
    from taskservice.database.server import DatabaseServer  # noqa: PLC0415
    from taskservice.database.session import new_session  # noqa: PLC0415
    from taskservice.tasks import maintenance  # noqa: PLC0415

    server = DatabaseServer(settings)
    try:
        if orphans:
            await _look_at_users_table(settings, server)
        async with new_session(server) as session:
            purged = await maintenance.purge(session, older_than=older_than)
            lines = [
                f"{purged.tasks} deleted tasks, {purged.tombstones} tombstones, "
                f"{purged.idempotency_keys} idempotency keys removed"
            ]
            if orphans:
                left = await maintenance.purge_orphans(session, settings.users_table)
                lines.append(f"{left.users} users who are gone, with {left.tasks} tasks, removed")
            return lines
    finally:
        await asyncio.to_thread(server.stop)


async def _look_at_users_table(settings: "Settings", server: "DatabaseServer") -> None:
    from taskservice.auth.users import find_users_table  # noqa: PLC0415

    connection = await server.connect()
    try:
        await find_users_table(settings.users_table, lambda sql, arguments: connection.fetch(sql, *arguments))
    finally:
        await connection.close()


@click.command()
@click.option("--token", "given", metavar="TOKEN", help="Say in plain words why this token would be refused.")
def doctor(given: str | None) -> None:
    """Check settings, database, migrations and keys, and say what is wrong and what to do about it."""
    from taskservice.cli.doctor import examine  # noqa: PLC0415

    findings = asyncio.run(examine(given))
    width = max(len(finding.what) for finding in findings)
    for finding in findings:
        mark = click.style("✓", fg="green") if finding.good else click.style("✗", fg="red")
        click.echo(f"{mark} {finding.what:<{width}}  {finding.found}")
        if finding.remedy:
            click.echo(f"  {'':<{width}}  → {finding.remedy}")
    if not all(finding.good for finding in findings):
        sys.exit(1)


def _settings() -> "Settings":
    from taskservice.settings import SettingsError, load_settings  # noqa: PLC0415

    try:
        return load_settings()
    except SettingsError as error:
        _give_up(str(error))


def _give_up(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)


_prepare_environment()
