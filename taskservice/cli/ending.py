"""Ends a command that fails: one readable line for each problem, exit code 2."""

import sys
from typing import NoReturn

import rich_click as click


def give_up(message: str) -> NoReturn:
    click.echo(message, err=True)
    sys.exit(2)
