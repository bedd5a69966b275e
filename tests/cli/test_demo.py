"""`litestar demo`: sample tasks that look real."""

import os
import re
from pathlib import Path

from tests.support.commands import BIN, Operator
from tests.support.services import SECRET, Service


async def test_a_dozen_tasks_of_every_kind(operator: Operator, service: Service) -> None:
    outcome = operator.litestar("demo", "alice")
    assert (outcome.code, outcome.err) == (0, "")
    assert outcome.out.startswith('Made 12 tasks for "alice".')
    tasks = await service.user("alice").tasks()
    assert len({task["title"] for task in tasks}) == 12
    assert {task["status"] for task in tasks} == {"pending", "in_progress", "completed"}
    assert {task["priority"] for task in tasks} == {"low", "medium", "high"}
    assert all(task["created_at"] <= task["updated_at"] for task in tasks)
    assert any(task["due_date"] is None for task in tasks)
    assert any(task["due_date"] and "T" in task["due_date"] for task in tasks)
    assert (await service.user("alice").get("", params={"due": "overdue"})).json()


def test_production_is_asked_for_by_name(operator: Operator) -> None:
    production = {"TASKSERVICE_ENV": "production", "BETTER_AUTH_SECRET": SECRET}
    [line] = operator.litestar("demo", "alice", **production).refused()
    assert line == "TASKSERVICE_ENV is production: sample tasks are made there only with --yes"
    assert operator.litestar("demo", "alice", "--yes", **production).code == 0


def test_it_says_how_to_call_the_next_command_from_here(operator: Operator, tmp_path: Path) -> None:
    def next_command(program: str, path: str) -> str:
        said = operator.run(program, "demo", "alice", PATH=path).out
        return str(re.findall(r"`(\S+) token alice`", said)[0])

    (tmp_path / "bin").symlink_to(BIN)
    assert next_command("litestar", f"{BIN}:{os.defpath}") == "litestar"
    assert next_command("bin/litestar", os.defpath) == "bin/litestar"
    assert next_command(str(BIN / "litestar"), os.defpath) == str(BIN / "litestar")


def test_a_user_id_that_no_token_could_have_is_refused(operator: Operator) -> None:
    assert operator.litestar("demo", "al\tice").refused() == ["a user id has 1 to 255 printable characters"]
