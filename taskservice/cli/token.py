"""`litestar token`: a bearer token for a shell."""

import datetime as dt
import re
from typing import Any, Final

import rich_click as click

from taskservice.auth.tokens import issue_token
from taskservice.cli.ending import give_up
from taskservice.cli.operation import settings_or_give_up

UNITS: Final = {"s": "seconds", "m": "minutes", "h": "hours", "d": "days"}


class Span(click.ParamType[dt.timedelta]):
    """`90s`, `15m`, `24h` or `7d`."""

    name = "span"

    def convert(self, value: Any, param: click.Parameter | None, ctx: click.Context | None) -> dt.timedelta:
        found = re.fullmatch(r"([1-9][0-9]{0,6})([smhd])", str(value))
        if found is None:
            self.fail(f"{value!r} is not a span such as 90s, 15m, 24h or 7d", param, ctx)
        return dt.timedelta(**{UNITS[found[2]]: int(found[1])})


@click.command()
@click.argument("user")
@click.option("--email", help="The e-mail address that the token carries.")
@click.option("--ttl", type=Span(), default="24h", show_default=True, help="How long the token is valid.")
def token(user: str, email: str | None, ttl: dt.timedelta) -> None:
    """Print a bearer token for USER, signed with the shared secret."""
    try:
        click.echo(issue_token(settings_or_give_up(), user, email=email, ttl=ttl))
    except ValueError as error:
        give_up(str(error))
