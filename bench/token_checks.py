"""CPU time of one token check of the service, for a shared secret and for a key of a JWKS."""

import asyncio
import json
import threading
import time
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from http.server import BaseHTTPRequestHandler, HTTPServer
from itertools import cycle, islice

import jwt
from cryptography.hazmat.primitives.asymmetric.ed25519 import Ed25519PrivateKey
from jwt.algorithms import OKPAlgorithm

from bench.tokens import SECRET, token
from taskservice.auth.keys import SIGNATURES_REMEMBERED
from taskservice.auth.tokens import TokenVerifier
from taskservice.settings import load_settings

CHECKS = 5000
ROUNDS = 5
ISSUER = "http://127.0.0.1"
USER = "reader-1"


async def _microseconds(verifier: TokenVerifier, bearers: Sequence[bytes]) -> float:
    """The fastest round: everything slower is somebody else's doing."""
    in_turn = cycle(bearers)
    for bearer in islice(in_turn, 100):
        principal = await verifier.verify(bearer)
        assert principal.user_id == USER
    rounds = []
    for _ in range(ROUNDS):
        start = time.process_time()
        for bearer in islice(in_turn, CHECKS):
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
    return asyncio.run(_microseconds(TokenVerifier(settings), [token(USER).encode()]))


def issuer_key(*, different: int) -> float:
    """With so many tokens in turn. More than a key remembers: each is checked as if it came for the first time."""
    private = Ed25519PrivateKey.generate()
    public = {**json.loads(OKPAlgorithm.to_jwk(private.public_key())), "kid": "bench", "alg": "EdDSA"}
    with _issuer(json.dumps({"keys": [public]}).encode()) as url:
        settings = load_settings({"BETTER_AUTH_URL": url})
        now = int(time.time())
        claims = {"sub": USER, "iss": url, "aud": url, "iat": now, "exp": now + 3600}
        bearers = [
            jwt.encode({**claims, "jti": str(number)}, private, algorithm="EdDSA", headers={"kid": "bench"}).encode()
            for number in range(different)
        ]
        return asyncio.run(_microseconds(TokenVerifier(settings), bearers))


def costs() -> dict[str, float]:
    return {
        "HS256": shared_secret(),
        "EdDSA, for the first time": issuer_key(different=SIGNATURES_REMEMBERED + 1),
        "EdDSA, of a token seen before": issuer_key(different=1),
    }
