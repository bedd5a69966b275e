"""Lists of chosen ids, of several kinds of due dates, by completion, and how many there are (contract, section 6)."""

from datetime import UTC, datetime, timedelta
from uuid import uuid4

import pytest

from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller


async def test_ids_give_those_that_are_there(alice: Caller, bob: Caller) -> None:
    tasks = [await alice.create(str(number)) for number in range(5)]
    his, deleted = await bob.create(), await alice.create("deleted")
    await alice.delete(f"/{deleted['id']}")
    wanted = [tasks[3]["id"], tasks[1]["id"].upper(), tasks[1]["id"], his["id"], deleted["id"], str(uuid4())]
    assert await alice.titles(ids=",".join(wanted)) == ["1", "3"]
    assert await alice.titles(ids=",".join(wanted), sort="-title", completed="false") == ["3", "1"]


async def test_up_to_a_hundred_ids_may_be_asked_for(alice: Caller) -> None:
    task = await alice.create("there")
    ids = [task["id"], *(str(uuid4()) for _ in range(99))]
    assert await alice.titles(ids=",".join(ids)) == ["there"]
    [error] = assert_problem(await alice.get("", params={"ids": ",".join([*ids, str(uuid4())])}), 422)["errors"]
    assert (error["field"], error["limit"]) == ("ids", 100)


async def test_a_list_of_ids_has_pages_too(alice: Caller) -> None:
    tasks = [await alice.create(str(number)) for number in range(4)]
    asked = ",".join(task["id"] for task in tasks[1:])
    first = await alice.get("", params={"ids": asked, "limit": 2})
    second = await alice.get(first.links["next"]["url"])
    assert [task["title"] for task in [*first.json(), *second.json()]] == ["1", "2", "3"]
    cursor = first.links["next"]["url"].rpartition("cursor=")[2]
    other = await alice.get("", params={"ids": tasks[0]["id"], "cursor": cursor})
    assert fields_of(assert_problem(other, 422)) == {"cursor"}


@pytest.mark.parametrize(
    ("due", "titles"),
    [
        (["overdue", "today"], {"late", "now"}),
        (["none,today"], {"never", "now"}),
        (["none", "overdue,none"], {"never", "late"}),
        (["any"], {"late", "now", "later", "late, but done"}),
        (["none,any,overdue,today"], {"never", "late", "now", "later", "late, but done"}),
    ],
    ids=lambda value: ",".join(sorted(value)),
)
async def test_several_kinds_of_due_dates_are_united(alice: Caller, due: list[str], titles: set[str]) -> None:
    today = datetime.now(UTC).date()
    day = timedelta(days=1)
    await alice.create("never")
    await alice.create("late", due_date=str(today - 2 * day))
    await alice.create("now", due_date=str(today))
    await alice.create("later", due_date=str(today + 2 * day))
    await alice.create("late, but done", due_date=str(today - 2 * day), completed=True)
    found = await alice.titles(due=due)
    assert (len(found), set(found)) == (len(titles), titles)


async def test_a_zone_goes_with_any_of_them_that_follows_the_clock(alice: Caller) -> None:
    answer = await alice.get("", params={"due": "none,overdue", "tz": "Europe/Berlin"})
    assert (answer.status_code, "etag" in answer.headers) == (200, False)
    assert "etag" in (await alice.get("", params={"due": "none,any"})).headers


async def test_by_completion_what_is_not_completed_comes_last(alice: Caller) -> None:
    tasks = {title: await alice.create(title) for title in "abcd"}
    for title in "cab":
        await alice.patch(f"/{tasks[title]['id']}/complete")
    assert await alice.titles(sort="completed") == ["c", "a", "b", "d"]
    assert await alice.titles(sort="-completed") == ["d", "b", "a", "c"]
    pages, url = [], "?sort=completed&limit=1"
    while url:
        page = await alice.get(url)
        pages += [task["title"] for task in page.json()]
        url = page.links.get("next", {}).get("url", "")
    assert pages == ["c", "a", "b", "d"]


class TestCount:
    async def test_it_says_how_many_match_on_all_pages(self, alice: Caller) -> None:
        for number in range(5):
            await alice.create(str(number), completed=number == 0)
        deleted = await alice.create("deleted")
        await alice.delete(f"/{deleted['id']}")
        for query, count in (("", 5), ("&status=completed", 1), ("&q=4", 1), ("&q=x", 0), ("&due=none,today", 5)):
            answer = await alice.get(f"?count=true&limit=2{query}")
            assert (answer.headers["x-total-count"], len(answer.json())) == (str(count), min(count, 2))

    async def test_it_is_said_only_if_asked_for(self, alice: Caller) -> None:
        await alice.create()
        for query in ("", "?count=false", "?limit=1"):
            assert "x-total-count" not in (await alice.get(query)).headers

    async def test_the_pages_are_those_of_the_list_without_it(self, alice: Caller) -> None:
        for number in range(3):
            await alice.create(str(number))
        first = await alice.get("?count=true&limit=2")
        following = await alice.get(first.links["next"]["url"])
        assert ([task["title"] for task in following.json()], "x-total-count" in following.headers) == (["2"], False)
        counted = await alice.get(first.links["next"]["url"] + "&count=true")
        assert (counted.headers["x-total-count"], counted.json()) == ("3", following.json())

    async def test_a_page_after_the_last_task_still_says_it(self, alice: Caller) -> None:
        first, second = await alice.create("first"), await alice.create("second")
        page = await alice.get("?limit=1")
        await alice.delete(f"/{second['id']}")
        answer = await alice.get(page.links["next"]["url"] + "&count=true")
        assert (answer.json(), answer.headers["x-total-count"]) == ([], "1")
        assert await alice.tasks() == [first]

    async def test_pages_of_other_origins_may_read_it(self, alice: Caller) -> None:
        answer = await alice.get("?count=true", headers={"Origin": "http://localhost:3000"})
        assert "X-Total-Count" in answer.headers["access-control-expose-headers"].split(", ")
