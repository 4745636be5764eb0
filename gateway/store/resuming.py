"""Bytes from far away: a connection that breaks is made again, and reading goes on where it stopped."""

from __future__ import annotations

import time
from collections.abc import Callable

from goldengrain.gateway.errors import StoreError, StoreUnreachable
from goldengrain.gateway.store.base import Source

ATTEMPTS = 6
"""Connections in a row that may bring nothing before it is given up."""
FIRST_PAUSE_S = 0.1


class Patience:
    """Pauses between attempts, each twice as long as the one before; any success starts anew."""

    def __init__(self, attempts: int = ATTEMPTS, first_pause_s: float = FIRST_PAUSE_S) -> None:
        self._attempts = attempts
        self._first = first_pause_s
        self._failed = 0

    def reward(self) -> None:
        """Something went forward."""
        self._failed = 0

    def try_again(self, error: StoreError) -> None:
        """Wait a moment; raises ``error`` where it was tried often enough."""
        self._failed += 1
        if self._failed >= self._attempts:
            raise error
        time.sleep(self._first * 2 ** (self._failed - 1))


class Resuming:
    """A source that opens another one at the place where the last one broke off with StoreUnreachable.

    ``open_at`` opens it at an offset; ``size`` is how many bytes there are, so that an early end is noticed.
    """

    def __init__(self, open_at: Callable[[int], Source], size: int, patience: Patience | None = None) -> None:
        self._open_at = open_at
        self._size = size
        self._patience = patience or Patience()
        self._source: Source | None = None
        self._done = 0

    def read(self, size: int, /) -> bytes:
        """Return at most ``size`` bytes. Raises StoreUnreachable where going on fails too often."""
        while self._done < self._size:
            try:
                if self._source is None:
                    self._source = self._open_at(self._done)
                chunk = self._source.read(size)
                if not chunk:
                    raise StoreUnreachable(f"the connection ended after {self._done} of {self._size} bytes")
            except StoreUnreachable as error:
                self.close()
                self._patience.try_again(error)
                continue
            self._patience.reward()
            self._done += len(chunk)
            return chunk
        return b""

    def close(self) -> None:
        """Close what is open."""
        if self._source is not None:
            self._source.close()
            self._source = None
