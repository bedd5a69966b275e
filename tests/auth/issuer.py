"""A key server as Better Auth is one: a JWKS over real HTTP, and private keys to sign with. It goes wrong on demand."""

import asyncio
import base64
import json
import time
from typing import Any

import jwt
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from jwt.algorithms import ECAlgorithm, OKPAlgorithm, RSAAlgorithm

from tests.support.stage import Stage

RSA_KEY = rsa.generate_private_key(public_exponent=65537, key_size=2048)
"""Made once: it takes long."""


def new_key(algorithm: str) -> Any:
    match algorithm:
        case "EdDSA":
            return ed25519.Ed25519PrivateKey.generate()
        case "ES256":
            return ec.generate_private_key(ec.SECP256R1())
        case "ES512":
            return ec.generate_private_key(ec.SECP521R1())
    return RSA_KEY


def jwk_of(private_key: Any) -> dict[str, Any]:
    """Its public half, as Better Auth sends it: without `use` and `key_ops`."""
    public_key = private_key.public_key()
    if isinstance(private_key, ed25519.Ed25519PrivateKey):
        jwk = OKPAlgorithm.to_jwk(public_key, as_dict=True)
    elif isinstance(private_key, rsa.RSAPrivateKey):
        jwk = RSAAlgorithm.to_jwk(public_key, as_dict=True)
    else:
        jwk = ECAlgorithm.to_jwk(public_key, as_dict=True)
    return {name: value for name, value in jwk.items() if name not in {"key_ops", "use"}}


class Issuer:
    """Serves its JWKS at `jwks_url` until `cut`; counts `requests`."""

    def __init__(self, stage: Stage) -> None:
        self._stage = stage
        self._server: asyncio.Server | None = None
        self._answering: dict[asyncio.StreamWriter, asyncio.Task[None]] = {}
        self.private_keys: dict[str, tuple[str, Any]] = {}
        self.jwks: list[Any] = []
        self.requests = 0
        self.delay = 0.0
        self.status = "200 OK"
        self.headers: dict[str, str] = {}
        self.body: bytes | None = None
        self.port = 0
        self.mend()
        self.origin = f"http://127.0.0.1:{self.port}"
        self.jwks_url = f"{self.origin}/api/auth/jwks"

    def add(self, kid: str, algorithm: str = "EdDSA", **members: Any) -> None:
        """A new key; `members` change or (None) remove parts of its JWK."""
        key = new_key(algorithm)
        self.private_keys[kid] = (algorithm, key)
        jwk = {"alg": algorithm, "kid": kid} | jwk_of(key) | members
        self.jwks.append({name: value for name, value in jwk.items() if value is not None})

    def remove(self, kid: str) -> None:
        self.jwks = [jwk for jwk in self.jwks if jwk.get("kid") != kid]

    def token(self, name: str, claims: dict[str, Any] | None = None, **header: Any) -> bytes:
        """A token as the JWT plugin makes it, signed with that key. What is None is left out."""
        algorithm, key = self.private_keys[name]
        now = int(time.time())
        all_claims = {"sub": "ann", "iat": now, "exp": now + 900, "iss": self.origin, "aud": self.origin} | (
            claims or {}
        )
        # As bytes: PyJWT would not sign some of the claims that tests need.
        payload = json.dumps({name: value for name, value in all_claims.items() if value is not None})
        return (
            jwt.PyJWS()
            .encode(
                payload.encode(),
                key,
                algorithm=algorithm,
                headers={
                    part: value for part, value in ({"kid": name, "typ": ""} | header).items() if value is not None
                },
            )
            .encode()
        )

    def cut(self) -> None:
        self._stage.run(self._close())

    def mend(self) -> None:
        self._stage.run(self._listen())

    async def _listen(self) -> None:
        self._server = await asyncio.start_server(self._accept, "127.0.0.1", self.port, backlog=512)
        self.port = self._server.sockets[0].getsockname()[1]

    async def _close(self) -> None:
        if self._server is not None:
            self._server.close()
        answering = dict(self._answering)
        for writer, task in answering.items():
            writer.transport.abort()
            task.cancel()
        await asyncio.gather(*answering.values(), return_exceptions=True)

    def _accept(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        self._answering[writer] = asyncio.get_running_loop().create_task(self._answer(reader, writer))

    async def _answer(self, reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        try:
            await reader.readuntil(b"\r\n\r\n")
            self.requests += 1
            # What it knows when it is asked, not when it answers.
            body = self.body if self.body is not None else json.dumps({"keys": self.jwks}).encode()
            await asyncio.sleep(self.delay)
            headers = {"Content-Length": str(len(body)), "Connection": "close"} | self.headers
            lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
            writer.write(f"HTTP/1.1 {self.status}\r\n{lines}\r\n".encode() + body)
            await writer.drain()
        except (asyncio.IncompleteReadError, OSError):
            pass
        finally:
            del self._answering[writer]
            writer.close()


def base64url(data: bytes) -> str:
    return base64.urlsafe_b64encode(data).rstrip(b"=").decode()
