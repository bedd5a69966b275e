"""What an operator says is what the service gets, from three places; all that is wrong is said at once, in words."""

import multiprocessing
import re
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from taskservice.auth.tokens import issue_token
from taskservice.settings import SETTINGS, Settings, SettingsError, load_settings
from taskservice.settings.shared_secrets import BETTER_AUTH_DEVELOPMENT_SECRET
from taskservice.settings.values import origin_of

SECRET = "a-secret-for-tests-that-is-long-enough-0123456789"
DATABASE = "postgresql://somebody:hunter2-and-more@db.example/tasks"
SOUND = {"BETTER_AUTH_SECRET": SECRET}


def problems(directory: Path | None = None, /, **environ: str) -> list[str]:
    """What is said about these settings."""
    with pytest.raises(SettingsError) as raised:
        load_settings(environ, directory)
    return raised.value.problems


def settings(directory: Path | None = None, /, **environ: str) -> Settings:
    return load_settings(SOUND | environ, directory)


def host(found: Settings) -> str | None:
    return found.database.host if found.database else None


# ---- where a setting may stand


def test_the_environment_wins_over_dotenv_and_dotenv_over_toml(tmp_path: Path) -> None:
    (tmp_path / "litestar.toml").write_text(
        '[taskservice]\ntitle = "generated"\ndelete = "hard"\nforeign_task = "404"\nretention_days = 7\n'
    )
    assert settings(tmp_path).retention_days == 7
    (tmp_path / ".env").write_text("TASKSERVICE_DELETE=soft\nTASKSERVICE_RETENTION_DAYS=8\n")
    assert settings(tmp_path).retention_days == 8
    found = settings(tmp_path, TASKSERVICE_RETENTION_DAYS="9")
    assert (found.title, found.delete, found.foreign_task, found.retention_days) == ("generated", "soft", "404", 9)


def test_replicas_are_named_one_by_one() -> None:
    urls = (
        "postgresql://me@one/tasks?sslmode=disable, postgres://me@two:5433/tasks\npostgresql+asyncpg://me@three/tasks"
    )
    found = settings(DATABASE_URL=DATABASE, DATABASE_REPLICA_URLS=urls).database_replicas
    assert [(target.host, target.port) for target in found] == [("one", 5432), ("two", 5433), ("three", 5432)]
    assert not any(target.must_take_writes for target in found)
    assert settings(DATABASE_URL=DATABASE).database_replicas == ()


@pytest.mark.parametrize(
    ("urls", "said"),
    [
        ("postgresql://me@one,two/tasks", "one URL for each host"),
        ("postgresql://me@one/tasks?target_session_attrs=read-write", "without target_session_attrs"),
        ("postgresql://me:hunter2@one/tasks mysql://two", "DATABASE_REPLICA_URLS: "),
        ("one", "must begin with postgresql://"),
    ],
)
def test_replicas_that_make_no_sense_are_refused(urls: str, said: str) -> None:
    (problem,) = problems(**SOUND, DATABASE_URL=DATABASE, DATABASE_REPLICA_URLS=urls)
    assert problem.startswith("DATABASE_REPLICA_URLS: ")
    assert said in problem
    assert "hunter2" not in problem


def test_replicas_without_a_primary_are_refused() -> None:
    (problem,) = problems(**SOUND, DATABASE_REPLICA_URLS="postgresql://me@one/tasks")
    assert problem == "DATABASE_REPLICA_URLS: set DATABASE_URL too, which names their primary"


def test_without_a_directory_no_file_is_read(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / ".env").write_text("TASKSERVICE_DELETE=hard\n")
    monkeypatch.chdir(tmp_path)
    assert settings().delete == "soft"


@pytest.mark.parametrize("blank", ["", " ", "\t"])
def test_what_is_blank_is_not_set(tmp_path: Path, blank: str) -> None:
    (tmp_path / "litestar.toml").write_text('[taskservice]\ntitle = "generated"\njwt_issuer = ""\n')
    found = settings(tmp_path, TASKSERVICE_TITLE=blank, DATABASE_URL=blank, TASKSERVICE_RETENTION_DAYS=blank)
    assert (found.title, found.database, found.retention_days, found.jwt_issuer) == ("generated", None, 30, None)


def test_space_around_a_value_means_nothing() -> None:
    assert settings(TASKSERVICE_DELETE=" hard\n").delete == "hard"


def test_a_byte_order_mark_means_nothing(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text("\ufeffTASKSERVICE_DELETE=hard\n", "utf-8")
    (tmp_path / "litestar.toml").write_text('\ufeff[taskservice]\ntitle = "generated"\n', "utf-8")
    assert (settings(tmp_path).delete, settings(tmp_path).title) == ("hard", "generated")


def test_dotenv_may_be_written_as_shells_have_it(tmp_path: Path) -> None:
    lines = ["# a remark", "", "export TASKSERVICE_DELETE='hard' # why not", "X=1", f'DATABASE_URL="{DATABASE}"']
    (tmp_path / ".env").write_text("\n".join(lines))
    assert (settings(tmp_path).delete, host(settings(tmp_path))) == ("hard", "db.example")


def test_toml_may_use_its_own_types(tmp_path: Path) -> None:
    (tmp_path / "litestar.toml").write_text(
        "[taskservice]\nmetrics = true\nforeign_task = 404\ndescription_max = 500\ndatabase_deadline = 2.5\n"
        'cors_origins = ["https://a.example", "https://b.example:8443"]\n'
    )
    found = settings(tmp_path)
    assert (found.metrics, found.foreign_task, found.description_max, found.database_deadline) == (
        True,
        "404",
        500,
        2.5,
    )
    assert found.cors_origins == ("https://a.example", "https://b.example:8443")


def test_the_first_database_url_wins() -> None:
    assert host(settings(NEON_DB_URL="postgres://neon/n")) == "neon"
    assert host(settings(NEON_DB_URL="postgres://neon/n", DATABASE_URL=DATABASE)) == "db.example"
    assert host(settings(NEON_DB_URL="postgres://neon/n?options=x", DATABASE_URL=DATABASE)) == "db.example"


@pytest.mark.parametrize(
    ("written", "origins"),
    [
        ("https://a.example, https://b.example", ("https://a.example", "https://b.example")),
        ('["https://a.example"]', ("https://a.example",)),
        ("[]", ()),
        ("*", ("*",)),
    ],
)
def test_a_list_is_written_by_comma_or_as_json(written: str, origins: tuple[str, ...]) -> None:
    assert settings(TASKSERVICE_CORS_ORIGINS=written).cors_origins == origins


# ---- what is refused

BAD = {
    "TASKSERVICE_ENV": ["prod", "Production"],
    "TASKSERVICE_DATABASE_POOLER": ["yes", "True"],
    "TASKSERVICE_DATABASE_CONNECTIONS": ["0", "1001", "ten", "1.5", "-1", "٣"],
    "TASKSERVICE_DATABASE_DEADLINE": ["0", "0.4", "301", "1e3", "nan", "inf", "5s"],
    "TASKSERVICE_DATABASE_SCHEMA": ['a"b', "Mixed", "pg_own", "x" * 64, "a.b"],
    "TASKSERVICE_DATABASE_SHARDED": ["citus"],
    "TASKSERVICE_MIGRATE": ["on", "2", "maybe"],
    "TASKSERVICE_METRICS": ["enabled"],
    "TASKSERVICE_DRAIN_SECONDS": ["-1", "601", "1m"],
    "TASKSERVICE_LOG_LEVEL": ["INFO", "trace"],
    "TASKSERVICE_TITLE": ["optional"],
    "TASKSERVICE_DESCRIPTION_MAX": ["0", "10001", "99999999999999999999", "1_000"],
    "TASKSERVICE_DELETE": ["softly"],
    "TASKSERVICE_RETENTION_DAYS": ["0", "-30", "36501", "30d"],
    "TASKSERVICE_USERS": ["everybody"],
    "TASKSERVICE_USERS_TABLE": ['"user"', "x" * 64, "a\x01b"],
    "TASKSERVICE_FOREIGN_TASK": ["401", "404.0"],
    "TASKSERVICE_CORS_ORIGINS": [
        "localhost:3000", "https://a.example/", "https://a.example:99999", "https://a.example:443", "HTTPS://A.example",
        "ftp://a.example", "http://[::1", "[1]", "[", '{"a": 1}', "null", "https://user@a.example",
    ],
    "TASKSERVICE_CORS_ORIGIN_REGEX": ["(", "*"],
    "TASKSERVICE_PUBLIC_URL": [
        "example.org/todo", "/todo", "https://example.org/?x=1", "https://user:hunter2@example.org", "https://ex.org/é",
        'https://example.org/"', "https://example.org/>", "https://example.org/a b",
    ],
    "BETTER_AUTH_URL": [
        "auth.example", "ftp://auth.example", "https://", "https://auth.example:port", "https://auth.example:99999",
        "https://user:hunter2@auth.example", "https://:hunter2@auth.example", "https://auth.example/?x=1",
        "https://auth.example/?", "https://auth.example/#", "https://[::1", "https://auth example", "//auth.example",
    ],
    "BETTER_AUTH_JWKS_URL": ["/api/auth/jwks", "https://auth.example:x/jwks"],
    "BETTER_AUTH_SECRETS": ["new,old", "2:", "2:a,b", ",", "two:secret", ":secret"],
}  # fmt: skip


@pytest.mark.parametrize(("variable", "value"), [(name, value) for name, values in BAD.items() for value in values])
def test_a_bad_value_is_one_line_that_names_its_variable(variable: str, value: str) -> None:
    environ = SOUND | {"BETTER_AUTH_URL": "https://auth.example"} | {variable: value}
    [line] = problems(**environ)
    assert line.startswith(f"{variable}: ")
    assert "\n" not in line
    assert "hunter2" not in line


def test_every_setting_with_rules_is_tried_with_a_bad_value() -> None:
    free = {"DATABASE_URL", "NEON_DB_URL", "DATABASE_DIRECT_URL", "DATABASE_REPLICA_URLS", "BETTER_AUTH_SECRET"}
    free |= {"TASKSERVICE_DATA_DIR", "TASKSERVICE_JWT_ISSUER", "TASKSERVICE_JWT_AUDIENCE"}
    assert {setting.variable for setting in SETTINGS} == free | set(BAD)


@pytest.mark.parametrize("variable", [setting.variable for setting in SETTINGS])
def test_what_is_not_utf_8_is_refused(variable: str) -> None:
    [line] = problems(**SOUND | {"BETTER_AUTH_URL": "https://auth.example"} | {variable: "aaaa\udcff" * 10})
    assert line == f"{variable}: is not valid UTF-8"


def test_everything_wrong_is_said_at_once(tmp_path: Path) -> None:
    (tmp_path / "litestar.toml").write_text(
        '[taskservice]\ntitel = "x"\nretention_days = 0\n[litestar]\nhots = "x"\n[tool]\n'
    )
    (tmp_path / ".env").write_text("TASKSERVICE_DELET=hard\nTASKSERVICE_METRICS=perhaps\n")
    lines = problems(
        tmp_path, TASKSERVICE_ENV="production", TASKSERVICE_MIGRATE="x", BETTER_AUTH_SECRET="short", TASKSERVICE_X="1",
        NEON_DB_URL="mysql://u@h/d", DATABASE_DIRECT_URL="postgresql://u@h:port/d",
    )  # fmt: skip
    assert [line.partition(": ")[0] for line in lines] == [
        "litestar.toml", "litestar.toml", "litestar.toml", "TASKSERVICE_DELET", "TASKSERVICE_X",
        "NEON_DB_URL", "DATABASE_DIRECT_URL", "TASKSERVICE_MIGRATE", "TASKSERVICE_METRICS",
        "TASKSERVICE_RETENTION_DAYS", "BETTER_AUTH_SECRET",
    ]  # fmt: skip


def test_who_set_something_wrong_is_not_told_to_set_it() -> None:
    [line] = problems(TASKSERVICE_ENV="production", BETTER_AUTH_SECRETS="rubbish", DATABASE_URL=DATABASE)
    assert line.startswith("BETTER_AUTH_SECRETS: ")
    [line] = problems(BETTER_AUTH_URL="rubbish", BETTER_AUTH_JWKS_URL="https://auth.example/jwks")
    assert line.startswith("BETTER_AUTH_URL: ")


@pytest.mark.parametrize("name", ["TASKSERVICE_DELET", "TASKSERVICE_SECRET", "TASKSERVICE_", "TASKSERVICE_title"])
def test_an_unknown_variable_is_refused_without_its_value(name: str) -> None:
    [line] = problems(**SOUND, **{name: "hunter2"})
    assert line.startswith(f"{name}: no such setting")
    assert "hunter2" not in line


def test_a_misspelt_variable_is_recognised() -> None:
    assert problems(**SOUND, TASKSERVICE_RETENTION_DAY="3") == [
        "TASKSERVICE_RETENTION_DAY: no such setting, did you mean TASKSERVICE_RETENTION_DAYS?"
    ]


def test_variables_of_others_are_none_of_our_business() -> None:
    assert (
        settings(TASK_SERVICE_DELETE="x", BETTER_AUTH_TRUSTED_ORIGINS="x", DATABASE_URL_UNPOOLED="x").delete == "soft"
    )


TOML = {
    'title = "required"': "title: no such table",
    "taskservice = 5": "taskservice: must be a table, [taskservice]",
    'litestar = "app"': "litestar: must be a table, [litestar]",
    "[other]": "other: no such table",
    "[taskservice]\nTitle = 'required'": "[taskservice] Title: no such setting",
    "[taskservice]\ndatabase_url = 'postgres://x'": "[taskservice] database_url: no such setting",
    "[taskservice]\nbetter_auth_secret = 'hunter2'": "[taskservice] better_auth_secret: no such setting",
    "[litestar]\nworkers = 3": "[litestar] workers: no such setting",
    "[taskservice": "",
    "[taskservice]\ntitle = 'hunter2": "",
    "[taskservice]\ntitle = 'required'\ntitle = 'required'": "",
}


@pytest.mark.parametrize("text", TOML)
def test_a_bad_file_is_refused_in_one_line(tmp_path: Path, text: str) -> None:
    (tmp_path / "litestar.toml").write_text(text)
    [line] = problems(tmp_path, **SOUND)
    assert line.startswith(f"litestar.toml: {TOML[text]}")
    assert "hunter2" not in line
    assert "\n" not in line


@pytest.mark.parametrize("value", ["1979-05-27", "[1, 2]", "{a = 1}", "nan", "12:00:00"])
def test_a_value_of_an_odd_type_is_a_bad_value(tmp_path: Path, value: str) -> None:
    (tmp_path / "litestar.toml").write_text(f"[taskservice]\nretention_days = {value}\n")
    [line] = problems(tmp_path, **SOUND)
    assert line == "TASKSERVICE_RETENTION_DAYS: must be a whole number from 1 to 36500"


@pytest.mark.parametrize("name", [".env", "litestar.toml"])
def test_a_file_that_cannot_be_read_is_said_so(tmp_path: Path, name: str) -> None:
    (tmp_path / name).write_bytes(b"A = '\xff'\n")
    assert problems(tmp_path, **SOUND) == [f"{name}: is not valid UTF-8"]
    (tmp_path / name).unlink()
    (tmp_path / name).mkdir()
    assert problems(tmp_path, **SOUND) == [f"{name}: cannot be read: Is a directory"]


def test_an_open_quote_in_dotenv_loses_nothing_in_silence(tmp_path: Path) -> None:
    (tmp_path / ".env").write_text('TASKSERVICE_DELETE=hard\nBETTER_AUTH_SECRET="hunter2\nDATABASE_URL=x\n')
    assert problems(tmp_path) == [".env: what begins at line 2 is not NAME=value"]


@given(st.fixed_dictionaries({}, optional={setting.variable: st.text(max_size=40) for setting in SETTINGS}))
def test_whatever_is_set_is_taken_or_refused_in_words(environ: dict[str, str]) -> None:
    said: list[str] = []
    try:
        load_settings(environ | SOUND)
    except SettingsError as error:
        said = error.problems or [""]
    known = "|".join(setting.variable for setting in SETTINGS)
    assert all(re.match(rf"({known}): .", line) for line in said)
    assert len("\n".join(said).splitlines()) == len(said)


# ---- production

PRODUCTION = {"TASKSERVICE_ENV": "production", "DATABASE_URL": DATABASE}


def test_production_with_a_secret_and_a_database_may_start() -> None:
    found = load_settings(PRODUCTION | SOUND)
    assert found.production
    assert found.warnings == ()


def test_production_with_a_better_auth_server_needs_no_secret() -> None:
    found = load_settings(PRODUCTION | {"BETTER_AUTH_URL": "https://auth.example"})
    assert found.secrets == ()
    assert not found.generated_secret


def test_production_without_a_key_source_does_not_start(tmp_path: Path) -> None:
    [line] = problems(tmp_path, **PRODUCTION)
    assert line.startswith("BETTER_AUTH_SECRET: set it or BETTER_AUTH_URL")
    assert list(tmp_path.iterdir()) == []


def test_production_without_a_database_does_not_start() -> None:
    [line] = problems(**SOUND, TASKSERVICE_ENV="production")
    assert line.startswith("DATABASE_URL: set it or NEON_DB_URL")


@pytest.mark.parametrize(
    "secret", ["hunter2", "x" * 31, "é" * 15, BETTER_AUTH_DEVELOPMENT_SECRET, "a" * 40, "correct!" * 5, "01" * 32]
)
def test_a_weak_secret_is_refused_in_production_and_a_warning_elsewhere(secret: str) -> None:
    [line] = problems(**PRODUCTION, BETTER_AUTH_SECRET=secret)
    assert line.startswith("BETTER_AUTH_SECRET: ")
    assert secret not in line
    assert load_settings({"BETTER_AUTH_SECRET": secret}).warnings == (line,)


def test_a_sharded_database_and_a_question_to_all_its_servers_are_a_warning() -> None:
    environ = {"BETTER_AUTH_SECRET": SECRET, "TASKSERVICE_DATABASE_SHARDED": "true"}
    [warning] = load_settings(environ).warnings
    assert warning.startswith("TASKSERVICE_FOREIGN_TASK: ")
    assert load_settings(environ | {"TASKSERVICE_FOREIGN_TASK": "404"}).warnings == ()
    assert load_settings({"BETTER_AUTH_SECRET": SECRET}).warnings == ()


def test_32_bytes_are_enough_however_many_characters_they_are() -> None:
    secret = "éàüöäßçñéàüöäßçô"
    assert len(secret) == 16
    assert load_settings(PRODUCTION | {"BETTER_AUTH_SECRET": secret}).secrets == (secret,)


def test_every_weak_secret_in_rotation_is_named() -> None:
    lines = problems(**PRODUCTION, BETTER_AUTH_SECRET="short", BETTER_AUTH_SECRETS=f"3:{SECRET},2:shorter,1:tiny")
    assert sorted(line.partition(":")[0] for line in lines) == ["BETTER_AUTH_SECRET", *["BETTER_AUTH_SECRETS"] * 2]
    assert not any(word in "".join(lines) for word in ("shorter,", "tiny", SECRET))


# ---- rotation and key sources


def test_rotation_is_written_as_better_auth_writes_it() -> None:
    found = load_settings({"BETTER_AUTH_SECRETS": f"2:{SECRET}-new, 1:{SECRET}:with:colons", **SOUND})
    assert found.secrets == (f"{SECRET}-new", f"{SECRET}:with:colons", SECRET)


def test_a_secret_that_stands_in_both_is_one() -> None:
    assert load_settings({"BETTER_AUTH_SECRETS": f"1:{SECRET}", **SOUND}).secrets == (SECRET,)


@pytest.mark.parametrize(
    ("url", "jwks"),
    [
        ("https://auth.example", "https://auth.example/api/auth/jwks"),
        ("https://auth.example/", "https://auth.example/api/auth/jwks"),
        ("https://auth.example/api/auth", "https://auth.example/api/auth/jwks"),
        ("https://auth.example/api/auth/", "https://auth.example/api/auth/jwks"),
        ("http://localhost:3000", "http://localhost:3000/api/auth/jwks"),
        ("http://[::1]:3000", "http://[::1]:3000/api/auth/jwks"),
        ("https://example.com/app", "https://example.com/app/api/auth/jwks"),
    ],
)
def test_the_key_set_is_found_from_the_servers_address(url: str, jwks: str) -> None:
    assert load_settings({"BETTER_AUTH_URL": url}).jwks_url == jwks


def test_the_key_set_may_be_elsewhere() -> None:
    found = load_settings({"BETTER_AUTH_URL": "https://auth.example", "BETTER_AUTH_JWKS_URL": "http://auth:3000/keys"})
    assert (found.jwks_url, found.better_auth_url) == ("http://auth:3000/keys", "https://auth.example")


def test_a_key_set_alone_says_not_for_whom_its_tokens_are() -> None:
    alone = {"BETTER_AUTH_JWKS_URL": "https://auth.example/jwks"}
    assert problems(**alone)[0].startswith("BETTER_AUTH_JWKS_URL: set BETTER_AUTH_URL too")
    assert problems(**alone, TASKSERVICE_JWT_ISSUER="x")
    found = load_settings(alone | {"TASKSERVICE_JWT_ISSUER": "x", "TASKSERVICE_JWT_AUDIENCE": "a,b"})
    assert (found.jwt_issuer, found.jwt_audience) == ("x", ("a", "b"))


@pytest.mark.parametrize(
    ("url", "origin"),
    [
        ("https://Auth.Example/api/auth", "https://auth.example"),
        ("https://auth.example:443", "https://auth.example"),
        ("http://auth.example:80/", "http://auth.example"),
        ("http://auth.example:443", "http://auth.example:443"),
        ("http://[::1]:3000/x", "http://[::1]:3000"),
    ],
)
def test_an_origin_is_written_as_browsers_write_it(url: str, origin: str) -> None:
    assert origin_of(url) == origin


# ---- the secret made for development


def test_a_development_secret_is_made_once_and_kept_for_its_owner_only(tmp_path: Path) -> None:
    first = load_settings({"TASKSERVICE_DATA_DIR": str(tmp_path / "new" / "data")})
    again = load_settings({"TASKSERVICE_DATA_DIR": str(tmp_path / "new" / "data")})
    assert first.generated_secret
    assert first.secrets == again.secrets
    assert len(first.secrets[0]) >= 32
    [file] = (tmp_path / "new" / "data").iterdir()
    assert file.stat().st_mode & 0o777 == 0o600


def test_two_directories_have_two_secrets(tmp_path: Path) -> None:
    one, other = (load_settings({"TASKSERVICE_DATA_DIR": str(tmp_path / name)}).secrets for name in "ab")
    assert one != other


def test_with_a_key_source_no_secret_is_made(tmp_path: Path) -> None:
    load_settings(SOUND | {"TASKSERVICE_DATA_DIR": str(tmp_path)})
    load_settings({"BETTER_AUTH_URL": "https://auth.example", "TASKSERVICE_DATA_DIR": str(tmp_path)})
    assert list(tmp_path.iterdir()) == []


def _secret_found(directory: str, start: Any) -> str:
    start.wait(30)
    return load_settings({"TASKSERVICE_DATA_DIR": directory}).secrets[0]


@pytest.mark.slow
def test_processes_that_start_at_once_share_one_secret(tmp_path: Path) -> None:
    spawned = multiprocessing.get_context("spawn")
    with spawned.Manager() as manager, spawned.Pool(4) as pool:
        for attempt in range(20):
            barrier, directory = manager.Barrier(4), str(tmp_path / str(attempt))
            found = pool.starmap(_secret_found, [(directory, barrier)] * 4, chunksize=1)
            assert len(set(found)) == 1
            assert [path.name for path in Path(directory).iterdir()] == ["development-secret"]


def test_a_data_directory_that_cannot_be_one_is_said_so(tmp_path: Path) -> None:
    (tmp_path / "file").touch()
    for place in ("file", "file/below"):
        [line] = problems(TASKSERVICE_DATA_DIR=str(tmp_path / place))
        assert line.startswith("TASKSERVICE_DATA_DIR: ")
        assert line.endswith("or set BETTER_AUTH_SECRET")


@pytest.mark.parametrize("content", [b"", b"\n", b"short", b"\xff" * 40])
def test_a_spoilt_development_secret_is_not_used(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "development-secret").write_bytes(content)
    [line] = problems(TASKSERVICE_DATA_DIR=str(tmp_path))
    assert "remove it" in line


def test_a_token_can_be_signed_with_the_development_secret(tmp_path: Path) -> None:
    assert issue_token(load_settings({"TASKSERVICE_DATA_DIR": str(tmp_path)}), "alice").count(".") == 2
