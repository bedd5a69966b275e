"""Workers that do not serve: the service notices by itself."""

import subprocess
import sys
import time
from pathlib import Path

import pytest

from bench.reliability.program import REPOSITORY

pytestmark = pytest.mark.slow

PROGRAM = """
import pathlib, signal, socket, sys, time
from taskservice.server import workers
workers.HUNG_SECONDS, workers.LOOK_SECONDS = 1.5, 0.1

def serve(place, beat):
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
    lives = tmp_path / "lives"
    until = time.monotonic() + 60
    while not lives.exists() or lives.read_text() != "xx":
        assert time.monotonic() < until
        time.sleep(0.1)
    time.sleep(3)  # twice as long as a worker may hang
    program.terminate()
    _, said = program.communicate(timeout=30)
    assert program.returncode == 0
    assert lives.read_text() == "xx"
    assert said.count("has been blocked") == 1


def test_a_worker_that_cannot_start_ends_the_service(tmp_path: Path) -> None:
    program = run(tmp_path, ends=True)
    _, said = program.communicate(timeout=60)
    assert program.returncode == 3
    assert "could not start" in said
