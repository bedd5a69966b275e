"""CPU time of one token check of the service, for a shared secret and for a key of a JWKS."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from bench.tokens import SECRET, token
from taskservice.auth.tokens import TokenVerifier
from taskservice.settings import load_settings

CHECKS = 5000
ROUNDS = 5
ISSUER = "http://127.0.0.1"
USER = "reader-1"


async def _microseconds(verifier: TokenVerifier, bearer: bytes) -> float:
    """The fastest round: everything slower is somebody else's doing."""
    for _ in range(100):
        principal = await verifier.verify(bearer)
        assert principal.user_id == USER
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for _ in range(CHECKS):
            await verifier.verify(bearer)
        rounds.append(time.process_time() - start)
    return min(rounds) / CHECKS * 1e6


@contextmanager
def _issuer(jwks: bytes) -> Iterator[str]:
    """An issuer on loopback that serves its public keys."""

    class Handler(BaseHTTPRequestHandler):
        def do_GET(self) -> None:
            self.send_response(200)
            self.send_header("Content-Type", "application/json")
            self.send_header("Content-Length", str(len(jwks)))
            self.end_headers()
            self.wfile.write(jwks)

        def log_message(self, format: str, *args: object) -> None:  # noqa: A002 (the parent's name)
            pass

    server = HTTPServer(("127.0.0.1", 0), Handler)
    threading.Thread(target=server.serve_forever, daemon=True).start()
    try:
        yield f"http://127.0.0.1:{server.server_port}"
    finally:
        server.shutdown()
        server.server_close()


def shared_secret() -> float:
    settings = load_settings({"BETTER_AUTH_SECRET": SECRET})
    return asyncio.run(_microseconds(TokenVerifier(settings), token(USER).encode()))


def issuer_key() -> float:
    private = Ed25519PrivateKey.generate()
    public = {**json.loads(OKPAlgorithm.to_jwk(private.public_key())), "kid": "bench", "alg": "EdDSA"}
    with _issuer(json.dumps({"keys": [public]}).encode()) as url:
        settings = load_settings({"BETTER_AUTH_URL": url})
        now = int(time.time())
        claims = {"sub": USER, "iss": url, "aud": url, "iat": now, "exp": now + 3600}
        bearer = jwt.encode(claims, private, algorithm="EdDSA", headers={"kid": "bench"})
        return asyncio.run(_microseconds(TokenVerifier(settings), bearer.encode()))


def costs() -> dict[str, float]:
    return {"HS256": shared_secret(), "EdDSA": issuer_key()}
