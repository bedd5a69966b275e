"""Whatever comes as a token, the answer is a user or one of two refusals, and `explain` agrees with it."""

import json
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from taskservice.auth.explain import explain
from taskservice.auth.tokens import TokenVerifier
from taskservice.principal import Principal
from taskservice.problems import InvalidToken, TokenExpired
from taskservice.settings import load_settings
from tests.auth.forgeries import SOUND, raw
from tests.support.services import SECRET
from tests.support.tokens import signed

SETTINGS = load_settings({"BETTER_AUTH_SECRET": SECRET})
VERIFIER = TokenVerifier(SETTINGS)
SOUND_TOKEN = signed(SOUND).encode()

values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=20),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=8), inner, max_size=3),
    max_leaves=8,
)
names = st.sampled_from(["sub", "user_id", "exp", "iat", "nbf", "iss", "aud", "email", "name", "user", "session", "id"])


async def answer(token: bytes) -> Principal | None:
    try:
        return await VERIFIER.verify(token)
    except (InvalidToken, TokenExpired):
        return None


@given(st.binary(max_size=300) | st.text(max_size=300).map(lambda text: text.encode("utf-8", "surrogatepass")))
async def test_bytes_of_any_kind_are_refused(token: bytes) -> None:
    assert await answer(token) is None


@given(st.integers(0, len(SOUND_TOKEN) - 1), st.binary(min_size=1, max_size=3))
async def test_a_sound_token_with_any_part_replaced_is_refused(position: int, replacement: bytes) -> None:
    token = SOUND_TOKEN[:position] + replacement + SOUND_TOKEN[position + len(replacement) :]
    assert (await answer(token) is None) == (token != SOUND_TOKEN)


@pytest.mark.slow
@settings(max_examples=300)
@given(st.dictionaries(names, values))
async def test_claims_of_any_kind_give_a_user_or_a_reason(claims: dict[str, Any]) -> None:
    token = signed({"sub": "ann", "iat": 0} | json.loads(json.dumps(claims)))
    principal = await answer(token.encode())
    assert (principal is None) == bool(await explain(token, SETTINGS))
    if principal is not None:
        assert principal.user_id in {claims.get("sub", "ann")}
        for shown in (principal.user_id, principal.email or "", principal.name or ""):
            assert shown.isprintable()
            shown.encode()


@given(st.dictionaries(st.sampled_from(["kid", "typ", "cty", "crit", "jku", "b64", "x"]), values))
async def test_headers_of_any_kind_give_a_user_or_a_reason(header: dict[str, Any]) -> None:
    document = json.dumps({"alg": "HS256"} | header).encode()
    token = raw(document, json.dumps(SOUND).encode())
    assert (await answer(token.encode()) is None) == bool(await explain(token, SETTINGS))
