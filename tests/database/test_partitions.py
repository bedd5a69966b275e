"""Every statement of requests stays within its user's part of a database that is split by user.

The statements are found, not listed: whoever compiles a new one finds it here.
"""

import asyncio
import datetime as dt
import gc
import importlib
import itertools
import json
import pkgutil
import re
from collections.abc import Callable, Iterable, Iterator
from typing import Any, Final, get_type_hints

import asyncpg
import pytest
import pytest_asyncio

import taskservice
from taskservice.database.moments import as_microseconds
from taskservice.database.statements import Statement
from taskservice.tasks import sharded_store
from taskservice.tasks.clear_statements import COMPLETED_TO_TRASH, EVERYTHING
from taskservice.tasks.filters import CONDITIONS, SORTS, Order, Shape
from taskservice.tasks.read_statements import FOREIGN, TAGS
from taskservice.tasks.records import RecordStatement
from taskservice.tasks.write_statements import CREATE, EDIT, ERASE, TAKE_TURN
from tests.support.partitions import PARTITIONS, number_of, partition
from tests.support.postgres import ThrowawayPostgres

pytestmark = pytest.mark.slow

Connection = Any

USER: Final = "alice"
ACROSS_USERS: Final = {
    "whose task an id is": FOREIGN,  # `foreign_task = "404"` turns it off
    "the tags of all who ask at once": TAGS,  # `database_sharded` asks for one user at a time
}
"""The look-ups that ask for other users' rows."""

INNER_INSERT: Final = re.compile(r"\(\s*INSERT INTO")

_ID: Final = "00000000-0000-4000-8000-000000000001"
SAMPLES: Final = {
    "bool": False, "bytea": b"", "int2": 1, "int4": 1, "int8": 1, "interval": dt.timedelta(days=1), "json": "[]",
    "text": "word", "timestamptz": 1, "varchar": "word", "text[]": ["word"], "uuid": _ID, "uuid[]": [_ID],
}  # fmt: skip
"""Values by type. None is NULL, or PostgreSQL would see that nothing can be found."""


@pytest_asyncio.fixture(scope="module")
async def parts(postgres: ThrowawayPostgres, pytestconfig: pytest.Config, migrated_template: str) -> Any:
    """A database that is split by user, with one user in it."""
    url = postgres.create_database(template=migrated_template)
    if not pytestconfig.getoption("partitions"):
        await partition(url)
    connection = await asyncpg.connect(url)
    await as_microseconds(connection)
    await connection.execute("INSERT INTO users (id) SELECT 'user ' || n FROM generate_series(1, 100) n")
    await connection.execute("INSERT INTO users (id) VALUES ($1)", USER)
    yield connection
    await connection.close()


def modules() -> list[Any]:
    names = [module.name for module in pkgutil.walk_packages(taskservice.__path__, "taskservice.")]
    # Alembic alone can load what migrates.
    return [importlib.import_module(name) for name in names if ".migrations" not in name]


def shapes() -> Iterator[Shape]:
    """Every condition and every sort of lists, first pages and later ones."""
    orders: list[tuple[Order, ...]] = [(Order(sort, down),) for sort in (*SORTS, "deleted") for down in (False, True)]
    orders.append((Order("priority", descending=True), Order("due")))
    for order, after, counts in itertools.product(orders, (False, True), (False, True)):
        yield Shape(("live",), order, after, counts)
    for condition in CONDITIONS:
        yield Shape(tuple(sorted({"live", condition} - ({"live"} if condition == "trashed" else set()))))
    yield Shape(("due_none|due_today", "live"))


MADE_OF: Final[dict[Any, Callable[[], Iterable[Any]]]] = {Shape: shapes, int | None: lambda: (None, 101)}
"""What functions that compile statements take."""


def factories() -> set[Callable[..., Statement]]:
    """The cached functions that compile a statement."""
    found = (value for module in modules() for value in vars(module).values() if hasattr(value, "cache_info"))
    return {value for value in found if get_type_hints(value.__wrapped__).get("return") is Statement}


def statements() -> list[Statement]:
    for factory in factories():
        hints = get_type_hints(factory.__wrapped__)  # type: ignore[attr-defined] # as `lru_cache` makes it
        for arguments in itertools.product(*(MADE_OF[kind]() for name, kind in hints.items() if name != "return")):
            factory(*arguments)
    gc.unfreeze()
    gc.collect()
    # By their SQL: some are compiled twice.
    return list({found.compiled.sql: found for found in gc.get_objects() if isinstance(found, Statement)}.values())


async def touched(connection: Connection, statement: Statement) -> set[int]:
    """The numbers of the parts that PostgreSQL reads or writes for a statement of the user."""
    prepared = await connection.prepare(statement.compiled.sql)
    types = [parameter.name for parameter in prepared.get_parameters()]
    own = {"user_id": USER, "user_ids": [USER]}
    args = [own.get(name, SAMPLES[kind]) for name, kind in zip(statement.compiled.names, types, strict=True)]
    [[text]] = await connection.fetch(f"EXPLAIN (FORMAT json) {statement.compiled.sql}", *args)
    [explained] = json.loads(text)
    return {number for name in relations(explained["Plan"]) if (number := number_of(name)) is not None}


def relations(plan: dict[str, Any]) -> Iterator[str]:
    if "Relation Name" in plan:
        yield plan["Relation Name"]
    for part in plan.get("Plans", ()):
        yield from relations(part)


async def part_of(connection: Connection, user: str) -> int:
    name = await connection.fetchval("SELECT tableoid::regclass::text FROM users WHERE id = $1", user)
    number = number_of(name)
    assert number is not None
    return number


async def test_every_statement_touches_the_part_of_its_user_and_no_other(parts: Connection) -> None:
    own = await part_of(parts, USER)
    found = await asyncio.to_thread(statements)
    across = {statement.compiled.sql for statement in ACROSS_USERS.values()}
    assert len(found) > 100
    assert across < {statement.compiled.sql for statement in found}
    for statement in found:
        if statement.compiled.sql not in across:
            # EXPLAIN does not say where a row goes that is only inserted: to the part of its user, as for every row.
            expected = set() if only_inserts(statement) else {own}
            assert await touched(parts, statement) == expected, statement.compiled.sql


def only_inserts(statement: Statement) -> bool:
    """Also with ON CONFLICT, which looks where the row goes."""
    reads = re.compile(r"\b(FROM|JOIN|UPDATE|DELETE FROM) +(users|tasks|tombstones|idempotency_keys)\b")
    return reads.search(statement.compiled.sql) is None


def test_no_write_of_a_sharded_database_has_an_insert_inside_another_statement() -> None:
    """There it would run on no shard, but on the server that asks them."""
    found: list[Any] = [*vars(sharded_store).values(), TAKE_TURN, EDIT, COMPLETED_TO_TRASH.some]
    forms = [one for one in found if isinstance(one, Statement)]
    forms += [form for one in found if isinstance(one, RecordStatement) for form in (one.single, one.any_number)]
    assert len({form.compiled.sql for form in forms}) == 13
    assert not [form for form in forms if INNER_INSERT.search(form.compiled.sql)]
    assert all(INNER_INSERT.search(form.compiled.sql) for form in (CREATE.single, ERASE.single, EVERYTHING.some))


async def test_what_asks_for_all_users_is_noticed(parts: Connection) -> None:
    # With one user, the look-up of tags takes one part as well.
    assert await touched(parts, TAGS) == {await part_of(parts, USER)}
    assert await touched(parts, FOREIGN) == set(range(PARTITIONS))
