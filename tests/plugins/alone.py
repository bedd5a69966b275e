"""A test that measures time or memory, marked `timing`, runs alone, however many workers there are.

Every test holds the machine while it runs: most tests together with others, one that measures all by itself. Whoever
waits for the machine keeps the turn meanwhile, so that nobody can overtake a test that waits to be alone.
"""

import contextlib
import fcntl
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if not hasattr(item.config, "workerinput"):  # not one of several workers
        return (yield)
    assert item.config.cache
    locks = item.config.cache.mkdir("machine")
    with contextlib.ExitStack() as machine:
        with _held(locks / "turn", fcntl.LOCK_EX):
            alone = item.get_closest_marker("timing") is not None
            machine.enter_context(_held(locks / "machine", fcntl.LOCK_EX if alone else fcntl.LOCK_SH))
        return (yield)


@contextlib.contextmanager
def _held(path: Path, lock: int) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, lock)
        yield
