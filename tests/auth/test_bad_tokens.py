"""Every way to be refused: 401, the exact detail, the right challenge, and neither database nor key server is asked."""

import asyncio
from collections.abc import AsyncIterator, Iterator
from typing import Any

import pytest

from tests.auth.forgeries import BAD, EXPIRED, HEADERS, INVALID, RUN_OUT, UNKNOWN_KEYS, Forger, Forgery, HeaderCase
from tests.auth.issuer import Issuer
from tests.support.postgres import ThrowawayPostgres
from tests.support.problems import assert_problem
from tests.support.services import Service, Services
from tests.support.stage import Stage
from tests.support.wire import Wire

pytestmark = pytest.mark.slow


class CountingWire(Wire):
    """Also counts what passes."""

    bytes_passed = 0

    async def _pass_on(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            while data := await reader.read(65536):
                self.bytes_passed += len(data)
                writer.write(data)
        except OSError:
            pass
        writer.close()


@pytest.fixture(scope="module")
def forger(stage: Stage) -> Iterator[Forger]:
    issuer = Issuer(stage)
    yield Forger(issuer)
    issuer.cut()


@pytest.fixture(scope="module")
def wire(stage: Stage, postgres: ThrowawayPostgres) -> Iterator[CountingWire]:
    wire = CountingWire(stage, postgres.socket)
    yield wire
    wire.cut()


@pytest.fixture(scope="module")
async def gate(
    services: Services, postgres: ThrowawayPostgres, migrated_template: str, wire: CountingWire, forger: Forger
) -> AsyncIterator[Service]:
    """A service that takes tokens of both kinds, knows the issuer's keys, and has its database behind the wire."""
    name = postgres.name_of(postgres.create_database(template=migrated_template))
    gate = services.start(
        database_url=f"postgresql://postgres@127.0.0.1:{wire.port}/{name}?sslmode=disable",
        BETTER_AUTH_URL=forger.issuer.origin,
    )
    (await gate.http.get("/api/tasks", headers=bearer(forger.issued()))).raise_for_status()
    yield gate
    await gate.hang_up()
    gate.stop()


@pytest.fixture
def nobody_asked(gate: Service, wire: CountingWire, forger: Forger) -> Iterator[None]:
    """Not a byte goes to the database, and no request to the key server, while the test runs."""
    before = (wire.bytes_passed, forger.issuer.requests)
    yield
    assert (wire.bytes_passed, forger.issuer.requests) == before


def bearer(token: str | bytes) -> list[tuple[bytes, bytes]]:
    return [(b"Authorization", b"Bearer " + (token if isinstance(token, bytes) else token.encode()))]


async def test_the_forger_can_make_sound_tokens_too(gate: Service, forger: Forger) -> None:
    for token in (forger.sound(), forger.issued("ed"), forger.issued("ec"), forger.issued("rsa")):
        assert (await gate.http.get("/api/tasks", headers=bearer(token))).status_code == 200


def test_there_are_more_than_eighty_of_them() -> None:
    assert len(BAD) > 80


@pytest.mark.usefixtures("nobody_asked")
@pytest.mark.parametrize("forge", BAD.values(), ids=BAD.keys())
async def test_a_bad_token_is_refused(gate: Service, forger: Forger, forge: Forgery) -> None:
    response = await gate.http.get("/api/tasks", headers=bearer(forge(forger)))
    assert_problem(response, 401, "invalid-token", detail="Invalid token")
    assert response.headers["www-authenticate"] == INVALID


@pytest.mark.parametrize("forge", UNKNOWN_KEYS.values(), ids=UNKNOWN_KEYS.keys())
async def test_a_token_of_an_unknown_key_is_refused_after_asking_once(
    gate: Service, forger: Forger, wire: CountingWire, forge: Forgery
) -> None:
    before = (wire.bytes_passed, forger.issuer.requests)
    response = await gate.http.get("/api/tasks", headers=bearer(forge(forger)))
    assert_problem(response, 401, "invalid-token", detail="Invalid token")
    assert (wire.bytes_passed, forger.issuer.requests - 1) == before


@pytest.mark.usefixtures("nobody_asked")
@pytest.mark.parametrize("forge", RUN_OUT.values(), ids=RUN_OUT.keys())
async def test_a_token_that_has_run_out_is_said_to_have(gate: Service, forger: Forger, forge: Forgery) -> None:
    response = await gate.http.get("/api/tasks", headers=bearer(forge(forger)))
    assert_problem(response, 401, "token-expired", detail="Token expired")
    assert response.headers["www-authenticate"] == EXPIRED


@pytest.mark.usefixtures("nobody_asked")
@pytest.mark.parametrize("case", HEADERS.values(), ids=HEADERS.keys())
async def test_only_one_bearer_header_will_do(gate: Service, forger: Forger, case: HeaderCase) -> None:
    make, detail, challenge = case
    headers = [("Authorization", value) for value in make(forger.sound())]
    response = await gate.http.get("/api/tasks", headers=headers)
    assert_problem(response, 401, detail=detail)
    assert response.headers["www-authenticate"] == challenge


@pytest.mark.parametrize("scheme", ["Bearer", "bearer", "BEARER", "bEARER"])
async def test_the_scheme_may_be_in_any_case(gate: Service, forger: Forger, scheme: str) -> None:
    response = await gate.http.get("/api/tasks", headers={"Authorization": f"{scheme} {forger.sound()}"})
    assert response.status_code == 200


@pytest.mark.usefixtures("nobody_asked")
async def test_a_token_anywhere_else_is_no_token(gate: Service, forger: Forger) -> None:
    token = forger.sound()
    places: list[dict[str, dict[str, str]]] = [
        {"params": {"access_token": token}},
        {"params": {"token": token}},
        {"headers": {"Cookie": f"token={token}"}},
        {"headers": {"Cookie": f"better-auth.session_data={token}"}},
        {"headers": {"X-Access-Token": token}},
        {"headers": {"X-Authorization": f"Bearer {token}"}},
        {"headers": {"Proxy-Authorization": f"Bearer {token}"}},
    ]
    for place in places:
        response = await gate.http.get("/api/tasks", params=place.get("params"), headers=place.get("headers"))
        assert_problem(response, 401, "missing-authentication", detail="Missing authentication")
    response = await gate.http.post("/api/tasks", data={"access_token": token})
    assert_problem(response, 401, "missing-authentication", detail="Missing authentication")


@pytest.mark.usefixtures("nobody_asked")
@pytest.mark.parametrize("path", ["/api/tasks", "/api/ann/tasks"])
async def test_nothing_else_of_a_request_is_looked_at_without_a_token(gate: Service, path: str) -> None:
    wrong: list[tuple[str, str, dict[str, Any]]] = [
        ("GET", f"{path}/not-a-uuid", {}),
        ("GET", path, {"params": {"limit": "many", "nonsense": "1"}}),
        ("POST", path, {"content": b"{", "headers": {"Content-Type": "text/plain"}}),
        ("POST", path, {"content": b"x" * 2_000_000}),
        ("PATCH", f"{path}/not-a-uuid", {"json": {"title": ""}}),
        ("DELETE", f"{path}/not-a-uuid", {"headers": {"If-Match": "nonsense"}}),
        ("GET", f"{path}/changes", {"params": {"since": "nonsense"}}),
    ]
    for method, url, rest in wrong:
        response = await gate.http.request(method, url, **rest)
        assert_problem(response, 401, "missing-authentication")


async def test_a_refused_token_appears_in_no_answer(gate: Service, forger: Forger) -> None:
    for forge in (*BAD.values(), *RUN_OUT.values()):
        token = forge(forger)
        response = await gate.http.get("/api/tasks", headers=bearer(token))
        for part in (token.decode("latin-1") if isinstance(token, bytes) else token).split("."):
            assert len(part) < 12 or part not in response.text
