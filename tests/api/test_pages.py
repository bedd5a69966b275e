"""Pages: every task exactly once, in any sort, while others come and go; and cursors nobody can make up."""

import base64
from typing import Any

import pytest

from tests.support.model import SORT_KEYS, in_order
from tests.support.pages import NEXT, all_pages, next_page, pages
from tests.support.problems import assert_problem, fields_of
from tests.support.services import Caller

SORTS = [*SORT_KEYS, *(f"-{name}" for name in SORT_KEYS), "priority,-due", "-status,title,-priority", "due,title"]


async def with_tasks(alice: Caller, count: int) -> list[dict[str, Any]]:
    """Tasks with many ties in every sort."""
    operations = [
        {
            "op": "create",
            "data": {
                "title": f"{'Title' if n % 2 else 'title'} {n % 4}",
                "priority": ["low", "medium", "high"][n % 3],
                "status": ["pending", "in_progress", "completed"][n % 3],
                "due_date": [None, "2026-12-01", "2026-12-01T08:00:00Z", None][n % 4],
            },
        }
        for n in range(count)
    ]
    assert (await alice.post("/batch", json={"operations": operations})).status_code == 200
    return await alice.tasks()


@pytest.mark.slow
@pytest.mark.parametrize("sort", SORTS)
@pytest.mark.parametrize("limit", [1, 7])
async def test_pages_put_together_are_the_list(alice: Caller, sort: str, limit: int) -> None:
    tasks = await with_tasks(alice, 23)
    found = await all_pages(alice, sort=sort, limit=limit)
    assert found == await alice.tasks(sort=sort)
    assert [task["id"] for task in found] == [task["id"] for task in in_order(tasks, sort)]


async def test_filters_go_with_the_pages(alice: Caller) -> None:
    await with_tasks(alice, 30)
    asked = {"priority": "low,high", "due": "any", "q": "TITLE", "sort": "-title"}
    assert await all_pages(alice, limit=3, **asked) == await alice.tasks(**asked)


@pytest.mark.parametrize(("limit", "sizes"), [(10, [10]), (9, [9, 1]), (5, [5, 5]), (11, [10]), (3, [3, 3, 3, 1])])
async def test_there_is_a_link_while_there_is_more_and_only_then(alice: Caller, limit: int, sizes: list[int]) -> None:
    await with_tasks(alice, 10)
    assert [len(page) async for page in pages(alice, limit=limit)] == sizes


async def test_the_link_is_a_path_that_keeps_what_was_asked(alice: Caller) -> None:
    await with_tasks(alice, 5)
    response = await alice.get(
        "", params={"limit": "2", "sort": "-title", "q": "title & 1 =?", "priority": ["low", "high"]}
    )
    assert "link" not in response.headers
    response = await alice.get("", params={"limit": "2", "sort": "-title", "priority": ["low", "high"], "q": "t"})
    found = NEXT.fullmatch(response.headers["link"])
    assert found
    target = found[1]
    assert target.startswith(alice.root + "?")
    for part in ("limit=2", "sort=-title", "low", "high", "q=t", "cursor="):
        assert part in target
    assert (await alice.get(target)).status_code == 200


@pytest.mark.slow
@pytest.mark.parametrize("sort", SORTS)
async def test_every_task_is_seen_once_while_others_are_added_and_removed(alice: Caller, sort: str) -> None:
    kept = {task["id"] for task in await with_tasks(alice, 30)}
    disposable = [await alice.create(f"title {n % 4}", due_date="2026-12-01") for n in range(10)]
    seen: list[str] = []
    steps = iter(disposable)
    async for page in pages(alice, sort=sort, limit=4):
        seen += [task["id"] for task in page]
        if (victim := next(steps, None)) is not None:
            await alice.delete(f"/{victim['id']}")
            await alice.create(f"title {len(seen) % 4}", priority="low")
    assert len(seen) == len(set(seen))
    assert kept <= set(seen)


async def test_the_task_that_a_page_ended_with_may_go(alice: Caller) -> None:
    tasks = await with_tasks(alice, 6)
    found = []
    async for page in pages(alice, limit=2):
        found += page
        await alice.delete(f"/{page[-1]['id']}?permanent=true")
    assert found == tasks


@pytest.mark.parametrize("sort", ["due", "-due", "due,title", "-title,due"])
async def test_due_dates_at_the_ends_of_time_are_seen_once(alice: Caller, sort: str) -> None:
    for due in (None, None, "0001-01-01T00:00:00Z", "0001-01-01", "9999-12-31T23:59:59.999999Z", "9999-12-31", None):
        await alice.create("t", due_date=due)
    tasks = await alice.tasks(sort=sort)
    found = []
    async for page in pages(alice, sort=sort, limit=1):
        found += page
        assert len(found) <= 7, "the pages go in circles"
    assert found == tasks


@pytest.mark.parametrize("title", ["ﬃ", "İstanbul", "ΑΣ", "ß", "\U0001f600", "ǅ", "a" * 200, "日" * 200, "\u0301"])
async def test_odd_titles_are_seen_once(alice: Caller, title: str) -> None:
    for text in (title, title.lower()[:200], title.upper()[:200], title, "m"):
        await alice.create(text)
    for sort in ("title", "-title"):
        found = []
        async for page in pages(alice, sort=sort, limit=1):
            found += page
            assert len(found) <= 5, "the pages go in circles"
        assert found == await alice.tasks(sort=sort)


async def test_without_a_limit_a_page_has_1000_tasks(alice: Caller) -> None:
    await alice.create()
    await alice.service.execute(
        "INSERT INTO tasks (id, user_id, title, revision) "
        "SELECT gen_random_uuid(), $1, 'task ' || n, 1 FROM generate_series(1, 1200) n",
        alice.user,
    )
    assert [len(page) async for page in pages(alice)] == [1000, 201]
    assert [len(page) async for page in pages(alice, limit=1000, sort="title")] == [1000, 201]


class TestCursors:
    async def cursor(self, alice: Caller, **params: Any) -> str:
        response = await alice.get("", params={"limit": "1"} | params)
        target = next_page(response)
        assert target
        return target.partition("cursor=")[2].partition("&")[0]

    @pytest.mark.parametrize(
        ("asked", "then"),
        [
            ({"sort": "title"}, {"sort": "-title"}),
            ({"sort": "title"}, {}),
            ({}, {"sort": "due"}),
            ({"sort": "title"}, {"sort": "title,due"}),
            ({"sort": "due,title"}, {"sort": "title,due"}),
            ({"q": "t"}, {"q": "ti"}),
            ({"q": "t"}, {}),
            ({}, {"priority": "low"}),
            ({"priority": "low"}, {"priority": "low,high"}),
            ({"created_after": "2001-01-01"}, {"created_after": "2002-01-01"}),
        ],
    )
    async def test_a_cursor_of_another_question_is_422(
        self, alice: Caller, asked: dict[str, str], then: dict[str, str]
    ) -> None:
        await with_tasks(alice, 9)
        cursor = await self.cursor(alice, **asked)
        assert (await alice.get("", params=asked | {"cursor": cursor})).status_code == 200
        document = assert_problem(await alice.get("", params=then | {"cursor": cursor}), 422)
        assert fields_of(document) == {"cursor"}

    async def test_the_limit_may_change_between_pages(self, alice: Caller) -> None:
        tasks = await with_tasks(alice, 9)
        cursor = await self.cursor(alice)
        assert await alice.tasks(cursor=cursor, limit=3) == tasks[1:4]
        assert await alice.tasks(cursor=cursor) == tasks[1:]

    async def test_every_change_of_a_single_character_is_noticed(self, alice: Caller) -> None:
        await with_tasks(alice, 3)
        cursor = await self.cursor(alice, sort="title")
        for place in range(len(cursor)):
            other = "A" if cursor[place] != "A" else "B"
            forged = cursor[:place] + other + cursor[place + 1 :]
            assert_problem(await alice.get("", params={"sort": "title", "cursor": forged}), 422)

    @pytest.mark.parametrize(
        "forged",
        [
            "x", "=", "====", "AAAA", "A" * 11, "null", "0", "-1", "../..", "%00", "' OR 1=1", "e30", "W10", "é",
            "日本",
            "A" * 4000, " ", "A A", "\n", base64.urlsafe_b64encode(b"\x00" * 24).decode(),
            base64.urlsafe_b64encode(b"\x93" * 30).decode(), base64.urlsafe_b64encode(b"12345678\xc1").decode(),
        ],
    )  # fmt: skip
    async def test_what_is_no_cursor_is_422(self, alice: Caller, forged: str) -> None:
        await with_tasks(alice, 3)
        assert fields_of(assert_problem(await alice.get("", params={"cursor": forged}), 422)) == {"cursor"}

    async def test_padding_or_a_second_spelling_is_refused(self, alice: Caller) -> None:
        await with_tasks(alice, 3)
        cursor = await self.cursor(alice)
        for other in (cursor + "=", cursor + "==", cursor + "A", cursor[:-1], " " + cursor, cursor.swapcase()):
            assert_problem(await alice.get("", params={"cursor": other}), 422)

    async def test_a_cursor_of_the_trash_is_not_one_of_the_list(self, alice: Caller) -> None:
        for task in await with_tasks(alice, 3):
            await alice.delete(f"/{task['id']}")
        await with_tasks(alice, 3)
        target = next_page(await alice.get("/trash", params={"limit": "1"}))
        assert target
        cursor = target.partition("cursor=")[2].partition("&")[0]
        assert_problem(await alice.get("", params={"cursor": cursor}), 422)
        assert_problem(await alice.get("/trash", params={"cursor": await self.cursor(alice)}), 422)


async def test_after_two_slashes_in_front_of_the_path_no_link_leads_to_another_host(alice: Caller) -> None:
    """`https://host/` and `/api/tasks`, joined as many clients do."""
    asked = f"{alice.service.url}/{alice.root}"
    created = [await alice.service.http.post(asked, json={"title": "t"}, headers=alice.headers) for _ in range(2)]
    page = await alice.service.http.get(f"{asked}?limit=1", headers=alice.headers)
    for address in (page.links["next"]["url"], created[0].headers["location"]):
        followed = page.url.join(address)
        assert (followed.host, followed.port) == (page.url.host, page.url.port)
        assert (await alice.service.http.get(followed, headers=alice.headers)).status_code == 200
