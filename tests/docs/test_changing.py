"""The recipe for a new field is followed in a copy of the repository, where the tests of every field then pass."""

import shutil
import subprocess
import sys
from pathlib import Path

import pytest

from tests.docs.blocks import ROOT, blocks_of

PATCHES = [block for block in blocks_of("docs/changing.md") if block.language == "diff"]
LEFT_OUT = shutil.ignore_patterns(".git", ".venv", ".data", ".*_cache", ".hypothesis", "__pycache__", "node_modules")


def test_a_field_touches_six_source_files() -> None:
    touched = [line for block in PATCHES for line in block.text.splitlines() if line.startswith("+++ b/taskservice/")]
    assert len(touched) == len(set(touched)) <= 6


@pytest.mark.slow
def test_the_recipe_of_a_field_is_complete(tmp_path: Path) -> None:
    copy = tmp_path / "copy"
    shutil.copytree(ROOT, copy, ignore=LEFT_OUT)
    for patch in PATCHES:
        subprocess.run(["git", "apply", "-"], input=patch.text, text=True, cwd=copy, check=True)
    command = [sys.executable, "-m", "pytest", "-q", "tests/api/test_every_field.py", "-k", "estimate or two_values"]
    ran = subprocess.run(command, check=False, cwd=copy, capture_output=True, text=True, timeout=300)
    assert ran.returncode == 0, ran.stdout
    assert " passed" in ran.stdout
