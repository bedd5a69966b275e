"""What every attack is held against, and `--measured` shows."""

from collections.abc import AsyncIterator, Callable
from contextlib import AbstractAsyncContextManager, asynccontextmanager

import pytest

from tests.support.services import Service
from tests.support.timing import HELD_MAX, held

Unheld = Callable[[Service], AbstractAsyncContextManager[None]]
MIB = 1 << 20


@pytest.fixture
def unheld(record_property: Callable[[str, object], None]) -> Unheld:
    """Meanwhile the event loop of a service computes for no longer than it may between two of its turns."""

    @asynccontextmanager
    async def measuring(service: Service) -> AsyncIterator[None]:
        async with held(service) as seconds:
            yield
        record_property("event loop held", f"{seconds[0] * 1000:.0f} ms")
        assert seconds[0] < HELD_MAX

    return measuring


@pytest.fixture
def within(record_property: Callable[[str, object], None]) -> Callable[[int, int], None]:
    """The memory that an attack took, in bytes, is not more than it may be."""

    def check(growth: int, most: int) -> None:
        record_property("memory", f"{growth / MIB:.0f} MiB, at most {most / MIB:.0f} allowed")
        assert growth < most

    return check
