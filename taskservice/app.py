"""Wires the application together."""

import asyncio
import contextlib
import sys
from collections.abc import AsyncIterator, Callable, Sequence
from functools import partial
from typing import Any, Final

from litestar import Litestar
from litestar.datastructures import State
from litestar.enums import ScopeType
from litestar.middleware import DefineMiddleware
from litestar.types import ASGIApp, ControllerRouterHandler

from taskservice import rules
from taskservice.api.controllers import task_routers
from taskservice.api.openapi import openapi_config
from taskservice.api.service import TaskService
from taskservice.api.struct_schemas import StructSchemas
from taskservice.auth.middleware import Authentication
from taskservice.auth.tokens import TokenVerifier
from taskservice.auth.users import RegisteredUsers
from taskservice.cli.plugin import CommandLine
from taskservice.database.bring_up import BringUp, migrations_config
from taskservice.database.pool import Pool
from taskservice.database.readiness import answers
from taskservice.database.replicas import replicas_of
from taskservice.database.server import DatabaseServer
from taskservice.observability.access_log import RequestLog
from taskservice.observability.logging_setup import configure_logging
from taskservice.observability.request_context import remember_cause
from taskservice.observability.tracing import traced
from taskservice.server import RunCommand
from taskservice.settings import Settings, SettingsError, load_settings
from taskservice.tasks.store import TaskStore
from taskservice.web.cors import Cors, Origins
from taskservice.web.docs import pages
from taskservice.web.health import health_routes
from taskservice.web.methods import DerivedMethods
from taskservice.web.paths import PathNames
from taskservice.web.problem_documents import problem_response

FIRST_WAIT_SECONDS: Final = 3.0
"""How long a start waits for the database. After that the service starts, and answers 503 until it is available."""


class Application(Litestar):
    """Litestar with middleware around its router, so that unknown paths and preflights pass through it, too.

    `outer_middleware` sees HTTP only; the first is the outermost.
    """

    def __init__(self, *args: Any, outer_middleware: Sequence[Callable[[ASGIApp], ASGIApp]], **options: Any) -> None:
        super().__init__(*args, **options)
        entry: ASGIApp = super().__call__
        for middleware in reversed(outer_middleware):
            entry = middleware(entry)
        self._entry = entry

    async def __call__(self, scope: Any, receive: Any, send: Any) -> None:
        if scope["type"] == ScopeType.HTTP:
            await self._entry(scope, receive, send)
        else:
            await super().__call__(scope, receive, send)


def create_app(settings: Settings | None = None) -> Litestar:
    """Creates the application. Starts nothing and opens no connection before its lifespan begins."""
    try:
        settings = settings or load_settings()
        server = DatabaseServer(settings)
        verifier = TokenVerifier(settings)
    except SettingsError as error:
        print(f"taskservice cannot start:\n{error}", file=sys.stderr)  # noqa: T201 (there is no log yet)
        raise SystemExit(2) from None
    log = configure_logging(settings)
    pool = Pool(
        server.connect,
        size=settings.database_connections,
        deadline=settings.database_deadline,
        local_settings=server.local_settings,
    )
    migrations = migrations_config(server)
    users = RegisteredUsers(settings.users_table, pool) if settings.users == "registered" else None
    bring_up = BringUp(server, pool, migrations, migrate=settings.migrate, check=users.check if users else None)
    replicas = replicas_of(settings, server) if settings.database_replicas else None
    tasks = TaskStore(pool)
    if settings.database_sharded:
        from taskservice.tasks.sharded_store import ShardedTaskStore  # noqa: PLC0415 (slow to load, and optional)

        tasks = ShardedTaskStore(pool)
    service = TaskService(settings, pool, tasks, replicas)

    @contextlib.asynccontextmanager
    async def lifespan(_app: Litestar) -> AsyncIterator[None]:
        async with verifier.running(), replicas.running() if replicas else contextlib.nullcontext():
            opening = asyncio.create_task(bring_up.run())
            try:
                with contextlib.suppress(TimeoutError):
                    await asyncio.wait_for(bring_up.done.wait(), FIRST_WAIT_SECONDS)
                yield
            finally:
                opening.cancel()
                try:
                    with contextlib.suppress(asyncio.CancelledError):
                        await opening
                finally:
                    await pool.close()
                    await asyncio.to_thread(server.stop)

    async def trouble() -> str | None:
        if not pool.serving:
            return "The database is not ready yet"
        return None if await answers(pool, sleeps=server.sleeps) else "The database does not answer"

    metrics = None
    routes: list[ControllerRouterHandler] = [
        *task_routers(), *health_routes(trouble), pages(),
    ]  # fmt: skip
    if settings.metrics:
        from taskservice.observability.metrics import Metrics, scrape  # noqa: PLC0415 (slow to load, and optional)

        metrics = Metrics(pool, verifier, service.replicated)
        routes.append(scrape)
    return Application(
        route_handlers=routes,
        middleware=[DefineMiddleware(Authentication, verifier=verifier, users=users)],
        exception_handlers={Exception: problem_response},
        after_exception=[remember_cause],
        openapi_config=openapi_config(settings),
        plugins=[RunCommand(), CommandLine(migrations), StructSchemas()],
        lifespan=[lifespan],
        on_shutdown=[log.flush],
        state=State(
            {
                "database_server": server,
                "settings": settings,
                "service": service,
                "metrics": metrics,
            }
        ),
        request_max_body_size=rules.BODY_MAX,
        logging_config=None,
        debug=False,
        outer_middleware=[
            partial(RequestLog, log=log, observe=metrics.observe if metrics else None, public_url=settings.public_url),
            traced,
            partial(Cors, origins=Origins(settings)),
            DerivedMethods,
            PathNames,
        ],
    )
