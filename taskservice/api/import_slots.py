"""Which imports may go on: they are bounded in a worker, because each may hold the largest body there is."""

import asyncio
from collections.abc import AsyncIterable, AsyncIterator
from contextlib import asynccontextmanager
from typing import Final

from taskservice.database.turns import Turns
from taskservice.problems import Overloaded

IMPORTS_AT_ONCE: Final = 2
"""How many imports one worker reads and writes at a time."""
IMPORTS_OF_A_USER: Final = 1
"""How many of them may be one user's, so that no user keeps the others from importing."""
IMPORT_WAIT_SECONDS: Final = 5
"""How long a further import waits before it is answered 503."""
IMPORT_HURRY_SECONDS: Final = 2
"""How long a body may be arriving while another import has waited as long."""


class ImportSlots:
    """A user's imports take turns; whose turn it is waits for one of the slots, without a byte of the body in memory.

    A slot is held while the body arrives. Once another import has waited, the body that has been arriving for the
    longest time has to be there, or its import gives up the slot.
    """

    def __init__(self) -> None:
        self._turns = Turns(IMPORTS_OF_A_USER)
        self._free = asyncio.Semaphore(IMPORTS_AT_ONCE)
        self._arriving: dict[asyncio.Timeout, float] = {}
        """The bodies that are arriving, oldest first, and when each began."""

    @asynccontextmanager
    async def take(self, user: str) -> AsyncIterator[None]:
        """Waits for a slot, which ends with the block."""
        try:
            async with asyncio.timeout(IMPORT_WAIT_SECONDS):
                await self._turns.take(user, IMPORT_WAIT_SECONDS)
                try:
                    await self._take_slot()
                except BaseException:
                    self._turns.leave(user)
                    raise
        except TimeoutError:
            raise Overloaded("Other imports are in progress") from None
        try:
            yield
        finally:
            self._free.release()
            self._turns.leave(user)

    async def whole(self, body: AsyncIterable[bytes]) -> bytearray:
        """The body, once all of it has arrived."""
        raw = bytearray()
        try:
            async with asyncio.timeout(None) as limit:
                self._arriving[limit] = asyncio.get_running_loop().time()
                try:
                    async for piece in body:
                        raw += piece
                finally:
                    self._arriving.pop(limit, None)
        except TimeoutError:
            raise Overloaded("Other imports waited, and the body arrived too slowly") from None
        return raw

    async def _take_slot(self) -> None:
        hurrying = asyncio.get_running_loop().call_later(IMPORT_HURRY_SECONDS, self._hurry)
        try:
            await self._free.acquire()
        finally:
            hurrying.cancel()

    def _hurry(self) -> None:
        oldest = next(iter(self._arriving), None)
        if oldest is not None:
            oldest.reschedule(self._arriving.pop(oldest) + IMPORT_HURRY_SECONDS)
