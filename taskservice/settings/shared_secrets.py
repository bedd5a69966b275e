"""Recognises weak shared secrets, and makes one for development."""

import os
import secrets
from pathlib import Path
from typing import Final

from jwt import InvalidKeyError
from jwt.algorithms import HMACAlgorithm

SECRET_MIN_BYTES: Final = 32
SECRET_MIN_VARIETY: Final = 9
"""How many different characters a secret must have; 32 random hexadecimal digits almost never have fewer."""
BETTER_AUTH_DEVELOPMENT_SECRET: Final = "better-auth-secret-12345678901234567890"  # noqa: S105 (public, and refused)


def may_be_secret(text: str) -> bool:
    """Not a public key, a certificate or a JWK: algorithm confusion is made of those, and PyJWT refuses them."""
    try:
        HMACAlgorithm(HMACAlgorithm.SHA256).prepare_key(text)
    except InvalidKeyError:
        return False
    return True


def weakness(secret: str) -> str | None:
    """Why this secret is weak; None for a good one."""
    if secret == BETTER_AUTH_DEVELOPMENT_SECRET:
        return "this is Better Auth's public development secret: anybody can sign tokens with it"
    repeats = any(secret == (secret[:length] * len(secret))[: len(secret)] for length in range(1, SECRET_MIN_VARIETY))
    if len(secret.encode()) < SECRET_MIN_BYTES:
        why = f"shorter than {SECRET_MIN_BYTES} bytes"
    elif repeats or len(set(secret)) < SECRET_MIN_VARIETY:
        why = "repeats the same few characters"
    else:
        return None
    return f"{why}, so it can be guessed; `openssl rand -base64 32` makes a good one"


def development_secret(data_dir: Path) -> str:
    """Made once and kept, so that tokens outlive a restart. Raises `ValueError` with a sentence."""
    path = data_dir / "development-secret"
    try:
        if not path.exists():
            _make_secret(path)
        secret = path.read_text("utf-8").strip()
    except UnicodeDecodeError:
        secret = ""
    except OSError as error:
        raise ValueError(f"{path} can be neither made nor read: {error.strerror}; or set BETTER_AUTH_SECRET") from None
    if weakness(secret):
        raise ValueError(f"{path} holds no good secret; remove it, and a new one is made at the next start")
    return secret


def _make_secret(path: Path) -> None:
    path.parent.mkdir(parents=True, exist_ok=True)
    draft = path.parent / f".development-secret.{os.getpid()}.{secrets.token_hex(4)}"
    draft.touch(mode=0o600)
    try:
        draft.write_text(secrets.token_urlsafe(48), "utf-8")
        # A hard link appears whole or not at all, and fails if another worker was first.
        path.hardlink_to(draft)
    except FileExistsError:
        pass
    finally:
        draft.unlink()
