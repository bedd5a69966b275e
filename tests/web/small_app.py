"""The wrapping that the service has, around routes that do what a test needs."""

import asyncio
import json
from collections.abc import Callable, Sequence
from functools import partial
from typing import Any, cast

import httpx
from litestar import Litestar, Request, Response, get
from litestar.config.cors import CORSConfig
from litestar.datastructures import State
from litestar.exceptions import HTTPException
from litestar.params import FromPath
from litestar.types import ASGIApp, ControllerRouterHandler

from taskservice.app import Application
from taskservice.database.database_time import spent_on_database
from taskservice.observability.access_log import Observe, RequestLog
from taskservice.observability.logging_setup import Log, configure_logging
from taskservice.observability.request_context import remember_cause
from taskservice.principal import Principal
from taskservice.problems import DatabaseUnavailable, InternalError, Problem
from taskservice.settings import Settings, load_settings


def settings_of(**settings: str) -> Settings:
    """Production, unless a test says otherwise; its database is never asked."""
    return load_settings(
        {
            "TASKSERVICE_ENV": "production",
            "BETTER_AUTH_SECRET": "a-secret-for-tests-that-is-long-enough",
            "DATABASE_URL": "postgresql://nobody@localhost/none",
        }
        | {name if name.isupper() else f"TASKSERVICE_{name.upper()}": value for name, value in settings.items()}
    )


@get("/api/tasks/{task_id:str}")
async def read_task(request: Request[Any, Any, Any], task_id: FromPath[str]) -> dict[str, str]:
    request.scope["user"] = Principal(user_id="alice", email=None, name=None)
    spent = spent_on_database.get()
    assert spent is not None
    spent.database_seconds += 0.25
    return {"id": task_id}


@get("/broken")
async def broken() -> None:
    try:
        json.loads("{}")["missing"]
    except KeyError as error:
        detail = " ".join(["secret", "title"])
        raise RuntimeError(f"the bug is here\nDETAIL: Failing row contains ({detail})") from error


@get("/away")
async def away() -> None:
    try:
        raise ConnectionRefusedError("connection refused")
    except OSError as error:
        raise DatabaseUnavailable from error


@get("/health/live")
async def live() -> str:
    return "ok"


@get("/health/ready")
async def ready() -> None:
    raise DatabaseUnavailable


@get("/slow")
async def slow() -> None:
    await asyncio.sleep(30)


def as_problem(request: Request[Any, Any, Any], error: Exception) -> Response[Any]:
    if isinstance(error, HTTPException):
        return Response({"status": error.status_code}, status_code=error.status_code, headers=error.headers)
    problem = error if isinstance(error, Problem) else InternalError()
    document = problem.document(request.scope["raw_path"], request.scope["state"]["request_id"])
    return Response(document, status_code=problem.status, headers=problem.headers)


def small_app(
    settings: Settings,
    *more: ControllerRouterHandler,
    observe: Observe | None = None,
    within_log: Sequence[Callable[[ASGIApp], ASGIApp]] = (),
    **options: Any,
) -> tuple[Litestar, Log]:
    log = configure_logging(settings)
    routes: Sequence[ControllerRouterHandler] = [read_task, broken, away, live, ready, slow, *more]
    app = Application(
        routes,
        openapi_config=options.pop("openapi_config", None),
        logging_config=None,
        state=State({"settings": settings}),
        after_exception=[remember_cause],
        exception_handlers=options.pop("exception_handlers", {Exception: as_problem}),
        cors_config=CORSConfig(allow_origins=["https://front.example"]),
        outer_middleware=[partial(RequestLog, log=log, observe=observe), *within_log],
        **options,
    )
    return app, log


def client_of(app: Litestar) -> httpx.AsyncClient:
    transport = httpx.ASGITransport(cast("Any", app))
    return httpx.AsyncClient(transport=transport, base_url="http://service.example")
