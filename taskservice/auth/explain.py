"""Explains to the operator why a token is refused. The client is only told `Invalid token`."""

import time
from collections.abc import Iterator
from typing import Any, Final, TypeGuard

import msgspec

from taskservice.auth.jwks import ALGORITHMS, FetchError, IssuerKeys
from taskservice.auth.keys import SHARED_SECRET_ALGORITHM, SharedSecrets
from taskservice.auth.tokens import (
    CLOCK_SKEW_SECONDS,
    LATEST_EXPIRY,
    Expected,
    Header,
    Parts,
    TokenVerifier,
    expected_of_issuer,
    expected_of_secret_holder,
    principal_of,
    read_claims,
    read_header,
    take_apart,
)
from taskservice.problems import Problem
from taskservice.settings import Settings
from taskservice.settings.shared_secrets import BETTER_AUTH_DEVELOPMENT_SECRET

SESSION_CACHE_AUDIENCE: Final = "better-auth:session-cache"
_UNREADABLE: Final = (ValueError, RecursionError, msgspec.MsgspecError)


async def explain(token: str, settings: Settings) -> list[str]:
    """Every reason to refuse this token; none, if the service would take it. Asks the JWKS if the token needs it.

    The registered users are not looked at: a token may be sound and its user unknown.
    """
    token = token.strip()
    if token[:7].lower() == "bearer ":
        token = token[7:].lstrip()
    data = token.encode(errors="surrogatepass")
    verifier = TokenVerifier(settings)
    try:
        reasons = await _reasons(data, settings, verifier.issuer_keys)
        if not reasons:
            # The verifier decides, so that this never accepts a token that the service refuses.
            await verifier.verify(data)
    except Problem as problem:
        return [f"the service refuses it: {problem.detail}"]
    finally:
        if verifier.issuer_keys is not None:
            await verifier.issuer_keys.close()
    return reasons


async def _reasons(token: bytes, settings: Settings, issuer_keys: IssuerKeys | None) -> list[str]:
    try:
        parts = take_apart(token)
    except ValueError as error:
        return [_what_it_is_instead(token) or f"it is not a signed token: {error}"]
    try:
        header = read_header(parts.header_segment)
    except _UNREADABLE as error:
        return [f"its header is not acceptable: {error}"]
    if header.alg == SHARED_SECRET_ALGORITHM and settings.secrets:
        about_key = _about_secret(parts, settings)
        return [*about_key, *_about_claims(parts.payload, header, expected_of_secret_holder(settings))]
    if header.alg in ALGORITHMS and issuer_keys is not None:
        about_key = await _about_issuer_key(parts, header, issuer_keys)
        return [*about_key, *_about_claims(parts.payload, header, expected_of_issuer(settings))]
    return [_about_algorithm(header.alg)]


def _about_algorithm(name: str) -> str:
    if name == SHARED_SECRET_ALGORITHM:
        return "it is signed with a shared secret (HS256), and none is set: set BETTER_AUTH_SECRET"
    if name in ALGORITHMS:
        return f"it is signed with a key pair ({name}), and no JWKS is configured: set BETTER_AUTH_URL"
    if name.lower() == "none":
        return "it is not signed at all (alg none)"
    return f"its algorithm {name!r} is not one of {', '.join((SHARED_SECRET_ALGORITHM, *ALGORITHMS))}"


def _what_it_is_instead(token: bytes) -> str | None:
    dots = token.count(b".")
    if not token:
        return "there is no token"
    if dots == 4:
        return (
            "it is encrypted (five parts): Better Auth makes these with the cookie cache strategy `jwe`; "
            "use the strategy `jwt`, or the JWT plugin"
        )
    if dots == 0 and len(token) == 32 and token.isalnum():
        return "it is a session token of Better Auth, not a JWT: exchange it for one at /api/auth/token"
    if dots == 1 and len(token.split(b".")[0]) == 32:
        return "it is a signed session cookie of Better Auth, not a JWT: exchange it for one at /api/auth/token"
    if dots == 0 and token.startswith(b"ey"):
        return "it is a cookie cache of Better Auth with the strategy `compact`, not a JWT: use the strategy `jwt`"
    return None


def _about_secret(parts: Parts, settings: Settings) -> list[str]:
    if _signed(parts, SharedSecrets(settings.secrets)):
        return []
    if _signed(parts, SharedSecrets([BETTER_AUTH_DEVELOPMENT_SECRET])):
        return [
            "it is signed with Better Auth's public development secret: that server runs without BETTER_AUTH_SECRET"
        ]
    return ["it is signed with another secret than BETTER_AUTH_SECRET, or was changed afterwards"]


def _signed(parts: Parts, secrets: SharedSecrets) -> bool:
    return any(key.signed(parts.message, parts.signature) for key in secrets.keys)


async def _about_issuer_key(parts: Parts, header: Header, issuer_keys: IssuerKeys) -> list[str]:
    try:
        await issuer_keys.fetch()
    except FetchError as error:
        return [f"its key is not available: the JWKS at {issuer_keys.url} cannot be fetched: {error}"]
    keys = issuer_keys.at_hand(header.alg, header.kid)
    if not keys:
        wanted = f"no {header.alg} key with the kid {header.kid!r}"
        return [f"it is signed with another key: the JWKS at {issuer_keys.url} has {wanted}"]
    if not any(key.signed(parts.message, parts.signature) for key in keys):
        return [f"it was not signed with the key {header.kid!r} that it names, or was changed afterwards"]
    return []


def _about_claims(payload: bytes, header: Header, expected: Expected) -> Iterator[str]:
    try:
        document = msgspec.json.decode(payload)
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError) as error:
        yield f"its content is not JSON: {error}"
        return
    if not isinstance(document, dict):
        yield "its content is not a JSON object"
        return
    try:
        claims = read_claims(payload)
    except _UNREADABLE as error:
        yield "it has no exp, so it would never expire" if "exp" not in document else _odd_claim(document, error)
    else:
        try:
            principal_of(claims, header)
        except _UNREADABLE as error:
            yield _about_user(document, error)
    now = time.time()
    yield from _about_time(document, now)
    yield from _about_purpose(document, expected)


def _odd_claim(document: dict[str, Any], error: Exception) -> str:
    exp = document["exp"]
    if isinstance(exp, int | float) and exp > LATEST_EXPIRY:
        return "its exp is in milliseconds; it must be in seconds"
    return f"a claim has the wrong form: {error}"


def _about_user(document: dict[str, Any], error: Exception) -> str:
    if "email" in document and "sub" not in document and ("updateTo" in document or not document.keys() - _E_MAIL_LINK):
        return "it is an e-mail link token of Better Auth (verification or change of address), which must not sign in"
    if isinstance(document.get("sub", document.get("user_id")), str):
        return str(error)
    lone = sorted({"id", "userId", "uid"} & document.keys())
    if lone:
        return f"it names its user in {' and '.join(lone)} only; put the user's id into sub"
    if {"user", "session"} <= document.keys():
        return f"it is no cookie cache of Better Auth: {error}"
    return "it names no user: put the user's id into sub"


_E_MAIL_LINK: Final = frozenset({"email", "userId", "iat", "exp"})


def _about_time(document: dict[str, Any], now: float) -> Iterator[str]:
    exp = document.get("exp")
    if _is_number(exp) and exp <= now:
        # A number in Better Auth's `expirationTime` was probably meant as a span of time.
        span = f": {exp} is taken as a moment; for a span write a string such as '1h'" if 0 < exp < 10**8 else ""
        yield f"it expired {_duration(now - exp)} ago{span}"
    for name in ("iat", "nbf"):
        moment = document.get(name)
        if _is_number(moment) and moment > now + CLOCK_SKEW_SECONDS:
            meaning = "was issued" if name == "iat" else "is valid only"
            yield f"it {meaning} {_duration(moment - now)} in the future ({name}); compare the clocks"


def _about_purpose(document: dict[str, Any], expected: Expected) -> Iterator[str]:
    issuer, audience = document.get("iss"), document.get("aud")
    if expected.issuer is not None and issuer != expected.issuer:
        if isinstance(issuer, str) and issuer.rstrip("/") == expected.issuer.rstrip("/"):
            yield f"its issuer {issuer!r} differs from the expected {expected.issuer!r} by a slash at the end"
        else:
            named = "it names no issuer" if issuer is None else f"its issuer is {issuer!r}"
            yield f"{named}, expected is {expected.issuer!r} (TASKSERVICE_JWT_ISSUER)"
    audiences = audience if isinstance(audience, list) else [] if audience is None else [audience]
    if expected.audience and not any(one in expected.audience for one in audiences if isinstance(one, str)):
        wanted = " or ".join(map(repr, sorted(expected.audience)))
        if SESSION_CACHE_AUDIENCE in audiences:
            yield f"it is Better Auth's session cache, made for {SESSION_CACHE_AUDIENCE!r} and not for {wanted}"
        else:
            named = "it names no audience" if not audiences else f"its audience is {audience!r}"
            yield f"{named}, expected is {wanted} (TASKSERVICE_JWT_AUDIENCE)"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _duration(seconds: float) -> str:
    for size, unit in ((86_400, "day"), (3600, "hour"), (60, "minute")):
        count = int(seconds // size)
        if count:
            return f"{count} {unit}{'s' if count > 1 else ''}"
    count = max(1, int(seconds))
    return f"{count} second{'s' if count > 1 else ''}"
