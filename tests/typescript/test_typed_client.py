"""A client generated from the description compiles strictly and lives a task's whole life (docs/typescript.md)."""

import os
import shutil
import subprocess
import sys
from collections.abc import Callable
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks_of
from tests.support import needs
from tests.support.services import SECRET, Service
from tests.typescript.compiler import code_of, compiled, installed, run

pytestmark = pytest.mark.slow


@pytest.fixture
def project(service: Service, tmp_path: Path) -> Path:
    """The reader's directory: the generated types and the lines of the page, which pass the strictest compiler."""
    project = tmp_path / "project"
    project.mkdir()
    api, life = project / "api.ts", project / "life.mts"
    run([installed("openapi-typescript"), f"{service.url}/schema/openapi.json", "--output", str(api)])
    life.write_text(code_of("typescript.md"), "utf-8")
    compiled(project, api, life)
    (project / "package.json").unlink()
    return project


def test_the_lines_of_the_page_compile_and_print_what_it_shows(
    service: Service, someone: Callable[[str], str], project: Path, tmp_path: Path
) -> None:
    clone = tmp_path / "taskservice"
    (clone / ".venv").mkdir(parents=True)
    (clone / ".venv" / "bin").symlink_to(Path(sys.executable).parent)
    (clone / ".env").write_text(f"BETTER_AUTH_SECRET={SECRET}\n", "utf-8")
    shutil.copy(ROOT / "litestar.toml", clone)
    (command,) = [block.text for block in blocks_of("docs/typescript.md") if block.text.startswith("export TOKEN")]
    command = command.replace("http://127.0.0.1:8000", service.url).replace("alice", someone("typed"))
    node = Path(needs.node()).parent
    kept = {name: os.environ[name] for name in ("HOME", "LANG", "LD_LIBRARY_PATH") if name in os.environ}
    done = subprocess.run(
        ["bash", "-euo", "pipefail", "-c", command],
        cwd=project,
        env=kept | {"PATH": f"{node}:{os.defpath}"},
        capture_output=True,
        text=True,
        check=False,
    )
    (shown,) = [block.text for block in blocks_of("docs/typescript.md") if block.language == "js"]
    assert done.stdout == shown, done.stderr
