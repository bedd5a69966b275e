"""Every token that a real Better Auth server hands out, and whether the service takes it."""

import asyncio
import time
from typing import Any

import pytest

from taskservice.auth import jwks, users
from taskservice.auth.explain import explain
from tests.e2e.better_auth.conftest import ONLY_SECRET, Both, Pairs, caller, claims_of, the_life_of_a_task
from tests.e2e.better_auth.server import BETTER_AUTH_SECRET, BetterAuth, Person
from tests.support.problems import assert_problem
from tests.support.services import SURFACES, Service, SurfaceName

pytestmark = pytest.mark.slow

NEW_SECRET = "another-secret-of-better-auth-9876543210-fedcba"
COOKIE_CACHE = {"session": {"cookieCache": {"enabled": True, "strategy": "jwt"}}}


async def status(service: Service, token: str) -> int:
    return (await service.http.get("/api/tasks", headers={"Authorization": f"Bearer {token}"})).status_code


async def assert_invalid(service: Service, token: str) -> None:
    response = await service.http.get("/api/tasks", headers={"Authorization": f"Bearer {token}"})
    assert_problem(response, 401, "invalid-token", detail="Invalid token")


# ---- the JWT plugin


@pytest.mark.parametrize("surface", SURFACES)
async def test_who_signs_up_lives_with_their_tasks(usual: Both, surface: SurfaceName) -> None:
    server, service = usual
    ann, bob = await server.sign_up("Ann"), await server.sign_up("Bob")
    await the_life_of_a_task(caller(service, await server.token(ann), ann.id, surface))
    assert await caller(service, await server.token(bob), bob.id, surface).titles() == []
    response = await caller(service, await server.token(bob), ann.id, "path").get()
    assert_problem(response, 403, "path-owner-mismatch")
    rows = await service.rows("SELECT email, name FROM users WHERE id = $1", ann.id)
    assert [tuple(row) for row in rows] == [(ann.email, "Ann")]


async def test_every_way_to_the_token_gives_one_that_is_taken(usual: Both) -> None:
    server, service = usual
    ann = await server.sign_up("Ann")
    by_session_token = {"Authorization": f"Bearer {ann.session_token}"}
    tokens = [
        (await server.http.get("/api/auth/token", headers=ann.headers)).json()["token"],
        (await server.http.get("/api/auth/token", headers=by_session_token)).json()["token"],
        (await server.http.get("/api/auth/get-session", headers=ann.headers)).headers["set-auth-jwt"],
    ]
    for token in tokens:
        assert await status(service, token) == 200


@pytest.mark.parametrize("algorithm", jwks.ALGORITHMS)
async def test_a_token_of_every_algorithm_is_taken(pairs: Pairs, algorithm: str) -> None:
    server, service = await pairs.start(plugin={"jwks": {"keyPairConfig": {"alg": algorithm}}})
    ann = await server.sign_up("Ann")
    await the_life_of_a_task(caller(service, await server.token(ann), ann.id))


@pytest.mark.parametrize("algorithm", ["ES384", "RS512"])
async def test_a_token_of_another_algorithm_is_not(pairs: Pairs, algorithm: str) -> None:
    server, service = await pairs.start(plugin={"jwks": {"keyPairConfig": {"alg": algorithm}}})
    token = await server.token(await server.sign_up("Ann"))
    await assert_invalid(service, token)
    assert f"its algorithm '{algorithm}' is not one of" in (await explain(token, service.settings))[0]


@pytest.mark.parametrize("audience", ["tasks", ["web", "tasks"]])
async def test_issuer_and_audience_may_be_the_operators_own(pairs: Pairs, audience: Any) -> None:
    server, untold = await pairs.start(plugin={"jwt": {"issuer": "https://issuer.test/", "audience": audience}})
    told = pairs.another(
        untold, BETTER_AUTH_URL=server.address, jwt_issuer="https://issuer.test/", jwt_audience="tasks,reports"
    )
    token = await server.token(await server.sign_up("Ann"))
    assert await status(told, token) == 200
    await assert_invalid(untold, token)
    reasons = "; ".join(await explain(token, untold.settings))
    assert "TASKSERVICE_JWT_ISSUER" in reasons
    assert "TASKSERVICE_JWT_AUDIENCE" in reasons


async def test_the_public_address_may_differ_from_the_one_that_the_service_reaches(pairs: Pairs) -> None:
    server, other = await pairs.start(
        plugin={}, service=ONLY_SECRET, environ={"BETTER_AUTH_URL": "https://app.example.test"}
    )
    ann = await server.sign_up("Ann")
    assert any(name.startswith("__Secure-") for name in ann.cookies)
    token = await server.token(ann)
    assert claims_of(token)["iss"] == claims_of(token)["aud"] == "https://app.example.test"
    for public in ("https://app.example.test", "https://app.example.test/", "https://app.example.test/api/auth"):
        jwks_url = f"{server.address}/api/auth/jwks"
        service = pairs.another(other, BETTER_AUTH_URL=public, BETTER_AUTH_JWKS_URL=jwks_url)
        assert await status(service, token) == 200


async def test_the_payload_may_be_emptied_and_the_subject_chosen(pairs: Pairs) -> None:
    server, service = await pairs.start(plugin={}, payload="empty")
    ann = await server.sign_up("Ann")
    token = await server.token(ann)
    assert set(claims_of(token)) == {"iat", "sub", "exp", "iss", "aud"}
    await the_life_of_a_task(caller(service, token, ann.id))


async def test_a_subject_of_ones_own_is_the_user(pairs: Pairs) -> None:
    server, service = await pairs.start(plugin={}, subject="email")
    ann = await server.sign_up("Ann")
    await the_life_of_a_task(caller(service, await server.token(ann), ann.email, "path"))


async def test_the_widely_copied_hs256_options_change_nothing(pairs: Pairs) -> None:
    server, service = await pairs.start(plugin={"algorithm": "HS256", "secret": BETTER_AUTH_SECRET, "expiresIn": "7d"})
    token = await server.token(await server.sign_up("Ann"))
    claims = claims_of(token)
    assert claims["exp"] - claims["iat"] == 900
    assert await status(service, token) == 200


async def test_a_number_as_expiration_time_is_said_to_be_in_1970(pairs: Pairs) -> None:
    server, service = await pairs.start(plugin={"jwt": {"expirationTime": 3600}})
    token = await server.token(await server.sign_up("Ann"))
    response = await service.http.get("/api/tasks", headers={"Authorization": f"Bearer {token}"})
    assert_problem(response, 401, "token-expired", detail="Token expired")
    assert "for a span write a string such as '1h'" in (await explain(token, service.settings))[0]


async def test_the_jwks_may_be_at_another_path(pairs: Pairs) -> None:
    server, other = await pairs.start(plugin={"jwks": {"jwksPath": "/.well-known/jwks.json"}}, service=ONLY_SECRET)
    service = pairs.another(
        other, BETTER_AUTH_URL=server.address, BETTER_AUTH_JWKS_URL=f"{server.address}/api/auth/.well-known/jwks.json"
    )
    assert await status(service, await server.token(await server.sign_up("Ann"))) == 200


# ---- keys and servers that come and go


@pytest.mark.timing
async def test_a_rotation_refuses_no_fresh_token(pairs: Pairs) -> None:
    server, service = await pairs.start(plugin={"jwks": {"rotationInterval": 2, "gracePeriod": 3}})
    ann = await server.sign_up("Ann")
    kids = set()
    deadline = time.monotonic() + 9
    while time.monotonic() < deadline:
        token = await server.token(ann)
        kids.add(token.split(".")[0])
        assert await status(service, token) == 200
        await asyncio.sleep(0.1)
    assert len(kids) >= 3


async def test_an_issuer_that_is_down_and_back(pairs: Pairs) -> None:
    server, service = await pairs.start(plugin={"jwks": {"rotationInterval": 1}})
    ann = await server.sign_up("Ann")
    known = await server.token(ann)
    assert await status(service, known) == 200
    await asyncio.sleep(1.1)
    rotated = await server.token(ann)
    assert rotated.split(".")[0] != known.split(".")[0]
    server.stop()
    assert await status(service, known) == 200
    response = await service.http.get("/api/tasks", headers={"Authorization": f"Bearer {rotated}"})
    assert_problem(response, 503, "keys-unavailable")
    server.start()
    await asyncio.sleep(jwks.SPACING_SECONDS)
    assert await status(service, rotated) == 200


async def test_a_service_that_starts_before_its_issuer_takes_tokens_once_it_is_there(pairs: Pairs) -> None:
    server, _ = await pairs.start(plugin={}, service=ONLY_SECRET)
    token = await server.token(await server.sign_up("Ann"))
    server.stop()
    _, service = await pairs.start(plugin={}, service={"BETTER_AUTH_URL": server.address})
    assert (await service.http.get("/health/ready")).status_code == 200
    assert await status(service, token) == 503
    server.start()
    await asyncio.sleep(jwks.SPACING_SECONDS)
    assert await status(service, token) == 200


# ---- people who leave


async def test_after_signing_out_no_new_token_but_the_old_one_lives_on(usual: Both) -> None:
    server, service = usual
    ann = await server.sign_up("Ann")
    token = await server.token(ann)
    assert (await server.http.post("/api/auth/sign-out", headers=ann.headers, json={})).status_code == 200
    assert (await server.http.get("/api/auth/token", headers=ann.headers)).status_code == 401
    assert await status(service, token) == 200


@pytest.mark.parametrize("generate_id", [None, "uuid", "serial"])
async def test_a_deleted_user_is_refused_where_users_must_be_registered(
    pairs: Pairs, monkeypatch: pytest.MonkeyPatch, generate_id: str | None
) -> None:
    monkeypatch.setattr(users, "FOUND_SECONDS", 1)
    ids = {"advanced": {"database": {"generateId": generate_id}}} if generate_id else {}
    server, open_to_all = await pairs.start(plugin={}, **ids)
    strict = pairs.another(open_to_all, users="registered", BETTER_AUTH_URL=server.address)
    ann = await server.sign_up("Ann")
    token = await server.token(ann)
    await the_life_of_a_task(caller(strict, token, ann.id))
    left = await server.http.post(
        "/api/auth/delete-user", headers=ann.headers, json={"password": "correct horse battery"}
    )
    assert left.status_code == 200, left.text
    await asyncio.sleep(users.FOUND_SECONDS + 0.1)
    response = await caller(strict, token, ann.id).get()
    assert_problem(response, 401, "unknown-user", detail="Unknown user")
    assert await status(open_to_all, token) == 200


# ---- the shared secret


async def test_the_cookie_cache_is_taken(pairs: Pairs) -> None:
    server, service = await pairs.start(service=ONLY_SECRET, **COOKIE_CACHE)
    ann = await server.sign_up("Ann")
    await the_life_of_a_task(caller(service, ann.cookie("session_data"), ann.id))
    rows = await service.rows("SELECT email, name FROM users WHERE id = $1", ann.id)
    assert [tuple(row) for row in rows] == [(ann.email, "Ann")]


async def test_the_cookie_cache_of_a_rotated_secret_is_taken(pairs: Pairs) -> None:
    rotation = f"2:{NEW_SECRET},1:{BETTER_AUTH_SECRET}"
    server, service = await pairs.start(
        service={"BETTER_AUTH_SECRETS": rotation}, environ={"BETTER_AUTH_SECRETS": rotation}, **COOKIE_CACHE
    )
    old_server, only_old = await pairs.start(service=ONLY_SECRET, **COOKIE_CACHE)
    new, old = await server.sign_up("New"), await old_server.sign_up("Old")
    assert await status(service, new.cookie("session_data")) == 200
    assert await status(service, old.cookie("session_data")) == 200
    await assert_invalid(only_old, new.cookie("session_data"))


async def test_a_cookie_cache_signed_with_the_key_pair_is_for_who_asks_for_it(pairs: Pairs) -> None:
    server, service = await pairs.start(plugin={"sessionCookieCache": True}, **COOKIE_CACHE)
    ann = await server.sign_up("Ann")
    cookie = ann.cookie("session_data")
    assert claims_of(cookie)["aud"] == "better-auth:session-cache"
    await assert_invalid(service, cookie)
    asking = pairs.another(service, BETTER_AUTH_URL=server.address, jwt_audience="better-auth:session-cache")
    assert await status(asking, cookie) == 200
    assert await status(asking, await server.token(ann)) == 401


async def test_a_server_without_a_secret_signs_for_nobody(pairs: Pairs) -> None:
    server, service = await pairs.start(service=ONLY_SECRET, environ={"BETTER_AUTH_SECRET": ""}, **COOKIE_CACHE)
    cookie = (await server.sign_up("Ann")).cookie("session_data")
    await assert_invalid(service, cookie)
    assert "public development secret" in (await explain(cookie, service.settings))[0]


async def test_both_kinds_of_token_are_taken_side_by_side(pairs: Pairs) -> None:
    server, service = await pairs.start(plugin={}, **COOKIE_CACHE)
    ann = await server.sign_up("Ann")
    for token in (await server.token(ann), ann.cookie("session_data"), service.token(ann.id)):
        assert await status(service, token) == 200


# ---- what must not sign anybody in


async def test_links_in_mails_sign_nobody_in(usual: Both) -> None:
    server, service = usual
    ann = await server.sign_up("Ann")
    [verification] = await mails_about(server, ann)
    assert (await server.http.get(verification["url"], headers=ann.headers)).status_code in {200, 302}
    change = {"newEmail": "ann@new.test"}
    assert (await server.http.post("/api/auth/change-email", headers=ann.headers, json=change)).status_code == 200
    mails = await mails_about(server, ann)
    assert [claims_of(mail["token"]).get("updateTo") for mail in mails] == [None, "ann@new.test"]
    for mail in mails:
        await assert_invalid(service, mail["token"])
        assert "it is an e-mail link token of Better Auth" in (await explain(mail["token"], service.settings))[0]


async def mails_about(server: BetterAuth, person: Person) -> list[dict[str, str]]:
    return [mail for mail in await server.mails() if claims_of(mail["token"])["email"] == person.email]


@pytest.mark.parametrize("strategy", ["compact", "jwe"])
async def test_cookie_caches_of_other_strategies_are_refused_and_explained(pairs: Pairs, strategy: str) -> None:
    server, service = await pairs.start(session={"cookieCache": {"enabled": True, "strategy": strategy}})
    cookie = (await server.sign_up("Ann")).cookie("session_data")
    await assert_invalid(service, cookie)
    assert "use the strategy `jwt`" in (await explain(cookie, service.settings))[0]


async def test_the_session_itself_is_no_token_here(usual: Both) -> None:
    server, service = usual
    ann = await server.sign_up("Ann")
    for token in (ann.session_token, ann.cookie("session_token")):
        await assert_invalid(service, token)
        assert "exchange it for one at /api/auth/token" in (await explain(token, service.settings))[0]


async def test_a_token_of_another_better_auth_is_refused(pairs: Pairs) -> None:
    server, _ = await pairs.start(plugin={})
    _, service = await pairs.start(plugin={})
    token = await server.token(await server.sign_up("Ann"))
    await assert_invalid(service, token)
    assert "its issuer is" in "; ".join(await explain(token, service.settings))
