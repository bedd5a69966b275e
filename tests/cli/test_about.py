"""`litestar` shows what is true of this service, and no command of Litestar's that is not."""

import asyncio
import re
import tomllib

import asyncpg
import pytest

from taskservice import __version__
from taskservice.database.embedded import EmbeddedPostgres
from tests.support.commands import ROOT, Operator
from tests.support.services import SECRET

pytestmark = pytest.mark.slow


def test_version_and_info_are_about_this_service(operator: Operator) -> None:
    assert operator.litestar("version").out == f"{__version__}\n"
    info = operator.litestar("info", TASKSERVICE_DELETE="hard", TASKSERVICE_CORS_ORIGINS="https://todo.example")
    assert info.code == 0
    facts = dict(re.split(r"  +", line, maxsplit=1) for line in info.out.splitlines())
    assert facts["taskservice"].startswith(f"{__version__}, Litestar 2.")
    assert facts["CORS"] == "https://todo.example, any on this machine"
    assert "its address" not in facts
    assert "delete hard" in facts["tasks"]
    assert facts["tokens"] == "HS256 with the shared secret"
    assert SECRET not in info.said


async def test_info_shows_where_other_programs_reach_the_embedded_database(operator: Operator) -> None:
    environment = {"DATABASE_URL": "", "TASKSERVICE_DATA_DIR": ".data"}
    embedded = EmbeddedPostgres(operator.directory / ".data", durable=False)
    try:
        await asyncio.to_thread(embedded.ensure_running)
        shown = await asyncio.to_thread(operator.litestar, "info", **environment)
        found = re.search(r"^its address +(\S+) \(while the service runs\)$", shown.out, re.MULTILINE)
        assert found, shown
        connection = await asyncpg.connect(found[1])
        await connection.close()
    finally:
        await asyncio.to_thread(embedded.stop)


@pytest.mark.parametrize("command", [["sessions"], ["sessions", "delete", "x"], ["schema", "typescript"]])
def test_commands_that_would_mislead_are_not_there(operator: Operator, command: list[str]) -> None:
    outcome = operator.litestar(*command)
    assert outcome.code == 2
    assert "No such command" in outcome.err


def test_help_lists_every_command_of_ours(operator: Operator) -> None:
    shown = operator.litestar("--help").out
    project = tomllib.loads((ROOT / "pyproject.toml").read_text("utf-8"))["project"]
    for name in (
        *project["entry-points"]["litestar.commands"],
        "run",
        "database",
        "info",
        "version",
        "routes",
        "schema",
    ):
        assert re.search(rf"^\W*{name}\s", shown, re.MULTILINE), name
    assert "sessions" not in shown


@pytest.mark.parametrize("name", ["token", "purge", "doctor", "export", "erase", "demo"])
def test_a_command_explains_itself_without_a_database(operator: Operator, name: str) -> None:
    outcome = operator.litestar(name, "--help", DATABASE_URL="postgresql://u@127.0.0.1:1/x")
    assert (outcome.code, outcome.err) == (0, "")
    assert "Usage" in outcome.out
