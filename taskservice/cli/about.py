"""`litestar version` and `litestar info`: about this service, where Litestar's own are about Litestar."""

import platform
from importlib.metadata import version as version_of

import rich_click as click
from litestar import Litestar

from taskservice import __version__
from taskservice.auth.tokens import key_sources
from taskservice.database.server import DatabaseServer
from taskservice.settings import Settings


@click.command()
def version() -> None:
    """Print the version of this service."""
    click.echo(__version__)


@click.command()
def info(app: Litestar) -> None:
    """Show the versions and the settings that count here."""
    settings: Settings = app.state.settings
    server: DatabaseServer = app.state.database_server
    facts = {
        "taskservice": f"{__version__}, Litestar {version_of('litestar')}, Python {platform.python_version()}",
        "environment": settings.env,
        "database": server.description,
        **({"its address": f"{server.embedded_url} (while the service runs)"} if server.is_embedded else {}),
        "tokens": key_sources(settings),
        "CORS": _cors(settings),
        "tasks": f"title {settings.title}, description up to {settings.description_max} characters, "
        f"delete {settings.delete}, trash for {settings.retention_days} days",
        "users": _users(settings),
        "metrics": "at /metrics" if settings.metrics else "off",
        "docs": "at /docs",
    }
    width = max(map(len, facts))
    for name, said in facts.items():
        click.echo(f"{name:<{width}}  {said}")


def _cors(settings: Settings) -> str:
    origins = [*settings.cors_origins]
    if settings.cors_origin_regex is not None:
        origins.append(f"any that fits {settings.cors_origin_regex}")
    if not settings.production:
        origins.append("any on this machine")
    return ", ".join(origins) or "no origin"


def _users(settings: Settings) -> str:
    if settings.users == "registered":
        return f'must be in the table "{settings.users_table}"'
    return "everyone with a valid token"
