"""Safe retries over HTTP: handles `Idempotency-Key`. The kept answers are in `tasks.idempotency`."""

import re
from collections.abc import Awaitable, Callable
from typing import Final, TypeVar

from taskservice import rules
from taskservice.api.conditional import sent_as
from taskservice.api.request import TaskRequest
from taskservice.api.responses import Answer
from taskservice.tasks.idempotency import IdempotencyKey, Kept
from taskservice.tasks.store import TaskStore
from taskservice.tasks.validation import Invalid

T = TypeVar("T")

_PRINTABLE: Final = re.compile(rb"[\x20-\x7e]{1,%d}" % rules.IDEMPOTENCY_KEY_MAX)
_REPLAYED: Final = (b"idempotency-replayed", b"true")


async def read_idempotency_key(
    request: TaskRequest, sent: str | None, *, body: bytearray | None = None
) -> IdempotencyKey | None:
    """The request's key. `sent` is what Litestar found: None, or one of several values; all are checked here.

    `body`: what the handler has read by itself.
    """
    if sent is None:
        return None
    values = sent_as(request.scope, b"idempotency-key")
    value = values[0].strip()
    limit = rules.IDEMPOTENCY_KEY_MAX
    if len(values) > 1:
        request.note(Invalid("repeated", "must be given once"), "Idempotency-Key", "header")
    elif not _PRINTABLE.fullmatch(value):
        message = f"must be 1 to {limit} printable ASCII characters"
        request.note(Invalid("characters", message, limit=limit), "Idempotency-Key", "header")
    else:
        scope = request.scope
        return IdempotencyKey.of(
            value.decode("ascii"),
            owner=request.owner,
            route=f"{scope['method']} {scope['path_template']}",
            request=(
                scope["path"].encode() + b"?" + scope["query_string"] + b"\n",
                # With it a PUT creates. `If-Match` does not count: it may be newer when a request is repeated.
                *sent_as(scope, b"if-none-match"),
                await request.body() if body is None else body,
            ),
        )
    return None


async def once(
    request: TaskRequest,
    key: IdempotencyKey | None,
    work: Callable[[TaskStore], Awaitable[Answer[T]]],
    *,
    always_transact: bool = False,
) -> Answer[T]:
    """Does the work, or gives the answer that it gave the first time this key came."""
    service = request.service
    if key is None and not always_transact:
        return await work(service.tasks)
    async with service.pool.transaction(writer=request.owner) as transaction:
        tasks = service.tasks.within(transaction)
        if key is None:
            return await work(tasks)
        kept = await key.first_answer(transaction)
        if kept is not None:
            return Answer.replay(kept.status, [*kept.headers, _REPLAYED], kept.body)
        answer = await work(tasks)
        await key.keep(transaction, Kept(answer.status_code, list(answer.extra_headers), answer.body()))
        return answer
