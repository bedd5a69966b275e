"""Every setting and policy, said once: its variable, its default, its meaning and how it is checked.

Environment over `.env` over `litestar.toml`. `docs/configuration.md` and `.env.example` are made from `SETTINGS`.
"""

import dataclasses
import io
import json
import os
import re
import secrets
import tomllib
from collections.abc import Callable, Mapping
from pathlib import Path
from typing import Any, Final, Literal
from urllib.parse import urlsplit

from dotenv import dotenv_values
from dotenv.parser import parse_stream
from msgspec import Struct

from taskservice import rules
from taskservice.auth.keys import may_be_secret
from taskservice.database.url import BadDatabaseUrl, ConnectionTarget, Pooler, read_database_url, read_direct_url

PREFIX: Final = "TASKSERVICE_"
SECRET_MIN_BYTES: Final = 32
SECRET_MIN_VARIETY: Final = 9
"""How many different characters a secret must have; 32 random hexadecimal digits almost never have fewer."""
BETTER_AUTH_DEVELOPMENT_SECRET: Final = "better-auth-secret-12345678901234567890"  # noqa: S105 (public, and refused)
KEY_SOURCES: Final = frozenset({"BETTER_AUTH_SECRET", "BETTER_AUTH_SECRETS", "BETTER_AUTH_URL", "BETTER_AUTH_JWKS_URL"})
SERVER_KEYS: Final = frozenset({"app", "host", "port"})
"""What `[litestar]` of `litestar.toml` may say; the command line reads it, see `cli.py`."""


class SettingsError(Exception):
    """Some settings are wrong; one readable line for each, naming the variable and never a secret."""

    def __init__(self, problems: list[str]) -> None:
        super().__init__("\n".join(problems))
        self.problems = problems


class Settings(Struct, frozen=True, kw_only=True):
    """What the service was told. Made by `load_settings`, checked there, never changed afterwards."""

    env: Literal["development", "production"]
    data_dir: Path
    database: ConnectionTarget | None
    database_pooler: Pooler
    database_connections: int
    database_deadline: float
    database_schema: str | None
    migrate: bool
    secrets: tuple[str, ...]
    better_auth_url: str | None
    jwks_url: str | None
    jwt_issuer: str | None
    jwt_audience: tuple[str, ...]
    public_url: str | None
    metrics: bool
    drain_seconds: int
    log_level: Literal["debug", "info", "warning", "error"]
    title: Literal["required", "generated"]
    description_max: int
    delete: Literal["soft", "hard"]
    retention_days: int
    users: Literal["token", "registered"]
    users_table: str
    foreign_task: Literal["403", "404"]
    cors_origins: tuple[str, ...]
    cors_origin_regex: str | None
    generated_secret: bool = False
    warnings: tuple[str, ...] = ()

    @property
    def production(self) -> bool:
        return self.env == "production"

    def address(self, path: str) -> str:
        """What clients have to ask for to reach `path`: a whole URL where the public one is known, else the path."""
        return f"{self.public_url}{path}" if self.public_url else path


class Setting(Struct, frozen=True):
    """One line of the configuration table."""

    variable: str
    parse: Callable[[str], Any]
    default: str | None
    meaning: str
    values: str = ""

    @property
    def key(self) -> str | None:
        """Its name under `[taskservice]` in `litestar.toml`; secrets and URLs belong in the environment only."""
        return self.variable.removeprefix(PREFIX).lower() if self.variable.startswith(PREFIX) else None


def _choice(*allowed: str) -> Callable[[str], str]:
    def parse(text: str) -> str:
        if text not in allowed:
            raise ValueError(f"must be one of {', '.join(allowed)}")
        return text

    return parse


def _flag(text: str) -> bool:
    value = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}.get(text.lower())
    if value is None:
        raise ValueError("must be true or false")
    return value


def _number(low: int, high: int) -> Callable[[str], int]:
    def parse(text: str) -> int:
        if not re.fullmatch(r"[0-9]{1,9}", text) or not low <= int(text) <= high:
            raise ValueError(f"must be a whole number from {low} to {high}")
        return int(text)

    return parse


def _seconds(text: str) -> float:
    if not re.fullmatch(r"[0-9]{1,4}(\.[0-9]{1,3})?", text) or not 0.5 <= float(text) <= 300:
        raise ValueError("must be a number of seconds from 0.5 to 300")
    return float(text)


def _list(text: str) -> tuple[str, ...]:
    if text.lstrip().startswith("["):
        try:
            items = json.loads(text)
        except ValueError:
            raise ValueError("must be a comma-separated list or a JSON array of strings") from None
        if not all(isinstance(item, str) for item in items):
            raise ValueError("must be a comma-separated list or a JSON array of strings")
        return tuple(items)
    return tuple(item.strip() for item in text.split(",") if item.strip())


def _http_url(text: str) -> str:
    if _origin_or_none(text) is None or "@" in urlsplit(text).netloc or re.search(r"[?#\s]", text):
        raise ValueError("must be an absolute http or https URL without credentials, query or fragment")
    return text.rstrip("/")


def _public_url(text: str) -> str:
    if not re.fullmatch(r"[!-~]+", text) or re.search(r"[<>\"'\\]", text):  # it is written into headers and pages
        raise ValueError("must be written in ASCII, other characters as %XX or punycode")
    return _http_url(text)


def _origin_or_none(text: str) -> str | None:
    """Without the standard library's own words about a bad URL, which quote it."""
    try:
        parts = urlsplit(text)
        return origin_of(text) if parts.scheme in {"http", "https"} and parts.hostname else None
    except ValueError:
        return None


def origin_of(url: str) -> str:
    """Scheme, host and port of an absolute URL, as browsers and Better Auth write them."""
    parts = urlsplit(url)
    default_port = {"http": 80, "https": 443}[parts.scheme]
    host = f"[{parts.hostname}]" if ":" in (parts.hostname or "") else parts.hostname
    return f"{parts.scheme}://{host}" + (f":{parts.port}" if parts.port not in {None, default_port} else "")


def _origins(text: str) -> tuple[str, ...]:
    origins = _list(text)
    for origin in origins:
        if origin != "*" and origin != _origin_or_none(origin):
            raise ValueError(f"{origin!r} is no origin: write scheme://host[:port], nothing behind it")
    return origins


def _pattern(text: str) -> str:
    try:
        re.compile(text)
    except re.error as error:
        raise ValueError(f"is no regular expression: {error}") from None
    return text


def _rotation(text: str) -> tuple[str, ...]:
    entries = [entry.strip() for entry in text.split(",") if entry.strip()]
    found = [re.fullmatch(r"([0-9]+):(.+)", entry) for entry in entries]
    if not entries or not all(found):
        raise ValueError('must be of the form "2:new-secret,1:old-secret", the current one first')
    return tuple(match[2] for match in found if match)


def _table_name(text: str) -> str:
    if not re.fullmatch(r"[^\x00-\x1f\"]{1,63}", text):
        raise ValueError("must be the plain name of a table, without quotes")
    return text


def _schema_name(text: str) -> str:
    if not re.fullmatch(r"[a-z_][a-z0-9_]{0,62}", text) or text.startswith("pg_"):
        raise ValueError("must be lower-case letters, digits and underscores, and not begin with pg_")
    return text


SETTINGS: Final[tuple[Setting, ...]] = (
    Setting("DATABASE_URL", str, None, "PostgreSQL, in any form that Neon, Heroku or Supabase prints. "
            "Neither this nor `NEON_DB_URL`: an embedded PostgreSQL in the data directory."),
    Setting("NEON_DB_URL", str, None, "The same; `DATABASE_URL` wins."),
    Setting("DATABASE_DIRECT_URL", str, None, "Where migrations run when the database URL goes through a "
            "transaction-mode pooler. Derived for Neon hosts."),
    Setting("BETTER_AUTH_SECRET", str, None, "The shared secret of HS256 tokens, 32 bytes or more."),
    Setting("BETTER_AUTH_SECRETS", _rotation, None, "Secrets in rotation, as Better Auth writes them: every one "
            "verifies, the first one signs.", "`2:new,1:old`"),
    Setting("BETTER_AUTH_URL", _http_url, None, "The Better Auth server: its JWKS is trusted, its origin is the "
            "expected issuer and audience."),
    Setting("BETTER_AUTH_JWKS_URL", _http_url, None, "Where the JWKS is, if not at `{BETTER_AUTH_URL}/api/auth/jwks`."),
    Setting("TASKSERVICE_ENV", _choice("development", "production"), "development", "Production refuses to start with "
            "anything unsafe, and logs JSON.", "`development`, `production`"),
    Setting("TASKSERVICE_DATA_DIR", Path, ".data", "Where the embedded database and the development secret live."),
    Setting("TASKSERVICE_DATABASE_POOLER", _choice("auto", "true", "false"), "auto", "Is a transaction-mode pooler in "
            "between? `auto`: yes for a `-pooler` host.", "`auto`, `true`, `false`"),
    Setting("TASKSERVICE_DATABASE_CONNECTIONS", _number(1, 1000), "10", "Connections per worker, at most.", "1..1000"),
    Setting("TASKSERVICE_DATABASE_DEADLINE", _seconds, "5", "Seconds after which a request that waits for the database "
            "is answered 503.", "0.5..300"),
    Setting("TASKSERVICE_DATABASE_SCHEMA", _schema_name, None, "The schema that the tables are in, created at start. "
            "For a database in which another application has a table `users` or `tasks`. Unset: the first one of the "
            "user's search path, usually `public`."),
    Setting("TASKSERVICE_MIGRATE", _flag, "true", "Create and migrate the schema at start.", "`true`, `false`"),
    Setting("TASKSERVICE_JWT_ISSUER", str, None, "The `iss` that tokens must carry. Unset: the origin of "
            "`BETTER_AUTH_URL` for JWKS tokens, unchecked for HS256 ones."),
    Setting("TASKSERVICE_JWT_AUDIENCE", _list, None, "The `aud` of which tokens must carry one, by comma. Unset: as "
            "for the issuer."),
    Setting("TASKSERVICE_PUBLIC_URL", _public_url, None, "Where clients reach the service when a proxy changes the "
            "address, path prefix included. It is written into `Location`, `Link`, problem `type`, the API "
            "description and the pages. Unset: these are paths on the same host.", "`https://example.org/todo`"),
    Setting("TASKSERVICE_METRICS", _flag, "false", "Serve Prometheus metrics at `/metrics`.", "`true`, `false`"),
    Setting("TASKSERVICE_DRAIN_SECONDS", _number(0, 600), "0", "After SIGTERM, so long go on serving with readiness at "
            "503, until a load balancer has noticed.", "0..600"),
    Setting("TASKSERVICE_LOG_LEVEL", _choice("debug", "info", "warning", "error"), "info", "What to log. `info`: each "
            "request; `debug`: health probes and scrapes too; `warning`: only trouble, with every 5xx.",
            "`debug`, `info`, `warning`, `error`"),
    Setting("TASKSERVICE_TITLE", _choice("required", "generated"), "required", "A task without a title: refused, or "
            "named after its description.", "`required`, `generated`"),
    Setting("TASKSERVICE_DESCRIPTION_MAX", _number(1, rules.DESCRIPTION_CEILING), str(rules.DESCRIPTION_MAX),
            "The longest description, in characters.", f"1..{rules.DESCRIPTION_CEILING}"),
    Setting("TASKSERVICE_DELETE", _choice("soft", "hard"), "soft", "A deleted task goes to the trash, or is gone.",
            "`soft`, `hard`"),
    Setting("TASKSERVICE_RETENTION_DAYS", _number(1, 36500), "30", "`litestar purge` removes trash older than this.",
            "1..36500"),
    Setting("TASKSERVICE_USERS", _choice("token", "registered"), "token", "Whom to serve: whoever has a sound token, "
            "or only users found in the users table.", "`token`, `registered`"),
    Setting("TASKSERVICE_USERS_TABLE", _table_name, "user", "The table that `registered` looks in: Better Auth's "
            "own, in the same database."),
    Setting("TASKSERVICE_FOREIGN_TASK", _choice("403", "404"), "403", "The answer to another user's task id on "
            "`/api/tasks`.", "`403`, `404`"),
    Setting("TASKSERVICE_CORS_ORIGINS", _origins, "http://localhost:3000,http://localhost", "The origins whose pages "
            "may call the API."),
    Setting("TASKSERVICE_CORS_ORIGIN_REGEX", _pattern, None, "Further origins, as a regular expression that must match "
            "the whole origin (preview deployments)."),
)  # fmt: skip


def load_settings(environ: Mapping[str, str] | None = None, directory: Path | None = None) -> Settings:
    """Read and check everything. Raises `SettingsError` with all that is wrong, not just the first.

    Without arguments: the process's environment and the files of the working directory. With `environ` alone no file
    is read.
    """
    if environ is None:
        environ, directory = os.environ, directory or Path.cwd()
    problems: list[str] = []
    texts = _file_texts(directory, problems) if directory else {}
    texts |= {name: value for name, value in environ.items() if value.strip()}
    known = {setting.variable for setting in SETTINGS}
    problems += [
        f"{name}: no such setting{_suggestion(name, known)}"
        for name in sorted(texts)
        if name.startswith(PREFIX) and name not in known
    ]
    values: dict[str, Any] = {}
    given: set[str] = set()
    for setting in SETTINGS:
        text = texts.get(setting.variable, setting.default)
        try:
            value = None if text is None else setting.parse(_utf8(text.strip()))
        except ValueError as error:
            problems.append(f"{setting.variable}: {error}")
            value = None
            given.add(setting.variable)  # wrong, but nobody has to be told to set it
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


def _suggestion(name: str, known: set[str]) -> str:
    from difflib import get_close_matches  # noqa: PLC0415 (only when something is misspelt)

    close = get_close_matches(name, known, 1)
    return f", did you mean {close[0]}?" if close else ""


def _file_texts(directory: Path, problems: list[str]) -> dict[str, str]:
    texts: dict[str, str] = {}
    try:
        document = read_toml(directory)
    except ValueError as error:
        problems.append(str(error))
        document = {}
    by_key = {setting.key: setting.variable for setting in SETTINGS if setting.key}
    for key, value in _table(document, "taskservice", problems).items():
        if key not in by_key:
            problems.append(f"litestar.toml: [taskservice] {key}: no such setting")
        elif not isinstance(value, str):
            texts[by_key[key]] = json.dumps(value, default=str)
        elif value.strip():
            texts[by_key[key]] = value
    unknown = set(_table(document, "litestar", problems)) - SERVER_KEYS
    problems += [f"litestar.toml: [litestar] {key}: no such setting" for key in sorted(unknown)]
    problems += [f"litestar.toml: {table}: no such table" for table in sorted(document)]
    try:
        texts |= read_dotenv(directory)
    except ValueError as error:
        problems.append(str(error))
    return texts


def _table(document: dict[str, Any], name: str, problems: list[str]) -> dict[str, Any]:
    table = document.pop(name, {})
    if isinstance(table, dict):
        return table
    problems.append(f"litestar.toml: {name}: must be a table, [{name}]")
    return {}


def read_toml(directory: Path) -> dict[str, Any]:
    """What `litestar.toml` of this directory says. Raises `ValueError`, in one line, if it cannot be read."""
    text = _file_text(directory / "litestar.toml")
    try:
        return tomllib.loads(text)
    except ValueError as error:
        raise ValueError(f"litestar.toml: {error}") from None


def read_dotenv(directory: Path) -> dict[str, str]:
    """What `.env` of this directory sets. Raises `ValueError`, in one line, if it cannot be read."""
    text = _file_text(directory / ".env")
    for binding in parse_stream(io.StringIO(text)):
        if binding.error:  # python-dotenv would pass over it: an open quote, and a secret is lost
            raise ValueError(f".env: what begins at line {binding.original.line} is not NAME=value")
    return {name: value for name, value in dotenv_values(stream=io.StringIO(text)).items() if value and value.strip()}


def _file_text(path: Path) -> str:
    """Empty where there is no such file."""
    if not path.exists():
        return ""
    try:
        return path.read_text("utf-8-sig")
    except UnicodeDecodeError:
        raise ValueError(f"{path.name}: is not valid UTF-8") from None
    except OSError as error:
        raise ValueError(f"{path.name}: cannot be read: {error.strerror}") from None


def _checked(values: dict[str, Any], given: set[str], problems: list[str]) -> Settings:
    """The rules that span several settings."""
    warnings: list[str] = []
    production = values["TASKSERVICE_ENV"] == "production"
    url = values["BETTER_AUTH_URL"]
    jwks_url = values["BETTER_AUTH_JWKS_URL"] or (url and f"{_without_auth_path(url)}/api/auth/jwks")
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
        elif weakness := _weakness(secret):
            (problems if production else warnings).append(f"{variable}: {weakness}")
    if production and given.isdisjoint(KEY_SOURCES):
        problems.append("BETTER_AUTH_SECRET: set it or BETTER_AUTH_URL; production does not make up a key")
    database = _database(values, problems)
    if production and given.isdisjoint({"DATABASE_URL", "NEON_DB_URL"}):
        problems.append("DATABASE_URL: set it or NEON_DB_URL; production does not run on the embedded database")
    if problems:
        raise SettingsError(problems)
    generated = not keys and not jwks_url
    if generated:
        keys[_development_secret(values["TASKSERVICE_DATA_DIR"])] = None
    return Settings(
        **{setting.key: values[setting.variable] for setting in SETTINGS if setting.key and setting.key in _PLAIN},
        database=database,
        secrets=tuple(keys),
        better_auth_url=url,
        jwks_url=jwks_url,
        jwt_audience=values["TASKSERVICE_JWT_AUDIENCE"] or (),
        generated_secret=generated,
        warnings=tuple(warnings),
    )


_PLAIN: Final = frozenset(Settings.__struct_fields__) - {"jwt_audience"}


def _database(values: dict[str, Any], problems: list[str]) -> ConnectionTarget | None:
    """Where the database is; None where no URL is given, or a bad one."""
    pooler: Pooler = values["TASKSERVICE_DATABASE_POOLER"] or "auto"
    target = direct = None
    try:
        if values["DATABASE_DIRECT_URL"]:
            direct = read_direct_url(values["DATABASE_DIRECT_URL"], pooler=pooler)
    except BadDatabaseUrl as error:
        problems.append(str(error))
    variable = "DATABASE_URL" if values["DATABASE_URL"] else "NEON_DB_URL"
    try:
        if values[variable]:
            target = read_database_url(values[variable], variable=variable, pooler=pooler)
    except BadDatabaseUrl as error:
        problems.append(str(error))
    return dataclasses.replace(target, direct_target=direct) if target and direct else target


def _without_auth_path(url: str) -> str:
    """Better Auth takes its base URL with and without `/api/auth`; both mean the same server."""
    return url.removesuffix("/api/auth")


def _weakness(secret: str) -> str | None:
    if secret == BETTER_AUTH_DEVELOPMENT_SECRET:
        return "this is Better Auth's public development secret: anybody can sign tokens with it"
    if len(secret.encode()) < SECRET_MIN_BYTES:
        return (
            f"shorter than {SECRET_MIN_BYTES} bytes, so it can be guessed; `openssl rand -base64 32` makes a good one"
        )
    repeats = any(secret == (secret[:length] * len(secret))[: len(secret)] for length in range(1, SECRET_MIN_VARIETY))
    if repeats or len(set(secret)) < SECRET_MIN_VARIETY:
        return "repeats the same few characters, so it can be guessed; `openssl rand -base64 32` makes a good one"
    return None


def _development_secret(data_dir: Path) -> str:
    """Made once and kept, so that tokens outlive a restart."""
    path = data_dir / "development-secret"
    try:
        if not path.exists():
            _make_secret(path)
        secret = path.read_text("utf-8").strip()
    except UnicodeDecodeError:
        secret = ""
    except OSError as error:
        raise SettingsError(
            [f"TASKSERVICE_DATA_DIR: {path} can be neither made nor read: {error.strerror}; or set BETTER_AUTH_SECRET"]
        ) from None
    if _weakness(secret):
        raise SettingsError(
            [f"TASKSERVICE_DATA_DIR: {path} holds no good secret; remove it, and a new one is made at the next start"]
        )
    return secret


def _make_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f".development-secret.{os.getpid()}.{secrets.token_hex(4)}"
    draft.touch(mode=0o600)
    try:
        draft.write_text(secrets.token_urlsafe(48), "utf-8")
        # A hard link appears whole or not at all, and fails if another worker was first.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
