"""Every bad token there is, and the forger who makes them."""

import base64
import hashlib
import hmac
import json
import time
from collections.abc import Callable
from typing import Any

import jwt
from cryptography.hazmat.primitives import serialization

from tests.auth.issuer import Issuer, base64url, jwk_of
from tests.support.services import SECRET

INVALID = 'Bearer realm="taskservice", error="invalid_token", error_description="Invalid token"'
EXPIRED = 'Bearer realm="taskservice", error="invalid_token", error_description="Token expired"'
NO_CREDENTIALS = 'Bearer realm="taskservice"'

NOW = int(time.time())
SOUND = {"sub": "ann", "email": "ann@example.test", "iat": NOW, "exp": NOW + 3600}
SESSION = {"id": "session-id", "userId": "ann", "token": "session-token"}
USER = {"id": "ann", "email": "ann@example.test", "name": "Ann Lee"}


def raw(header: bytes, payload: bytes, *, secret: bytes = SECRET.encode(), digest: Any = hashlib.sha256) -> str:
    """Signed with HMAC, whatever header and payload say."""
    message = f"{base64url(header)}.{base64url(payload)}"
    return f"{message}.{base64url(hmac.digest(secret, message.encode(), digest))}"


class Forger:
    """Knows the shared secret and owns an issuer, so it can make anything."""

    def __init__(self, issuer: Issuer) -> None:
        self.issuer = issuer
        issuer.add("ed")
        issuer.add("ed-2")
        issuer.add("ec", "ES256")
        issuer.add("rsa", "RS256")

    def shared(self, claims: dict[str, Any] | bytes, *, secret: bytes = SECRET.encode(), **header: Any) -> str:
        payload = claims if isinstance(claims, bytes) else json.dumps(claims).encode()
        return raw(json.dumps({"alg": "HS256"} | header).encode(), payload, secret=secret)

    def sound(self, **changes: Any) -> str:
        """A token with which nothing is wrong but the changes. None leaves a claim out."""
        return self.shared({name: value for name, value in (SOUND | changes).items() if value is not Absent})

    def issued(self, key: str = "ed", claims: dict[str, Any] | None = None, **header: Any) -> str:
        return self.issuer.token(key, claims, **header).decode()

    def public_pem(self, key: str) -> bytes:
        return self._public(key, serialization.Encoding.PEM, serialization.PublicFormat.SubjectPublicKeyInfo)

    def public_der(self, key: str) -> bytes:
        return self._public(key, serialization.Encoding.DER, serialization.PublicFormat.SubjectPublicKeyInfo)

    def public_raw(self, key: str) -> bytes:
        return self._public(key, serialization.Encoding.Raw, serialization.PublicFormat.Raw)

    def _public(self, key: str, encoding: serialization.Encoding, form: serialization.PublicFormat) -> bytes:
        public: bytes = self.issuer.private_keys[key][1].public_key().public_bytes(encoding, form)
        return public

    def public_jwk(self, key: str) -> bytes:
        return json.dumps(jwk_of(self.issuer.private_keys[key][1])).encode()

    def swapped(self, algorithm: str, key: str) -> str:
        """Signed with one of the issuer's keys, under a header that names another algorithm."""
        header, payload, _ = self.issued(key).split(".")
        header = base64url(json.dumps({"alg": algorithm, "kid": key}).encode())
        its_algorithm, private_key = self.issuer.private_keys[key]
        signer = jwt.PyJWS().get_algorithm_by_name(its_algorithm)
        return f"{header}.{payload}.{base64url(signer.sign(f'{header}.{payload}'.encode(), private_key))}"


Absent = object()
Forgery = Callable[[Forger], str | bytes]
HeaderCase = tuple[Callable[[str], list[str]], str, str]
"""What stands in the headers, given a sound token; the detail and the challenge of the answer."""


def unsigned(header: bytes) -> str:
    return f"{base64url(header)}.{base64url(json.dumps(SOUND).encode())}."


def with_signature(token: str, change: Callable[[str], str]) -> str:
    head, _, signature = token.rpartition(".")
    return f"{head}.{change(signature)}"


def with_payload(token: str, change: Callable[[str], str]) -> str:
    header, payload, signature = token.split(".")
    return f"{header}.{change(payload)}.{signature}"


def another_spelling(segment: str) -> str:
    """The same bytes in base64url, with the unused bits of the last digit set."""
    digits = "ABCDEFGHIJKLMNOPQRSTUVWXYZabcdefghijklmnopqrstuvwxyz0123456789-_"
    return segment[:-1] + digits[digits.index(segment[-1]) + 1]


def text(**claims: str) -> bytes:
    """A payload with claims written exactly like this."""
    return ("{" + ",".join(f'"{name}":{value}' for name, value in claims.items()) + "}").encode()


BAD: dict[str, Forgery] = {
    # not a token
    "a word": lambda f: "token",
    "a session token of Better Auth": lambda f: "pEu2S7yFgZEnad7luQ17C7i1GEaruXRd",
    "a signed session cookie": lambda f: "pEu2S7yFgZEnad7luQ17C7i1GEaruXRd." + base64.b64encode(b"x" * 32).decode(),
    "a compact cookie cache": lambda f: base64url(json.dumps({"session": {"session": SESSION, "user": USER}}).encode()),
    "one dot": lambda f: ".",
    "two dots": lambda f: "..",
    "only a header": lambda f: f.sound().split(".")[0],
    "no signature part": lambda f: f.sound().rpartition(".")[0],
    "an empty signature": lambda f: with_signature(f.sound(), lambda _: ""),
    "an empty header": lambda f: "." + f.sound().partition(".")[2],
    "an empty payload": lambda f: f.shared(b""),
    "four parts": lambda f: f.sound() + ".x",
    "five parts, as if encrypted": lambda f: base64url(b'{"alg":"dir","enc":"A256CBC-HS512"}') + "..aXY.Y2lwaGVy.dGFn",
    "a sound token and a dot": lambda f: f.sound() + ".",
    "a dot and a sound token": lambda f: "." + f.sound(),
    "two sound tokens": lambda f: f.sound() + "," + f.sound(),
    "a sound token in quotes": lambda f: f'"{f.sound()}"',
    "a blank inside": lambda f: f.sound().replace(".", ". ", 1),
    "a tab inside": lambda f: f.sound().replace(".", ".\t", 1),
    "not ASCII": lambda f: f.sound().encode() + b"\xc3\xa9",
    "not UTF-8": lambda f: b"\xff\xfe." + f.sound().encode(),
    "fullwidth letters": lambda f: f.sound().replace("e", "\uff45").encode(),
    "8193 bytes": lambda f: f.sound(padding="x" * 6000)[:8193].ljust(8193, "x"),
    "sound but too long": lambda f: f.sound(padding="x" * 8000),
    # the header
    "no alg": lambda f: raw(b'{"typ":"JWT"}', json.dumps(SOUND).encode()),
    "alg none": lambda f: unsigned(b'{"alg":"none"}'),
    "alg nOnE": lambda f: unsigned(b'{"alg":"nOnE"}'),
    "alg none with a signature": lambda f: f.shared(SOUND, alg="none"),
    "alg empty": lambda f: f.shared(SOUND, alg=""),
    "alg null": lambda f: f.shared(SOUND, alg=None),
    "alg a list": lambda f: f.shared(SOUND, alg=["HS256"]),
    "alg a number": lambda f: f.shared(SOUND, alg=256),
    "alg in small letters": lambda f: f.shared(SOUND, alg="hs256"),
    "alg with a blank": lambda f: f.shared(SOUND, alg="HS256 "),
    "alg twice": lambda f: raw(b'{"alg":"HS256","alg":"HS256"}', json.dumps(SOUND).encode()),
    "alg twice, once none": lambda f: raw(b'{"alg":"none","alg":"HS256"}', json.dumps(SOUND).encode()),
    "alg twice, once with escapes": lambda f: raw(b'{"alg":"HS256","\\u0061lg":"HS256"}', json.dumps(SOUND).encode()),
    "HS384": lambda f: raw(b'{"alg":"HS384"}', json.dumps(SOUND).encode(), digest=hashlib.sha384),
    "HS512": lambda f: raw(b'{"alg":"HS512"}', json.dumps(SOUND).encode(), digest=hashlib.sha512),
    "HS384 with the HS256 signature": lambda f: f.shared(SOUND, alg="HS384"),
    "a header that is a list": lambda f: raw(b'["HS256"]', json.dumps(SOUND).encode()),
    "a header that is a string": lambda f: raw(b'"HS256"', json.dumps(SOUND).encode()),
    "a header that is no JSON": lambda f: raw(b"HS256", json.dumps(SOUND).encode()),
    "a header that is no UTF-8": lambda f: raw(b'{"alg":"HS256","x":"\xff"}', json.dumps(SOUND).encode()),
    "a header in UTF-16": lambda f: raw('{"alg":"HS256"}'.encode("utf-16"), json.dumps(SOUND).encode()),
    "a header nested a thousandfold": lambda f: raw(
        b'{"alg":"HS256","x":' + b"[" * 2000 + b"]" * 2000 + b"}", json.dumps(SOUND).encode()
    ),
    "a header with NaN": lambda f: raw(b'{"alg":"HS256","x":NaN}', json.dumps(SOUND).encode()),
    "crit of something unknown": lambda f: f.shared(SOUND, crit=["exp2"], exp2=1),
    "crit of b64": lambda f: f.shared(SOUND, crit=["b64"], b64=True),
    "crit empty": lambda f: f.shared(SOUND, crit=[]),
    "b64 false": lambda f: f.shared(SOUND, b64=False, crit=["b64"]),
    "zip": lambda f: f.shared(SOUND, zip="DEF"),
    "typ a number": lambda f: f.shared(SOUND, typ=1),
    "kid a number": lambda f: f.shared(SOUND, kid=1),
    "kid null": lambda f: f.shared(SOUND, kid=None),
    "kid empty": lambda f: f.issued(kid=""),
    "kid of 129 characters": lambda f: f.issued(kid="k" * 129),
    "kid a path, signed with nothing": lambda f: f.shared(SOUND, secret=b"", kid="../../../../dev/null"),
    "kid an injection, signed with its answer": lambda f: f.shared(SOUND, secret=b"x", kid="' UNION SELECT 'x"),
    "kid of another key": lambda f: f.issued("ed", kid="ec"),
    "no kid with several keys of the algorithm": lambda f: f.issued("ed", kid=None, alg="EdDSA"),
    "jku to the attacker": lambda f: f.issued(jku="https://evil.test/jwks"),
    "jku with the right key": lambda f: f.shared(SOUND, jku=f.issuer.jwks_url),
    "x5u": lambda f: f.shared(SOUND, x5u="https://evil.test/cert.pem"),
    "x5c": lambda f: f.shared(SOUND, x5c=["MIIB"]),
    # the signature
    "another secret": lambda f: f.shared(SOUND, secret=b"another-secret-that-is-long-enough-0123456789"),
    "an empty secret": lambda f: f.shared(SOUND, secret=b""),
    "the secret decoded from base64": lambda f: f.shared(SOUND, secret=base64.urlsafe_b64decode(SECRET[:44])),
    "Better Auth's public development secret": lambda f: f.shared(
        SOUND, secret=b"better-auth-secret-12345678901234567890"
    ),
    "signature shortened": lambda f: with_signature(f.sound(), lambda s: s[:-1]),
    "signature shortened to nothing much": lambda f: with_signature(f.sound(), lambda s: s[:4]),
    "signature lengthened": lambda f: with_signature(f.sound(), lambda s: s + "AAAA"),
    "signature padded": lambda f: with_signature(f.sound(), lambda s: s + "="),
    "signature with stray characters": lambda f: with_signature(f.sound(), lambda s: s[:8] + "!!!!" + s[8:]),
    "signature with padding inside": lambda f: with_signature(f.sound(), lambda s: s[:8] + "====" + s[8:]),
    "signature spelt otherwise": lambda f: with_signature(f.sound(), another_spelling),
    "signature in ordinary base64": lambda f: with_signature(
        f.sound(), lambda s: base64.b64encode(base64.urlsafe_b64decode(s + "=")).decode()
    ),
    "signature in hexadecimal": lambda f: with_signature(f.sound(), lambda s: base64.urlsafe_b64decode(s + "=").hex()),
    "signature of zeros": lambda f: with_signature(f.sound(), lambda s: base64url(bytes(32))),
    "signature with one bit changed": lambda f: with_signature(
        f.sound(), lambda s: ("A" if s[0] != "A" else "B") + s[1:]
    ),
    "signature of another token": lambda f: with_signature(f.sound(), lambda _: f.sound(sub="bob").rpartition(".")[2]),
    "payload of another token": lambda f: with_payload(f.sound(), lambda _: f.sound(sub="bob").split(".")[1]),
    "payload padded": lambda f: with_payload(f.sound(), lambda p: p + "="),
    "payload with a line break": lambda f: with_payload(f.sound(), lambda p: p[:8] + "%0a" + p[8:]),
    "EdDSA signature shortened": lambda f: with_signature(f.issued(), lambda s: s[:-2]),
    "EdDSA signature of zeros": lambda f: with_signature(f.issued(), lambda s: base64url(bytes(64))),
    "ES256 signature of zeros (psychic)": lambda f: with_signature(f.issued("ec"), lambda s: base64url(bytes(64))),
    "ES256 signature in DER": lambda f: with_signature(
        f.issued("ec"), lambda s: base64url(b"\x30\x44\x02\x20" + b"\1" * 32 + b"\x02\x20" + b"\1" * 32)
    ),
    "RS256 signature empty": lambda f: with_signature(f.issued("rsa"), lambda _: ""),
    "RS256 signature of ones": lambda f: with_signature(f.issued("rsa"), lambda _: base64url(b"\0" * 255 + b"\1")),
    # one algorithm taken for another
    "HS256 with the RSA key in PEM": lambda f: f.shared(SOUND, secret=f.public_pem("rsa")),
    "HS256 with the RSA key in PEM, named": lambda f: f.shared(SOUND, secret=f.public_pem("rsa"), kid="rsa"),
    "HS256 with the RSA key in DER": lambda f: f.shared(SOUND, secret=f.public_der("rsa"), kid="rsa"),
    "HS256 with the RSA JWK": lambda f: f.shared(SOUND, secret=f.public_jwk("rsa"), kid="rsa"),
    "HS256 with the Ed25519 key raw": lambda f: f.shared(SOUND, secret=f.public_raw("ed"), kid="ed"),
    "HS256 with the Ed25519 key in PEM": lambda f: f.shared(SOUND, secret=f.public_pem("ed"), kid="ed"),
    "HS256 with the Ed25519 key in base64": lambda f: f.shared(SOUND, secret=base64url(f.public_raw("ed")).encode()),
    "HS256 with the EC key in PEM": lambda f: f.shared(SOUND, secret=f.public_pem("ec"), kid="ec"),
    "HS256 with the EC JWK": lambda f: f.shared(SOUND, secret=f.public_jwk("ec"), kid="ec"),
    "EdDSA signed with the secret": lambda f: f.shared(SOUND, alg="EdDSA", kid="ed"),
    "RS256 signed with the secret": lambda f: f.shared(SOUND, alg="RS256", kid="rsa"),
    "ES256 with the kid of the RSA key": lambda f: f.swapped("ES256", "rsa"),
    "EdDSA with the kid of the RSA key": lambda f: f.swapped("EdDSA", "rsa"),
    "PS256 of a key made for RS256": lambda f: f.swapped("PS256", "rsa"),
    "RS512 of a key made for RS256": lambda f: f.swapped("RS512", "rsa"),
    "RS256 of the Ed25519 key": lambda f: f.swapped("RS256", "ed"),
    "ES512 of the P-256 key": lambda f: f.swapped("ES512", "ec"),
    "HS256 signed with the Ed25519 key": lambda f: f.swapped("HS256", "ed"),
    "none with the kid of a key": lambda f: f.swapped("none", "ed"),
    "Ed448": lambda f: f.swapped("Ed448", "ed"),
    "ES256K": lambda f: f.swapped("ES256K", "ec"),
    "ES384": lambda f: f.swapped("ES384", "ec"),
    # the payload
    "a payload that is a list": lambda f: f.shared(b"[]"),
    "a payload that is a string": lambda f: f.shared(b'"ann"'),
    "a payload that is null": lambda f: f.shared(b"null"),
    "a payload that is no JSON": lambda f: f.shared(b"sub=ann"),
    "a payload with something behind it": lambda f: f.shared(json.dumps(SOUND).encode() + b"{}"),
    "a payload in UTF-16": lambda f: f.shared(json.dumps(SOUND).encode("utf-16")),
    "a payload with a byte order mark": lambda f: f.shared(b"\xef\xbb\xbf" + json.dumps(SOUND).encode()),
    "a payload nested a thousandfold": lambda f: f.shared(
        text(sub='"ann"', exp=str(NOW + 60), user="[" * 2000 + "]" * 2000)
    ),
    "a token within a token": lambda f: f.shared(f.sound().encode(), cty="JWT"),
    "a trailing comma": lambda f: f.shared(json.dumps(SOUND).encode()[:-1] + b",}"),
    # when
    "no exp": lambda f: f.sound(exp=Absent),
    "exp null": lambda f: f.sound(exp=None),
    "exp a string": lambda f: f.sound(exp=str(NOW + 3600)),
    "exp a date": lambda f: f.sound(exp="2099-01-01T00:00:00Z"),
    "exp true": lambda f: f.sound(exp=True),
    "exp a list": lambda f: f.sound(exp=[NOW + 3600]),
    "exp an object": lambda f: f.sound(exp={"$numberLong": NOW + 3600}),
    "exp NaN": lambda f: f.shared(text(sub='"ann"', exp="NaN")),
    "exp Infinity": lambda f: f.shared(text(sub='"ann"', exp="Infinity")),
    "exp 1e400": lambda f: f.shared(text(sub='"ann"', exp="1e400")),
    "exp of five thousand digits": lambda f: f.shared(text(sub='"ann"', exp="9" * 5000)),
    "exp in milliseconds": lambda f: f.sound(exp=(NOW + 3600) * 1000),
    "exp twice": lambda f: f.shared(text(sub='"ann"', exp=str(NOW - 60)).replace(b"}", b',"exp":9999999999}')),
    "iat in the future": lambda f: f.sound(iat=NOW + 600),
    "iat a string": lambda f: f.sound(iat=str(NOW)),
    "iat null": lambda f: f.sound(iat=None),
    "iat true": lambda f: f.sound(iat=True),
    "nbf in the future": lambda f: f.sound(nbf=NOW + 600),
    "nbf a string": lambda f: f.sound(nbf="0"),
    "nbf null": lambda f: f.sound(nbf=None),
    # who
    "nobody": lambda f: f.sound(sub=Absent, email=Absent),
    "sub null": lambda f: f.sound(sub=None),
    "sub null, user_id sound": lambda f: f.sound(sub=None, user_id="ann"),
    "sub empty": lambda f: f.sound(sub=""),
    "sub empty, user_id sound": lambda f: f.sound(sub="", user_id="ann"),
    "sub a number": lambda f: f.sound(sub=7),
    "sub true": lambda f: f.sound(sub=True),
    "sub a list": lambda f: f.sound(sub=["ann"]),
    "sub an object": lambda f: f.sound(sub={"id": "ann"}),
    "sub with NUL": lambda f: f.sound(sub="ann\0"),
    "sub with a line break": lambda f: f.sound(sub="ann\n"),
    "sub with a lone surrogate": lambda f: f.sound(sub="\ud800"),
    "sub with a zero-width space": lambda f: f.sound(sub="ann\u200b"),
    "sub with a right-to-left override": lambda f: f.sound(sub="\u202eann"),
    "sub of 256 characters": lambda f: f.sound(sub="a" * 256),
    "sub twice": lambda f: f.shared(text(sub='"bob"', exp=str(NOW + 60)).replace(b"}", b',"sub":"ann"}')),
    "sub twice, once with escapes": lambda f: f.shared(
        text(sub='"bob"', exp=str(NOW + 60)).replace(b"}", b',"\\u0073ub":"ann"}')
    ),
    "user_id a number": lambda f: f.sound(sub=Absent, user_id=7),
    "user_id empty": lambda f: f.sound(sub=Absent, user_id=""),
    "user_id twice": lambda f: f.shared(text(user_id='"bob"', exp=str(NOW + 60)).replace(b"}", b',"user_id":"ann"}')),
    "only id": lambda f: f.sound(sub=Absent, id="ann"),
    "only userId": lambda f: f.sound(sub=Absent, userId="ann"),
    "only an e-mail address": lambda f: f.sound(sub=Absent),
    "an e-mail verification link": lambda f: f.shared(
        {"email": "ann@example.test", "userId": "ann", "iat": NOW, "exp": NOW + 3600}
    ),
    "an e-mail verification link of an older Better Auth": lambda f: f.shared(
        {"email": "ann@example.test", "iat": NOW, "exp": NOW + 3600}
    ),
    "a change-of-address link": lambda f: f.sound(
        sub=Absent, updateTo="eve@example.test", requestType="change-email-verification"
    ),
    # Better Auth's cookie cache
    "cookie cache of two users": lambda f: f.sound(sub=Absent, user=USER, session=SESSION | {"userId": "bob"}),
    "cookie cache without a session": lambda f: f.sound(sub=Absent, user=USER),
    "cookie cache without a user": lambda f: f.sound(sub=Absent, session=SESSION),
    "cookie cache without userId": lambda f: f.sound(sub=Absent, user=USER, session={"id": "ann"}),
    "cookie cache with numbers": lambda f: f.sound(sub=Absent, user={"id": 7}, session={"userId": 7}),
    "cookie cache with empty ids": lambda f: f.sound(sub=Absent, user={"id": ""}, session={"userId": ""}),
    "cookie cache with lists": lambda f: f.sound(sub=Absent, user=[USER], session=[SESSION]),
    "cookie cache with null": lambda f: f.sound(sub=Absent, user=None, session=None),
    "cookie cache with strings": lambda f: f.sound(sub=Absent, user="ann", session="ann"),
    "cookie cache with an id twice": lambda f: f.shared(
        text(user='{"id":"bob","id":"ann"}', session='{"userId":"ann"}', exp=str(NOW + 60))
    ),
    "cookie cache with two users": lambda f: f.shared(
        b'{"user":{"id":"bob"},"user":{"id":"ann"},"session":{"userId":"ann"},"exp":%d}' % (NOW + 60)
    ),
    "cookie cache signed by the issuer": lambda f: f.issued("ed", {"sub": None, "user": USER, "session": SESSION}),
    # for whom, by whom (always asked of what the issuer signs)
    "issued for another audience": lambda f: f.issued("ed", {"aud": "https://other.test"}),
    "issued for a list without us": lambda f: f.issued("ed", {"aud": ["https://other.test", "tasks"]}),
    "issued for nobody": lambda f: f.issued("ed", {"aud": None}),
    "issued for an empty list": lambda f: f.issued("ed", {"aud": []}),
    "issued for a number": lambda f: f.issued("ed", {"aud": 7}),
    "issued for a list of numbers": lambda f: f.issued("ed", {"aud": [7]}),
    "issued for an audience that begins like ours": lambda f: f.issued("ed", {"aud": f.issuer.origin + "/x"}),
    "issued for our audience twice": lambda f: f.issued("ed", {"aud": f.issuer.origin + " " + f.issuer.origin}),
    "the session cache": lambda f: f.issued(
        "ed", {"aud": "better-auth:session-cache"}, typ="better-auth.session-cache+jwt"
    ),
    "issued by another": lambda f: f.issued("ed", {"iss": "https://evil.test"}),
    "issued by nobody": lambda f: f.issued("ed", {"iss": None}),
    "issued by a list": lambda f: f.issued("ed", {"iss": [f.issuer.origin]}),
    "issued by us and a slash": lambda f: f.issued("ed", {"iss": f.issuer.origin + "/"}),
    "issued without sub": lambda f: f.issued("ed", {"sub": None, "id": "ann"}),
    "issued without exp": lambda f: f.issued("ed", {"exp": None}),
    "a shared-secret token with an odd aud": lambda f: f.sound(aud=7),
    "a shared-secret token with an odd iss": lambda f: f.sound(iss=7),
    # an unknown key, of a token that is refused whatever its key is
    "unknown kid, another audience": lambda f: f.issued("ed", {"aud": "https://other.test"}, kid="unknown"),
    "unknown kid, no exp": lambda f: f.issued("ed", {"exp": None}, kid="unknown"),
    "unknown kid, nobody": lambda f: f.issued("ed", {"sub": None}, kid="unknown"),
}

UNKNOWN_KEYS: dict[str, Forgery] = {
    "that nobody has": lambda f: f.issued(kid="unknown"),
    "that is a path": lambda f: f.issued(kid="../../../../dev/null"),
    "that is an injection": lambda f: f.issued(kid="' UNION SELECT 'secret"),
    "that is an address": lambda f: f.issued(kid="https://evil.test/jwks.json"),
    "that is not ASCII": lambda f: f.issued(kid="schlüssel"),
    "that looks like a known one": lambda f: f.issued(kid="ed "),
}
"""Otherwise sound, so that the key server has to be asked."""

RUN_OUT: dict[str, Forgery] = {
    "a second ago": lambda f: f.sound(exp=int(time.time()) - 1),
    "half a second ago": lambda f: f.sound(exp=time.time() - 0.5),
    "this very moment": lambda f: f.sound(exp=int(time.time())),
    "in 1970": lambda f: f.sound(exp=3600),
    "at zero": lambda f: f.sound(exp=0),
    "below zero": lambda f: f.sound(exp=-(2**62)),
    "of the issuer": lambda f: f.issued("ed", {"exp": NOW - 1}),
    "by user_id": lambda f: f.sound(sub=Absent, user_id="ann", exp=NOW - 1),
    "a cookie cache": lambda f: f.sound(sub=Absent, user=USER, session=SESSION, exp=NOW - 1),
}

HEADERS: dict[str, HeaderCase] = {
    "no header": (lambda token: [], "Missing authentication", NO_CREDENTIALS),
    "an empty header": (lambda token: [""], "Missing authentication", NO_CREDENTIALS),
    "only the scheme": (lambda token: ["Bearer"], "Invalid token", INVALID),
    "no scheme": (lambda token: [token], "Invalid token", NO_CREDENTIALS),
    "Basic": (lambda token: ["Basic YW5uOnNlY3JldA=="], "Invalid token", NO_CREDENTIALS),
    "Basic with a token": (lambda token: [f"Basic {token}"], "Invalid token", NO_CREDENTIALS),
    "DPoP": (lambda token: [f"DPoP {token}"], "Invalid token", NO_CREDENTIALS),
    "Token": (lambda token: [f"Token {token}"], "Invalid token", NO_CREDENTIALS),
    "JWT": (lambda token: [f"JWT {token}"], "Invalid token", NO_CREDENTIALS),
    "a colon behind the scheme": (lambda token: [f"Bearer: {token}"], "Invalid token", NO_CREDENTIALS),
    "a tab behind the scheme": (lambda token: [f"Bearer\t{token}"], "Invalid token", NO_CREDENTIALS),
    "the scheme twice": (lambda token: [f"Bearer Bearer {token}"], "Invalid token", INVALID),
    "two headers": (lambda token: [f"Bearer {token}", f"Bearer {token}"], "Invalid token", NO_CREDENTIALS),
    "two headers, one empty": (lambda token: ["", f"Bearer {token}"], "Invalid token", NO_CREDENTIALS),
    "Basic and Bearer": (lambda token: ["Basic YTpi", f"Bearer {token}"], "Invalid token", NO_CREDENTIALS),
    "two tokens": (lambda token: [f"Bearer {token}, Bearer {token}"], "Invalid token", INVALID),
    "parameters": (lambda token: [f'Bearer token="{token}"'], "Invalid token", INVALID),
}
