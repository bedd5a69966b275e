"""Collecting the tests takes Python and this repository, nothing else of the machine, and gives the same each time."""

import subprocess
import sys
import time
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


def collecting(directory: Path, *, seed: int) -> "subprocess.Popen[str]":
    """Collects every test, with no program but Python at hand."""
    (directory / "guard.py").write_text(GUARD)
    (directory / "python").symlink_to(sys.executable)
    return subprocess.Popen(
        [sys.executable, "-m", "pytest", "--collect-only", "--quiet", "-p", "guard", "-p", "no:cacheprovider"],
        cwd=ROOT,
        env={
            "PATH": str(directory),
            "PYTHONPATH": str(directory),
            "PYTHONHASHSEED": str(seed),
            "HOME": str(directory),
            "LANG": "C.UTF-8",
        },
        stdout=subprocess.PIPE,
        stderr=subprocess.STDOUT,
        text=True,
    )


@pytest.fixture(scope="module")
def collected(tmp_path_factory: pytest.TempPathFactory) -> list[list[str]]:
    """What two processes collect, a second apart: the ids of the tests."""
    processes = []
    for seed in (1, 2):
        processes.append(collecting(tmp_path_factory.mktemp("collection"), seed=seed))
        time.sleep(1.1)
    outputs = [process.communicate(timeout=240)[0] for process in processes]
    assert [process.returncode for process in processes] == [0, 0], outputs[0][-4000:]
    return [[line for line in output.splitlines() if "::" in line] for output in outputs]


def test_nothing_fails_at_collection_where_there_is_only_python(collected: list[list[str]]) -> None:
    assert len(collected[0]) > 4000


def test_workers_that_run_the_tests_in_parallel_collect_the_same_ones(collected: list[list[str]]) -> None:
    """An id that holds the time, or the order of a set, differs from process to process."""
    assert collected[0] == collected[1]
