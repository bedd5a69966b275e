"""A test that measures time or memory, marked `timing`, runs alone, however many workers there are.

Every test holds the machine while it runs: most tests together with others, one that measures all by itself. Whoever
waits for the machine keeps the turn meanwhile, so that nobody can overtake a test that waits to be alone.
"""

import contextlib
import fcntl
from collections.abc import Generator, Iterator
from pathlib import Path

import pytest


@pytest.hookimpl(tryfirst=True)
def pytest_collection_modifyitems(config: pytest.Config, items: list[pytest.Item]) -> None:
    """Measure last: workers that are still busy with other tests would have to wait."""
    if _is_worker(config):
        items.sort(key=_measures)


@pytest.hookimpl(wrapper=True, tryfirst=True)
def pytest_runtest_protocol(item: pytest.Item) -> Generator[None, object, object]:
    if not _is_worker(item.config):
        return (yield)
    assert item.config.cache
    locks = item.config.cache.mkdir("machine")
    with contextlib.ExitStack() as machine:
        with _held(locks / "turn", fcntl.LOCK_EX):
            machine.enter_context(_held(locks / "machine", fcntl.LOCK_EX if _measures(item) else fcntl.LOCK_SH))
        return (yield)


def _is_worker(config: pytest.Config) -> bool:
    """Whether this process is one of several that run tests at the same time."""
    return hasattr(config, "workerinput")


def _measures(item: pytest.Item) -> bool:
    return item.get_closest_marker("timing") is not None


@contextlib.contextmanager
def _held(path: Path, lock: int) -> Iterator[None]:
    with path.open("w") as file:
        fcntl.flock(file, lock)
        yield
