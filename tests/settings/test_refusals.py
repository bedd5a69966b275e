"""However the service is started, a bad setting ends it with readable lines, a code that says so, and no secret."""

import socket
from pathlib import Path

import pytest

from tests.support.commands import Operator
from tests.support.services import SECRET

STARTS = {
    "litestar run": ("litestar", "run", "--port", "0"),
    "litestar run --wc 2": ("litestar", "run", "--port", "0", "--wc", "2"),
    "uvicorn": ("uvicorn", "taskservice.app:create_app", "--factory", "--port", "0"),
    "litestar token": ("litestar", "token", "alice"),
}
PASSWORD = "hunter2-and-more"


@pytest.fixture
def operator(tmp_path: Path) -> Operator:
    return Operator(tmp_path, TASKSERVICE_DATA_DIR=str(tmp_path / "data"))


@pytest.mark.parametrize("start", STARTS)
def test_every_way_to_start_says_everything_that_is_wrong(operator: Operator, start: str) -> None:
    url = f"postgresql://somebody:{PASSWORD}@db.example:port/tasks"
    operator.dotenv(f"BETTER_AUTH_SECRET={PASSWORD}", "TASKSERVICE_RETENTION_DAYS=0", f"DATABASE_URL={url}")
    operator.toml('[litestar]\napp = "taskservice.app:create_app"\n[taskservice]\ntitel = "x"\n')
    outcome = operator.run(*STARTS[start], TASKSERVICE_ENV="production")
    assert [line.partition(": ")[0] for line in outcome.refused()] == [
        "taskservice cannot start:", "litestar.toml", "DATABASE_URL", "TASKSERVICE_RETENTION_DAYS",
        "BETTER_AUTH_SECRET",
    ]  # fmt: skip
    assert PASSWORD not in outcome.said
    assert outcome.code == 2
    assert not (operator.directory / "data").exists()


@pytest.mark.parametrize("start", ["litestar run --wc 2", "uvicorn"])
def test_every_way_to_start_refuses_a_bad_database_url(operator: Operator, start: str) -> None:
    url = f"postgresql://somebody:{PASSWORD}@db.example:port/tasks"
    outcome = operator.run(*STARTS[start], BETTER_AUTH_SECRET=SECRET, DATABASE_URL=url)
    assert [line.partition(": ")[0] for line in outcome.refused()] == ["taskservice cannot start:", "DATABASE_URL"]
    assert PASSWORD not in outcome.said


@pytest.mark.parametrize(
    ("toml", "dotenv", "said"),
    [
        ("litestar = 5\n", "", "litestar.toml: litestar: must be a table"),
        ("[litestar\n", "", "litestar.toml: "),
        ("", 'BETTER_AUTH_SECRET="hunter2-and-more\n', ".env: what begins at line 1 is not NAME=value"),
    ],
)
def test_files_that_make_no_sense_are_said_so(operator: Operator, toml: str, dotenv: str, said: str) -> None:
    operator.toml(toml)
    operator.dotenv(dotenv)
    outcome = operator.litestar("run", "--port", "0")
    assert any(line.startswith(said) for line in outcome.refused()), outcome
    assert PASSWORD not in outcome.said


def test_a_shared_secret_that_is_a_public_key_is_refused(operator: Operator) -> None:
    pem = f"-----BEGIN PUBLIC KEY-----\nMCowBQYDK2VwAyEA{'A' * 43}=\n-----END PUBLIC KEY-----"
    [_, line] = operator.litestar("run", "--port", "0", BETTER_AUTH_SECRET=pem).refused()
    assert line.startswith("BETTER_AUTH_SECRET: ")


def test_an_address_that_is_taken_is_said_so(operator: Operator) -> None:
    outcome = operator.litestar(
        "run", "--host", "192.0.2.1", BETTER_AUTH_SECRET=SECRET, DATABASE_URL="postgres://u@h/d"
    )
    assert "cannot listen on 192.0.2.1:8000" in outcome.said
    assert "Traceback" not in outcome.said
    assert outcome.code == 1


def test_an_address_that_is_in_use_is_said_so(operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = str(other.getsockname()[1])
        outcome = operator.litestar("run", "--port", port)
    assert f"cannot listen on 127.0.0.1:{port}: Address already in use; is it running already?" in outcome.said
    assert "Traceback" not in outcome.said
    assert outcome.code == 1


@pytest.mark.parametrize(
    ("port", "said"),
    [
        ("65536", "port in litestar.toml: must be a whole number"),
        ("http", "port in litestar.toml: must be a whole number"),
    ],
)
def test_a_port_that_is_none_is_said_so(operator: Operator, port: str, said: str) -> None:
    operator.toml(f'[litestar]\napp = "taskservice.app:create_app"\nport = "{port}"\n')
    outcome = operator.litestar("run")
    assert any(said in line for line in outcome.refused()), outcome
    assert outcome.code == 2


def test_an_application_that_is_none_is_said_so_with_all_else(operator: Operator) -> None:
    operator.toml('[litestar]\napp = "taskservice.app:nope"\nport = 8000\n')
    lines = operator.litestar("run", LITESTAR_PORT="http", TASKSERVICE_DELET="hard").refused()
    assert [line.partition(":")[0] for line in lines[1:]] == [
        "LITESTAR_PORT, PORT, or port in litestar.toml", "LITESTAR_APP, or app in litestar.toml", "TASKSERVICE_DELET",
    ]  # fmt: skip


def test_an_empty_variable_leaves_the_file_its_say(operator: Operator) -> None:
    with socket.create_server(("127.0.0.1", 0)) as other:
        port = other.getsockname()[1]
        operator.toml(f'[litestar]\napp = "taskservice.app:create_app"\nport = {port}\n')
        outcome = operator.litestar("run", LITESTAR_PORT="", LITESTAR_APP=" ", LITESTAR_HOST="")
    assert f"cannot listen on 127.0.0.1:{port}" in outcome.said


def test_an_embedded_database_that_cannot_run_is_said_so(operator: Operator) -> None:
    home = operator.directory / "data" / "postgresql"
    home.parent.mkdir()
    home.write_text("not a directory")
    outcome = operator.litestar("run", "--port", "0")
    assert "cannot use" in outcome.said
    assert "Traceback" not in outcome.said
    assert outcome.code == 1
