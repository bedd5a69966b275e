"""The acknowledgement of a COMMIT is lost: nobody knows whether the write is there, so nobody may repeat it."""

import pytest

from bench.http import Answer, request
from bench.reliability.database import KillablePostgres
from bench.reliability.program import Program
from bench.reliability.wire import Wire

pytestmark = pytest.mark.timing


async def written_without_answer(program: Program, wire: Wire, after: bytes, raw: bytes) -> Answer:
    wire.lose_answer_after(after)
    answer = await program.once(raw)
    assert wire.lost.is_set()
    return answer


async def test_a_write_is_503_and_stands_there_once(postgres: KillablePostgres, program: Program, wire: Wire) -> None:
    raw = request("POST", "/api/tasks", "lost", {"title": "lost one"})
    answer = await written_without_answer(program, wire, b"lost one", raw)
    assert answer.status == 503
    assert len(await postgres.rows("SELECT FROM tasks WHERE user_id = 'lost'")) == 1


async def test_a_retry_with_the_same_key_finds_the_first_answer(
    postgres: KillablePostgres, program: Program, wire: Wire
) -> None:
    raw = request("POST", "/api/tasks", "keyed", {"title": "keyed one"}, {"Idempotency-Key": "the-key"})
    answer = await written_without_answer(program, wire, b"COMMIT", raw)
    assert answer.status == 503
    again = await program.once(raw)
    assert again.status == 201
    assert again.headers["idempotency-replayed"] == "true"
    assert len(await postgres.rows("SELECT FROM tasks WHERE user_id = 'keyed'")) == 1


async def test_a_read_is_asked_again_without_the_client_noticing(program: Program, wire: Wire) -> None:
    await program.once(request("POST", "/api/tasks", "reader", {"title": "read me"}))
    answer = await written_without_answer(program, wire, b"reader", request("GET", "/api/tasks", "reader"))
    assert answer.status == 200
    assert b"read me" in answer.body
