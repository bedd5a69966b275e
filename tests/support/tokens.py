"""Tokens as other parties make them: front ends, Better Auth, and attackers."""

import json
import time
from typing import Any

from jwt import PyJWS

from tests.support.services import SECRET


def signed(claims: dict[str, Any], *, secret: str = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    """Exactly these claims, sound or not; one hour of life unless they say otherwise."""
    return unlimited({"exp": int(time.time()) + 3600} | claims, secret=secret, algorithm=algorithm, **header)


def unlimited(claims: dict[str, Any], *, secret: str = SECRET, algorithm: str = "HS256", **header: Any) -> str:
    """Without a claim that was not asked for, `exp` included."""
    # Not through PyJWT's `encode`, which has an opinion on the claims.
    return PyJWS().encode(json.dumps(claims).encode(), secret, algorithm=algorithm, headers=header or None)


def expired(user: str) -> str:
    return signed({"sub": user, "exp": int(time.time()) - 1})


def bearer(token: str) -> dict[str, str]:
    return {"Authorization": f"Bearer {token}"}
