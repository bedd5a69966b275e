"""One database for both: Better Auth's tables, made by its own migration, beside ours."""

import base64
import json
from collections.abc import AsyncIterator
from typing import Any

import pytest

from tests.e2e.better_auth.server import BETTER_AUTH_SECRET, BetterAuth, require_node
from tests.support.postgres import ThrowawayPostgres
from tests.support.services import Caller, Service, Services

Both = tuple[BetterAuth, Service]

ONLY_SECRET = {"BETTER_AUTH_URL": ""}
ONLY_KEYS = {"BETTER_AUTH_SECRET": ""}


class Pairs:
    """Better Auth servers, and services that trust them, each pair on one fresh database."""

    def __init__(self, services: Services, postgres: ThrowawayPostgres, template: str) -> None:
        require_node()
        self._services = services
        self._postgres = postgres
        self._template = template
        self._started: list[BetterAuth | Service] = []

    async def start(self, *, service: dict[str, Any] | None = None, **options: Any) -> Both:
        """The service knows address and secret of the server, unless its settings say otherwise."""
        database_url = self._postgres.create_database(template=self._template)
        server = BetterAuth(database_url, **options)
        self._started.append(server)
        known = {"BETTER_AUTH_URL": server.address, "BETTER_AUTH_SECRET": BETTER_AUTH_SECRET}
        return server, self._serve(database_url, known | (service or {}))

    def another(self, beside: Service, **settings: Any) -> Service:
        """One more service on the same database, with settings of its own."""
        return self._serve(beside.database_url, {"BETTER_AUTH_SECRET": BETTER_AUTH_SECRET} | settings)

    def in_front_of(self, service: Service, **options: Any) -> BetterAuth:
        """One more server on the database of a service."""
        server = BetterAuth(service.database_url, **options)
        self._started.append(server)
        return server

    def service(self, **settings: Any) -> Service:
        """A service that no server knows yet."""
        return self._serve(self._postgres.create_database(template=self._template), settings)

    def _serve(self, database_url: str, settings: dict[str, Any]) -> Service:
        service = self._services.start(database_url=database_url, **settings)
        self._started.append(service)
        return service

    async def stop(self) -> None:
        for started in reversed(self._started):
            await started.hang_up()
            started.stop()


@pytest.fixture
async def pairs(services: Services, postgres: ThrowawayPostgres, migrated_template: str) -> AsyncIterator[Pairs]:
    pairs = Pairs(services, postgres, migrated_template)
    yield pairs
    await pairs.stop()


@pytest.fixture(scope="module")
async def usual(services: Services, postgres: ThrowawayPostgres, migrated_template: str) -> AsyncIterator[Both]:
    """The JWT plugin as it is, and a service that knows the server's address; tests bring their own people."""
    pairs = Pairs(services, postgres, migrated_template)
    yield await pairs.start(plugin={})
    await pairs.stop()


def caller(service: Service, token: str, user_id: str, surface: Any = "token") -> Caller:
    return Caller(service, user_id, surface, {"Authorization": f"Bearer {token}"})


def claims_of(token: str) -> dict[str, Any]:
    """What it says, unverified."""
    payload = token.split(".")[1]
    claims: dict[str, Any] = json.loads(base64.urlsafe_b64decode(payload + "=" * (-len(payload) % 4)))
    return claims


async def the_life_of_a_task(caller: Caller) -> None:
    """Everything a user does with a task, in the order they do it."""
    created = await caller.post("", json={"title": "Buy milk", "priority": "high", "due_date": "2026-12-01"})
    assert created.status_code == 201, created.text
    task = created.json()
    assert task["user_id"] == caller.user
    assert await caller.titles() == ["Buy milk"]
    assert await caller.read(task["id"]) == task
    tag = await caller.tag(task["id"])
    changed = await caller.put(f"/{task['id']}", json={"title": "Buy oat milk"}, headers={"If-Match": tag})
    assert (changed.status_code, changed.json()["title"]) == (200, "Buy oat milk")
    assert (
        await caller.patch(f"/{task['id']}", json={"priority": "low"}, headers={"If-Match": tag})
    ).status_code == 412
    assert (await caller.patch(f"/{task['id']}/complete")).json()["completed"] is True
    assert await caller.titles(status="pending") == []
    assert (await caller.delete(f"/{task['id']}")).status_code == 204
    assert (await caller.get(f"/{task['id']}")).status_code == 404
    assert (await caller.post(f"/{task['id']}/restore")).status_code == 200
    assert await caller.titles(status="completed") == ["Buy oat milk"]
