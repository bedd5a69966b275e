"""Reads through a replica are the reads of the primary, whatever stands where the replica should be."""

import asyncio
import uuid
from collections.abc import AsyncIterator

import pytest

from tests.support.postgres import ThrowawayPostgres
from tests.support.services import Caller, Service, Services

pytestmark = pytest.mark.slow


@pytest.fixture(scope="module")
async def following(services: Services, postgres: ThrowawayPostgres, migrated_template: str) -> AsyncIterator[Service]:
    """Its replica is the primary itself, which is always caught up."""
    url = postgres.create_database(template=migrated_template)
    service = services.start(database_url=url, DATABASE_REPLICA_URLS=url)
    await first_from_replica(service)
    yield service
    await service.hang_up()
    service.stop()


def outcomes(service: Service) -> dict[str, int]:
    counted: dict[str, int] = service.app.state.service.replicated.outcomes
    return counted


async def first_from_replica(service: Service) -> None:
    """Until the replica takes part."""
    async with asyncio.timeout(10):
        while not outcomes(service)["replica"]:
            await service.user("nobody").get()
            await asyncio.sleep(0.02)


async def reads(user: Caller, since: str) -> list[tuple[int, str | None, str | None, str]]:
    """Every kind of read that may go to a replica: status, tag, link and body of each answer."""
    task_id = (await user.tasks(limit=1))[0]["id"]
    paths = (
        "", "?limit=2", "?status=completed", "?q=nothing", "?count=true&sort=-title&limit=1", f"/{task_id}",
        f"/{uuid.uuid4()}", "/changes", "/changes?limit=1", f"/changes?since={since}", "/export?format=csv",
    )  # fmt: skip
    answers = [await user.get(path) for path in paths]
    return [
        # A problem names its request, of which there is only one.
        (
            answer.status_code,
            answer.headers.get("etag"),
            answer.headers.get("link"),
            answer.text if answer.is_success else "",
        )
        for answer in answers
    ]


async def test_a_replica_answers_what_the_primary_answers(following: Service) -> None:
    service = following
    user = service.user("alice")
    for number in range(5):
        await user.create(f"Task {number}", status="completed" if number == 3 else "pending")
    since = (await user.get("/changes?limit=2")).json()["next"]
    before = dict(outcomes(service))
    by_replica = await reads(user, since)
    assert outcomes(service)["replica"] >= before["replica"] + 11
    by_primary = await reads_of_primary(service, user, since)
    assert by_replica == by_primary


async def reads_of_primary(service: Service, user: Caller, since: str) -> list[tuple[int, str | None, str | None, str]]:
    kept = service.app.state.service.reads
    service.app.state.service.reads = service.app.state.service.tasks
    try:
        return await reads(user, since)
    finally:
        service.app.state.service.reads = kept


async def test_unchanged_is_304_and_what_is_somebody_elses_stays_403(following: Service) -> None:
    alice, bob = following.user("alice-304"), following.user("bob-304")
    task = await alice.create()
    for path in ("", f"/{task['id']}"):
        tag = (await alice.get(path)).headers["etag"]
        assert (await alice.get(path, headers={"If-None-Match": tag})).status_code == 304
    assert (await bob.get(f"/{task['id']}")).status_code == 403
    assert (await bob.get(f"/{uuid.uuid4()}")).status_code == 404
    assert await following.user("who never wrote").tasks() == []


async def test_another_database_is_never_taken_for_a_replica(
    services: Services, postgres: ThrowawayPostgres, migrated_template: str
) -> None:
    """The same user with as many tasks there: their epoch is another one."""
    there, here = (postgres.create_database(template=migrated_template) for _ in range(2))
    other = services.start(database_url=there)
    await other.user("alice").create("There")
    service = services.start(database_url=here, DATABASE_REPLICA_URLS=there)
    await first_from_replica(service)
    user = service.user("alice")
    task = await user.create("Here")
    before = dict(outcomes(service))
    for _ in range(10):
        assert await user.titles() == ["Here"]
        assert (await user.read(task["id"]))["title"] == "Here"
    assert outcomes(service)["replica"] == before["replica"]
    assert outcomes(service)["behind"] >= before["behind"] + 10
    for started in (other, service):
        await started.hang_up()
        started.stop()
