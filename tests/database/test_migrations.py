"""The schema: how it comes to be, that it says what the rules say, and that its indexes serve what is asked."""

import asyncio
import datetime as dt
import logging
import multiprocessing
import re
import shutil
import time
from collections.abc import AsyncIterator, Awaitable, Callable, Iterator, Sequence
from itertools import product
from pathlib import Path
from typing import Any

import asyncpg
import httpx
import pytest
import pytest_asyncio
from advanced_alchemy.alembic.commands import AlembicCommands
from alembic.script import ScriptDirectory
from alembic.util import CommandError
from hypothesis import HealthCheck, given
from hypothesis import settings as search
from hypothesis import strategies as st
from sqlalchemy.exc import DBAPIError

from taskservice import app, rules
from taskservice.database import bring_up
from taskservice.database.bring_up import migrations_config, upgrade
from taskservice.database.migrations import DIRECTORY, HEAD, VERSION_TABLE
from taskservice.database.moments import as_microseconds
from taskservice.database.pool import Transaction
from taskservice.database.server import DatabaseServer
from taskservice.database.session import new_engine
from taskservice.database.tables import Table
from taskservice.principal import Principal
from taskservice.problems import FieldError
from taskservice.settings import load_settings
from taskservice.tasks.bodies import Bodies
from taskservice.tasks.filters import SORTS
from taskservice.tasks.list_query import TOKEN_SURFACE, read_list_query, read_trash_query
from taskservice.tasks.read_statements import CHANGES, list_page
from taskservice.tasks.schemas import TaskChange, TaskCreate, TaskImport, task_from
from taskservice.tasks.store import TaskStore
from taskservice.tasks.write_statements import Edit
from tests.support.postgres import ThrowawayPostgres
from tests.support.problems import assert_problem
from tests.support.services import SECRET, Service, Services
from tests.support.stage import Stage
from tests.support.wire import Wire

pytestmark = pytest.mark.slow

Connection = Any


@pytest.fixture(autouse=True)
def without_waiting(monkeypatch: pytest.MonkeyPatch) -> None:
    """A start goes on soon without a database that it cannot have."""
    monkeypatch.setattr(app, "FIRST_WAIT_SECONDS", 0.5)


def commands(url: str) -> AlembicCommands:
    return AlembicCommands(config_of(url))


def config_of(url: str) -> Any:
    return migrations_config(server_of(url))


def server_of(url: str) -> DatabaseServer:
    return DatabaseServer(load_settings({"DATABASE_URL": url, "BETTER_AUTH_SECRET": SECRET}))


@pytest_asyncio.fixture
async def connection(database_url: str) -> AsyncIterator[Connection]:
    connection = await asyncpg.connect(database_url)
    yield connection
    await connection.close()


async def rows(url: str, statement: str) -> list[Any]:
    connection = await asyncpg.connect(url)
    try:
        found: list[Any] = await connection.fetch(statement)
        return found
    finally:
        await connection.close()


async def schema(url: str) -> list[str]:
    """All that stands in a database, as its catalogue tells it."""
    found = await rows(
        url,
        "SELECT 'column ' || table_name || '.' || column_name || ' ' || data_type || ' ' || is_nullable || ' ' "
        "|| coalesce(column_default, '') || coalesce(generation_expression, '') AS it "
        "FROM information_schema.columns WHERE table_schema = 'public' "
        "UNION ALL SELECT 'index ' || indexdef FROM pg_indexes WHERE schemaname = 'public' "
        "UNION ALL SELECT 'constraint ' || conrelid::regclass || ' ' || conname || ' ' || pg_get_constraintdef(oid) "
        "FROM pg_constraint WHERE connamespace = 'public'::regnamespace ORDER BY 1",
    )
    return [row["it"] for row in found]


# ---- up, down, and up again


async def test_up_and_down_and_up_again_is_the_same_schema(empty_database_url: str) -> None:
    alembic = commands(empty_database_url)
    await asyncio.to_thread(alembic.upgrade, "head")
    first = await schema(empty_database_url)
    await asyncio.to_thread(alembic.check)
    await asyncio.to_thread(alembic.downgrade, "base")
    left = [line for line in await schema(empty_database_url) if VERSION_TABLE not in line]
    assert left == []
    await asyncio.to_thread(alembic.upgrade, "head")
    assert await schema(empty_database_url) == first
    await asyncio.to_thread(alembic.check)


async def test_upgrading_again_changes_nothing_and_loses_nothing(database_url: str, services: Services) -> None:
    service = services.start(database_url=database_url)
    task = await service.user("alice").create()
    before = await schema(database_url)
    await asyncio.to_thread(upgrade, config_of(database_url))
    assert await schema(database_url) == before
    assert await service.user("alice").tasks() == [task]
    await service.hang_up()
    service.stop()


@pytest.mark.parametrize(
    "drift",
    [
        "ALTER TABLE tasks ADD COLUMN colour text",
        "ALTER TABLE tasks ALTER COLUMN title DROP NOT NULL",
        "ALTER TABLE tasks ALTER COLUMN description TYPE varchar(10)",
        "ALTER TABLE tasks ALTER COLUMN priority DROP DEFAULT",
        "DROP INDEX ix_tasks_list_title",
        "DROP TABLE tombstones",
    ],
)
async def test_every_kind_of_drift_is_noticed(database_url: str, connection: Connection, drift: str) -> None:
    await connection.execute(drift)
    with pytest.raises(CommandError, match="New upgrade operations detected"):
        await asyncio.to_thread(commands(database_url).check)


async def test_the_tables_of_others_are_no_drift(database_url: str, connection: Connection) -> None:
    await connection.execute('CREATE TABLE "user" (id text PRIMARY KEY); CREATE TABLE "session" (id text)')
    await asyncio.to_thread(commands(database_url).check)


async def test_constraints_are_those_of_the_tables(database_url: str, empty_database_url: str) -> None:
    """Alembic does not compare them, so they are: what the models say against what the migrations made."""
    engine = new_engine(server_of(empty_database_url).connect)
    async with engine.begin() as made:
        await made.run_sync(Table.metadata.create_all)
    await engine.dispose()
    migrated = [line for line in await schema(database_url) if VERSION_TABLE not in line]
    assert migrated == await schema(empty_database_url)


def test_the_program_knows_its_newest_migration() -> None:
    script = ScriptDirectory(str(DIRECTORY))
    assert script.get_heads() == [HEAD]
    names = sorted(path.name for path in (DIRECTORY / "versions").glob("*.py"))
    assert [name.partition("_")[0] for name in names] == [f"{number + 1:04}" for number in range(len(names))]


# ---- starters


def start_at_once(url: str, barrier: Any) -> None:
    """In a process of its own, as starters are."""
    barrier.wait(60)
    upgrade(config_of(url))


async def test_several_starters_at_once_make_one_schema(empty_database_url: str) -> None:
    spawned = multiprocessing.get_context("spawn")
    barrier = spawned.Barrier(3)
    starters = [spawned.Process(target=start_at_once, args=(empty_database_url, barrier)) for _ in range(3)]
    for starter in starters:
        starter.start()
    for starter in starters:
        await asyncio.to_thread(starter.join, 60)
        assert starter.exitcode == 0
    assert [row[0] for row in await rows(empty_database_url, f"SELECT version_num FROM {VERSION_TABLE}")] == [HEAD]


async def test_a_starter_waits_for_another_one(stage: Stage, services: Services, empty_database_url: str) -> None:
    key = int(re.findall(r"LOCK_KEY = ([0-9_]+)", (DIRECTORY / "env.py").read_text())[0])
    other = await asyncpg.connect(empty_database_url)
    await other.execute("SELECT pg_advisory_lock($1)", key)
    service = Service(stage, services.settings(empty_database_url), empty_database_url)
    await until_live(service)
    assert_problem(await service.http.get("/health/ready"), 503)
    assert await schema(empty_database_url) == []
    await other.close()
    await until_ready_and_stopped(service)


# ---- migrations that fail

NEXT = f"{int(HEAD) + 1:04}"
BROKEN = f"""
from alembic import op
revision, down_revision = "{NEXT}", "{HEAD}"
def upgrade() -> None:
    op.execute("CREATE TABLE half_done (id int)")
    op.execute("ALTER TABLE tasks ADD COLUMN half_done int")
    op.execute("SELECT 1 / 0")
"""


@pytest.fixture
def next_migration(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> Path:
    """The file of a migration after the newest one; the program runs it from now on."""
    shutil.copytree(DIRECTORY, tmp_path / "migrations")
    monkeypatch.setattr(bring_up, "DIRECTORY", tmp_path / "migrations")
    monkeypatch.setattr(bring_up, "HEAD", NEXT)
    return tmp_path / "migrations" / "versions" / f"{NEXT}_next.py"


async def test_a_migration_that_fails_leaves_nothing_half_done(database_url: str, next_migration: Path) -> None:
    next_migration.write_text(BROKEN)
    before = await schema(database_url)
    with pytest.raises(DBAPIError, match="division by zero"):
        await asyncio.to_thread(upgrade, config_of(database_url))
    assert await schema(database_url) == before
    assert [row[0] for row in await rows(database_url, f"SELECT version_num FROM {VERSION_TABLE}")] == [HEAD]
    held = await rows(database_url, "SELECT 1 FROM pg_locks WHERE locktype = 'advisory'")
    assert held == []


async def test_what_went_well_before_a_failure_stays(empty_database_url: str, next_migration: Path) -> None:
    next_migration.write_text(BROKEN)
    with pytest.raises(DBAPIError, match="division by zero"):
        await asyncio.to_thread(upgrade, config_of(empty_database_url))
    assert [row[0] for row in await rows(empty_database_url, f"SELECT version_num FROM {VERSION_TABLE}")] == [HEAD]


async def test_the_service_says_a_failing_migration_once_and_goes_on_when_it_is_mended(
    stage: Stage, services: Services, database_url: str, next_migration: Path, caplog: pytest.LogCaptureFixture
) -> None:
    next_migration.write_text(BROKEN)
    with caplog.at_level(logging.INFO):
        service = Service(stage, services.settings(database_url, log_level="info"), database_url)
        await until_live(service)
        await asyncio.sleep(1.5)  # it is tried again every half second
        said = [record.getMessage() for record in caplog.records if record.name == bring_up.__name__]
    assert [line.partition(" ")[0] for line in said] == ["migrating", "the"]
    assert "division by zero" in said[1]
    assert_problem(await service.http.get("/health/ready"), 503)
    next_migration.write_text(BROKEN.replace("1 / 0", "1"))
    await until_ready_and_stopped(service)


# ---- databases that are not as expected


async def until_live(service: Service) -> None:
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        try:
            answer = await service.http.get("/health/live")
        except httpx.HTTPError:
            await asyncio.sleep(0.05)
        else:
            assert answer.status_code == 200
            return
    raise AssertionError("it does not start")


async def until_ready_and_stopped(service: Service) -> None:
    await asyncio.to_thread(service.wait_until_ready)
    assert (await service.user("alice").create())["user_id"] == "alice"
    await service.hang_up()
    await asyncio.to_thread(service.stop)


async def test_a_database_that_is_down_at_start_is_waited_for(
    stage: Stage,
    services: Services,
    postgres: ThrowawayPostgres,
    empty_database_url: str,
    caplog: pytest.LogCaptureFixture,
) -> None:
    wire = Wire(stage, postgres.socket)
    wire.cut()
    name = postgres.name_of(empty_database_url)
    url = f"postgresql://taskservice@127.0.0.1:{wire.port}/{name}?sslmode=disable"
    with caplog.at_level(logging.WARNING):
        service = Service(stage, services.settings(url, log_level="warning"), empty_database_url)
        await until_live(service)
        assert_problem(await service.http.get("/health/ready"), 503)
        assert_problem(await service.http.get("/health"), 503)
        assert_problem(await service.http.get("/api/tasks"), 401)
        assert_problem(await service.http.get("/api/tasks", headers={"Authorization": "Bearer x"}), 401)
        for surface in ("token", "path"):
            answer = await service.user("alice", surface).get()
            assert_problem(answer, 503, "database-unavailable")
            assert int(answer.headers["retry-after"]) >= 1
        assert_problem(await service.user("alice", "path").get("/api/bob/tasks"), 403)
        assert (await service.http.get("/schema/openapi.json")).status_code == 200
        said = [record for record in caplog.records if record.name.startswith("taskservice.database")]
    assert len(said) == 1, [record.getMessage() for record in said]
    wire.mend()
    await until_ready_and_stopped(service)
    wire.cut()


@pytest.mark.parametrize(
    ("url", "said"),
    [
        ("nowhere", 'database "nowhere" does not exist (3D000): check the name of the database in DATABASE_URL'),
        ("stranger", "check the user in DATABASE_URL"),
    ],
)
async def test_a_mistake_in_the_url_is_said_plainly_and_once(
    stage: Stage, services: Services, postgres: ThrowawayPostgres, url: str, said: str, caplog: pytest.LogCaptureFixture
) -> None:
    bad = postgres.url_of("nowhere")
    if url == "stranger":
        bad = re.sub("//.*@", "//stranger:hunter2@", postgres.url)
    with caplog.at_level(logging.WARNING):
        service = Service(stage, services.settings(bad), bad)
        await until_live(service)
    errors = [record.getMessage() for record in caplog.records if record.levelno == logging.ERROR]
    assert len(errors) == 1
    assert said in errors[0]
    assert "hunter2" not in caplog.text
    await service.hang_up()
    await asyncio.to_thread(service.stop)


async def test_who_migrates_by_hand_is_told_to(
    stage: Stage, services: Services, empty_database_url: str, caplog: pytest.LogCaptureFixture
) -> None:
    with caplog.at_level(logging.ERROR):
        settings = services.settings(empty_database_url, migrate="false")
        service = Service(stage, settings, empty_database_url)
        await until_live(service)
        [said] = [record.getMessage() for record in caplog.records]
    assert "run `litestar database upgrade`" in said
    assert_problem(await service.user("alice").get(), 503)
    assert await schema(empty_database_url) == []
    await asyncio.to_thread(upgrade, config_of(empty_database_url))
    await until_ready_and_stopped(service)


async def test_a_schema_newer_than_the_program_is_served(
    stage: Stage, services: Services, database_url: str, connection: Connection, caplog: pytest.LogCaptureFixture
) -> None:
    await connection.execute(f"UPDATE {VERSION_TABLE} SET version_num = '9999'")
    with caplog.at_level(logging.WARNING):
        service = Service(stage, services.settings(database_url, log_level="warning"), database_url)
        await until_ready_and_stopped(service)
    assert f"the schema (9999) is newer than this program ({HEAD})" in caplog.text
    assert await connection.fetchval(f"SELECT version_num FROM {VERSION_TABLE}") == "9999"


# ---- what the database refuses, and what it does not


ALICE = Principal("alice", None, None)


@pytest.fixture(scope="module")
def trial(stage: Stage, postgres: ThrowawayPostgres, migrated_template: str) -> Iterator[Callable[..., Any]]:
    """Does something with a repository and undoes it; whatever the database says to it comes out."""
    url = postgres.create_database(template=migrated_template)
    connection = stage.run(_connect(url))
    tasks = TaskStore(Transaction(connection))

    def attempt(work: Callable[[TaskStore, Connection], Awaitable[Any]]) -> Any:
        async def within() -> Any:
            transaction = connection.transaction()
            await transaction.start()
            try:
                return await work(tasks, connection)
            finally:
                await transaction.rollback()

        return stage.run(within())

    yield attempt
    stage.run(connection.close())


async def _connect(url: str) -> Connection:
    connection = await asyncpg.connect(url)
    await as_microseconds(connection)
    return connection


BODIES = Bodies(load_settings({"BETTER_AUTH_SECRET": SECRET, "TASKSERVICE_DESCRIPTION_MAX": "10000"}))
TEXT = st.text(st.characters(codec="utf-8"))
FIELDS = {
    "title": st.one_of(TEXT, st.text("x \t", min_size=195, max_size=205)),
    "description": st.one_of(st.none(), TEXT, st.just("\U0001f600" * 10_000), st.just("x" * 10_001)),
    "status": st.sampled_from([*rules.STATUSES, "done"]),
    "completed": st.booleans(),
    "priority": st.sampled_from([*rules.PRIORITIES, "urgent"]),
    "due_date": st.one_of(
        st.none(),
        st.dates().map(str),
        st.datetimes(timezones=st.sampled_from([dt.UTC, dt.timezone(dt.timedelta(hours=14))])).map(
            dt.datetime.isoformat
        ),
        st.sampled_from(["0001-01-01", "9999-12-31", "0001-01-01T00:00:00Z", "9999-12-31T23:59:59.999999Z"]),
    ),
}
MOMENTS = st.datetimes(timezones=st.just(dt.UTC)).map(dt.datetime.isoformat)
OPTIONAL = {name: strategy for name, strategy in FIELDS.items() if name != "title"}
BODY = st.fixed_dictionaries({"title": FIELDS["title"]}, optional=OPTIONAL)
CHANGE = st.fixed_dictionaries({}, optional=FIELDS)
IMPORT = st.fixed_dictionaries(
    {"id": st.uuids().map(str), "title": FIELDS["title"], "created_at": MOMENTS},
    optional=OPTIONAL | {"completed_at": st.one_of(st.none(), MOMENTS)},
)
patiently = search(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.too_slow])


@patiently
@given(body=BODY, changes=st.lists(CHANGE, max_size=3))
def test_whatever_is_accepted_the_database_takes(
    trial: Callable[..., Any], body: dict[str, Any], changes: list[dict[str, Any]]
) -> None:
    errors: list[FieldError] = []
    create = BODIES.read(TaskCreate, body, errors)
    accepted = [change for document in changes if (change := BODIES.read(TaskChange, document, errors)) is not None]
    if create is None:
        return

    async def work(tasks: TaskStore, _: Connection) -> None:
        [row] = await tasks.create(ALICE, [create])
        for change in accepted:
            [edited] = (await tasks.edit("alice", [Edit(id=row["id"], change=change)])).values()
            task_from("alice", edited.row)

    trial(work)


@patiently
@given(document=IMPORT)
def test_whatever_an_import_may_hold_the_database_takes(trial: Callable[..., Any], document: dict[str, Any]) -> None:
    one = BODIES.read(TaskImport, document, [])
    if one is None:
        return

    async def work(tasks: TaskStore, _: Connection) -> None:
        [row] = await tasks.create(ALICE, [one])
        for toggles in range(3):
            [edited] = (await tasks.edit("alice", [Edit(id=row["id"], toggle=True)])).values()
            assert edited.row["updated_at"] >= row["updated_at"], toggles
            row = edited.row
        [erased] = (await tasks.erase("alice", [Edit(id=row["id"])])).values()
        assert erased.matched

    trial(work)


@patiently
@given(
    title=st.one_of(
        st.text(st.characters(codec="utf-8", exclude_characters="\x00\x1c\x1d\x1e\x1f")), st.text("x ", min_size=200)
    )
)
def test_a_title_that_is_refused_the_database_refuses_too(trial: Callable[..., Any], title: str) -> None:
    async def work(tasks: TaskStore, connection: Connection) -> None:
        [row] = await tasks.create(ALICE, [TaskCreate(title="t")])
        await connection.execute("UPDATE tasks SET title = $1 WHERE id = $2", title, row["id"])

    sound = bool(title.strip()) and len(title) <= rules.TITLE_MAX
    if sound:
        trial(work)
    else:
        with pytest.raises(asyncpg.CheckViolationError):
            trial(work)


@pytest.mark.parametrize(
    "change",
    [
        "title = NULL", "title = ''", "title = '  '", "title = repeat('x', 201)", "description = repeat('x', 10001)",
        "status = NULL", "status = 'done'", "status = ''", "status = 'Pending'", "priority = NULL",
        "priority = 'urgent'",
        "status = 'completed'", "completed_at = now()", "completed = true", "due_all_day = NULL",
        "due_all_day = true", "due_all_day = true, due_date = '2026-12-01 10:00+00'", "revision = NULL",
        "due_all_day = true, due_date = '2026-12-01 00:00+02'", "updated_at = created_at - interval '1 microsecond'",
        "created_at = NULL", "updated_at = NULL", "user_id = NULL", "user_id = 'nobody'", "id = NULL",
    ],
)  # fmt: skip
def test_what_breaks_a_rule_the_database_refuses(trial: Callable[..., Any], change: str) -> None:
    async def work(tasks: TaskStore, connection: Connection) -> None:
        await tasks.create(ALICE, [TaskCreate(title="t")])
        await connection.execute(f"UPDATE tasks SET {change}")

    with pytest.raises((asyncpg.IntegrityConstraintViolationError, asyncpg.GeneratedAlwaysError)):
        trial(work)


@pytest.mark.parametrize("statement", ["DELETE FROM users", "UPDATE users SET forgotten = revision + 1"])
def test_users_with_tasks_are_held_to_their_rules(trial: Callable[..., Any], statement: str) -> None:
    async def work(tasks: TaskStore, connection: Connection) -> None:
        await tasks.create(ALICE, [TaskCreate(title="t")])
        await connection.execute(statement)

    with pytest.raises(asyncpg.IntegrityConstraintViolationError):
        trial(work)


# ---- what the indexes serve


@pytest_asyncio.fixture(scope="module")
async def many(postgres: ThrowawayPostgres, migrated_template: str) -> AsyncIterator[Connection]:
    """One user with many tasks, many with few, statistics taken."""
    connection = await _connect(postgres.create_database(template=migrated_template))
    await connection.execute(
        "INSERT INTO users (id, revision) SELECT 'user ' || n, 20100 FROM generate_series(0, 400) n"
    )
    await connection.execute(
        "INSERT INTO tasks (id, user_id, title, status, completed_at, priority, due_date, created_at, updated_at, "
        "deleted_at, revision) SELECT gen_random_uuid(), 'user ' || greatest(0, n - 20000) % 401, md5(n::text), "
        "(array['pending', 'in_progress', 'completed'])[1 + n % 3], CASE WHEN n % 3 = 2 THEN now() END, "
        "(array['low', 'medium', 'high'])[1 + n % 3], CASE WHEN n % 2 = 0 THEN now() + n * interval '1 hour' END, "
        "now() - n * interval '1 minute', now(), CASE WHEN n % 20 = 0 THEN now() END, n "
        "FROM generate_series(1, 30000) n"
    )
    await connection.execute(
        "INSERT INTO tombstones SELECT 'user 0', n, gen_random_uuid(), now() FROM generate_series(30001, 32000) n"
    )
    await connection.execute("ANALYZE")
    yield connection
    await connection.close()


async def plan(connection: Connection, sql: str, args: Sequence[Any]) -> str:
    """For these arguments, and for whatever arguments: a prepared statement may get either."""
    lines: list[str] = []
    for options in ("", "(GENERIC_PLAN)"):
        lines += [row[0] for row in await connection.fetch(f"EXPLAIN {options} {sql}", *args)]
    return "\n".join(lines)


@pytest.mark.parametrize(("sort", "down"), list(product(SORTS, ["", "-"])))
async def test_an_index_serves_every_sort_on_every_page(many: Connection, sort: str, down: str) -> None:
    tasks = TaskStore(Transaction(many))
    query = f"sort={down}{sort}&limit=100".encode()
    first = read_list_query(query, TOKEN_SURFACE, b"")
    page = await tasks.page("user 0", first)
    second = read_list_query(query + f"&cursor={page.next_cursor}".encode(), TOKEN_SURFACE, b"")
    assert second.shape.after_cursor
    for list_query in (first, second):
        sql, args = list_page(list_query.shape, 101).call(user_id="user 0", rows=101, **list_query.values)
        steps = await plan(many, sql, args)
        assert steps.count(f"using ix_tasks_list_{sort}") == 2, steps
        assert "Sort" not in steps
        assert "Seq Scan" not in steps


async def test_an_index_serves_the_trash(many: Connection) -> None:
    list_query = read_trash_query(b"limit=100", b"")
    sql, args = list_page(list_query.shape, 101).call(user_id="user 0", rows=101, **list_query.values)
    steps = await plan(many, sql, args)
    assert "using ix_tasks_trash" in steps
    assert "Sort" not in steps


@pytest.mark.parametrize("since", [0, 10_000, 19_990])
async def test_indexes_serve_the_feed(many: Connection, since: int) -> None:
    sql, args = CHANGES.call(user_id="user 0", since=since, rows=101, deletions_after=0)
    steps = await plan(many, sql, args)
    assert "using ix_tasks_feed" in steps, steps
    assert "using pk_tombstones" in steps
    assert "Seq Scan" not in steps
    # Sorted is only the page that both give.
    read = await many.fetch(f"EXPLAIN (ANALYZE, TIMING OFF) {sql}", *args)
    counts = [float(found) for row in read for found in re.findall(r"actual rows=([0-9.]+)", row[0])]
    assert max(counts) <= 202


async def test_an_index_serves_completed_tasks(many: Connection) -> None:
    steps = await plan(many, "SELECT count(*) FROM tasks WHERE user_id = $1 AND completed", ["user 7"])
    assert "Seq Scan" not in steps
