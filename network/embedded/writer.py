"""The thread that writes a ledger's file.

One at a time, in the order in which they came, so that neither the event loop nor a reader waits for the disk.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from typing import TypeVar

from goldengrain.network.embedded.errors import LedgerError

__all__ = ["Writer"]

_Result = TypeVar("_Result")


class Writer:
    """A thread of one ledger; it starts with the first write."""

    def __init__(self, channel_id: str) -> None:
        self._channel_id = channel_id
        self._thread = ThreadPoolExecutor(1, thread_name_prefix=f"ledger-{channel_id}")

    async def write(self, action: Callable[[], _Result]) -> _Result:
        """Run a method of the store on the thread; raises what it raises, LedgerError after `stop`."""
        try:
            writing = asyncio.get_running_loop().run_in_executor(self._thread, action)
        except RuntimeError as error:
            raise LedgerError(f"the ledger of channel {self._channel_id} is closed") from error
        return await writing

    def stop(self) -> None:
        """Take no more writes, and return when the last one is done."""
        self._thread.shutdown()
