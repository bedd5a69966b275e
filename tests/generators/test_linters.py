"""The linters of API descriptions have nothing to say about ours."""

from pathlib import Path

import pytest

from tests.generators.tools import node_tool, run
from tests.support.services import Service

pytestmark = pytest.mark.slow

DESCRIPTION = Path(__file__).parents[2] / "docs" / "openapi.json"


def test_spectral_finds_nothing(tmp_path: Path) -> None:
    rules = tmp_path / "spectral.yaml"
    rules.write_text('extends: ["spectral:oas"]\n', "utf-8")
    command = [node_tool("spectral"), "lint", str(DESCRIPTION), "--ruleset", str(rules), "--fail-severity", "hint"]
    assert "No results" in run(command, tmp_path)


def test_redocly_finds_nothing(tmp_path: Path) -> None:
    # `/api/tasks/{task_id}` and `/api/{user_id}/tasks` are ambiguous for it: two surfaces stand over one another here.
    # Each of them passes by that rule, too.
    command = [node_tool("redocly"), "lint", str(DESCRIPTION), "--skip-rule", "no-ambiguous-paths"]
    said = run(command, tmp_path)
    assert "You have" not in said, said


@pytest.mark.parametrize("surface", ["token", "path"])
async def test_redocly_finds_nothing_by_any_rule_in_one_surface(service: Service, tmp_path: Path, surface: str) -> None:
    description = tmp_path / "openapi.json"
    description.write_bytes((await service.http.get(f"/schema/openapi.json?surface={surface}")).content)
    said = run([node_tool("redocly"), "lint", str(description)], tmp_path)
    assert "You have" not in said, said
