"""Bearer tokens for the bench: the same HS256 token for every candidate, as Better Auth would sign it."""

import time
from functools import cache

import jwt

SECRET = "bench-only-secret-0123456789abcdef-0123456789abcdef"


@cache
def token(user: str) -> str:
    now = int(time.time())
    claims = {"sub": user, "email": f"{user}@example.com", "name": user.title(), "iat": now, "exp": now + 86_400}
    return jwt.encode(claims, SECRET, algorithm="HS256")
