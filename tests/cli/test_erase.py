"""`litestar erase`: somebody wants to be forgotten, and has no token any more."""

from tests.support.commands import Operator
from tests.support.services import Service


async def test_everything_of_the_user_goes_and_followers_hear_of_it(operator: Operator, service: Service) -> None:
    alice, bob = service.user("alice"), service.user("bob")
    live = await alice.create("live")
    trashed = await alice.create("trashed")
    await alice.delete(f"/{trashed['id']}")
    await alice.post("", json={"title": "kept"}, headers={"Idempotency-Key": "k"})
    await bob.create("his")
    await service.execute("UPDATE users SET email = 'alice@example.test', name = 'Alice' WHERE id = 'alice'")
    token = (await alice.get("/changes")).json()["next"]
    outcome = operator.litestar("erase", "alice", "--yes")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out == 'Erased 3 tasks of "alice" for good, with e-mail address and name.\n'
    assert await alice.titles() == []
    assert (await alice.get("/trash")).json() == []
    entries = (await alice.get("/changes", params={"since": token})).json()["changes"]
    assert {entry["type"] for entry in entries} == {"delete"}
    assert {live["id"], trashed["id"]} < {entry["id"] for entry in entries}
    assert await service.rows("SELECT 1 FROM idempotency_keys WHERE user_id = 'alice'") == []
    [row] = await service.rows("SELECT email, name FROM users WHERE id = 'alice'")
    assert tuple(row) == (None, None)
    assert await bob.titles() == ["his"]
    # She may come back, and nobody's copy is wrong.
    await alice.create("new")
    assert await alice.titles() == ["new"]


async def test_more_than_a_batch_goes_in_one_call(operator: Operator, service: Service) -> None:
    await service.execute("INSERT INTO users (id, revision) VALUES ('alice', 2500)")
    await service.execute(
        "INSERT INTO tasks (id, user_id, title, revision) "
        "SELECT gen_random_uuid(), 'alice', 'x', n FROM generate_series(1, 2500) n"
    )
    assert 'Erased 2,500 tasks of "alice"' in operator.litestar("erase", "alice", "--yes").out
    [row] = await service.rows("SELECT count(*), min(revision), max(revision) FROM tombstones")
    assert tuple(row) == (2500, 2501, 5000)


async def test_it_asks_first_and_says_how_much(operator: Operator, service: Service) -> None:
    alice = service.user("alice")
    task = await alice.create("live")
    trashed = await alice.create("trashed")
    await alice.delete(f"/{trashed['id']}")
    outcome = operator.litestar("erase", "alice")
    assert outcome.code == 1
    assert 'Erase 1 task and 1 deleted task of "alice" for good?' in "".join(outcome.refused())
    assert [found["id"] for found in await alice.tasks()] == [task["id"]]


async def test_a_user_who_never_wrote_is_said_to_be_unknown(operator: Operator, service: Service) -> None:
    await service.user("alice").create()
    assert operator.litestar("erase", "nobody", "--yes").refused() == [
        'there is no data of a user "nobody": the id must be exactly the `sub` of the token'
    ]
