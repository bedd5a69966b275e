"""The commands that join `litestar`. Loaded at every call of it, so it stays light."""

import os
import tomllib
from pathlib import Path

import rich_click as click
from dotenv import dotenv_values


def _prepare_environment() -> None:
    """Give `litestar.toml` and `.env` of this directory their meaning before Litestar looks for its app."""
    for name, value in dotenv_values(".env").items() if Path(".env").is_file() else ():
        if value:
            os.environ.setdefault(name, value)
    toml = Path("litestar.toml")
    if toml.is_file():
        try:
            server = tomllib.loads(toml.read_text("utf-8")).get("litestar", {})
        except ValueError:
            return  # the settings say what is wrong with it
        for key in ("app", "host", "port"):
            if key in server:
                os.environ.setdefault(f"LITESTAR_{key.upper()}", str(server[key]))


_prepare_environment()


@click.command()
def token() -> None:
    """x"""


@click.command()
def purge() -> None:
    """x"""


@click.command()
def doctor() -> None:
    """x"""
