"""The keys of the issuer: fetched when needed and not more, kept when it is away, dropped when it drops them."""

import asyncio
import base64
import gzip
import json
import logging
import time
from collections.abc import AsyncIterator, Coroutine, Iterator
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from taskservice.auth import jwks
from taskservice.auth.jwks import FetchError, IssuerKeys, read_keys
from taskservice.auth.tokens import TokenVerifier
from taskservice.principal import Principal
from taskservice.problems import InvalidToken, KeysUnavailable, TokenExpired
from taskservice.settings import load_settings
from tests.auth.issuer import Issuer, jwk_of, new_key
from tests.support.stage import Stage

pytestmark = pytest.mark.slow


@pytest.fixture
def issuer(stage: Stage) -> Iterator[Issuer]:
    issuer = Issuer(stage)
    issuer.add("first")
    yield issuer
    issuer.cut()


class Clock:
    """Time for the age of keys, which tests move."""

    def __init__(self) -> None:
        self.ahead = 0.0

    def __call__(self) -> float:
        return time.monotonic() + self.ahead


@pytest.fixture
async def verifier(issuer: Issuer) -> AsyncIterator[TokenVerifier]:
    verifier = verifier_for(issuer)
    yield verifier
    assert verifier.issuer_keys
    await verifier.issuer_keys.close()


@pytest.fixture
def clock(verifier: TokenVerifier) -> Clock:
    clock = Clock()
    assert verifier.issuer_keys
    verifier.issuer_keys._clock = clock
    return clock


def verifier_for(issuer: Issuer, **environ: str) -> TokenVerifier:
    return TokenVerifier(load_settings({"BETTER_AUTH_URL": issuer.origin} | environ))


async def accepted(verifier: TokenVerifier, token: bytes) -> bool:
    try:
        await verifier.verify(token)
    except InvalidToken:
        return False
    return True


# ---- what is accepted


@pytest.mark.parametrize("algorithm", jwks.ALGORITHMS)
async def test_a_token_of_every_algorithm_is_accepted(issuer: Issuer, verifier: TokenVerifier, algorithm: str) -> None:
    issuer.add("key", algorithm)
    principal = await verifier.verify(issuer.token("key", {"email": "ann@example.test", "name": "Ann Lee"}))
    assert (principal.user_id, principal.email, principal.name) == ("ann", "ann@example.test", "Ann Lee")


@pytest.mark.parametrize("algorithm", jwks.ALGORITHMS)
async def test_a_key_without_alg_serves_the_algorithms_of_its_type(
    issuer: Issuer, verifier: TokenVerifier, algorithm: str
) -> None:
    issuer.add("key", algorithm, alg=None)
    assert await accepted(verifier, issuer.token("key"))


async def test_use_and_key_ops_may_be_there(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.add("key", use="sig", key_ops=["verify"])
    assert await accepted(verifier, issuer.token("key"))


async def test_an_audience_list_is_accepted_if_we_are_in_it(issuer: Issuer, verifier: TokenVerifier) -> None:
    assert await accepted(verifier, issuer.token("first", {"aud": ["https://other.test", issuer.origin]}))
    assert not await accepted(verifier, issuer.token("first", {"aud": ["https://other.test"]}))


async def test_an_internal_address_serves_the_keys_of_a_public_issuer(issuer: Issuer) -> None:
    verifier = verifier_for(issuer, BETTER_AUTH_URL="https://app.example.test", BETTER_AUTH_JWKS_URL=issuer.jwks_url)
    public = {"iss": "https://app.example.test", "aud": "https://app.example.test"}
    async with verifier.running():
        assert await accepted(verifier, issuer.token("first", public))
        assert not await accepted(verifier, issuer.token("first"))


async def test_issuer_and_audience_may_be_set_by_hand(issuer: Issuer) -> None:
    verifier = verifier_for(
        issuer, TASKSERVICE_JWT_ISSUER="https://me.test", TASKSERVICE_JWT_AUDIENCE="tasks,better-auth:session-cache"
    )
    async with verifier.running():
        assert await accepted(verifier, issuer.token("first", {"iss": "https://me.test", "aud": "tasks"}))
        cached = {"iss": "https://me.test", "aud": "better-auth:session-cache"}
        assert await accepted(verifier, issuer.token("first", cached, typ="better-auth.session-cache+jwt"))
        assert not await accepted(verifier, issuer.token("first"))


async def test_the_session_cache_is_no_token_for_us_unless_its_audience_is_set(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    assert not await accepted(verifier, issuer.token("first", {"aud": "better-auth:session-cache"}))


async def test_a_token_without_kid_is_accepted_while_there_is_no_doubt_which_key_is_meant(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    assert await accepted(verifier, issuer.token("first", kid=None))
    issuer.add("second")
    assert verifier.issuer_keys
    await verifier.issuer_keys.fetch()
    assert not await accepted(verifier, issuer.token("first", kid=None))


# ---- which keys are taken from a set


def private_jwk(algorithm: str, maker: Any) -> dict[str, Any]:
    jwk: dict[str, Any] = maker.to_jwk(new_key(algorithm), as_dict=True)
    return jwk


UNUSABLE: dict[str, Any] = {
    "a private Ed25519 key": private_jwk("EdDSA", OKPAlgorithm),
    "a private EC key": private_jwk("ES256", ECAlgorithm),
    "a private RSA key": private_jwk("RS256", RSAAlgorithm),
    "a symmetric key": {"kty": "oct", "k": base64.urlsafe_b64encode(b"x" * 32).decode(), "alg": "HS256"},
    "a symmetric key that calls itself EdDSA": {"kty": "oct", "k": "eHh4", "alg": "EdDSA", "crv": "Ed25519"},
    "a key for encryption": jwk_of(new_key("EdDSA")) | {"use": "enc"},
    "a key for signing only": jwk_of(new_key("EdDSA")) | {"key_ops": ["sign"]},
    "key_ops that is no list": jwk_of(new_key("EdDSA")) | {"key_ops": "verify"},
    "an Ed25519 key that says HS256": jwk_of(new_key("EdDSA")) | {"alg": "HS256"},
    "an Ed25519 key that says RS256": jwk_of(new_key("EdDSA")) | {"alg": "RS256"},
    "a P-256 key that says ES512": jwk_of(new_key("ES256")) | {"alg": "ES512"},
    "an RSA key that says none": jwk_of(new_key("RS256")) | {"alg": "none"},
    "an alg that is no string": jwk_of(new_key("EdDSA")) | {"alg": ["EdDSA"]},
    "a kid that is no string": jwk_of(new_key("EdDSA")) | {"kid": 7},
    "a curve that is no string": jwk_of(new_key("EdDSA")) | {"crv": ["Ed25519"]},
    "a P-384 key": jwk_of(ec.generate_private_key(ec.SECP384R1())),
    "a secp256k1 key": jwk_of(ec.generate_private_key(ec.SECP256K1())),
    "an RSA key of 1024 bits": jwk_of(rsa.generate_private_key(public_exponent=65537, key_size=1024)),
    "an RSA key of 16384 bits": jwk_of(new_key("RS256")) | {"n": base64.urlsafe_b64encode(b"\xff" * 2048).decode()},
    "an RSA key with a huge exponent": jwk_of(new_key("RS256"))
    | {"e": base64.urlsafe_b64encode(b"\xff" * 64).decode()},
    "a point that is not on the curve": jwk_of(new_key("ES256")) | {"x": base64.urlsafe_b64encode(b"\1" * 32).decode()},
    "a truncated key": jwk_of(new_key("EdDSA")) | {"x": "AAAA"},
    "a key without material": {"kty": "OKP", "crv": "Ed25519"},
    "a key without a type": {"crv": "Ed25519", "x": "AAAA"},
    "a string": "key",
    "null": None,
    "a list": [],
}


@pytest.mark.parametrize("jwk", UNUSABLE.values(), ids=UNUSABLE.keys())
def test_unusable_keys_are_skipped(jwk: Any) -> None:
    sound = jwk_of(new_key("EdDSA")) | {"kid": "sound"}
    keys = read_keys(json.dumps({"keys": [jwk, sound]}).encode())
    assert list(keys) == [("EdDSA", "sound")]


def test_two_keys_of_one_kid_both_verify() -> None:
    keys = read_keys(json.dumps({"keys": [jwk_of(new_key("EdDSA")) | {"kid": "same"} for _ in range(2)]}).encode())
    assert len(keys["EdDSA", "same"]) == 2


def test_an_empty_set_is_an_answer() -> None:
    assert read_keys(b'{"keys": []}') == {}


@pytest.mark.parametrize(
    "answer",
    [b"", b"null", b"[]", b"{}", b'{"keys": {}}', b"<html>", b'{"keys": "\xff"}', b"[" * 60000, b'{"keys": 7}'],
)
def test_what_is_no_key_set_is_no_answer(answer: bytes) -> None:
    with pytest.raises(FetchError, match="not a JWK set"):
        read_keys(answer)


# ---- fetching


@pytest.mark.timing
async def test_nothing_is_fetched_before_it_runs_and_prefetching_delays_nothing(issuer: Issuer) -> None:
    verifier = verifier_for(issuer)
    issuer.delay = 0.2
    assert issuer.requests == 0
    started = time.monotonic()
    async with verifier.running():
        assert time.monotonic() - started < 0.1
        assert await accepted(verifier, issuer.token("first"))
        assert issuer.requests == 1


async def test_an_issuer_that_is_down_at_start_delays_nothing_and_is_used_once_it_is_up(issuer: Issuer) -> None:
    issuer.cut()
    verifier = verifier_for(issuer)
    async with verifier.running():
        with pytest.raises(KeysUnavailable):
            await verifier.verify(issuer.token("first"))
        issuer.mend()
        await asyncio.sleep(jwks.SPACING_SECONDS)
        assert await accepted(verifier, issuer.token("first"))


@pytest.mark.slow
async def test_a_thousand_first_tokens_make_one_fetch(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.delay = 0.1
    await asyncio.gather(*(verifier.verify(issuer.token("first")) for _ in range(1000)))
    assert issuer.requests == 1


async def test_known_keys_are_not_fetched_again(issuer: Issuer, verifier: TokenVerifier) -> None:
    for _ in range(100):
        await verifier.verify(issuer.token("first"))
    assert issuer.requests == 1


async def test_a_rotation_refuses_no_fresh_token(issuer: Issuer, verifier: TokenVerifier) -> None:
    for number in range(4):
        # Tokens of the new key come the moment it exists, a hundred at once.
        issuer.add(f"key-{number}")
        token = issuer.token(f"key-{number}")
        answers = await asyncio.gather(*(accepted(verifier, token) for _ in range(100)))
        assert all(answers)
    assert issuer.requests <= 5


async def test_a_key_made_while_a_fetch_is_under_way_is_found_by_the_next(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    issuer.delay = 0.3
    early = asyncio.create_task(verifier.verify(issuer.token("first")))
    while issuer.requests == 0:
        await asyncio.sleep(0.01)
    issuer.add("second")
    assert await accepted(verifier, issuer.token("second"))
    await early
    assert issuer.requests == 2


async def test_an_absent_key_is_asked_for_again_each_time_so_it_may_appear_later(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    # Key ids may be numbers in a row, so an attacker can name the next one before it exists.
    assert not await accepted(verifier, issuer.token("first", kid="2"))
    issuer.add("2")
    assert await accepted(verifier, issuer.token("2"))


async def test_a_token_refused_anyway_is_not_worth_a_fetch(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.add("unknown")
    for claims in ({"aud": "https://other.test"}, {"iss": None}, {"sub": None}, {"exp": None}, {"sub": 7}):
        assert not await accepted(verifier, issuer.token("unknown", claims))
    with pytest.raises(TokenExpired):
        await verifier.verify(issuer.token("unknown", {"exp": 1}))
    assert issuer.requests == 0


# ---- when the issuer misbehaves


async def test_known_keys_serve_while_the_issuer_is_down_and_new_ones_when_it_is_back(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    assert await accepted(verifier, issuer.token("first"))
    issuer.cut()
    clock.ahead += jwks.TRUST_SECONDS + 1
    assert await accepted(verifier, issuer.token("first"))
    issuer.add("second")
    with pytest.raises(KeysUnavailable):
        await verifier.verify(issuer.token("second"))
    issuer.mend()
    clock.ahead += jwks.SPACING_SECONDS
    assert await accepted(verifier, issuer.token("second"))


@pytest.mark.timing
async def test_an_issuer_that_hangs_delays_known_keys_at_most_once(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(jwks, "FETCH_TIMEOUT_SECONDS", 0.3)
    assert await accepted(verifier, issuer.token("first"))
    issuer.delay = 5
    clock.ahead += jwks.TRUST_SECONDS + 1
    for longest in (0.6, 0.1, 0.1, 0.1):
        started = time.monotonic()
        assert await accepted(verifier, issuer.token("first"))
        assert time.monotonic() - started < longest
        clock.ahead += jwks.SPACING_SECONDS


async def test_keys_are_not_trusted_for_ever_when_the_issuer_stays_away(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    assert await accepted(verifier, issuer.token("first"))
    issuer.cut()
    clock.ahead += jwks.STALE_SECONDS + 1
    for _ in range(3):
        with pytest.raises(KeysUnavailable):
            await verifier.verify(issuer.token("first"))


async def test_a_removed_key_stops_verifying(issuer: Issuer, verifier: TokenVerifier, clock: Clock) -> None:
    token = issuer.token("first")
    assert await accepted(verifier, token)
    issuer.remove("first")
    assert await accepted(verifier, token)
    clock.ahead += jwks.TRUST_SECONDS + 1
    assert not await accepted(verifier, token)


async def test_under_traffic_a_removed_key_stops_verifying_soon(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock
) -> None:
    token = issuer.token("first")
    assert await accepted(verifier, token)
    issuer.remove("first")
    clock.ahead += jwks.REFRESH_SECONDS + 1
    assert await accepted(verifier, token)
    await asyncio.sleep(0.2)
    assert not await accepted(verifier, token)


async def test_without_requests_nothing_is_fetched(issuer: Issuer, verifier: TokenVerifier, clock: Clock) -> None:
    async with verifier.running():
        await verifier.verify(issuer.token("first"))
        clock.ahead += jwks.STALE_SECONDS
        await asyncio.sleep(0.1)
        assert issuer.requests == 1


def redirect(issuer: Issuer) -> None:
    issuer.status, issuer.headers = "302 Found", {"Location": f"{issuer.origin}/elsewhere"}


def oversize(issuer: Issuer) -> None:
    issuer.body = json.dumps({"keys": issuer.jwks}).encode() + b" " * jwks.ANSWER_MAX_BYTES


def endless(issuer: Issuer) -> None:
    issuer.body, issuer.headers = b"{" * 10_000_000, {"Content-Length": "10000000000"}


def compressed(issuer: Issuer) -> None:
    issuer.body, issuer.headers = gzip.compress(b'{"keys": []}' + b" " * 10_000_000), {"Content-Encoding": "gzip"}


def failing(issuer: Issuer) -> None:
    issuer.status = "500 Internal Server Error"


def truncated(issuer: Issuer) -> None:
    issuer.headers = {"Content-Length": "10000"}


def not_json(issuer: Issuer) -> None:
    issuer.body = b"<html>Welcome</html>"


def not_http(issuer: Issuer) -> None:
    issuer.status = "\0\0\0"


@pytest.mark.parametrize("misbehave", [redirect, oversize, endless, compressed, failing, truncated, not_json, not_http])
async def test_an_unusable_answer_is_none_and_known_keys_stay(
    issuer: Issuer, verifier: TokenVerifier, clock: Clock, misbehave: Any
) -> None:
    assert await accepted(verifier, issuer.token("first"))
    misbehave(issuer)
    issuer.add("second")
    with pytest.raises(KeysUnavailable):
        await verifier.verify(issuer.token("second"))
    # One request: a redirect is not followed.
    assert issuer.requests == 2
    clock.ahead += jwks.TRUST_SECONDS + 1
    assert await accepted(verifier, issuer.token("first"))


@pytest.mark.timing
async def test_a_down_issuer_is_asked_once_a_second_and_refuses_nobody_slowly(
    issuer: Issuer, verifier: TokenVerifier, caplog: pytest.LogCaptureFixture
) -> None:
    caplog.set_level(logging.WARNING)
    failing(issuer)
    started = time.monotonic()
    refused = 0
    while time.monotonic() - started < 2.5:
        with pytest.raises(KeysUnavailable):
            await verifier.verify(issuer.token("first"))
        refused += 1
    assert refused > 1000
    assert issuer.requests <= 4
    assert len([record for record in caplog.records if "cannot be fetched" in record.message]) == 1


async def test_waiting_ends_when_the_service_stops(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.delay = 30
    waiting = asyncio.create_task(verifier.verify(issuer.token("first")))
    while issuer.requests == 0:
        await asyncio.sleep(0.01)
    assert verifier.issuer_keys
    await verifier.issuer_keys.close()
    with pytest.raises(KeysUnavailable):
        await waiting


async def test_a_client_that_goes_away_disturbs_nobody(issuer: Issuer, verifier: TokenVerifier) -> None:
    issuer.delay = 0.1
    gone = asyncio.create_task(verifier.verify(issuer.token("first")))
    stays = asyncio.create_task(verifier.verify(issuer.token("first")))
    await asyncio.sleep(0.01)
    gone.cancel()
    assert (await stays).user_id == "ann"


# ---- the flood


@pytest.mark.timing
async def test_ten_thousand_unknown_keys_at_once_make_a_bounded_number_of_fetches(
    issuer: Issuer, verifier: TokenVerifier
) -> None:
    known = issuer.token("first")
    await verifier.verify(known)
    flood = [issuer.token("first", kid=f"made-up-{number}") for number in range(10_000)]
    started = time.monotonic()
    answers = asyncio.gather(*(accepted(verifier, token) for token in flood))
    while not answers.done():
        assert without_waiting(verifier.verify(known)).user_id == "ann"
        await asyncio.sleep(0)
    assert not any(await answers)
    seconds = time.monotonic() - started
    assert issuer.requests <= 2 + seconds / jwks.SPACING_SECONDS


def without_waiting(verification: Coroutine[Any, Any, Principal]) -> Principal:
    """What it gives, if it gets there in one go."""
    try:
        verification.send(None)
    except StopIteration as done:
        principal: Principal = done.value
        return principal
    verification.close()
    raise AssertionError("it waits")


@pytest.mark.timing
async def test_a_rotation_during_the_flood_refuses_no_fresh_token(issuer: Issuer, verifier: TokenVerifier) -> None:
    stop = asyncio.Event()
    flood_tokens = [issuer.token("first", kid=f"made-up-{number}") for number in range(200)]

    async def flood() -> None:
        while not stop.is_set():
            await asyncio.gather(*(accepted(verifier, token) for token in flood_tokens))

    await verifier.verify(issuer.token("first"))
    flooding = asyncio.create_task(flood())
    for number in range(3):
        await asyncio.sleep(0.3)
        issuer.add(f"fresh-{number}")
        started = time.monotonic()
        assert await accepted(verifier, issuer.token(f"fresh-{number}"))
        assert time.monotonic() - started < 2 * jwks.SPACING_SECONDS + 0.5
    stop.set()
    await flooding
    assert isinstance(verifier.issuer_keys, IssuerKeys)
    assert verifier.issuer_keys.fetches["ok"] <= 10
