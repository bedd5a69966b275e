"""`TaskRepository` is advanced-alchemy's, for one user: what it reads is theirs alone, what it writes is counted."""

import datetime as dt
import inspect
import uuid
from collections.abc import AsyncIterator, Awaitable, Callable
from typing import Any

import pytest
import sqlalchemy as sa
from advanced_alchemy.exceptions import NotFoundError
from advanced_alchemy.filters import LimitOffset, OrderBy, SearchFilter
from advanced_alchemy.repository import SQLAlchemyAsyncRepository
from sqlalchemy.ext.asyncio import AsyncSession

from taskservice.database.session import Sessions
from taskservice.tasks.models import TaskModel, tasks
from taskservice.tasks.reading_repository import ReadingRepository, WriteRefused
from taskservice.tasks.repository import TaskRepository
from taskservice.tasks.user_repositories import IdempotencyKeyRepository, TombstoneRepository, UserRepository
from tests.repository.rows import task_of

pytestmark = pytest.mark.slow

SCOPED = {
    "get",
    "get_one",
    "get_one_or_none",
    "get_many",
    "get_many_and_count",
    "exists",
    "count",
    "list",
    "list_and_count",
}
COUNTED = {"add", "add_many", "update", "update_many", "delete", "delete_many", "delete_where"}
REFUSING = {"upsert", "upsert_many", "get_or_upsert", "get_and_update"}
WITHOUT_TASKS = {
    "check_health", "check_not_found", "get_id_attribute_value", "get_primary_key_value",
    "has_composite_pk", "has_primary_key_values", "pk_attr_names", "set_id_attribute_value",
}  # fmt: skip
"""They look at an instance, a class or the connection."""


def public_methods(repository: type) -> set[str]:
    return {
        name
        for name, value in inspect.getmembers(repository)
        if not name.startswith("_") and (callable(value) or isinstance(value, property))
    }


def test_every_method_of_the_library_is_accounted_for() -> None:
    known = SCOPED | COUNTED | REFUSING | WITHOUT_TASKS
    assert public_methods(SQLAlchemyAsyncRepository) == known


@pytest.mark.parametrize("repository", [TaskRepository, UserRepository, TombstoneRepository, IdempotencyKeyRepository])
def test_no_repository_writes_as_the_library_does(repository: type) -> None:
    for name in COUNTED | REFUSING:
        owner = next(each for each in repository.__mro__ if name in vars(each))
        assert issubclass(owner, ReadingRepository), name


class Household:
    """Alice's repository in a session, and Bob with tasks of his own."""

    def __init__(self, session: AsyncSession) -> None:
        self.session = session
        self.alice = TaskRepository(session=session, owner="alice")
        self.bob = TaskRepository(session=session, owner="bob")
        self.trash = TaskRepository(session=session, owner="alice", trash=True)

    async def revisions(self, owner: str = "alice") -> list[int]:
        found = await self.session.scalars(
            sa.select(tasks.c.revision).where(tasks.c.user_id == owner).order_by(tasks.c.revision)
        )
        return [*found]

    async def counter(self) -> int:
        users = UserRepository(session=self.session)
        return (await users.get("alice")).revision

    async def deletions(self) -> list[tuple[uuid.UUID, int]]:
        found = await TombstoneRepository(session=self.session, owner="alice").get_many()
        return [(each.task_id, each.revision) for each in found]


@pytest.fixture
async def home(sessions: Sessions) -> AsyncIterator[Household]:
    async with sessions.begin() as session:
        home = Household(session)
        await home.alice.add_many([task_of(title=title) for title in ("one", "two", "three")])
        await home.bob.add_many([task_of(title="his"), task_of(title="one")])
        deleted = await home.alice.add(task_of(title="deleted"))
        await home.alice.delete(deleted.id)
        yield home


# ---- reading


def titles(found: Any) -> list[str]:
    """In no order, as nobody asked for one."""
    return sorted(task.title for task in found)


async def test_get_finds_by_id_what_is_the_owners(home: Household) -> None:
    his, mine = await home.bob.get_one(title="his"), await home.alice.get_one(title="one")
    assert (await home.alice.get(mine.id)).title == "one"
    with pytest.raises(NotFoundError):
        await home.alice.get(his.id)


async def test_get_one_and_its_kin_look_among_the_owners_tasks(home: Household) -> None:
    assert (await home.alice.get_one(title="one")).user_id == "alice"
    assert await home.alice.get_one_or_none(title="his") is None
    with pytest.raises(NotFoundError):
        await home.alice.get_one(title="his")
    assert await home.alice.exists(title="two")
    assert not await home.alice.exists(title="his")


async def test_lists_and_counts_are_the_owners(home: Household) -> None:
    assert titles(await home.alice.get_many()) == ["one", "three", "two"]
    assert await home.alice.count() == 3
    assert await home.alice.count(title="his") == 0
    page, total = await home.alice.get_many_and_count(LimitOffset(limit=2, offset=0), order_by=("created_at", False))
    assert (len(page), total) == (2, 3)
    assert await home.alice.get_many_and_count(LimitOffset(limit=2, offset=9)) == ([], 3)


async def test_the_librarys_filters_narrow_and_never_widen(home: Household) -> None:
    found = await home.alice.get_many(OrderBy("title", "desc"), SearchFilter("title", "t"))
    assert [task.title for task in found] == ["two", "three"]
    assert titles(await home.alice.get_many(sa.or_(tasks.c.user_id == "bob", sa.true()))) == ["one", "three", "two"]
    assert await home.alice.count(user_id="bob") == 0


@pytest.mark.filterwarnings("ignore:Call to deprecated")
async def test_the_deprecated_names_keep_to_the_owner_too(home: Household) -> None:
    assert titles(await home.alice.list()) == ["one", "three", "two"]
    found, total = await home.alice.list_and_count()
    assert (len(found), total) == (3, 3)


@pytest.mark.parametrize("method", sorted(SCOPED - {"list", "list_and_count"}))
async def test_another_statement_cannot_widen_what_is_read(home: Household, method: str) -> None:
    arguments = [uuid.uuid4()] if method == "get" else []
    with pytest.raises(TypeError, match="give filters"):
        await getattr(home.alice, method)(*arguments, statement=sa.select(TaskModel))


async def test_the_trash_is_a_repository_of_its_own(home: Household) -> None:
    assert titles(await home.trash.get_many()) == ["deleted"]
    assert await home.alice.count(title="deleted") == 0


async def test_what_is_read_is_what_the_database_has_now(home: Household) -> None:
    task = await home.alice.get_one(title="one")
    await home.session.execute(sa.update(tasks).where(tasks.c.id == task.id).values(title="changed elsewhere"))
    assert (await home.alice.get(task.id)).title == "changed elsewhere"


# ---- writing


async def test_each_new_task_takes_the_next_number(home: Household) -> None:
    before = await home.counter()
    given = uuid.uuid4()
    long_ago = dt.datetime(2020, 2, 29, tzinfo=dt.UTC)
    first, second = await home.alice.add_many(
        [
            task_of(title="plain"),
            task_of(
                id=given, user_id="alice", title="all of it", description="d", status="completed", priority="high",
                due_date=long_ago, due_all_day=True, created_at=long_ago, completed_at=long_ago,
            ),
        ]
    )  # fmt: skip
    assert (first.revision, second.revision, await home.counter()) == (before + 1, before + 2, before + 2)
    assert (first.status, first.priority, first.due_date, first.completed) == ("pending", "medium", None, False)
    assert (second.id, second.created_at, second.completed_at, second.completed) == (given, long_ago, long_ago, True)
    assert (second.due_date, second.due_all_day, second.priority) == (long_ago, True, "high")


async def test_update_writes_what_was_set_and_takes_a_number(home: Household) -> None:
    before = await home.counter()
    task = await home.alice.get_one(title="one")
    updated = await home.alice.update(task_of(id=task.id, priority="high", status="completed"))
    assert (updated.title, updated.priority, updated.completed) == ("one", "high", True)
    assert updated.completed_at is not None
    assert (updated.revision, await home.counter()) == (before + 1, before + 1)


async def test_a_task_that_was_read_and_changed_can_be_given_back(home: Household) -> None:
    task = await home.alice.get_one(title="one")
    before = task.revision
    task.title, task.description = "changed", "here"
    updated = await home.alice.update(task)
    assert (updated.title, updated.description, updated.priority) == ("changed", "here", "medium")
    assert updated.revision > before
    updated.description = None
    assert (await home.alice.update(updated)).description is None


async def test_a_date_stays_a_date(home: Household) -> None:
    day = dt.datetime(2026, 12, 24, tzinfo=dt.UTC)
    task = await home.alice.get_one(title="one")
    dated = await home.alice.update(task_of(id=task.id, due_date=day, due_all_day=True))
    dated.due_date = day + dt.timedelta(days=1)
    moved = await home.alice.update(dated)
    assert (moved.due_date, moved.due_all_day) == (day + dt.timedelta(days=1), True)
    timed = await home.alice.update(task_of(id=task.id, due_date=day + dt.timedelta(hours=9)))
    assert (timed.due_date, timed.due_all_day) == (day + dt.timedelta(hours=9), False)


async def test_several_are_changed_together_or_not_at_all(home: Household) -> None:
    one, two, three = await home.alice.get_many()
    await home.alice.update_many([task_of(id=one.id, priority="low"), task_of(id=two.id, priority="low")])
    assert await home.alice.count(priority="low") == 2
    with pytest.raises(NotFoundError):
        await home.alice.update_many([task_of(id=three.id, priority="low"), task_of(id=uuid.uuid4(), title="x")])
    assert await home.alice.count(priority="low") == 2
    with pytest.raises(WriteRefused, match="must differ"):
        await home.alice.delete_many([one.id, one.id])


async def test_delete_moves_to_the_trash_and_restore_back(home: Household) -> None:
    task = await home.alice.get_one(title="one")
    deleted = await home.alice.delete(task.id)
    assert deleted.deleted_at is not None
    assert deleted.revision == await home.counter()
    assert titles(await home.alice.get_many()) == ["three", "two"]
    assert titles(await home.trash.get_many()) == ["deleted", "one"]
    restored = await home.alice.restore(task.id)
    assert (restored.deleted_at, restored.revision) == (None, await home.counter())


async def test_delete_where_takes_what_the_filters_match(home: Household) -> None:
    assert titles(await home.alice.delete_where(tasks.c.title.like("t%"))) == ["three", "two"]
    assert titles(await home.alice.get_many()) == ["one"]
    assert await home.bob.count() == 2


async def test_how_a_due_date_is_meant_goes_with_the_date(home: Household) -> None:
    one = await home.alice.get_one(title="one")
    with pytest.raises(WriteRefused, match="give both"):
        await home.alice.update(task_of(id=one.id, due_all_day=True))


async def test_erase_leaves_a_tombstone_with_the_next_number_for_each(home: Household) -> None:
    one = await home.alice.get_one(title="one")
    [deleted] = await home.trash.get_many()
    before = await home.counter()
    assert await home.alice.erase([one.id, deleted.id, one.id, uuid.uuid4()]) == 2
    assert await home.deletions() == [(one.id, before + 1), (deleted.id, before + 2)]
    assert await home.trash.count() == 0


async def test_nothing_of_another_user_can_be_written(home: Household) -> None:
    his = await home.bob.get_one(title="his")
    before = await home.revisions("bob")
    attempts: list[Callable[[], Awaitable[Any]]] = [
        lambda: home.alice.update(task_of(id=his.id, title="stolen")),
        lambda: home.alice.delete(his.id),
        lambda: home.alice.restore(his.id),
    ]
    for attempt in attempts:
        with pytest.raises(NotFoundError):
            await attempt()
    assert await home.alice.erase([his.id]) == 0
    with pytest.raises(WriteRefused, match="tasks of alice alone"):
        await home.alice.add(task_of(user_id="bob", title="planted"))
    assert await home.revisions("bob") == before
    assert titles(await home.bob.get_many()) == ["his", "one"]


@pytest.mark.parametrize("column", ["revision", "deleted_at", "updated_at", "completed_at", "created_at", "completed"])
async def test_what_the_service_writes_itself_is_refused(home: Household, column: str) -> None:
    task = await home.alice.get_one(title="one")
    value: Any = {"revision": 99, "completed": True}.get(column, dt.datetime(2020, 1, 1, tzinfo=dt.UTC))
    with pytest.raises(WriteRefused, match=column):
        await home.alice.update(task_of(id=task.id, **{column: value}))


@pytest.mark.parametrize("method", sorted(REFUSING))
async def test_what_cannot_be_done_well_says_what_to_call(home: Household, method: str) -> None:
    with pytest.raises(WriteRefused, match=f"TaskRepository.{method} .*: call add, update"):
        await getattr(home.alice, method)(task_of(title="x"))


@pytest.mark.parametrize("method", sorted(COUNTED | REFUSING))
async def test_the_repositories_beside_it_write_only_by_methods_of_their_own(home: Household, method: str) -> None:
    for repository in (
        UserRepository(session=home.session),
        TombstoneRepository(session=home.session, owner="alice"),
        IdempotencyKeyRepository(session=home.session, owner="alice"),
    ):
        with pytest.raises(WriteRefused):
            await getattr(repository, method)("x")


async def test_what_is_kept_beside_the_tasks_is_the_owners_too(home: Household) -> None:
    one = await home.bob.get_one(title="one")
    await home.bob.erase([one.id])
    assert await home.deletions() == []
    assert await TombstoneRepository(session=home.session, owner="bob").count() == 1
    assert [user.id for user in await UserRepository(session=home.session).get_many()] == ["alice", "bob"]
    assert await IdempotencyKeyRepository(session=home.session, owner="alice").count() == 0
