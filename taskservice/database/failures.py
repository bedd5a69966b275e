"""Classifies failures of the database: what each means for the request, and what the operator has to do.

For errors of asyncpg, of the network below it, and of SQLAlchemy around it (migrations run there).
`classify` returns None for everything else: a broken constraint or a bug is no failure of the database.
"""

import re
import ssl
from enum import Enum
from typing import Final

import asyncpg
import sqlalchemy.exc


class Failure(Enum):
    """Each is answered 503; the value names the kind in metrics and logs.

    Only TRANSIENT tells whether a write took effect: never repeat a write that was sent after another kind.
    """

    DISCONNECTED = "disconnected"
    """The server is gone, starting, read-only after a failover, or unreachable. This connection is unusable;
    a connection attempt or a read may be repeated on another one."""
    BUSY = "busy"
    """The server is there, but out of connections, memory or disk."""
    SLOW = "slow"
    """A time limit passed: of a statement, of a wait for a lock, or of a wait for an answer."""
    TRANSIENT = "transient"
    """Transactions conflicted and this one was rolled back: all of it may be tried again."""
    MISCONFIGURED = "misconfigured"
    """Waiting does not help, the operator has to change a setting: log `describe`, once."""


class Unusable(Exception):
    """There is no database until the operator changes something; the message says what, in one line."""


# The longest matching prefix counts.
MEANING_OF_SQLSTATE: Final = {
    "08": Failure.DISCONNECTED,
    "25006": Failure.DISCONNECTED,  # read-only: this was the primary until a moment ago
    "25P03": Failure.DISCONNECTED,  # idle in transaction for too long, the server hung up
    "25P04": Failure.DISCONNECTED,  # transaction_timeout, the server hung up
    "26000": Failure.MISCONFIGURED,
    "28": Failure.MISCONFIGURED,
    "3D000": Failure.MISCONFIGURED,
    "40001": Failure.TRANSIENT,
    "40003": Failure.DISCONNECTED,
    "40P01": Failure.TRANSIENT,
    "42P05": Failure.MISCONFIGURED,
    "53": Failure.BUSY,
    "55P03": Failure.SLOW,
    "57014": Failure.SLOW,
    "57P": Failure.DISCONNECTED,
    "58": Failure.DISCONNECTED,
}

# The first match counts.
MEANING_OF_CLASS: Final[tuple[tuple[type[BaseException], Failure], ...]] = (
    (Unusable, Failure.MISCONFIGURED),
    (asyncpg.InvalidCachedStatementError, Failure.TRANSIENT),  # a migration changed the table; nothing was run
    (asyncpg.ClientConfigurationError, Failure.MISCONFIGURED),
    # What asyncpg makes of a connection that dies at the wrong moment.
    (asyncpg.InternalClientError, Failure.DISCONNECTED),
    (asyncpg.InterfaceError, Failure.DISCONNECTED),
    (ssl.SSLCertVerificationError, Failure.MISCONFIGURED),
    (sqlalchemy.exc.TimeoutError, Failure.BUSY),
    (TimeoutError, Failure.SLOW),
    (OSError, Failure.DISCONNECTED),
)

ADVICE: Final = {
    "28P01": "check the user and password in {variable}",
    "28000": "check the user in {variable}, and that the server lets it in from here",
    "3D000": "check the name of the database in {variable}, or create it",
    "42501": "grant this right to the user of {variable}",
    "26000": "connections seem to go through a transaction-mode pooler: set TASKSERVICE_DATABASE_POOLER=true",
    "42P05": "connections seem to go through a transaction-mode pooler: set TASKSERVICE_DATABASE_POOLER=true",
    "08P01": "connections seem to go through a transaction-mode pooler: set TASKSERVICE_DATABASE_POOLER=true",
}


_BLAMED: Final = "taskservice_variable"


def classify(error: BaseException, *, connecting: bool = False) -> Failure | None:
    """`connecting`: it was raised while getting a connection, where every refusal is the database's."""
    cause: BaseException | None = error
    while cause is not None:
        meaning = _meaning(cause, connecting)
        if meaning is not None:
            return meaning
        # SQLAlchemy's errors carry asyncpg's as the cause of `orig`.
        cause = getattr(cause, "orig", None) or cause.__cause__
    return None


def blame(error: BaseException, variable: str) -> None:
    """Say which setting led to this failure to connect, for `describe`."""
    setattr(error, _BLAMED, variable)


def _variable_of(error: BaseException) -> str:
    return str(getattr(error, _BLAMED, "DATABASE_URL"))


def describe(error: BaseException) -> str:
    """One line for the log, with what to do if the operator has to do something. Holds neither password nor SQL."""
    origin = _origin(error)
    if isinstance(origin, Unusable):
        return _first_line(origin)
    if isinstance(origin, asyncpg.PostgresError):
        said = f"{_first_line(origin)} ({_sqlstate(origin)})"
        advice = ADVICE.get(_sqlstate(origin)) if classify(origin, connecting=True) is Failure.MISCONFIGURED else None
        return f"{said}: {advice.format(variable=_variable_of(origin))}" if advice else said
    if isinstance(origin, ssl.SSLCertVerificationError):
        return (
            f"the server's certificate cannot be verified ({origin.verify_message}): "
            f"check the host in {_variable_of(origin)}, or name the file of its authority with sslrootcert=, "
            "or accept any certificate with sslmode=no-verify"
        )
    if _is_without_tls(origin):
        variable = _variable_of(origin)
        return f"the server does not offer TLS: check {variable}, or use sslmode=prefer if the network is trusted"
    return f"{type(origin).__name__}: {_first_line(origin)}".removesuffix(": ")


def _meaning(error: BaseException, connecting: bool) -> Failure | None:
    if isinstance(error, asyncpg.PostgresError) and not isinstance(error, asyncpg.InvalidCachedStatementError):
        return _meaning_of_sqlstate(error, connecting)
    if isinstance(error, TimeoutError) and connecting:
        return Failure.DISCONNECTED
    if isinstance(error, asyncpg.InterfaceError) and not connecting and not re.search(r"\bclos(ed|ing)\b", str(error)):
        return None  # not the database's fault: asyncpg was used in a wrong way
    if _is_without_tls(error):
        return Failure.MISCONFIGURED
    return next((meaning for kind, meaning in MEANING_OF_CLASS if isinstance(error, kind)), None)


def _sqlstate(error: asyncpg.PostgresError) -> str:
    return getattr(error, "sqlstate", None) or ""


def _meaning_of_sqlstate(error: asyncpg.PostgresError, connecting: bool) -> Failure | None:
    sqlstate = _sqlstate(error)
    if "unsupported startup parameter" in str(error) or (connecting and sqlstate == "42501"):
        return Failure.MISCONFIGURED
    for length in range(len(sqlstate), 1, -1):
        if sqlstate[:length] in MEANING_OF_SQLSTATE:
            return MEANING_OF_SQLSTATE[sqlstate[:length]]
    # Proxies in front of the server, such as Neon's, report their own failures with codes of their own.
    return Failure.DISCONNECTED if connecting else None


def _origin(error: BaseException) -> BaseException:
    """The error below SQLAlchemy's, whose own text would repeat the statement and its parameters."""
    if isinstance(error, sqlalchemy.exc.DBAPIError) and error.orig is not None:
        return error.orig.__cause__ or error.orig
    return error


def _is_without_tls(error: BaseException) -> bool:
    return isinstance(error, ConnectionError) and "rejected SSL upgrade" in str(error)


def _first_line(error: BaseException) -> str:
    return str(error).partition("\n")[0]
