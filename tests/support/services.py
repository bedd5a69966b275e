"""The real application under a real uvicorn, as a test talks to it: over HTTP, as a user, on one of both surfaces."""

import asyncio
import contextlib
import socket
import time
from collections.abc import AsyncIterator, Iterator
from contextlib import asynccontextmanager, contextmanager
from pathlib import Path
from typing import Any, Literal
from urllib.parse import quote

import asyncpg
import httpx
from litestar import Litestar

from taskservice.app import create_app
from taskservice.auth.tokens import issue_token
from taskservice.server.server import Server, uvicorn_config
from taskservice.settings import Settings, load_settings
from tests.support.better_auth import USERS_TABLE
from tests.support.described import assert_described
from tests.support.postgres import ThrowawayPostgres
from tests.support.stage import Stage

SECRET = "a-secret-for-tests-that-is-long-enough-0123456789"

SurfaceName = Literal["token", "path"]
SURFACES: tuple[SurfaceName, ...] = ("token", "path")
Task = dict[str, Any]


def number_of(tag: str) -> int:
    """The place on the user's counter that a tag names."""
    return int(tag.strip('"').partition("-")[0])


class Caller:
    """A user with a sound token, calling one surface. Paths are relative to it; absolute ones are taken as they are."""

    def __init__(self, service: "Service", user: str, surface: SurfaceName, headers: dict[str, str]) -> None:
        self.service = service
        self.user = user
        self.surface = surface
        self.headers = headers
        self.root = "/api/tasks" if surface == "token" else f"/api/{quote(user, safe='')}/tasks"

    def on(self, surface: SurfaceName) -> "Caller":
        return Caller(self.service, self.user, surface, self.headers)

    def url(self, path: str) -> str:
        return path if path.startswith("/api") else self.root + path

    async def request(self, method: str, path: str = "", **options: Any) -> httpx.Response:
        headers = self.headers | options.pop("headers", {})
        return await self.service.http.request(method, self.url(path), headers=headers, **options)

    async def get(self, path: str = "", **options: Any) -> httpx.Response:
        return await self.request("GET", path, **options)

    async def post(self, path: str = "", **options: Any) -> httpx.Response:
        return await self.request("POST", path, **options)

    async def put(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("PUT", path, **options)

    async def patch(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("PATCH", path, **options)

    async def delete(self, path: str, **options: Any) -> httpx.Response:
        return await self.request("DELETE", path, **options)

    async def create(self, title: str = "Buy milk", **fields: Any) -> Task:
        """A task that exists from now on."""
        response = await self.post("", json={"title": title, **fields})
        assert response.status_code == 201, response.text
        task: Task = response.json()
        return task

    async def read(self, task_id: str) -> Task:
        response = await self.get(f"/{task_id}")
        assert response.status_code == 200, response.text
        task: Task = response.json()
        return task

    async def tasks(self, **params: Any) -> list[Task]:
        response = await self.get("", params=params)
        assert response.status_code == 200, response.text
        tasks: list[Task] = response.json()
        return tasks

    async def titles(self, **params: Any) -> list[str]:
        return [task["title"] for task in await self.tasks(**params)]

    async def epoch(self) -> str:
        """The epoch in this user's tags."""
        return (await self.get()).headers["etag"].strip('"').partition("-")[2]

    async def tag(self, task_id: str) -> str:
        return (await self.get(f"/{task_id}")).headers["etag"]


class ServerInThread(Server):
    """The product's own server. Signals belong to the main thread, so a test ends it by `should_exit`."""

    @contextmanager
    def capture_signals(self) -> Iterator[None]:
        yield


class Service:
    """One running application with its settings and its own database."""

    def __init__(self, stage: Stage, settings: Settings, database_url: str) -> None:
        self.stage = stage
        self.settings = settings
        self.database_url = database_url
        self.app: Litestar = create_app(settings)
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=2048)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        self._server = ServerInThread(uvicorn_config(self.app), settings)
        self._serving = asyncio.run_coroutine_threadsafe(self._server.serve([self._listener]), stage.loop)
        self._http: dict[int, httpx.AsyncClient] = {}
        stage.at_close(self._end)

    @property
    def http(self) -> httpx.AsyncClient:
        """Without any token. One per event loop, as its connections belong to one."""
        loop = id(asyncio.get_running_loop())
        if loop not in self._http:
            limits = httpx.Limits(max_connections=200, max_keepalive_connections=200)
            self._http[loop] = httpx.AsyncClient(
                base_url=self.url,
                limits=limits,
                timeout=30,
                trust_env=False,
                event_hooks={"response": [assert_described]},
            )
        return self._http[loop]

    def token(self, user: str, **claims: Any) -> str:
        return issue_token(self.settings, user, **claims)

    def user(self, user: str, surface: SurfaceName = "token") -> Caller:
        return Caller(self, user, surface, {"Authorization": f"Bearer {self.token(user)}"})

    def wait_until_ready(self, seconds: float = 60) -> None:
        deadline = time.monotonic() + seconds
        with httpx.Client(base_url=self.url, trust_env=False) as http:
            while True:
                if self._serving.done():
                    self._serving.result()
                    raise AssertionError("the service ended at start")
                try:
                    response = http.get("/health/ready")
                    if response.status_code == 200:
                        return
                    answer = response.text
                except httpx.HTTPError as error:
                    answer = repr(error)
                if time.monotonic() > deadline:
                    raise AssertionError(f"not ready after {seconds} s: {answer}")
                time.sleep(0.02)

    @asynccontextmanager
    async def connection(self) -> "AsyncIterator[asyncpg.Connection[asyncpg.Record]]":
        """Straight into its database, past the service."""
        connection = await asyncpg.connect(self.database_url)
        try:
            yield connection
        finally:
            await connection.close()

    async def rows(self, statement: str, *arguments: Any) -> list[asyncpg.Record]:
        async with self.connection() as connection:
            found: list[asyncpg.Record] = await connection.fetch(statement, *arguments)
            return found

    async def execute(self, statement: str, *arguments: Any) -> None:
        async with self.connection() as connection:
            await connection.execute(statement, *arguments)

    def ask_to_stop(self) -> None:
        """As SIGTERM does."""
        self._server.should_exit = True

    def stop(self, seconds: float = 30) -> None:
        self.ask_to_stop()
        self._serving.result(seconds)

    def _end(self) -> None:
        """Stop it if no test has done so, for example because the test failed before."""
        if not self._serving.done():
            self.stop()

    async def close(self) -> None:
        """Hang up, so that the server has nobody to wait for, and stop it."""
        await self.hang_up()
        self.stop()

    async def hang_up(self) -> None:
        """Close the connections of this event loop."""
        if http := self._http.pop(id(asyncio.get_running_loop()), None):
            await http.aclose()


class Services:
    """Starts services. One is shared by all tests of a session that ask for the same policies."""

    def __init__(
        self, stage: Stage, postgres: ThrowawayPostgres, template: str, directory: Path, *, sharded: bool = False
    ) -> None:
        self._stage = stage
        self._sharded = sharded
        self._postgres = postgres
        self._template = template
        self._directory = directory
        self._shared: dict[tuple[tuple[str, str], ...], Service] = {}
        self._started: list[Service] = []

    def shared(self, **policies: Any) -> Service:
        """Tests use users of their own on it, so they do not meet."""
        key = tuple(sorted((name, str(value)) for name, value in policies.items()))
        if key not in self._shared:
            self._shared[key] = self.start(**policies)
        return self._shared[key]

    def start(self, *, database_url: str | None = None, **policies: Any) -> Service:
        """A service of one's own, to be stopped by who started it."""
        own_url = database_url or self._postgres.create_database(template=self._template)
        if policies.get("users") == "registered":
            # Better Auth has to migrate first: the service is not ready without its table.
            self._postgres.execute(USERS_TABLE, own_url)
        service = Service(self._stage, self.settings(own_url, **policies), own_url)
        self._started.append(service)
        service.wait_until_ready()
        return service

    def settings(self, database_url: str, **policies: Any) -> Settings:
        """As an operator would say them: `delete="hard"` is `TASKSERVICE_DELETE=hard`."""
        environ = {
            "DATABASE_URL": database_url,
            "BETTER_AUTH_SECRET": SECRET,
            "TASKSERVICE_DATA_DIR": str(self._directory),
            "TASKSERVICE_DATABASE_CONNECTIONS": "8",
            "TASKSERVICE_DATABASE_SHARDED": "true" if self._sharded else "false",
            "TASKSERVICE_LOG_LEVEL": "error",
        }
        environ |= {
            (name if name.isupper() else f"TASKSERVICE_{name.upper()}"): str(value) for name, value in policies.items()
        }
        return load_settings(environ)

    async def stop(self) -> None:
        for service in self._started:
            await service.hang_up()
        # Also those that a failed test did not stop itself.
        for service in self._started:
            service.ask_to_stop()
        # One that does not end must not keep the others running: the stage reports it when it closes.
        for service in self._started:
            with contextlib.suppress(TimeoutError):
                service.stop()
