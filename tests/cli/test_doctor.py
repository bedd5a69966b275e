"""`litestar doctor`: what is wrong, in plain words, with what to do about it; exit code 1 as long as anything is."""

from collections.abc import Iterator

import pytest

from taskservice.database.migrations import HEAD
from tests.auth.issuer import Issuer
from tests.support.better_auth import USERS_TABLE
from tests.support.commands import Operator
from tests.support.postgres import ThrowawayPostgres
from tests.support.services import SECRET
from tests.support.stage import Stage
from tests.support.tokens import signed, unlimited


@pytest.fixture
def issuer(stage: Stage) -> Iterator[Issuer]:
    issuer = Issuer(stage)
    issuer.add("key-1")
    yield issuer
    issuer.cut()


def findings(operator: Operator, *arguments: str, **environment: str) -> dict[str, str]:
    """By what was looked at: marks, what was found, and remedies."""
    outcome = operator.litestar("doctor", *arguments, **environment)
    if outcome.code:
        outcome.refused()
    found: dict[str, str] = {}
    what = ""
    for line in outcome.out.splitlines():
        if line.startswith(("✓", "✗")):
            what, _, said = line[2:].partition("  ")
            found[what] = f"{found.get(what, '')} {line[0]} {said.strip()}".strip()
        elif what:
            found[what] += " " + line.strip()
    assert outcome.code == any("✗" in said for said in found.values()), outcome
    assert SECRET not in outcome.said
    assert "hunter2" not in outcome.said
    return found


def test_everything_in_order_is_said_with_a_tick(
    operator: Operator, issuer: Issuer, postgres: ThrowawayPostgres, database_url: str
) -> None:
    postgres.execute(USERS_TABLE, database_url)
    found = findings(
        operator, "--token", f"Bearer {signed({'sub': 'alice'})}",
        TASKSERVICE_USERS="registered", BETTER_AUTH_URL=issuer.origin,
    )  # fmt: skip
    assert list(found) == [
        "settings", "read from", "database", "migrations", "connections", "users table",
        "shared secret", "JWKS", "token",
    ]  # fmt: skip
    assert all(said.startswith("✓") for said in found.values())
    assert f"up to date ({HEAD})" in found["migrations"]


def test_an_empty_database_with_a_key_server_that_is_down(
    operator: Operator, empty_database_url: str, issuer: Issuer
) -> None:
    issuer.cut()
    found = findings(
        operator, "--token", unlimited({"sub": "alice"}),
        DATABASE_URL=empty_database_url, BETTER_AUTH_URL=issuer.origin, TASKSERVICE_USERS="registered",
        BETTER_AUTH_SECRET="hunter2",
    )  # fmt: skip
    assert "✗ BETTER_AUTH_SECRET: shorter than 32 bytes" in found["settings"]
    assert found["database"].startswith("✓")
    assert found["migrations"] == (
        f"✗ the database has no schema yet; this program needs {HEAD} "
        "→ run `litestar database upgrade`, or start the service"
    )
    assert 'there is no table "user"' in found["users table"]
    assert issuer.jwks_url in found["JWKS"]
    assert "is Better Auth running" in found["JWKS"]
    assert "it has no exp" in found["token"]
    assert "→ docs/better-auth.md" in found["token"]


def test_it_says_which_source_set_what_without_a_value(operator: Operator) -> None:
    """A variable that was given to `litestar run` alone is missing here, and this line shows it."""
    variables = "DATABASE_URL, BETTER_AUTH_SECRET, TASKSERVICE_DATA_DIR"
    toml = "litestar.toml: 8 settings; the rest: defaults"
    assert findings(operator)["read from"] == f"✓ environment: {variables}; .env: not in this directory; {toml}"
    operator.dotenv("TASKSERVICE_METRICS=true", f"BETTER_AUTH_SECRET={SECRET[::-1]}", "UNRELATED=1")
    assert findings(operator)["read from"] == f"✓ environment: {variables}; .env: TASKSERVICE_METRICS; {toml}"
    operator.dotenv(f"BETTER_AUTH_SECRET={SECRET}")
    found = findings(operator, BETTER_AUTH_SECRET="")["read from"]
    assert found.startswith("✓ environment: DATABASE_URL, TASKSERVICE_DATA_DIR; .env: BETTER_AUTH_SECRET; ")
    operator.dotenv("# nothing yet")
    (operator.directory / "litestar.toml").unlink()
    found = findings(operator, LITESTAR_APP="taskservice.app:create_app")["read from"]
    assert found.endswith("; .env: nothing; litestar.toml: not in this directory; the rest: defaults")


@pytest.mark.parametrize(
    ("token", "said"),
    [
        (signed({"sub": "alice", "exp": 1}), "it expired"),
        (signed({"sub": "alice"}, secret=SECRET[::-1]), "another secret"),
    ],
)
def test_a_bad_token_is_explained(operator: Operator, token: str, said: str) -> None:
    assert said in findings(operator, "--token", token)["token"]


def test_a_database_that_is_not_there_is_said_so(operator: Operator, postgres: ThrowawayPostgres) -> None:
    found = findings(operator, DATABASE_URL=postgres.url_of("nowhere"))
    assert (
        'database "nowhere" does not exist (3D000): check the name of the database in DATABASE_URL' in found["database"]
    )
    assert "migrations" not in found
    assert found["shared secret"].startswith("✓")


def test_the_setting_that_is_to_blame_is_named(
    operator: Operator, postgres: ThrowawayPostgres, database_url: str
) -> None:
    nowhere = postgres.url_of("nowhere")
    found = findings(operator, DATABASE_URL="", NEON_DB_URL=nowhere)
    assert "check the name of the database in NEON_DB_URL" in found["database"]
    behind = {"TASKSERVICE_DATABASE_POOLER": "true", "DATABASE_URL": database_url}
    found = findings(operator, **behind, DATABASE_DIRECT_URL=nowhere)
    assert "check the name of the database in DATABASE_DIRECT_URL" in found["direct database"]
    assert findings(operator, **behind, DATABASE_DIRECT_URL=database_url)["direct database"].startswith("✓")


@pytest.mark.parametrize("host", ["127.0.0.1:1", "nowhere.invalid"])
def test_a_database_that_cannot_be_reached_has_a_remedy(operator: Operator, host: str) -> None:
    found = findings(operator, DATABASE_URL=f"postgresql://somebody:hunter2@{host}/tasks")
    assert found["database"].startswith(f"✗ postgresql://somebody:***@{host.partition(':')[0]}")
    assert "→ does PostgreSQL run there" in found["database"]


def test_a_user_whom_the_server_does_not_let_in_is_said_so(operator: Operator, postgres: ThrowawayPostgres) -> None:
    stranger = postgres.url_of("template1").replace("://", "://stranger:hunter2@", 1).replace("@taskservice@", "@")
    found = findings(operator, DATABASE_URL=stranger)
    assert "stranger" in found["database"]
    assert "check the user in DATABASE_URL" in found["database"]


def test_a_schema_of_a_newer_program_is_no_fault(
    operator: Operator, postgres: ThrowawayPostgres, database_url: str
) -> None:
    postgres.execute("UPDATE taskservice_schema SET version_num = '9999'", database_url)
    assert findings(operator)["migrations"] == f"✓ the schema (9999) is newer than this program, which knows {HEAD}"


def test_tables_of_somebody_else_are_said_so(
    operator: Operator, postgres: ThrowawayPostgres, database_url: str
) -> None:
    postgres.execute("DROP TABLE taskservice_schema; CREATE TABLE taskservice_schema (another text)", database_url)
    outcome = operator.litestar("doctor")
    assert outcome.code == 1
    assert "version_num" in "".join(outcome.refused())


def test_a_table_of_another_program_under_a_name_of_ours_is_named(
    operator: Operator, postgres: ThrowawayPostgres, empty_database_url: str
) -> None:
    postgres.execute("CREATE TABLE users (id serial PRIMARY KEY, login text)", empty_database_url)
    found = findings(operator, DATABASE_URL=empty_database_url)
    assert found["migrations"].startswith(
        '✗ the schema public holds tables of another program under names of ours: "users" → '
    )
    assert "of its own" in found["migrations"]


def test_more_connections_than_the_database_allows_are_named_with_what_to_change(
    operator: Operator, postgres: ThrowawayPostgres, database_url: str
) -> None:
    assert findings(operator)["connections"].startswith("✓ 1 worker with 10 each; the server allows ")
    many = {"WEB_CONCURRENCY": "40", "TASKSERVICE_DATABASE_CONNECTIONS": "50"}
    found = findings(operator, **many)["connections"]
    assert found.startswith("✗ 40 workers with 50 connections each are 2000, and the server allows ")
    assert "→ set TASKSERVICE_DATABASE_CONNECTIONS=" in found
    assert "put a pooler in between" in found
    pooled = findings(operator, **many, TASKSERVICE_DATABASE_POOLER="true", DATABASE_DIRECT_URL=database_url)
    assert "default_pool_size" in pooled["connections"]
    assert findings(operator, WEB_CONCURRENCY="many")["connections"].startswith("✓ 1 worker")


def test_a_replica_that_is_away_or_the_primary_itself_is_said_so(operator: Operator, database_url: str) -> None:
    assert findings(operator, DATABASE_REPLICA_URLS=database_url)["replica"].endswith("is the primary now")
    assert findings(operator, DATABASE_REPLICA_URLS="postgresql://x@127.0.0.1:1/x")["replica"].startswith("✗")


def test_bad_settings_are_named(operator: Operator) -> None:
    outcome = operator.litestar("doctor", TASKSERVICE_USERS="nobody", TASKSERVICE_DELET="x")
    assert [line.partition(":")[0] for line in outcome.refused()[1:]] == ["TASKSERVICE_DELET", "TASKSERVICE_USERS"]
