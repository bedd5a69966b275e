"""Better Auth's side of a shared database: its table of users, as its own migration makes it."""

from typing import Final

USERS_TABLE: Final = """
CREATE TABLE IF NOT EXISTS "user" (
    id text PRIMARY KEY, name text NOT NULL, email text NOT NULL UNIQUE, "emailVerified" boolean NOT NULL, image text,
    "createdAt" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP,
    "updatedAt" timestamptz NOT NULL DEFAULT CURRENT_TIMESTAMP
)
"""


SIGN_UP: Final = (
    'INSERT INTO "user" (id, name, email, "emailVerified") VALUES ($1, $1, $1 || \'@example.test\', true) '
    "ON CONFLICT DO NOTHING"
)
