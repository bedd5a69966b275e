"""Verifies bearer tokens and names their user.

PyJWT checks the signature, with keys prepared once; the claims are checked here, more strictly than PyJWT does.
A public key remembers which signatures it has verified; the claims are checked for each request.
"""

import binascii
import json
import re
import time
import warnings
from collections import Counter
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from datetime import datetime, timedelta
from typing import Any, Final

import jwt
import msgspec
from jwt.warnings import InsecureKeyLengthWarning
from msgspec import UNSET, Raw, Struct, UnsetType

from taskservice import program_name, rules
from taskservice.auth.jwks import ALGORITHMS, IssuerKeys
from taskservice.auth.keys import SHARED_SECRET_ALGORITHM, SharedSecrets
from taskservice.principal import Principal
from taskservice.problems import InvalidToken, Problem, TokenExpired
from taskservice.settings import Settings, SettingsError
from taskservice.settings.values import origin_of

TOKEN_MAX_BYTES: Final = 8192
EMAIL_MAX: Final = 320
NAME_MAX: Final = 255
KID_MAX: Final = 128
CLOCK_SKEW_SECONDS: Final = 30
"""Tolerated in `iat` and `nbf`. `exp` is strict."""
LATEST_EXPIRY: Final = 253_402_300_799
"""The end of the year 9999. A later `exp` is one in milliseconds, and would never expire."""
HEADERS_REMEMBERED: Final = 256


class Header(Struct, frozen=True):
    """The fields of a token's header that are read. A header with a key or an unsupported extension is refused."""

    alg: str
    kid: str | None = None
    typ: str | None = None


class Claims(Struct, frozen=True):
    """The claims that are read; all others are free."""

    exp: int | float
    iat: int | float = 0
    nbf: int | float = 0
    iss: str | UnsetType = UNSET
    aud: str | list[str] | UnsetType = UNSET
    sub: str | UnsetType = UNSET
    user_id: str | UnsetType = UNSET
    email: Any = None
    name: Any = None
    user: Raw = Raw(b"null")
    session: Raw = Raw(b"null")


class CachedUser(Struct, frozen=True):
    """`user` of Better Auth's cookie cache."""

    id: str
    email: Any = None
    name: Any = None


class CachedSession(Struct, frozen=True):
    """`session` of Better Auth's cookie cache."""

    user_id: str = msgspec.field(name="userId")


class Expected(Struct, frozen=True):
    """The issuer and the audience that tokens of one source of keys must have. Unset: not checked."""

    issuer: str | None
    audience: frozenset[str]


class Parts(Struct, frozen=True):
    """A token split into its parts, none of them verified yet."""

    header_segment: bytes
    message: bytes
    payload: bytes
    signature: bytes


class TokenVerifier:
    """Verifies bearer tokens against the key sources of the settings.

    `outcomes` counts verifications by `ok` or the code of the problem. `issuer_keys` is None without a JWKS.
    """

    def __init__(self, settings: Settings, *, clock: Callable[[], float] = time.time) -> None:
        self.outcomes: Counter[str] = Counter()
        self._clock = clock
        self._headers: dict[bytes, Header] = {}
        self._sources: dict[str, tuple[SharedSecrets | IssuerKeys, Expected]] = {}
        self.issuer_keys: IssuerKeys | None = None
        if settings.secrets:
            expected = expected_of_secret_holder(settings)
            self._sources[SHARED_SECRET_ALGORITHM] = (SharedSecrets(settings.secrets), expected)
        if settings.jwks_url is not None:
            self.issuer_keys = IssuerKeys(settings.jwks_url)
            self._sources |= dict.fromkeys(ALGORITHMS, (self.issuer_keys, expected_of_issuer(settings)))

    @asynccontextmanager
    async def running(self) -> AsyncIterator[None]:
        """While it runs, keys are fetched; the first time at once, but nothing waits for that or fails with it."""
        if self.issuer_keys is not None:
            self.issuer_keys.fetch_soon()
        try:
            yield
        finally:
            if self.issuer_keys is not None:
                await self.issuer_keys.close()

    async def verify(self, token: bytes) -> Principal:
        """The user of this token. Waits only for a key that is not known yet.

        Raises `TokenExpired` for a sound token that has run out, `KeysUnavailable` if its key cannot be fetched,
        `InvalidToken` for everything else.
        """
        try:
            principal = await self._verify(token)
        except Problem as problem:
            self.outcomes[problem.code] += 1
            raise
        except (ValueError, RecursionError, msgspec.MsgspecError, jwt.PyJWTError):
            self.outcomes[InvalidToken.code] += 1
            # The cause may quote the token, and tracebacks are logged.
            raise InvalidToken from None
        self.outcomes["ok"] += 1
        return principal

    async def _verify(self, token: bytes) -> Principal:
        parts = take_apart(token)
        header = self._headers.get(parts.header_segment) or read_header(parts.header_segment)
        source, expected = self._sources.get(header.alg, (None, None))
        if source is None or expected is None:
            raise InvalidToken
        keys = source.at_hand(header.alg, header.kid)
        if keys is None:
            # A token that no key could save causes no fetch of keys.
            self._principal(parts.payload, header, expected)
            keys = await source.obtain(header.alg, header.kid)
        for key in keys:
            if key.signed(parts.message, parts.signature):
                break
        else:
            raise InvalidToken
        if len(self._headers) < HEADERS_REMEMBERED:
            # Only headers of tokens with a valid signature, and those are few: a client cannot fill this.
            self._headers[parts.header_segment] = header
        return self._principal(parts.payload, header, expected)

    def _principal(self, payload: bytes, header: Header, expected: Expected) -> Principal:
        claims = read_claims(payload)
        now = self._clock()
        if claims.iat > now + CLOCK_SKEW_SECONDS or claims.nbf > now + CLOCK_SKEW_SECONDS:
            raise InvalidToken
        if expected.issuer is not None and claims.iss != expected.issuer:
            raise InvalidToken
        if expected.audience and expected.audience.isdisjoint(audiences(claims)):
            raise InvalidToken
        principal = principal_of(claims, header)
        # Last, so that "expired" is said only of a token with which nothing else is wrong.
        if claims.exp <= now:
            raise TokenExpired
        return principal


def expected_of_secret_holder(settings: Settings) -> Expected:
    """Holders of the secret are trusted; issuer and audience are checked only if the settings name them."""
    return Expected(settings.jwt_issuer, frozenset(settings.jwt_audience))


def expected_of_issuer(settings: Settings) -> Expected:
    """A JWKS signs for many audiences, so issuer and audience are always checked. Raises `SettingsError`."""
    origin = origin_of(settings.better_auth_url) if settings.better_auth_url else None
    issuer, audience = settings.jwt_issuer or origin, settings.jwt_audience or (origin,)
    if issuer is None or None in audience:
        raise SettingsError(["BETTER_AUTH_JWKS_URL: without an issuer and an audience its tokens cannot be checked"])
    return Expected(issuer, frozenset(filter(None, audience)))


def key_sources(settings: Settings) -> str:
    """Which tokens are accepted, in words for an operator."""
    sources = []
    if settings.generated_secret:
        sources.append(f"a secret made for development; `{program_name.litestar()} token USER` signs one")
    elif settings.secrets:
        count = len(settings.secrets)
        sources.append("HS256 with the shared secret" if count == 1 else f"HS256 with {count} shared secrets")
    if settings.jwks_url:
        sources.append(f"keys of {settings.jwks_url}")
    return ", ".join(sources)


def take_apart(token: bytes) -> Parts:
    """Split a compact JWS. Raises `ValueError`, whose message is for `explain` and never for the client."""
    if len(token) > TOKEN_MAX_BYTES:
        raise ValueError(f"it is longer than {TOKEN_MAX_BYTES} bytes")
    segments = token.split(b".")
    if len(segments) != 3:
        raise ValueError(f"it has {len(segments)} parts between dots, a signed token has 3")
    header, payload, signature = segments
    return Parts(header, token[: len(header) + 1 + len(payload)], _unbase64(payload), _unbase64(signature))


def read_header(segment: bytes) -> Header:
    """Raises an error if the header is not one we can act on safely."""
    document = _json_object(_unbase64(segment))
    unsafe = _UNSAFE_HEADERS & document.keys()
    if unsafe:
        raise ValueError(f"its header has {', '.join(sorted(unsafe))}, which is not supported")
    for name in ("kid", "typ"):
        if name in document and not isinstance(document[name], str):
            raise ValueError(f"{name} of its header is not a string")
    header = msgspec.convert(document, Header)
    if header.kid is not None and not 1 <= len(header.kid) <= KID_MAX:
        raise ValueError(f"the kid of its header is not of 1 to {KID_MAX} characters")
    return header


def read_claims(payload: bytes) -> Claims:
    """Decode and check the types. Raises an error if a claim that is read is missing, odd or there twice."""
    if _may_repeat_a_claim(payload):
        _json_object(payload)
    claims = _claims_decoder.decode(payload)
    if claims.exp > LATEST_EXPIRY:
        raise ValueError("its exp is after the year 9999; exp counts seconds, not milliseconds")
    return claims


def audiences(claims: Claims) -> tuple[str, ...]:
    if isinstance(claims.aud, str):
        return (claims.aud,)
    return () if claims.aud is UNSET else tuple(claims.aud)


def principal_of(claims: Claims, header: Header) -> Principal:
    """`sub`, else `user_id`, else Better Auth's cookie cache. Raises `ValueError` if none is there.

    Never `userId`, `id` or `email` alone: the tokens in e-mail links carry those, under the same secret.
    """
    user_id = claims.sub if claims.sub is not UNSET else claims.user_id
    email, name = claims.email, claims.name
    if user_id is UNSET:
        if header.alg != SHARED_SECRET_ALGORITHM:
            raise ValueError("it has neither sub nor user_id")
        for part in (claims.user, claims.session):
            _json_object(bytes(part))
        user = msgspec.json.decode(claims.user, type=CachedUser)
        session = msgspec.json.decode(claims.session, type=CachedSession)
        if user.id != session.user_id:
            raise ValueError("its user.id is not its session.userId")
        user_id, email, name = user.id, user.email, user.name
    if not rules.is_user_id(user_id):
        raise ValueError(f"its user id is not of 1 to {rules.USER_ID_MAX} printable characters")
    return Principal(user_id, _for_show(email, EMAIL_MAX), _for_show(name, NAME_MAX))


def issue_token(
    settings: Settings,
    user_id: str,
    *,
    email: str | None = None,
    ttl: timedelta = timedelta(hours=24),
    now: datetime | None = None,
) -> str:
    """A bearer token signed with the first secret, which this service will accept. Raises `ValueError` if it cannot."""
    if not settings.secrets:
        raise ValueError("no shared secret is set, so no token can be signed; set BETTER_AUTH_SECRET")
    if not rules.is_user_id(user_id):
        raise ValueError(f"a user id has 1 to {rules.USER_ID_MAX} printable characters")
    if email is not None and _for_show(email, EMAIL_MAX) is None:
        raise ValueError(f"an e-mail address has up to {EMAIL_MAX} printable characters")
    issued = int(now.timestamp() if now else time.time())
    expires = issued + int(ttl.total_seconds())
    if expires > LATEST_EXPIRY:
        raise ValueError("a token must expire before the year 10000")
    claims: dict[str, Any] = {"sub": user_id, "iat": issued, "exp": expires}
    if email is not None:
        claims["email"] = email
    if settings.jwt_issuer is not None:
        claims["iss"] = settings.jwt_issuer
    if settings.jwt_audience:
        claims["aud"] = list(settings.jwt_audience)
    with warnings.catch_warnings():
        # The settings have warned of a short secret, or refused it.
        warnings.simplefilter("ignore", InsecureKeyLengthWarning)
        return jwt.encode(claims, settings.secrets[0], algorithm=SHARED_SECRET_ALGORITHM)


# What would let a token bring its own key (RFC 8725, 3.1 and 3.10), or change what is signed.
_UNSAFE_HEADERS: Final = frozenset({"b64", "crit", "enc", "jku", "jwk", "x5c", "x5u", "zip"})

_claims_decoder: Final = msgspec.json.Decoder(Claims)
_claim_names_in: Final = re.compile(rb'"(?:%s)"' % "|".join(Claims.__struct_fields__).encode()).findall

# "!" is in no alphabet, so that "+", "/" and "=" are refused along with everything else.
_FROM_URL_ALPHABET: Final = bytes.maketrans(b"-_+/=", b"+/!!!")
_PADDING: Final = (b"", b"", b"==", b"=")
_LAST_DIGITS: Final = (None, b"", b"AQgw", b"AEIMQUYcgkosw048")
"""By length modulo 4: the digits whose unused bits are zero, as the only true encoding has them."""


def _unbase64(segment: bytes) -> bytes:
    """Base64url without padding, in its one canonical form: nobody can make a second token out of a sound one."""
    length = len(segment) % 4
    last_digits = _LAST_DIGITS[length]
    if last_digits is not None and segment[-1] not in last_digits:
        raise ValueError("a part of it is not canonical base64url")
    return binascii.a2b_base64(segment.translate(_FROM_URL_ALPHABET) + _PADDING[length], strict_mode=True)


def _may_repeat_a_claim(payload: bytes) -> bool:
    """A cheap check whose "no" is certain: a name that is written with escapes or appears twice gives "yes"."""
    names = _claim_names_in(payload)
    return b"\\" in payload or len(set(names)) < len(names)


def _json_object(data: bytes) -> dict[str, Any]:
    """Decode strictly: each name once, no NaN. Raises `ValueError`."""
    document = json.loads(data.decode(), object_pairs_hook=_unique, parse_constant=_no_constant)
    if not isinstance(document, dict):
        raise ValueError("a part of it is not a JSON object")  # noqa: TRY004 (what is wrong is the token)
    return document


def _unique(pairs: list[tuple[str, Any]]) -> Mapping[str, Any]:
    document = dict(pairs)
    if len(document) != len(pairs):
        raise ValueError("a name stands in it twice")
    return document


def _no_constant(name: str) -> None:
    raise ValueError(f"{name} is not JSON")


def _for_show(value: Any, longest: int) -> str | None:
    return value if isinstance(value, str) and len(value) <= longest and value.isprintable() else None
