"""Tokens signed with the shared secret: every shape that front ends make, and the ones this service makes itself."""

import time
from datetime import UTC, datetime, timedelta
from typing import Any

import pytest
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from taskservice.auth.tokens import HEADERS_REMEMBERED, TokenVerifier, issue_token
from taskservice.principal import Principal
from taskservice.problems import InvalidToken, TokenExpired
from taskservice.settings import Settings, SettingsError, load_settings
from tests.auth.forgeries import SESSION, USER
from tests.auth.issuer import Issuer, new_key
from tests.support.services import SECRET
from tests.support.stage import Stage
from tests.support.tokens import signed

NEW_SECRET = "a-new-secret-for-tests-that-is-long-enough-9876543210"
PUBLIC_KEY = new_key("ES256").public_key().public_bytes(Encoding.PEM, PublicFormat.SubjectPublicKeyInfo).decode()
ALICE = Principal("alice", None, None)


def settings(**environ: str) -> Settings:
    return load_settings({"BETTER_AUTH_SECRET": SECRET} | environ)


async def verified(token: str, **environ: str) -> Principal:
    return await TokenVerifier(settings(**environ)).verify(token.encode())


async def refused(token: str, **environ: str) -> bool:
    try:
        await verified(token, **environ)
    except InvalidToken:
        return True
    return False


SHAPES: dict[str, dict[str, Any]] = {
    "sub, email and name": {"sub": "alice", "email": "a@example.test", "name": "Alice", "iat": int(time.time())},
    "sub and email": {"sub": "alice", "email": "a@example.test", "iat": int(time.time())},
    "sub alone": {"sub": "alice"},
    "user_id": {"user_id": "alice"},
    "sub before user_id": {"sub": "alice", "user_id": "bob"},
    "sub before a cookie cache": {"sub": "alice", "user": USER, "session": SESSION},
    "a whole user row": {
        "sub": "alice",
        "id": "alice",
        "emailVerified": True,
        "image": None,
        "createdAt": "2026-11-20",
    },
    "somebody else's id and userId": {"sub": "alice", "id": "bob", "userId": "bob"},
    "an issuer and an audience nobody asked for": {"sub": "alice", "iss": "todo-app", "aud": "todo-api"},
    "an audience list": {"sub": "alice", "aud": ["todo-api", "other"]},
    "no iat": {"sub": "alice"},
    "fractions of seconds": {"sub": "alice", "iat": time.time(), "exp": time.time() + 3600.5},
    "nbf in the past": {"sub": "alice", "nbf": 0},
    "further claims of any kind": {"sub": "alice", "user": "x", "session": 7, "roles": [{"a": None}], "type": "access"},
    "escapes in the text": {"sub": "alice", "name": "Zo\u00eb \u2603"},
    "the words sub and exp as values": {"sub": "alice", "name": "sub", "nickname": "exp", "scopes": ["sub", "exp"]},
}


@pytest.mark.parametrize("claims", SHAPES.values(), ids=SHAPES.keys())
async def test_the_user_is_found_in(claims: dict[str, Any]) -> None:
    assert (await verified(signed(claims))).user_id == "alice"


async def test_the_cookie_cache_of_better_auth_is_accepted() -> None:
    principal = await verified(signed({"session": SESSION, "user": USER, "version": "1", "updatedAt": 1}))
    assert principal == Principal("ann", "ann@example.test", "Ann Lee")


@pytest.mark.parametrize(
    "user_id", ["a", "a" * 255, "pEu2S7yFgZEnad7luQ17C7i1GEaruXRd", "1", "auth0|x", "a/b", "a b", "josé", "用户", "😀"]
)
async def test_a_user_id_is_taken_as_it_is(user_id: str) -> None:
    assert (await verified(signed({"sub": user_id}))).user_id == user_id


@pytest.mark.parametrize("header", [{}, {"typ": "JWT"}, {"typ": ""}, {"typ": "at+jwt"}, {"kid": "1"}, {"cty": "json"}])
async def test_harmless_headers_are_no_reason_to_refuse(header: dict[str, Any]) -> None:
    assert (await verified(signed({"sub": "alice"}, **header))).user_id == "alice"


@pytest.mark.parametrize("value", [None, 7, True, ["a"], {"a": 1}, "", "a\0b", "x" * 321, "\u202e"])
async def test_an_odd_email_or_name_is_left_out_and_not_stored(value: Any) -> None:
    principal = await verified(signed({"sub": "alice", "email": value, "name": value}))
    assert principal.email in {None, ""}
    assert principal.name in {None, ""}


# ---- time


async def test_clocks_may_differ_by_thirty_seconds_but_not_for_exp() -> None:
    now = int(time.time())
    assert await verified(signed({"sub": "alice", "iat": now + 25, "nbf": now + 25})) == ALICE
    assert await refused(signed({"sub": "alice", "iat": now + 35}))
    assert await refused(signed({"sub": "alice", "nbf": now + 35}))
    with pytest.raises(TokenExpired):
        await verified(signed({"sub": "alice", "exp": now - 1}))


async def test_a_token_expires_while_it_is_used() -> None:
    moment = 1_000_000.0
    verifier = TokenVerifier(settings(), clock=lambda: moment)
    token = signed({"sub": "alice", "exp": 1_000_001}).encode()
    assert await verifier.verify(token) == ALICE
    moment += 0.999
    assert await verifier.verify(token) == ALICE
    moment += 0.001
    with pytest.raises(TokenExpired):
        await verifier.verify(token)


# ---- secrets


async def test_every_secret_in_rotation_verifies() -> None:
    for rotation in (f"2:{NEW_SECRET},1:{SECRET}", f"1:{SECRET},2:{NEW_SECRET}"):
        for secret in (SECRET, NEW_SECRET):
            token = signed({"sub": "alice"}, secret=secret)
            assert await verified(token, BETTER_AUTH_SECRETS=rotation, BETTER_AUTH_SECRET="") == ALICE


async def test_a_secret_taken_out_of_rotation_verifies_no_more() -> None:
    token = signed({"sub": "alice"})
    assert await refused(token, BETTER_AUTH_SECRETS=f"2:{NEW_SECRET}", BETTER_AUTH_SECRET="")


async def test_a_new_token_is_signed_with_the_first_secret() -> None:
    rotating = load_settings({"BETTER_AUTH_SECRETS": f"2:{NEW_SECRET},1:{SECRET}"})
    token = issue_token(rotating, "alice")
    assert await refused(token)
    assert await TokenVerifier(rotating).verify(token.encode()) == ALICE


@pytest.mark.parametrize("secret", [PUBLIC_KEY, '{"kty":"oct","k":"eHh4eHh4eHh4eHg"}'])
def test_a_public_key_as_secret_is_a_wrong_setting(secret: str) -> None:
    with pytest.raises(SettingsError, match="BETTER_AUTH_SECRET: this is a public key"):
        load_settings({"BETTER_AUTH_SECRET": secret})


# ---- for whom


async def test_issuer_and_audience_are_asked_for_once_they_are_set() -> None:
    environ = {"TASKSERVICE_JWT_ISSUER": "todo-app", "TASKSERVICE_JWT_AUDIENCE": "todo-api,tasks"}
    sound: dict[str, Any] = {"sub": "alice", "iss": "todo-app", "aud": "tasks"}
    assert await verified(signed(sound), **environ) == ALICE
    assert await verified(signed(sound | {"aud": ["other", "todo-api"]}), **environ) == ALICE
    for claims in ({"sub": "alice"}, sound | {"iss": "other"}, sound | {"aud": "other"}, sound | {"aud": []}):
        assert await refused(signed(claims), **environ)


async def test_each_source_of_keys_has_expectations_of_its_own(stage: Stage) -> None:
    issuer = Issuer(stage)
    issuer.add("key")
    verifier = TokenVerifier(settings(BETTER_AUTH_URL=issuer.origin))
    async with verifier.running():
        assert (await verifier.verify(issuer.token("key"))).user_id == "ann"
        assert await verifier.verify(signed({"sub": "alice"}).encode()) == ALICE
        with pytest.raises(InvalidToken):
            await verifier.verify(issuer.token("key", {"aud": None}))
    issuer.cut()


# ---- our own tokens


async def test_our_own_token_lives_a_day_and_is_accepted() -> None:
    now = datetime(2026, 11, 20, 12, 0, tzinfo=UTC)
    token = issue_token(settings(), "alice", email="a@example.test", now=now)
    verifier = TokenVerifier(settings(), clock=(now + timedelta(hours=24, seconds=-1)).timestamp)
    assert await verifier.verify(token.encode()) == Principal("alice", "a@example.test", None)
    later = TokenVerifier(settings(), clock=(now + timedelta(hours=24)).timestamp)
    with pytest.raises(TokenExpired):
        await later.verify(token.encode())


async def test_our_own_token_has_the_issuer_and_audience_that_are_asked_for() -> None:
    environ = {"TASKSERVICE_JWT_ISSUER": "todo-app", "TASKSERVICE_JWT_AUDIENCE": "todo-api,tasks"}
    assert await verified(issue_token(settings(**environ), "alice"), **environ) == ALICE


@pytest.mark.parametrize("user_id", ["", "a" * 256, "a\0", "a\n"])
def test_no_token_is_made_that_would_be_refused(user_id: str) -> None:
    with pytest.raises(ValueError, match="printable"):
        issue_token(settings(), user_id)


@pytest.mark.parametrize("email", ["a\n@example.com", "\udcff", "x" * 321])
def test_no_token_carries_an_address_that_cannot_be_one(email: str) -> None:
    with pytest.raises(ValueError, match="e-mail address"):
        issue_token(settings(), "alice", email=email)


def test_no_token_is_made_without_a_secret() -> None:
    with pytest.raises(ValueError, match="BETTER_AUTH_SECRET"):
        issue_token(load_settings({"BETTER_AUTH_URL": "https://app.example.test"}), "alice")


# ---- what is counted and kept


async def test_verifications_are_counted_by_outcome() -> None:
    verifier = TokenVerifier(settings())
    await verifier.verify(signed({"sub": "alice"}).encode())
    for token in (b"x", b"y", signed({"sub": "alice", "exp": 1}).encode()):
        with pytest.raises((InvalidToken, TokenExpired)):
            await verifier.verify(token)
    assert verifier.outcomes == {"ok": 1, "invalid-token": 2, "token-expired": 1}


async def test_clients_cannot_fill_the_memory() -> None:
    verifier = TokenVerifier(settings())
    for number in range(HEADERS_REMEMBERED):
        with pytest.raises(InvalidToken):
            await verifier.verify(signed({"sub": "alice"}, secret=NEW_SECRET, kid=str(number)).encode())
    assert not verifier._headers
    for number in range(HEADERS_REMEMBERED + 10):
        await verifier.verify(signed({"sub": "alice"}, kid=str(number)).encode())
    assert len(verifier._headers) == HEADERS_REMEMBERED


async def test_an_error_carries_nothing_of_the_token() -> None:
    token = signed({"sub": 7, "email": "secret@example.test"})
    with pytest.raises(InvalidToken) as caught:
        await verified(token)
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__
    assert "secret" not in str(caught.value)
