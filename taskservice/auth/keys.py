"""Keys that verify signatures. Each algorithm belongs to one source of keys, and no header can choose another."""

import hmac
from collections.abc import Sequence
from hashlib import sha256
from typing import Any, Final

from jwt.algorithms import Algorithm, HMACAlgorithm
from msgspec import Struct, field

SHARED_SECRET_ALGORITHM: Final = "HS256"  # noqa: S105 (the name of an algorithm)
SIGNATURES_REMEMBERED: Final = 4096


class _PreparedHmac(HMACAlgorithm):
    """Prepares the key once; PyJWT's own class repeats for each token what depends on the secret alone."""

    def prepare_key(self, key: str | bytes) -> Any:
        return hmac.new(super().prepare_key(key), digestmod=self.hash_alg)

    def sign(self, msg: bytes, key: Any) -> bytes:
        mac = key.copy()
        mac.update(msg)
        signature: bytes = mac.digest()
        return signature


_shared_secret: Final = _PreparedHmac(HMACAlgorithm.SHA256)


class Key(Struct, frozen=True, eq=False):
    """One key, prepared once, bound to the one algorithm it may be used with."""

    algorithm: Algorithm
    material: Any
    kid: str | None = None

    def signed(self, message: bytes, signature: bytes) -> bool:
        return self.algorithm.verify(message, self.material, signature)


class PublicKey(Key, frozen=True, eq=False):
    """A key that remembers which signatures it has verified, because that takes as long as a third of a request.

    This says nothing about the claims of a token, and ends with the key.
    """

    _verified: dict[bytes, None] = field(default_factory=dict)
    """Digests, the oldest first."""

    def signed(self, message: bytes, signature: bytes) -> bool:
        # With the length, because the end of a message could be the beginning of a signature.
        digest = sha256(b"%d " % len(message) + message + signature).digest()
        if digest in self._verified:
            return True
        genuine = super().signed(message, signature)
        if genuine:
            if len(self._verified) >= SIGNATURES_REMEMBERED:
                del self._verified[next(iter(self._verified))]
            self._verified[digest] = None
        return genuine


class SharedSecrets:
    """The secrets shared with Better Auth. Every one verifies, so that they can be rotated without a gap.

    Asked like `IssuerKeys`, though all keys are always at hand.
    """

    def __init__(self, secrets: Sequence[str]) -> None:
        self.keys: Final = tuple(Key(_shared_secret, _shared_secret.prepare_key(secret)) for secret in secrets)

    def at_hand(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        return self.keys

    async def obtain(self, algorithm: str, kid: str | None) -> Sequence[Key]:
        return self.at_hand(algorithm, kid)
