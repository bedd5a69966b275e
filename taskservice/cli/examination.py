"""The checks of `litestar doctor`: settings, database, schema and keys; what is wrong and what to do about it."""

import asyncio
import os
import socket
from collections.abc import AsyncIterator
from pathlib import Path
from typing import Any, Final

from msgspec import Struct

from taskservice.auth.explain import explain
from taskservice.auth.jwks import FetchError, IssuerKeys
from taskservice.auth.tokens import TokenVerifier
from taskservice.auth.users import UsersTableError, find_users_table
from taskservice.cli.operation import counted
from taskservice.database.bring_up import schema_version
from taskservice.database.checks import allowed_connections, too_few_connections
from taskservice.database.failures import Failure, Unusable, classify, describe
from taskservice.database.migrations import HEAD
from taskservice.database.pool import Transaction
from taskservice.database.server import DatabaseServer, open_connection
from taskservice.database.tables import Table
from taskservice.program_name import litestar
from taskservice.settings import SETTINGS, Settings, SettingsError, load_settings
from taskservice.settings.database_url import ConnectionTarget
from taskservice.settings.sources import describe_sources

_TABLES_IN_THE_WAY: Final = """
SELECT tablename AS name, schemaname AS schema FROM pg_tables
WHERE schemaname = current_schema() AND tablename = ANY($1) ORDER BY tablename
"""

_FOLLOWS: Final = """
SELECT pg_is_in_recovery() AS follows, pg_is_in_recovery() AND pg_is_wal_replay_paused() AS paused,
       pg_wal_lsn_diff($1, CASE WHEN pg_is_in_recovery() THEN pg_last_wal_replay_lsn() END)::bigint AS behind
"""
FAR_BEHIND: Final = 16 << 20
"""Bytes: one segment of the log."""

_UNREACHED: Final = (ConnectionError, TimeoutError, socket.gaierror)


class Finding(Struct, frozen=True):
    """One line of the report."""

    good: bool
    what: str
    found: str
    remedy: str = ""


async def examine(token: str | None) -> list[Finding]:
    """Look at everything that can be wrong, in the order in which it matters."""
    try:
        settings = load_settings()
        server = DatabaseServer(settings)
        TokenVerifier(settings)
    except SettingsError as error:
        return [Finding(False, "settings", problem, "docs/configuration.md lists all") for problem in error.problems]
    findings = [Finding(True, "settings", f"{settings.env}, {counted(len(settings.warnings), 'warning')}")]
    findings += [Finding(False, "settings", warning) for warning in settings.warnings]
    sources = describe_sources(os.environ, Path(), [setting.variable for setting in SETTINGS])
    findings.append(Finding(True, "read from", sources))
    try:
        findings += [finding async for finding in _database(settings, server)]
    finally:
        await asyncio.to_thread(server.stop)
    findings += [finding async for finding in _keys(settings)]
    if token is not None:
        reasons = await explain(token, settings)
        findings += [
            Finding(False, "token", reason, "docs/better-auth.md shows where to get a good one") for reason in reasons
        ]
        if not reasons:
            findings.append(Finding(True, "token", "would be accepted"))
    return findings


async def _database(settings: Settings, server: DatabaseServer) -> AsyncIterator[Finding]:
    try:
        connection = await server.connect()
    except Unusable as error:
        yield Finding(False, "database", str(error))
        return
    except Exception as error:  # noqa: BLE001 (every error is a finding of the report)
        yield _unreachable("database", server.description, error)
        return
    try:
        version = await connection.fetchval("SHOW server_version")
        yield Finding(True, "database", f"{server.description}: PostgreSQL {version}")
        yield await _schema(connection)
        yield await _connections("connections", connection, settings, pooled=server.is_pooled)
        if settings.users == "registered":
            yield await _users_table(settings, connection)
        for target in settings.database_replicas:
            async for finding in _replica(target, settings, connection):
                yield finding
    except Exception as error:  # noqa: BLE001 (as above)
        yield Finding(False, "database", describe(error), "does its user own the tables of this service?")
    finally:
        await connection.close()
    direct = settings.database.direct if settings.database else None
    if direct is not None and direct is not settings.database:
        yield await _way_around_pooler(direct)


async def _connections(what: str, connection: Any, settings: Settings, *, pooled: bool) -> Finding:
    each = settings.database_connections
    # What `litestar run` would read; a `--wc` is not known here.
    said = os.environ.get("LITESTAR_WEB_CONCURRENCY") or os.environ.get("WEB_CONCURRENCY") or ""
    workers = max(int(said), 1) if said.isdecimal() else 1
    warning = await too_few_connections(connection, workers=workers, each=each, pooled=pooled)
    if warning is not None:
        said, _, remedy = warning.partition(": ")
        return Finding(False, what, said, remedy)
    allowed, whose = await allowed_connections(connection)
    room = f"the {whose} allows {allowed}, enough for {counted(allowed // each, 'worker')}"
    return Finding(True, what, f"{counted(workers, 'worker')} with {each} each; {room}")


async def _replica(target: ConnectionTarget, settings: Settings, primary: Any) -> AsyncIterator[Finding]:
    try:
        replica = await open_connection(target)
    except Exception as error:  # noqa: BLE001 (as above)
        yield _unreachable("replica", target.redacted, error)
        return
    try:
        position = await primary.fetchval("SELECT pg_current_wal_lsn()")
        yield _follows(target, settings.database, await replica.fetchrow(_FOLLOWS, position))
        yield await _connections("its connections", replica, settings, pooled=target.pooled)
    finally:
        await replica.close()


def _follows(target: ConnectionTarget, named: ConnectionTarget | None, found: Any) -> Finding:
    """`named` is the database URL, which may name the same server: with a failover the roles change."""
    if not found["follows"] and named is not None and target.address in {host.address for host in named.hosts}:
        return Finding(True, "replica", f"{target.redacted}: is the primary now")
    if not found["follows"]:
        return Finding(False, "replica", f"{target.redacted}: takes writes, so it is no replica", "name a standby")
    behind = max(found["behind"] or 0, 0)
    said = f"{target.redacted}: {behind:,} bytes behind"
    if found["paused"]:
        return Finding(False, "replica", f"{said}, replay is paused", "SELECT pg_wal_replay_resume() there")
    if behind > FAR_BEHIND:
        return Finding(False, "replica", said, "is it connected? SELECT * FROM pg_stat_replication on the primary")
    return Finding(True, "replica", said)


async def _way_around_pooler(direct: ConnectionTarget) -> Finding:
    try:
        connection = await open_connection(direct)
    except Exception as error:  # noqa: BLE001 (as above)
        return _unreachable("direct database", direct.redacted, error)
    await connection.close()
    return Finding(True, "direct database", f"{direct.redacted}: for migrations")


def _unreachable(what: str, where: str, error: Exception) -> Finding:
    is_away = isinstance(error, _UNREACHED) and classify(error, connecting=True) is not Failure.MISCONFIGURED
    remedy = "does PostgreSQL run there, and may this machine reach it? Host and port are in the URL" if is_away else ""
    return Finding(False, what, f"{where}: {describe(error)}", remedy)


async def _schema(connection: Any) -> Finding:
    version = await schema_version(connection)
    if version is None:
        foreign = await connection.fetch(_TABLES_IN_THE_WAY, [*Table.metadata.tables])
        if foreign:
            names = ", ".join(f'"{row["name"]}"' for row in foreign)
            return Finding(
                False,
                "migrations",
                f"the schema {foreign[0]['schema']} holds tables of another program under names of ours: {names}",
                "give this service a database or a schema of its own: docs/configuration.md says how",
            )
        said = f"the database has no schema yet; this program needs {HEAD}"
    elif version == HEAD:
        return Finding(True, "migrations", f"up to date ({version})")
    elif version > HEAD:
        return Finding(True, "migrations", f"the schema ({version}) is newer than this program, which knows {HEAD}")
    else:
        said = f"the schema ({version}) is older than this program, which needs {HEAD}"
    return Finding(False, "migrations", said, f"run `{litestar()} database upgrade`, or start the service")


async def _users_table(settings: Settings, connection: Any) -> Finding:
    try:
        await find_users_table(settings.users_table, Transaction(connection).fetch)
    except UsersTableError as error:
        return Finding(False, "users table", str(error))
    return Finding(True, "users table", f'"{settings.users_table}" is there')


async def _keys(settings: Settings) -> AsyncIterator[Finding]:
    if settings.secrets:
        made = "generated for development" if settings.generated_secret else f"{len(settings.secrets)} in use"
        yield Finding(True, "shared secret", f"{made}; `{litestar()} token USER` signs with it")
    if settings.jwks_url:
        keys = IssuerKeys(settings.jwks_url)
        try:
            await keys.fetch()
        except FetchError as error:
            yield Finding(
                False, "JWKS", f"{settings.jwks_url}: {error}", "is Better Auth running, and is its jwt() plugin on?"
            )
        else:
            known = ", ".join(keys.names) or "no key in it can verify anything"
            remedy = "" if keys.names else "does Better Auth sign with EdDSA, ES256, ES512, RS256 or PS256?"
            yield Finding(bool(keys.names), "JWKS", f"{settings.jwks_url}: {known}", remedy)
        finally:
            await keys.close()
