"""Reads a database URL, in every form that a provider prints, into the arguments of a connection.

Reads nothing but the certificates that a URL names. Three rules differ from those of libpq, SQLAlchemy and asyncpg:

- `sslmode=require` verifies the certificate and the host name, as `verify-full` does; `no-verify` encrypts only.
- A transaction-mode pooler is recognised by its address, because prepared statements through one give wrong rows.
- An option that cannot be honoured is refused; the message names the key. No message contains the password.
"""

import getpass
import re
import ssl
from collections.abc import Mapping
from dataclasses import dataclass, field, replace
from typing import Any, Final, Literal
from urllib.parse import quote, unquote

APPLICATION_NAME: Final = "taskservice"
DEFAULT_PORT: Final = 5432
SUPABASE_TRANSACTION_PORT: Final = 6543

Pooler = Literal["auto", "true", "false"]
Encryption = ssl.SSLContext | Literal["prefer", "allow", False]

VERIFIED: Final = ("require", "verify-ca", "verify-full")
SSL_MODES: Final = ("disable", "allow", "prefer", *VERIFIED, "no-verify")
# The spellings in asyncpg's own URLs and in those for Node.js.
SSL_SYNONYMS: Final = {"true": "require", "1": "require", "false": "disable", "0": "disable"}


class BadDatabaseUrl(ValueError):
    """One readable line without the password."""


@dataclass(frozen=True)
class ConnectionTarget:
    """The address of the database and how to log in."""

    host: str
    port: int
    user: str
    password: str | None = field(repr=False)
    database: str
    ssl: Encryption = field(default="prefer", repr=False, compare=False)
    direct_tls: bool = False
    application_name: str = APPLICATION_NAME
    connect_timeout: float | None = None
    other_hosts: tuple[tuple[str, int], ...] = ()
    """Other hosts of the same database: after a failover another one of them takes writes."""
    must_take_writes: bool = False
    """Whether to refuse a server that is read-only: with several hosts, or as `target_session_attrs` says."""
    pooled: bool = False
    direct_target: "ConnectionTarget | None" = None
    """What DATABASE_DIRECT_URL names."""
    variable: str = field(default="DATABASE_URL", compare=False)
    """The setting that the target comes from."""

    @property
    def direct(self) -> "ConnectionTarget | None":
        """Where migrations run. None: a pooler is in between, and the database behind it is not known."""
        return self.direct_target or _derived_direct(self) if self.pooled else self

    def with_pooler(self, pooler: Pooler) -> "ConnectionTarget":
        """The target as `TASKSERVICE_DATABASE_POOLER` says; `auto`: as the URL does."""
        return self if pooler == "auto" else replace(self, pooled=pooler == "true")

    @property
    def hosts(self) -> tuple["ConnectionTarget", ...]:
        """One target for each host."""
        others = [replace(self, host=host, port=port, other_hosts=()) for host, port in self.other_hosts]
        return (replace(self, other_hosts=()), *others)

    @property
    def is_socket(self) -> bool:
        return self.host.startswith("/")

    @property
    def sleeps(self) -> bool:
        """Whether the provider suspends the database when no query comes."""
        return _is_neon(self.host)

    @property
    def address(self) -> str:
        """For messages."""
        return self.host if self.is_socket else f"{_bracketed(self.host)}:{self.port}"

    @property
    def redacted(self) -> str:
        """For logs and `doctor`."""
        secret = "" if self.password is None else ":***"
        where = "" if self.is_socket else ",".join(host.address for host in self.hosts)
        query = f"?host={self.host}" if self.is_socket else ""
        return f"postgresql://{quote(self.user)}{secret}@{where}/{quote(self.database)}{query}"

    def asyncpg_arguments(self, session: Mapping[str, str] | None = None) -> dict[str, Any]:
        """Keyword arguments of `asyncpg.connect` or `create_pool`.

        `session` are server settings such as `statement_timeout`. Through a pooler they are left out, because it
        refuses connections with any but the application's name, and statements have no names.
        """
        settings = {} if self.pooled else dict(session or {})
        arguments: dict[str, Any] = {
            "host": self.host,
            "port": self.port,
            "user": self.user,
            "password": self.password,
            "database": self.database,
            "ssl": self.ssl,
            "direct_tls": self.direct_tls,
            "server_settings": {**settings, "application_name": self.application_name},
        }
        if self.must_take_writes:
            arguments["target_session_attrs"] = "read-write"
        if self.connect_timeout is not None:
            arguments["timeout"] = self.connect_timeout
        if self.pooled:
            arguments["statement_cache_size"] = 0
        return arguments


def read_database_url(url: str, variable: str = "DATABASE_URL") -> ConnectionTarget:
    """The target of `url`, which came from `variable`. Raises `BadDatabaseUrl`."""
    # By hand: `urlsplit` cuts a password at '#', and repeats parts of it in its errors.
    # Consoles print the whole command: psql 'postgresql://…'
    text = url.strip().removeprefix("psql").strip().strip("'\"")
    scheme, separator, rest = text.partition("://")
    if not separator or not re.fullmatch(r"postgres(ql)?(\+[a-z0-9_]+)?", scheme.lower()):
        raise BadDatabaseUrl("must begin with postgresql:// or postgres://")
    authority, path, query = _parts(rest)
    keys = _keys(query)
    userinfo, _, address = authority.rpartition("@")
    user, colon, password = userinfo.partition(":")
    first, *others = hosts = _hosts(address, keys)
    user = keys.pop("user", "") or _decoded(user, "user") or _own_name()
    secret = keys.pop("password", None) or (_decoded(password, "password") if colon else None)
    encryption, direct_tls = _encryption(keys, [host for host, _ in hosts])
    for prismas in ("connection_limit", "pool_timeout"):  # printed for it beside `pgbouncer`; about its own pool
        keys.pop(prismas, None)
    says_pooler = _choice(keys, "pgbouncer", "false", "true") == "true"  # Supabase prints it for Prisma
    wanted = _choice(keys, "target_session_attrs", "any", "read-write", "primary")
    target = ConnectionTarget(
        host=first[0],
        port=first[1],
        other_hosts=tuple(others),
        must_take_writes=bool(others) or wanted != "any",
        user=user,
        password=secret,
        database=keys.pop("dbname", "") or _decoded(path, "database") or user,
        ssl=encryption,
        direct_tls=direct_tls,
        application_name=keys.pop("application_name", "") or APPLICATION_NAME,
        # libpq: zero means for ever, which here the request's deadline limits anyway.
        connect_timeout=_whole_number("connect_timeout", keys.pop("connect_timeout", "")) or None,
        pooled=says_pooler or any(_is_pooler(*host) for host in hosts),
        variable=variable,
    )
    _refuse(keys)
    return target


def read_replica_urls(urls: str) -> tuple[ConnectionTarget, ...]:
    """The targets of DATABASE_REPLICA_URLS. Raises `BadDatabaseUrl`."""
    # A comma may stand inside a URL as well, before another host.
    targets = [
        read_database_url(url, "DATABASE_REPLICA_URLS")
        for url in re.split(r"[\s,]+(?=[a-z][a-z0-9+]*://)", urls.strip(), flags=re.IGNORECASE)
    ]
    if any(target.must_take_writes for target in targets):
        raise BadDatabaseUrl(
            "each URL names one replica, which takes no writes: write one URL for each host, without "
            "target_session_attrs"
        )
    return tuple(targets)


def _is_pooler(host: str, port: int) -> bool:
    return host.partition(".")[0].endswith("-pooler") or (_is_supabase(host) and port == SUPABASE_TRANSACTION_PORT)


def _is_supabase(host: str) -> bool:
    return host.endswith((".supabase.com", ".supabase.co"))


def _is_neon(host: str) -> bool:
    # Neon under another brand keeps the names of its endpoints: ep-cool-darkness-123456-pooler.
    return host.endswith(".neon.tech") or re.match(r"ep-[a-z0-9-]+\.", host) is not None


def _derived_direct(target: ConnectionTarget) -> ConnectionTarget | None:
    if target.other_hosts:
        return None
    first, dot, rest = target.host.partition(".")
    if first.endswith("-pooler") and _is_neon(target.host):
        return replace(target, host=first.removesuffix("-pooler") + dot + rest, pooled=False)
    if _is_supabase(target.host) and target.port == SUPABASE_TRANSACTION_PORT:
        return replace(target, port=DEFAULT_PORT, pooled=False)  # the same host in session mode
    return None


def _bracketed(host: str) -> str:
    return f"[{host}]" if ":" in host else host


def _parts(rest: str) -> tuple[str, str, str]:
    end = re.search(r"[/?]", rest)
    authority, tail = (rest[: end.start()], rest[end.start() :]) if end else (rest, "")
    path, _, query = tail.partition("?")
    path = path.removeprefix("/")
    if "@" in tail:
        raise BadDatabaseUrl("a '/' or '?' in the password must be written %2F or %3F")
    return authority, path, query


def _hosts(address: str, keys: dict[str, str]) -> list[tuple[str, int]]:
    """Each host with its port. libpq's `host` and `port` keys win; one port counts for all hosts."""
    read = [_address(each) for each in address.split(",")]
    hosts, ports = [host for host, _ in read], [port for _, port in read]
    if "host" in keys:
        hosts = keys.pop("host").split(",")
        ports = ports if len(ports) == len(hosts) else ports[:1]
    if "port" in keys:
        ports = [_whole_number("port", port) for port in keys.pop("port").split(",")]
    if len(ports) not in (1, len(hosts)):
        raise BadDatabaseUrl(f"names {len(hosts)} hosts and {len(ports)} ports")
    if not all(hosts):
        raise BadDatabaseUrl("names no host" if not any(hosts) else "has an empty name among its hosts")
    ports = ports * len(hosts) if len(ports) == 1 else ports
    return [(host, port or DEFAULT_PORT) for host, port in zip(hosts, ports, strict=True)]


def _address(address: str) -> tuple[str, int]:
    found = re.fullmatch(r"(?:\[([0-9A-Fa-f:.%]+)\]|([^:\[\]]*))(?::(.*))?", address)
    if found is None:
        raise BadDatabaseUrl("the host cannot be read")
    host = _decoded(found[1] or found[2] or "", "host")
    return host if host.startswith("/") else host.lower(), _whole_number("port", found[3] or "")


def _keys(query: str) -> dict[str, str]:
    keys: dict[str, str] = {}
    for pair in query.split("&") if query else []:
        key, equals, value = pair.partition("=")
        key = _decoded(key, "query")
        if not re.fullmatch(r"\w+", key):
            raise BadDatabaseUrl("what follows the '?' must be key=value, joined by '&'")
        if not equals or key in keys:
            raise BadDatabaseUrl(f"{'repeats' if key in keys else 'has no value for'} '{key}'")
        keys[key] = _decoded(value, key)
    return keys


def _decoded(text: str, part: str) -> str:
    try:
        decoded = unquote(text, errors="strict")
    except UnicodeDecodeError:
        raise BadDatabaseUrl(f"{part} is not UTF-8 after percent-decoding") from None
    if "\0" in decoded:
        raise BadDatabaseUrl(f"{part} contains a NUL character")
    return decoded


def _whole_number(key: str, text: str) -> int:
    """Zero when absent."""
    if not text:
        return 0
    if not re.fullmatch(r"[0-9]{1,5}", text) or int(text) > 65535:
        raise BadDatabaseUrl(f"{key} must be a whole number up to 65535")
    return int(text)


def _own_name() -> str:
    try:
        return getpass.getuser()
    except (KeyError, OSError):
        raise BadDatabaseUrl("names no user") from None


def _choice(keys: dict[str, str], key: str, *allowed: str) -> str:
    """The value of the key; the first of `allowed` when absent."""
    value = keys.pop(key, allowed[0])
    if value not in allowed:
        raise BadDatabaseUrl(f"{key} must be one of {', '.join(filter(None, allowed))}")
    return value


def _encryption(keys: dict[str, str], hosts: list[str]) -> tuple[Encryption, bool]:
    synonym = keys.pop("ssl", "")
    if synonym:
        keys.setdefault("sslmode", SSL_SYNONYMS.get(synonym.lower(), synonym))
    mode = _choice(keys, "sslmode", "", *SSL_MODES)
    root = keys.pop("sslrootcert", "")
    binding = _choice(keys, "channel_binding", "prefer", "disable", "require")
    negotiation = _choice(keys, "sslnegotiation", "postgres", "direct")
    direct_tls = negotiation == "direct"
    if all(host.startswith("/") for host in hosts):
        if mode in VERIFIED or direct_tls:
            raise BadDatabaseUrl("asks for TLS on a Unix socket, which PostgreSQL does not do")
        return False, False
    if not mode:
        # Channel binding, which asyncpg lacks, proves the server's identity; a verified certificate does so, too.
        sure = root or direct_tls or binding == "require" or any(map(_is_neon, hosts))
        mode = "require" if sure else "prefer"
    if (root or direct_tls) and mode not in (*VERIFIED, "no-verify"):
        raise BadDatabaseUrl(
            f"{'sslrootcert' if root else 'sslnegotiation=direct'} needs sslmode=require or verify-full"
        )
    match mode:
        case "disable":
            return False, direct_tls
        case "allow" | "prefer":
            return mode, direct_tls
    return _context(mode, root), direct_tls


def _context(mode: str, root: str) -> ssl.SSLContext:
    own_authority = root not in ("", "system")
    try:
        context = ssl.create_default_context(cafile=root if own_authority else None)
    except (OSError, ssl.SSLError) as error:
        raise BadDatabaseUrl(f"sslrootcert cannot be read: {error.strerror or 'no certificate in it'}") from None
    if mode == "no-verify":
        context.check_hostname = False
        context.verify_mode = ssl.CERT_NONE
    elif mode == "verify-ca" and own_authority:
        # Without the host name only an own authority proves anything: a public one gives certificates to anybody.
        context.check_hostname = False
    context.set_alpn_protocols(["postgresql"])
    return context


def _refuse(keys: dict[str, str]) -> None:
    keys.pop("gssencmode", None)  # nothing to turn off: asyncpg encrypts by TLS only
    if "options" in keys:
        raise BadDatabaseUrl(
            "'options' cannot be used (poolers refuse it; Neon's endpoint is found without it): remove it"
        )
    if keys:
        named = ", ".join(f"'{key}'" for key in sorted(keys))
        raise BadDatabaseUrl(f"unknown {named}: remove {'it' if len(keys) == 1 else 'them'} from the URL")
