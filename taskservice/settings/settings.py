"""Every setting and policy: its variable, default and meaning in `SETTINGS`, its type in `Settings`.

`load_settings` reads them, checks them together and reports everything that is wrong at once. `docs/configuration.md`
and `.env.example` are made from `SETTINGS`.
"""

import dataclasses
import os
from collections.abc import Callable, Iterator, Mapping
from difflib import get_close_matches
from functools import partial
from pathlib import Path
from types import UnionType
from typing import Annotated, Any, Final, Literal, Union, get_args, get_origin

from msgspec import Meta, Struct
from msgspec.structs import fields

from taskservice import rules
from taskservice.settings.database_url import ConnectionTarget, Pooler, read_database_url, read_replica_urls
from taskservice.settings.shared_secrets import development_secret, may_be_secret, weakness
from taskservice.settings.sources import read_sources
from taskservice.settings.values import (
    allowed_values,
    convert,
    http_url,
    origins,
    pattern,
    public_url,
    rotating_secrets,
    string_list,
)

PREFIX: Final = "TASKSERVICE_"
KEY_SOURCES: Final = frozenset({"BETTER_AUTH_SECRET", "BETTER_AUTH_SECRETS", "BETTER_AUTH_URL", "BETTER_AUTH_JWKS_URL"})

TableName = Annotated[
    str, Meta(pattern=r'^[^\x00-\x1f"]{1,63}\Z', description="the plain name of a table, without quotes")
]
SchemaName = Annotated[
    str,
    Meta(
        pattern=r"^(?!pg_)[a-z_][a-z0-9_]{0,62}\Z",
        description="lower-case letters, digits and underscores, and not begin with pg_",
    ),
]


class SettingsError(Exception):
    """Some settings are wrong; one readable line for each, naming the variable and never a secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(Struct, frozen=True, kw_only=True):
    """The settings in effect. `load_settings` makes and checks them; they never change afterwards."""

    env: Literal["development", "production"]
    data_dir: Path
    database: ConnectionTarget | None
    database_replicas: tuple[ConnectionTarget, ...]
    database_pooler: Pooler
    database_connections: Annotated[int, Meta(ge=1, le=1000)]
    database_deadline: Annotated[float, Meta(ge=0.5, le=300)]
    database_schema: SchemaName | None
    database_sharded: bool
    migrate: bool
    secrets: tuple[str, ...]
    better_auth_url: str | None
    jwks_url: str | None
    jwt_issuer: str | None
    jwt_audience: tuple[str, ...]
    public_url: str | None
    metrics: bool
    drain_seconds: Annotated[int, Meta(ge=0, le=600)]
    log_level: Literal["debug", "info", "warning", "error"]
    title: Literal["required", "generated"]
    description_max: Annotated[int, Meta(ge=1, le=rules.DESCRIPTION_CEILING)]
    delete: Literal["soft", "hard"]
    retention_days: Annotated[int, Meta(ge=1, le=36500)]
    users: Literal["token", "registered"]
    users_table: TableName
    foreign_task: Literal["403", "404"]
    cors_origins: tuple[str, ...]
    cors_origin_regex: str | None
    generated_secret: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def production(self) -> bool:
        return self.env == "production"

    def address(self, path: str) -> str:
        """The address at which clients reach `path`: a whole URL if the public one is set, else the path."""
        return f"{self.public_url}{path}" if self.public_url else path


TYPES: Final[Mapping[str, Any]] = {field.name: field.type for field in fields(Settings)}


class Setting(Struct, frozen=True):
    """One line of the configuration table."""

    variable: str
    default: str | None
    meaning: str
    read: Callable[[str], Any] | None = None
    """Reads the text where msgspec does not convert it to the type of the field."""
    example: str = ""

    @property
    def key(self) -> str | None:
        """Its name under `[taskservice]` in `litestar.toml`; secrets and URLs belong in the environment only."""
        return self.variable.removeprefix(PREFIX).lower() if self.variable.startswith(PREFIX) else None

    @property
    def type(self) -> Any:
        """The type of its field in `Settings`, without None."""
        kind = TYPES.get(self.key or "", str)
        return get_args(kind)[0] if get_origin(kind) in {Union, UnionType} else kind

    @property
    def values(self) -> str:
        """The allowed values, as the documentation shows them."""
        return self.example if self.read else allowed_values(self.type)

    def parse(self, text: str) -> Any:
        """The value of the text. Raises `ValueError` with what it must be."""
        return self.read(text) if self.read else convert(text, self.type)


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("DATABASE_URL", None, "PostgreSQL, in any form that Neon, Heroku or Supabase prints. "
            "Neither this nor `NEON_DB_URL`: an embedded PostgreSQL in the data directory.", read_database_url),
    Setting("NEON_DB_URL", None, "The same; `DATABASE_URL` wins.", partial(read_database_url, variable="NEON_DB_URL")),
    Setting("DATABASE_DIRECT_URL", None, "Where migrations run when the database URL goes through a "
            "transaction-mode pooler. Derived for Neon hosts.",
            partial(read_database_url, variable="DATABASE_DIRECT_URL")),
    Setting("DATABASE_REPLICA_URLS", None, "Read replicas of the database (physical standbys), one URL for each, by "
            "space or comma. Reads go there as long as they give what the primary would: `docs/scaling.md`.",
            read_replica_urls),
    Setting("BETTER_AUTH_SECRET", None, "The shared secret of HS256 tokens, 32 bytes or more."),
    Setting("BETTER_AUTH_SECRETS", None, "Secrets in rotation, as Better Auth writes them: every one verifies, the "
            "first one signs.", rotating_secrets, "`2:new,1:old`"),
    Setting("BETTER_AUTH_URL", None, "The Better Auth server: its JWKS is trusted, its origin is the expected issuer "
            "and audience.", http_url),
    Setting("BETTER_AUTH_JWKS_URL", None, "Where the JWKS is, if not at `{BETTER_AUTH_URL}/api/auth/jwks`.", http_url),
    Setting("TASKSERVICE_ENV", "development", "Production refuses to start with anything unsafe, and logs JSON."),
    Setting("TASKSERVICE_DATA_DIR", ".data", "Where the embedded database and the development secret are.", Path),
    Setting("TASKSERVICE_DATABASE_POOLER", "auto", "Whether a transaction-mode pooler is in between. `auto`: yes for "
            "a `-pooler` host."),
    Setting("TASKSERVICE_DATABASE_CONNECTIONS", "10", "The most connections per worker."),
    Setting("TASKSERVICE_DATABASE_DEADLINE", "5", "Seconds after which a request that waits for the database is "
            "answered 503."),
    Setting("TASKSERVICE_DATABASE_SCHEMA", None, "The schema that the tables are in, created at start. For a database "
            "in which another application has a table `users` or `tasks`. Unset: the first one of the user's search "
            "path, usually `public`."),
    Setting("TASKSERVICE_DATABASE_SHARDED", "false", "The tables are distributed by user over several servers, as with "
            "Citus. Statements then have the form that such a database sends to one server: `docs/scaling.md`."),
    Setting("TASKSERVICE_MIGRATE", "true", "Create and migrate the schema at start."),
    Setting("TASKSERVICE_JWT_ISSUER", None, "The `iss` that tokens must carry. Unset: the origin of `BETTER_AUTH_URL` "
            "for JWKS tokens, unchecked for HS256 ones."),
    Setting("TASKSERVICE_JWT_AUDIENCE", None, "The `aud` values, separated by commas, of which a token must carry one. "
            "Unset: as for the issuer.", string_list),
    Setting("TASKSERVICE_PUBLIC_URL", None, "Where clients reach the service when a proxy changes the address, path "
            "prefix included. It is written into `Location`, `Link`, problem `type`, the API description and the "
            "pages. Unset: these are paths on the same host.", public_url, "`https://example.org/todo`"),
    Setting("TASKSERVICE_METRICS", "false", "Serve Prometheus metrics at `/metrics`."),
    Setting("TASKSERVICE_DRAIN_SECONDS", "0", "How many seconds to go on serving after SIGTERM, with readiness at 503, "
            "so that a load balancer notices."),
    Setting("TASKSERVICE_LOG_LEVEL", "info", "What to log. `info`: each request; `debug`: health probes and scrapes "
            "too; `warning`: only trouble, with every 5xx."),
    Setting("TASKSERVICE_TITLE", "required", "A task without a title is refused, or named after its description."),
    Setting("TASKSERVICE_DESCRIPTION_MAX", str(rules.DESCRIPTION_MAX), "The longest description, in characters."),
    Setting("TASKSERVICE_DELETE", "soft", "A deleted task goes to the trash, or is gone."),
    Setting("TASKSERVICE_RETENTION_DAYS", "30", "`litestar purge` removes trash older than this."),
    Setting("TASKSERVICE_USERS", "token", "Which users are served: all with a valid token, or only those in the users "
            "table."),
    Setting("TASKSERVICE_USERS_TABLE", "user", "The table that `registered` looks in: Better Auth's own, in the same "
            "database."),
    Setting("TASKSERVICE_FOREIGN_TASK", "403", "The answer to another user's task id on `/api/tasks`."),
    Setting("TASKSERVICE_CORS_ORIGINS", "http://localhost:3000,http://localhost", "The origins whose pages may call "
            "the API. In development those of this machine may too, on any port.", origins),
    Setting("TASKSERVICE_CORS_ORIGIN_REGEX", None, "Further origins, as a regular expression that must match the whole "
            "origin (preview deployments).", pattern),
)  # fmt: skip


def load_settings(environ: Mapping[str, str] | None = None, directory: Path | None = None) -> Settings:
    """Read and check everything. Raises `SettingsError` with all that is wrong, not just the first.

    Without arguments: the process's environment and the files of the working directory. With `environ` alone no file
    is read.
    """
    if environ is None:
        environ, directory = os.environ, directory or Path.cwd()
    problems: list[str] = []
    by_key = {setting.key: setting.variable for setting in SETTINGS if setting.key}
    texts = read_sources(environ, directory, by_key, problems)
    if "DATABASE_URL" in texts:
        texts.pop("NEON_DB_URL", None)  # of no effect, so it may have any form
    known = {setting.variable for setting in SETTINGS}
    for name in sorted(texts):
        if name.startswith(PREFIX) and name not in known:
            close = get_close_matches(name, known, 1)
            problems.append(f"{name}: no such setting" + (f", did you mean {close[0]}?" if close else ""))
    values: dict[str, Any] = {}
    given: set[str] = set()
    for setting in SETTINGS:
        text = texts.get(setting.variable, setting.default)
        try:
            value = None if text is None else setting.parse(_utf8(text.strip()))
        except ValueError as error:
            problems.append(f"{setting.variable}: {error}")
            value = None
            given.add(setting.variable)  # wrong, but set: no message must ask to set it
        values[setting.variable] = value
        if value:
            given.add(setting.variable)
    return _checked(values, given, problems)


def _utf8(text: str) -> str:
    try:
        text.encode()
    except UnicodeEncodeError:
        raise ValueError("is not valid UTF-8") from None
    return text


def _checked(values: dict[str, Any], given: set[str], problems: list[str]) -> Settings:
    """The rules that span several settings."""
    warnings: list[str] = []
    production = values["TASKSERVICE_ENV"] == "production"
    url = values["BETTER_AUTH_URL"]
    # Better Auth takes its own URL with and without `/api/auth`.
    jwks_url = values["BETTER_AUTH_JWKS_URL"] or (url and f"{url.removesuffix('/api/auth')}/api/auth/jwks")
    if (
        "BETTER_AUTH_JWKS_URL" in given
        and "BETTER_AUTH_URL" not in given
        and not given >= {"TASKSERVICE_JWT_ISSUER", "TASKSERVICE_JWT_AUDIENCE"}
    ):
        problems.append(
            "BETTER_AUTH_JWKS_URL: set BETTER_AUTH_URL too, or TASKSERVICE_JWT_ISSUER and TASKSERVICE_JWT_AUDIENCE: "
            "without them nobody knows for whom a token was made"
        )
    keys = dict.fromkeys((*(values["BETTER_AUTH_SECRETS"] or ()), *filter(None, [values["BETTER_AUTH_SECRET"]])))
    for secret in keys:
        variable = "BETTER_AUTH_SECRET" if secret == values["BETTER_AUTH_SECRET"] else "BETTER_AUTH_SECRETS"
        if not may_be_secret(secret):
            problems.append(f"{variable}: this is a public key, a certificate or a JWK, not a shared secret")
        elif weak := weakness(secret):
            (problems if production else warnings).append(f"{variable}: {weak}")
    if production and given.isdisjoint(KEY_SOURCES):
        problems.append("BETTER_AUTH_SECRET: set it or BETTER_AUTH_URL; production does not generate a key")
    if values["TASKSERVICE_DATABASE_SHARDED"] and values["TASKSERVICE_FOREIGN_TASK"] == "403":
        warnings.append(
            "TASKSERVICE_FOREIGN_TASK: 403 asks every server of a sharded database whose a task is, 404 asks none"
        )
    problems += _database_problems(values, given)
    if problems:
        raise SettingsError(problems)
    generated = not keys and not jwks_url
    if generated:
        try:
            keys[development_secret(values["TASKSERVICE_DATA_DIR"])] = None
        except ValueError as error:
            raise SettingsError([f"TASKSERVICE_DATA_DIR: {error}"]) from None
    plain: dict[str, Any] = {setting.key: values[setting.variable] for setting in SETTINGS if setting.key}
    plain["jwt_audience"] = values["TASKSERVICE_JWT_AUDIENCE"] or ()
    return Settings(
        **plain,
        database=_database(values),
        database_replicas=tuple(
            target.with_pooler(values["TASKSERVICE_DATABASE_POOLER"])
            for target in values["DATABASE_REPLICA_URLS"] or ()
        ),
        secrets=tuple(keys),
        better_auth_url=url,
        jwks_url=jwks_url,
        generated_secret=generated,
        warnings=tuple(warnings),
    )


def _database_problems(values: dict[str, Any], given: set[str]) -> Iterator[str]:
    direct: ConnectionTarget | None = values["DATABASE_DIRECT_URL"]
    if direct and direct.pooled and values["TASKSERVICE_DATABASE_POOLER"] == "auto":
        yield "DATABASE_DIRECT_URL: is the address of a pooler; migrations need the database's own, without '-pooler'"
    if given.isdisjoint({"DATABASE_URL", "NEON_DB_URL"}):
        if values["DATABASE_REPLICA_URLS"]:
            yield "DATABASE_REPLICA_URLS: set DATABASE_URL too, which names their primary"
        if values["TASKSERVICE_ENV"] == "production":
            yield "DATABASE_URL: set it or NEON_DB_URL; production does not run on the embedded database"


def _database(values: dict[str, Any]) -> ConnectionTarget | None:
    target: ConnectionTarget | None = values["DATABASE_URL"] or values["NEON_DB_URL"]
    direct: ConnectionTarget | None = values["DATABASE_DIRECT_URL"]
    if target is None:
        return None
    return dataclasses.replace(
        target.with_pooler(values["TASKSERVICE_DATABASE_POOLER"]),
        direct_target=direct and dataclasses.replace(direct, pooled=False),
    )
