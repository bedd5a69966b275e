"""What the operator is told about a token that clients see refused."""

import time
from collections.abc import Iterator

import pytest

from taskservice.auth.explain import explain
from taskservice.settings import Settings, load_settings
from tests.auth.forgeries import BAD, RUN_OUT, UNKNOWN_KEYS, Absent, Forger, Forgery
from tests.auth.issuer import Issuer
from tests.support.services import SECRET
from tests.support.stage import Stage


@pytest.fixture(scope="module")
def forger(stage: Stage) -> Iterator[Forger]:
    issuer = Issuer(stage)
    yield Forger(issuer)
    issuer.cut()


@pytest.fixture(scope="module")
def settings(forger: Forger) -> Settings:
    return load_settings({"BETTER_AUTH_SECRET": SECRET, "BETTER_AUTH_URL": forger.issuer.origin})


EXPLAINED: dict[str, tuple[Forgery, str]] = {
    "expired": (lambda f: f.sound(exp=int(time.time()) - 185), "it expired 3 minutes ago"),
    "expired long ago": (lambda f: f.sound(exp=int(time.time()) - 86_400 * 3), "it expired 3 days ago"),
    "a span as exp": (lambda f: f.sound(exp=3600), "for a span write a string such as '1h'"),
    "milliseconds": (lambda f: f.sound(exp=int(time.time()) * 1000), "in milliseconds"),
    "no exp": (lambda f: f.sound(exp=Absent), "it has no exp"),
    "another secret": (BAD["another secret"], "signed with another secret than BETTER_AUTH_SECRET"),
    "the public secret": (BAD["Better Auth's public development secret"], "public development secret"),
    "another key": (UNKNOWN_KEYS["that nobody has"], "has no EdDSA key with the kid 'unknown'"),
    "a changed token": (BAD["EdDSA signature of zeros"], "it was not signed with the key 'ed'"),
    "another audience": (BAD["issued for another audience"], "its audience is 'https://other.test', expected is"),
    "no audience": (BAD["issued for nobody"], "it names no audience"),
    "another issuer": (BAD["issued by another"], "its issuer is 'https://evil.test', expected is"),
    "a slash": (BAD["issued by us and a slash"], "by a slash at the end"),
    "the session cache": (BAD["the session cache"], "it is Better Auth's session cache"),
    "an e-mail link": (BAD["an e-mail verification link"], "it is an e-mail link token of Better Auth"),
    "a change-of-address link": (BAD["a change-of-address link"], "it is an e-mail link token of Better Auth"),
    "only an id": (lambda f: f.sound(sub=Absent, email=Absent, id="ann"), "it names its user in id only"),
    "a session token": (BAD["a session token of Better Auth"], "exchange it for one at /api/auth/token"),
    "a session cookie": (BAD["a signed session cookie"], "signed session cookie"),
    "a compact cookie": (BAD["a compact cookie cache"], "strategy `compact`"),
    "an encrypted cookie": (BAD["five parts, as if encrypted"], "it is encrypted"),
    "unsigned": (BAD["alg none"], "not signed at all"),
    "another algorithm": (BAD["HS512"], "its algorithm 'HS512' is not one of HS256, EdDSA"),
    "a clock that is ahead": (BAD["iat in the future"], "compare the clocks"),
    "nothing": (lambda f: "", "there is no token"),
}


@pytest.mark.parametrize("case", EXPLAINED.values(), ids=EXPLAINED.keys())
async def test_it_says_in_plain_words_what_is_wrong(
    forger: Forger, settings: Settings, case: tuple[Forgery, str]
) -> None:
    forge, words = case
    assert words in "; ".join(await explain(text_of(forge(forger)), settings))


@pytest.mark.parametrize("forge", [*BAD.values(), *RUN_OUT.values(), *UNKNOWN_KEYS.values()])
async def test_it_finds_a_reason_for_every_token_that_is_refused(
    forger: Forger, settings: Settings, forge: Forgery
) -> None:
    token = text_of(forge(forger))
    reasons = await explain(token, settings)
    assert reasons
    for reason in reasons:
        assert "Traceback" not in reason
        assert SECRET not in reason
        assert reason.isprintable()


async def test_it_finds_none_for_a_sound_token(forger: Forger, settings: Settings) -> None:
    for token in (forger.sound(), forger.issued(), f"Bearer {forger.sound()}", f"  {forger.issued('rsa')}\n"):
        assert await explain(token, settings) == []


async def test_it_names_everything_that_is_wrong(forger: Forger, settings: Settings) -> None:
    token = forger.issued("ed", {"aud": "tasks", "iss": "me", "exp": int(time.time()) - 60})
    assert len(await explain(token, settings)) == 3


async def test_it_says_which_setting_is_missing(forger: Forger) -> None:
    only_secret = load_settings({"BETTER_AUTH_SECRET": SECRET})
    assert "set BETTER_AUTH_URL" in (await explain(forger.issued(), only_secret))[0]
    only_url = load_settings({"BETTER_AUTH_URL": forger.issuer.origin})
    assert "set BETTER_AUTH_SECRET" in (await explain(forger.sound(), only_url))[0]


async def test_it_says_that_the_key_server_is_away(stage: Stage) -> None:
    issuer = Issuer(stage)
    issuer.add("key")
    settings = load_settings({"BETTER_AUTH_URL": issuer.origin})
    issuer.cut()
    assert (
        f"the JWKS at {issuer.jwks_url} cannot be fetched" in (await explain(issuer.token("key").decode(), settings))[0]
    )


def text_of(token: str | bytes) -> str:
    return token if isinstance(token, str) else token.decode("utf-8", "surrogateescape")
