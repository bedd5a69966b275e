"""Safe retries: the first answer to a key is kept in the transaction of its write, and given again."""

import datetime as dt
import hashlib
from collections.abc import Iterable
from typing import Any, Final

import msgspec
import sqlalchemy as sa
from msgspec import Struct
from sqlalchemy.dialects import postgresql

from taskservice import rules
from taskservice.database.pool import Transaction
from taskservice.database.statements import Statement
from taskservice.problems import IdempotencyKeyReused
from taskservice.tasks.models import idempotency_keys as keys
from taskservice.tasks.write_statements import TAKE_TURN

_owner, _route, _key = (sa.bindparam(name, type_=sa.Text) for name in ("user_id", "route", "key"))
_LIFETIME: Final = dt.timedelta(hours=rules.IDEMPOTENCY_HOURS)
_FIND: Final = Statement(
    sa.select(keys.c.fingerprint, keys.c.status, keys.c.headers, keys.c.body).where(
        keys.c.user_id == _owner,
        keys.c.route == _route,
        keys.c.key == _key,
        keys.c.created_at > sa.func.now() - sa.literal(_LIFETIME, sa.Interval),
    )
)


def _keeping() -> Statement:
    kept = {
        "fingerprint": sa.bindparam("fingerprint", type_=sa.LargeBinary),
        "status": sa.bindparam("status", type_=sa.SmallInteger),
        "headers": sa.bindparam("headers", type_=sa.Text),
        "body": sa.bindparam("body", type_=sa.LargeBinary),
    }
    insert = postgresql.insert(keys).values(user_id=_owner, route=_route, key=_key, **kept)
    # An expired row of the same key may still lie there.
    return Statement(
        insert.on_conflict_do_update(
            constraint=keys.primary_key, set_={name: insert.excluded[name] for name in (*kept, "created_at")}
        )
    )


_KEEP: Final = _keeping()


class Kept(Struct, frozen=True):
    """An answer as it was given."""

    status: int
    headers: list[tuple[bytes, bytes]]
    body: bytes


class IdempotencyKey(Struct, frozen=True):
    """One user's key for one route, and the request that it was sent with."""

    owner: str
    route: str
    key: str
    fingerprint: bytes

    @classmethod
    def of(cls, key: str, *, owner: str, route: str, request: Iterable[bytes | bytearray]) -> "IdempotencyKey":
        """`request`: the parts of all that makes two requests the same."""
        fingerprint = hashlib.sha256()
        for part in request:
            fingerprint.update(part)
        return cls(owner, route, key, fingerprint.digest())

    async def first_answer(self, transaction: Transaction) -> Kept | None:
        """The answer given before, if any. Waits for a request of this user that is being answered.

        Raises `IdempotencyKeyReused` if the key came with another request.
        """
        await transaction.fetch(*TAKE_TURN.call(user_id=self.owner, email=None, name=None))
        # A separate statement: the snapshot of the first one may be older than the answer of the writer before.
        rows = await transaction.fetch(*_FIND.call(**self._names()))
        if not rows:
            return None
        [row] = rows
        if row["fingerprint"] != self.fingerprint:
            raise IdempotencyKeyReused
        headers = msgspec.json.decode(row["headers"], type=list[tuple[bytes, bytes]])
        return Kept(row["status"], headers, row["body"])

    async def keep(self, transaction: Transaction, answer: Kept) -> None:
        values: dict[str, Any] = {
            "fingerprint": self.fingerprint,
            "status": answer.status,
            "headers": msgspec.json.encode(answer.headers).decode(),
            "body": answer.body,
        }
        await transaction.fetch(*_KEEP.call(**self._names(), **values))

    def _names(self) -> dict[str, str]:
        return {"user_id": self.owner, "route": self.route, "key": self.key}
