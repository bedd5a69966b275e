"""A client generated from the description compiles strictly and lives a task's whole life (docs/typescript.md)."""

import json
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.support import needs
from tests.support.services import Service
from tests.typescript.compiler import code_of, compiled, installed, run

pytestmark = pytest.mark.slow


def test_the_lines_of_the_page_compile_and_work(
    service: Service, someone: Callable[[str], str], tmp_path: Path
) -> None:
    api, life, program = tmp_path / "api.ts", tmp_path / "life.ts", tmp_path / "program.ts"
    run([installed("openapi-typescript"), f"{service.url}/schema/openapi.json", "--output", str(api)])
    life.write_text(code_of("typescript.md"), "utf-8")
    address, token = json.dumps(service.url), json.dumps(service.token(someone("typed")))
    program.write_text(
        f'import {{ lifeOfATask }} from "./life.js";\n'
        f"console.log(JSON.stringify(await lifeOfATask({address}, {token})));\n",
        "utf-8",
    )
    compiled(tmp_path, api, life, program)
    assert json.loads(run([needs.node(), str(tmp_path / "program.js")])) == [
        "pending",
        "in_progress",
        "precondition-failed",
        "completed",
        "Buy oat milk",
        "title: min_length",
        "Buy oat milk",
    ]
