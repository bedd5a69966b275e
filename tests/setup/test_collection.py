"""Collecting the tests takes Python and this repository, and nothing else of the machine."""

import os
import subprocess
import sys
from pathlib import Path

import pytest

pytestmark = pytest.mark.slow

ROOT = Path(__file__).parents[2]
GUARD = f"""
import sys
from pathlib import Path

OWN = tuple(str(Path(path).resolve()) for path in ({str(ROOT)!r}, sys.prefix, sys.base_prefix, "."))

def refuse(event, arguments):
    if event in {{"subprocess.Popen", "os.system", "os.exec", "os.posix_spawn"}}:
        raise RuntimeError(f"collecting starts a program: {{arguments[0]}}")
    if event in {{"os.listdir", "os.scandir"}} and arguments[0] is not None:
        place = str(Path(arguments[0]).resolve())
        if not place.startswith((*OWN, *filter(None, sys.path), "/proc/")):
            raise RuntimeError(f"collecting looks into a directory that a machine need not have: {{place}}")

sys.addaudithook(refuse)
"""


def test_nothing_fails_at_collection_where_there_is_only_python(tmp_path: Path) -> None:
    (tmp_path / "guard.py").write_text(GUARD)
    (tmp_path / "python").symlink_to(sys.executable)
    collecting = subprocess.run(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "guard", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={"PATH": str(tmp_path), "PYTHONPATH": str(tmp_path), "HOME": str(tmp_path), "LANG": "C.UTF-8"},
        capture_output=True,
        text=True,
        check=False,
        timeout=120,
    )
    assert collecting.returncode == os.EX_OK, collecting.stdout[-4000:] + collecting.stderr
