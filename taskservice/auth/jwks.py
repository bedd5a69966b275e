"""The public keys of a Better Auth server, fetched from its JWKS and kept in memory.

How fresh they are: after `REFRESH_SECONDS` the next request makes us ask again, without waiting for the answer; after
`TRUST_SECONDS` it waits. So a key that the issuer removed stops verifying at most `TRUST_SECONDS` later, unless the
issuer cannot be reached: then the last known keys serve for `STALE_SECONDS`. Without requests nothing is fetched,
because each fetch wakes the issuer's database.

A token signed with a key that is not known here waits for a fetch that started after the token came, so a rotation
refuses nobody. However many such tokens come, fetches start at least `SPACING_SECONDS` apart, one at a time.
"""

import asyncio
import logging
import time
from collections import Counter, defaultdict
from collections.abc import Callable, Iterator, Sequence
from typing import TYPE_CHECKING, Any, Final

import jwt
import msgspec
from msgspec import Struct

from taskservice.auth.keys import Key, PublicKey
from taskservice.problems import KeysUnavailable

if TYPE_CHECKING:
    import httpx

REFRESH_SECONDS: Final = 60
TRUST_SECONDS: Final = 300
STALE_SECONDS: Final = 86_400
SPACING_SECONDS: Final = 1.0
FETCH_TIMEOUT_SECONDS: Final = 3
ANSWER_MAX_BYTES: Final = 65_536
RELEASED_AT_ONCE: Final = 8

ALGORITHMS: Final = ("EdDSA", "ES256", "ES512", "RS256", "PS256")
"""The algorithms that Better Auth's JWT plugin can sign with."""

_ALGORITHMS_OF: Final[dict[tuple[Any, Any], tuple[str, ...]]] = {
    ("OKP", "Ed25519"): ("EdDSA",),
    ("EC", "P-256"): ("ES256",),
    ("EC", "P-521"): ("ES512",),
    ("RSA", None): ("RS256", "PS256"),
}
_PRIVATE_MEMBERS: Final = frozenset({"d", "dp", "dq", "k", "oth", "p", "q", "qi"})
_RSA_BITS: Final = range(2048, 8193)
_RSA_EXPONENT_MAX: Final = 2**32

logger = logging.getLogger(__name__)


class FetchError(Exception):
    """The issuer gave no usable answer; the message says why."""


class Waiting(Struct, frozen=True, eq=False):
    """A token whose key is not known yet."""

    algorithm: str
    kid: str | None
    since: float
    answer: asyncio.Future[Sequence[Key]]


class IssuerKeys:
    """The keys behind one JWKS URL. `fetches` counts them by `ok` and `failed`."""

    def __init__(self, url: str, *, clock: Callable[[], float] = time.monotonic) -> None:
        self.url = url
        self.fetches: Counter[str] = Counter()
        self._clock = clock
        self._keys: dict[tuple[str, str | None], tuple[Key, ...]] = {}
        self._kids: frozenset[str | None] = frozenset()
        self._document: bytes | None = None
        """What the keys were read from. While it stays the same the keys stay, with what they remember."""
        self._as_of: float | None = None
        self._last_start: float | None = None
        self._failing = False
        self._waiting: list[Waiting] = []
        self._fetching: asyncio.Task[None] | None = None
        self._client: httpx.AsyncClient | None = None

    @property
    def names(self) -> list[str]:
        """Algorithm and `kid` of every known key, for messages."""
        return sorted(f"{algorithm} {kid}" if kid else algorithm for algorithm, kid in self._keys)

    def at_hand(self, algorithm: str, kid: str | None) -> Sequence[Key] | None:
        """The keys that may have signed a token with this header, without waiting. None: `obtain` may know more."""
        if self._as_of is None:
            return None
        age = self._clock() - self._as_of
        if age > REFRESH_SECONDS:
            if not self._too_early():
                self.fetch_soon()
            if age > STALE_SECONDS or (age > TRUST_SECONDS and not self._failing):
                return None
        return self._matching(algorithm, kid)

    async def obtain(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        """The same after asking the issuer; empty if there is no such key. Raises `KeysUnavailable`."""
        if self._failing and self._too_early():
            raise KeysUnavailable
        answer: asyncio.Future[Sequence[Key]] = asyncio.get_running_loop().create_future()
        self._waiting.append(Waiting(algorithm, kid, self._clock(), answer))
        self.fetch_soon()
        return await answer

    def fetch_soon(self) -> None:
        """Start a fetch in the background as soon as the spacing allows, unless there is one already."""
        if self._fetching is None or self._fetching.done():
            self._fetching = asyncio.get_running_loop().create_task(self._fetch_while_needed())

    async def close(self) -> None:
        if self._fetching is not None:
            self._fetching.cancel()
            await asyncio.wait([self._fetching])
        if self._client is not None:
            await self._client.aclose()
            self._client = None

    async def fetch(self) -> None:
        """Ask the issuer now. Raises `FetchError`, and then keeps the keys known so far."""
        started = self._last_start = self._clock()
        try:
            document = await self._download()
            keys = self._keys if document == self._document else read_keys(document)
        except FetchError as error:
            self.fetches["failed"] += 1
            if not self._failing:
                logger.warning("The JWKS at %s cannot be fetched: %s", self.url, error)
            self._failing = True
            raise
        self.fetches["ok"] += 1
        if self._failing:
            logger.info("The JWKS at %s is back", self.url)
        self._keys, self._kids, self._document = keys, frozenset(kid for _, kid in keys), document
        self._as_of, self._failing = started, False

    def _matching(self, algorithm: str, kid: str | None) -> Sequence[Key] | None:
        """The matching keys; None if only a new fetch can tell."""
        if kid is not None:
            # A kid that belongs to another algorithm is known, and wrong.
            return self._keys.get((algorithm, kid), () if kid in self._kids else None)
        # Without a `kid` only one key may match.
        candidates = [keys for (its_algorithm, _), keys in self._keys.items() if its_algorithm == algorithm]
        return None if not candidates else candidates[0] if len(candidates) == 1 else ()

    def _too_early(self) -> bool:
        return self._last_start is not None and self._clock() - self._last_start < SPACING_SECONDS

    async def _fetch_while_needed(self) -> None:
        while True:
            if self._last_start is not None:
                await asyncio.sleep(self._last_start + SPACING_SECONDS - self._clock())
            try:
                await self.fetch()
            except FetchError:
                pass
            except BaseException:
                # After any error here, no request may wait for ever.
                self._failing = True
                self._answer()
                raise
            self._answer()
            if not self._waiting:
                return

    def _answer(self) -> None:
        """Let the requests go on whose keys the last fetch has found or ruled out; the others wait for the next one."""
        absent: list[Waiting] = []
        later: list[Waiting] = []
        for waiting in self._waiting:
            keys = self._matching(waiting.algorithm, waiting.kid)
            if keys is not None and not self._expired():
                _settle(waiting, keys)
            elif self._failing or waiting.since <= (self._last_start or 0):
                absent.append(waiting)
            else:
                later.append(waiting)
        self._waiting = later
        absent.reverse()
        self._turn_away(absent, unavailable=self._failing)

    def _turn_away(self, absent: list[Waiting], *, unavailable: bool) -> None:
        # A few at a time: answering a flood of made-up key ids at once would hold up all other requests.
        for waiting in [absent.pop() for _ in range(min(RELEASED_AT_ONCE, len(absent)))]:
            _settle(waiting, KeysUnavailable() if unavailable else ())
        if absent:
            asyncio.get_running_loop().call_soon(lambda: self._turn_away(absent, unavailable=unavailable))

    def _expired(self) -> bool:
        return self._as_of is None or self._clock() - self._as_of > STALE_SECONDS

    async def _download(self) -> bytes:
        # Here, because httpx takes a fifth of a second to import, and a service without a JWKS does not need it.
        import httpx  # noqa: PLC0415

        if self._client is None:
            # In a thread: it reads the certificates of the system.
            self._client = await asyncio.to_thread(
                httpx.AsyncClient,
                headers={"Accept": "application/json", "Accept-Encoding": "identity"},
                follow_redirects=False,
                timeout=FETCH_TIMEOUT_SECONDS,
            )
        try:
            async with asyncio.timeout(FETCH_TIMEOUT_SECONDS), self._client.stream("GET", self.url) as response:
                if response.status_code != 200:
                    raise FetchError(f"it answers {response.status_code}")
                body = bytearray()
                # Raw: a compressed answer, which was not requested, must not grow in our memory.
                async for chunk in response.aiter_raw():
                    body += chunk
                    if len(body) > ANSWER_MAX_BYTES:
                        raise FetchError(f"its answer is longer than {ANSWER_MAX_BYTES} bytes")
                return bytes(body)
        except TimeoutError:
            raise FetchError(f"no answer within {FETCH_TIMEOUT_SECONDS} seconds") from None
        except (httpx.HTTPError, httpx.InvalidURL, OSError) as error:
            raise FetchError(str(error) or type(error).__name__) from None


def read_keys(document: bytes) -> dict[tuple[str, str | None], tuple[Key, ...]]:
    """The keys of a JWK set that may verify, by algorithm and `kid`; the others are skipped. Raises `FetchError`."""
    try:
        jwks = msgspec.json.decode(document)["keys"]
    except (msgspec.DecodeError, UnicodeDecodeError, RecursionError, KeyError, TypeError):
        jwks = None
    if not isinstance(jwks, list):
        raise FetchError("its answer is not a JWK set")
    found: defaultdict[tuple[str, str | None], list[Key]] = defaultdict(list)
    for jwk in jwks:
        for algorithm, key in _usable(jwk):
            found[algorithm, key.kid].append(key)
    return {name: tuple(keys) for name, keys in found.items()}


def _usable(jwk: Any) -> Iterator[tuple[str, Key]]:
    if not isinstance(jwk, dict) or _PRIVATE_MEMBERS & jwk.keys():
        return
    kid, operations = jwk.get("kid"), jwk.get("key_ops", ["verify"])
    if not isinstance(kid, str | None) or jwk.get("use", "sig") != "sig":
        return
    if not isinstance(operations, list) or "verify" not in operations:
        return
    kind = (jwk.get("kty"), jwk.get("crv"))
    for algorithm in _ALGORITHMS_OF.get(kind, ()) if all(isinstance(part, str | None) for part in kind) else ():
        if jwk.get("alg", algorithm) != algorithm:
            continue
        try:
            key = jwt.PyJWK(jwk, algorithm)
        except (jwt.PyJWTError, ValueError, TypeError, OverflowError):
            continue
        if kind[0] != "RSA" or _sound_rsa(key.key):
            yield algorithm, PublicKey(key.Algorithm, key.key, kid)


def _sound_rsa(key: Any) -> bool:
    """Neither so short that it can be broken, nor so long that checking a signature takes noticeable time."""
    return key.key_size in _RSA_BITS and key.public_numbers().e <= _RSA_EXPONENT_MAX


def _settle(waiting: Waiting, answer: Sequence[Key] | KeysUnavailable) -> None:
    if waiting.answer.done():
        return  # its client has gone away
    if isinstance(answer, KeysUnavailable):
        waiting.answer.set_exception(answer)
    else:
        waiting.answer.set_result(answer)
