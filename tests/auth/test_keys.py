"""What a public key remembers of the signatures that it has verified, and what it does not take for one of them."""

from collections import Counter
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from taskservice.auth import keys
from taskservice.auth.jwks import IssuerKeys
from taskservice.auth.keys import PublicKey
from tests.auth.issuer import Issuer
from tests.support.stage import Stage


class CountingEdDSA(OKPAlgorithm):
    """Counts how often each message is verified."""

    def __init__(self) -> None:
        super().__init__()
        self.verified: Counter[bytes] = Counter()

    def verify(self, msg: str | bytes, key: Any, sig: str | bytes) -> bool:
        assert isinstance(msg, bytes)
        self.verified[msg] += 1
        return super().verify(msg, key, sig)


PRIVATE = Ed25519PrivateKey.generate()


@pytest.fixture
def algorithm() -> CountingEdDSA:
    return CountingEdDSA()


@pytest.fixture
def key(algorithm: CountingEdDSA) -> PublicKey:
    return PublicKey(algorithm, PRIVATE.public_key())


def test_a_signature_is_verified_once(key: PublicKey, algorithm: CountingEdDSA) -> None:
    signature = PRIVATE.sign(b"a.message")
    assert all(key.signed(b"a.message", signature) for _ in range(3))
    assert algorithm.verified == {b"a.message": 1}


def test_another_signature_of_a_known_message_is_none(key: PublicKey) -> None:
    signature = PRIVATE.sign(b"a.message")
    assert key.signed(b"a.message", signature)
    for other in (bytes(64), signature[:-1], signature + b"\0", PRIVATE.sign(b"another"), b""):
        assert not key.signed(b"a.message", other)
    assert not key.signed(b"a.messagf", signature)


def test_the_beginning_of_a_signature_is_not_the_end_of_a_message(key: PublicKey) -> None:
    signature = PRIVATE.sign(b"a.message")
    assert key.signed(b"a.message", signature)
    for length in range(1, 64):
        assert not key.signed(b"a.message" + signature[:length], signature[length:])
    assert not key.signed(b"a.messag", b"e" + signature)


def test_what_is_not_signed_is_not_remembered(key: PublicKey, algorithm: CountingEdDSA) -> None:
    for _ in range(2):
        assert not key.signed(b"a.message", bytes(64))
    assert algorithm.verified == {b"a.message": 2}


def test_the_oldest_signatures_are_forgotten_first(
    key: PublicKey, algorithm: CountingEdDSA, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(keys, "SIGNATURES_REMEMBERED", 10)
    messages = [b"%d.message" % number for number in range(12)]
    for message in (*messages, *messages[2:], *messages[:2]):
        assert key.signed(message, PRIVATE.sign(message))
    assert algorithm.verified == dict.fromkeys(messages, 1) | dict.fromkeys(messages[:2], 2)


async def test_a_key_that_is_fetched_again_remembers_and_a_new_one_of_its_name_does_not(stage: Stage) -> None:
    issuer = Issuer(stage)
    issuer.add("first")
    found = IssuerKeys(issuer.jwks_url)
    await found.fetch()
    (old,) = found.at_hand("EdDSA", "first") or ()
    await found.fetch()
    assert found.at_hand("EdDSA", "first") == (old,)
    issuer.remove("first")
    issuer.add("first")
    await found.fetch()
    (new,) = found.at_hand("EdDSA", "first") or ()
    assert new is not old
    await found.close()
    issuer.cut()
