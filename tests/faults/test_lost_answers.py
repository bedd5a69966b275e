"""The acknowledgement of a COMMIT is lost: nobody knows whether the write is there, so nobody may repeat it."""

import pytest

from bench.http import Answer, request
from bench.reliability.database import KillablePostgres, url_through
from bench.reliability.program import Program, running_program
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


@pytest.mark.parametrize(("lost_after", "written"), [(b"lost two", 0), (b"COMMIT", 1)], ids=["INSERT", "COMMIT"])
async def test_a_write_of_two_statements_is_503_and_stands_there_whole_or_not_at_all(
    postgres: KillablePostgres, wire: Wire, lost_after: bytes, written: int
) -> None:
    user = f"sharded-{written}"
    async with running_program(database_url=url_through(wire.port), taskservice_database_sharded="true") as program:
        raw = request("POST", "/api/tasks", user, {"title": "lost two"})
        assert (await written_without_answer(program, wire, lost_after, raw)).status == 503
    rows = await postgres.rows(f"SELECT revision FROM users WHERE id = '{user}'")
    # A number that was taken belongs to a task.
    assert [row["revision"] for row in rows] == [1] * written
    assert len(await postgres.rows(f"SELECT FROM tasks WHERE user_id = '{user}'")) == written


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
