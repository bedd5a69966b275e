"""Ten thousand made-up key ids at once: the key server is left in peace, and users with sound tokens notice nothing."""

import asyncio
import statistics
import time
from collections.abc import AsyncIterator, Iterator, Sequence

import pytest

from taskservice.auth import jwks
from tests.auth.issuer import Issuer
from tests.support.services import Service, Services
from tests.support.stage import Stage

pytestmark = pytest.mark.timing

CONNECTIONS = 1000
REQUESTS = 10_000


@pytest.fixture
def issuer(stage: Stage) -> Iterator[Issuer]:
    issuer = Issuer(stage)
    issuer.add("key")
    yield issuer
    issuer.cut()


@pytest.fixture
async def service(services: Services, issuer: Issuer) -> AsyncIterator[Service]:
    service = services.start(BETTER_AUTH_URL=issuer.origin)
    assert await answers(service, [issuer.token("key")]) == [200]
    yield service
    await service.hang_up()
    service.stop()


async def answers(service: Service, tokens: Sequence[bytes]) -> list[int]:
    """The statuses of requests with these tokens, one after the other on one connection."""
    reader, writer = await asyncio.open_connection("127.0.0.1", int(service.url.rpartition(":")[2]))
    statuses = []
    for token in tokens:
        writer.write(b"GET /api/tasks HTTP/1.1\r\nHost: localhost\r\nAuthorization: Bearer " + token + b"\r\n\r\n")
        head = await reader.readuntil(b"\r\n\r\n")
        statuses.append(int(head[9:12]))
        length = head.lower().partition(b"content-length: ")[2].partition(b"\r\n")[0]
        await reader.readexactly(int(length))
    writer.close()
    await writer.wait_closed()
    return statuses


async def flood(service: Service, tokens: Sequence[bytes]) -> list[int]:
    share = len(tokens) // CONNECTIONS
    shares = [tokens[start : start + share] for start in range(0, len(tokens), share)]
    return [status for some in await asyncio.gather(*(answers(service, share) for share in shares)) for status in some]


async def latencies_during(service: Service, token: bytes, work: "asyncio.Task[list[int]]") -> list[float]:
    """How long a user with a sound token waits for each answer while the work goes on."""
    waits = []
    while not work.done():
        started = time.perf_counter()
        assert await answers(service, [token]) == [200]
        waits.append(time.perf_counter() - started)
        await asyncio.sleep(0.02)
    return waits


@pytest.mark.timing
async def test_a_flood_of_unknown_keys_is_no_worse_than_one_of_wrong_signatures(
    service: Service, issuer: Issuer
) -> None:
    sound = issuer.token("key")
    wrong = [sound[:-20] + b"A" * 20] * REQUESTS
    unknown = [issuer.token("key", kid=f"made-up-{number}") for number in range(REQUESTS)]

    fetched = issuer.requests
    ordinary = asyncio.create_task(flood(service, wrong))
    beside_wrong = await latencies_during(service, sound, ordinary)
    assert set(await ordinary) == {401}
    assert issuer.requests == fetched

    started = time.monotonic()
    made_up = asyncio.create_task(flood(service, unknown))
    beside_unknown = await latencies_during(service, sound, made_up)
    seconds = time.monotonic() - started
    assert set(await made_up) == {401}
    fetched = issuer.requests - fetched

    print(f"a sound token beside {REQUESTS} refused ones, milliseconds (median, 95 %):")
    for name, waits in (("wrong signatures", beside_wrong), ("unknown keys", beside_unknown)):
        print(f"  {name:17} {statistics.median(waits) * 1000:7.1f} {slow(waits) * 1000:7.1f}")
    print(f"  {fetched} fetches in {seconds:.1f} s")
    assert fetched <= 1 + seconds / jwks.SPACING_SECONDS
    assert statistics.median(beside_unknown) <= statistics.median(beside_wrong) * 1.5
    assert slow(beside_unknown) <= max(slow(beside_wrong) * 1.5, 0.5)


def slow(waits: list[float]) -> float:
    """What one in twenty exceeds."""
    return statistics.quantiles(waits, n=20)[-1]
