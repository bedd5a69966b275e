"""Workers that do not serve: the service has to notice by itself."""

import subprocess
import sys
from pathlib import Path

from bench.reliability.program import REPOSITORY

PROGRAM = """
import pathlib, signal, socket, sys, time
from taskservice.server import workers
workers.HUNG_SECONDS, workers.LOOK_SECONDS = 1.5, 0.1

def serve(beat):
    lives = pathlib.Path("lives")
    lives.write_text(lives.read_text() + "x" if lives.exists() else "x")
    while True:
        time.sleep(0.05)
        if {ends}:
            sys.exit(3)
        if len(lives.read_text()) > 1:
            beat()

signal.signal(signal.SIGTERM, signal.SIG_DFL)
sys.exit(workers.Workers(serve, 1, socket.create_server(("127.0.0.1", 0)), patience=1).run())
"""


def run(directory: Path, *, ends: bool) -> "subprocess.Popen[str]":
    return subprocess.Popen(
        [sys.executable, "-c", PROGRAM.replace("{ends}", str(ends))],
        cwd=directory, env={"PYTHONPATH": str(REPOSITORY)}, stderr=subprocess.PIPE, text=True,
    )  # fmt: skip


def test_a_worker_that_hangs_is_replaced_and_one_that_moves_is_not(tmp_path: Path) -> None:
    program = run(tmp_path, ends=False)
    try:
        program.wait(5)
    except subprocess.TimeoutExpired:
        program.terminate()
    _, said = program.communicate(timeout=10)
    assert program.returncode == 0
    assert (tmp_path / "lives").read_text() == "xx"
    assert said.count("has not moved") == 1


def test_a_worker_that_cannot_start_ends_the_service(tmp_path: Path) -> None:
    program = run(tmp_path, ends=True)
    _, said = program.communicate(timeout=20)
    assert program.returncode == 3
    assert "could not start" in said
