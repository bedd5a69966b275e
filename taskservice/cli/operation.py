"""Shared by the commands that work on the database: settings, a pool, readable failures and counts."""

import asyncio
import contextlib
from collections.abc import AsyncIterator, Coroutine
from typing import Any, Final, TypeVar

from taskservice.auth.users import UsersTableError
from taskservice.cli.ending import give_up
from taskservice.database.failures import describe
from taskservice.database.pool import Pool
from taskservice.database.server import DatabaseServer
from taskservice.problems import Problem
from taskservice.program_name import litestar
from taskservice.settings import Settings, SettingsError, load_settings
from taskservice.tasks.maintenance import NoSuchUser, UsersTableEmpty

Result = TypeVar("Result")

CONNECTIONS: Final = 2
"""A command runs its statements one after the other."""


def settings_or_give_up() -> Settings:
    try:
        return load_settings()
    except SettingsError as error:
        give_up(str(error))


def run_or_give_up(what: str, work: Coroutine[Any, Any, Result]) -> Result:
    """The result of the work. If it fails, the command ends with one line that says what could not be done, and why."""
    try:
        return asyncio.run(work)
    except (UsersTableEmpty, UsersTableError) as error:
        give_up(str(error))
    except NoSuchUser as error:
        give_up(f'there is no data of a user "{error}": the id must be exactly the `sub` of the token')
    except BrokenPipeError:
        raise  # the reader of our output has ended: Click exits without a message
    except Exception as error:  # noqa: BLE001 (one line serves an operator better than a traceback)
        cause = error.__cause__ if isinstance(error, Problem) and error.__cause__ is not None else error
        give_up(f"{what}: {describe(cause)}; `{litestar()} doctor` says more")


@contextlib.asynccontextmanager
async def pool_of(settings: Settings) -> AsyncIterator[Pool]:
    """A pool on the database, which is started if it is the embedded one."""
    server = DatabaseServer(settings)
    try:
        # A pool waits for an unavailable database. An operator wants to know at once what is wrong with it.
        await (await server.connect()).close()
        pool = Pool(
            server.connect,
            size=CONNECTIONS,
            deadline=settings.database_deadline,
            local_settings=server.local_settings,
        )
        pool.serving = True
        try:
            yield pool
        finally:
            await pool.close()
    finally:
        await asyncio.to_thread(server.stop)


def counted(number: int, one: str) -> str:
    """`1 task`, `2 tasks`."""
    return f"{number:,} {one if number == 1 else f'{one}s'}"
