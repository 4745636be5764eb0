"""Ledger time of a network: the machine's clock, plus the offset that a test network's `HOME/clock` holds (section 2).

The file holds an integer number of seconds as text; without it the offset is 0. It is replaced as a whole and only ever
rises. Network, shim guard, clients, agents and enclaves read it; contract modules never do.
"""

from __future__ import annotations

import fcntl
import os
import time
from pathlib import Path

from goldengrain.chaincode.protocol.errors import ClockError

_NANOSECONDS = 1_000_000_000


class LedgerClock:
    """Tells ledger time; notices an advance with the next call, at the cost of one `stat`."""

    def __init__(self, path: str | Path | None = None) -> None:
        """Read the offset from a file, or without one tell the machine's time."""
        self.path = None if path is None else Path(path)
        self._seen: tuple[int, int, int] | None = None
        self._offset = 0

    def now(self) -> int:
        """Return the time in whole seconds since 1970."""
        return self.now_ns() // _NANOSECONDS

    def now_ns(self) -> int:
        """Return the time in nanoseconds since 1970."""
        return time.time_ns() + self.offset() * _NANOSECONDS

    def offset(self) -> int:
        """Return by how many seconds the network is ahead; raises `ClockError` when the file is damaged."""
        if self.path is None:
            return 0
        try:
            status = os.stat(self.path)  # noqa: PTH116 - three times as fast as Path.stat, and called for every message
        except FileNotFoundError:
            return 0
        seen = (status.st_ino, status.st_mtime_ns, status.st_size)
        if seen != self._seen:
            self._offset = read_offset(self.path)
            self._seen = seen
        return self._offset


def read_offset(path: Path) -> int:
    """Return the offset in a file, 0 without one; raises `ClockError` when it holds anything else."""
    try:
        text = path.read_text("ascii")
        return _offset(text)
    except FileNotFoundError:
        return 0
    except (OSError, ValueError) as error:
        raise ClockError(f"{path} does not hold a number of seconds; delete it to return to real time") from error


def _offset(text: str) -> int:
    number = int(text.strip())
    if number < 0:
        raise ValueError(number)
    return number


def advance(path: str | Path, seconds: int) -> int:
    """Move a test network's time ahead and return the new offset; time never goes back. Raises `ClockError`."""
    if seconds < 0:
        raise ClockError("ledger time never goes back; give a positive number of seconds")
    target = Path(path)
    try:
        with Path(f"{target}.lock").open("w") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            offset = read_offset(target) + seconds
            fresh = Path(f"{target}.new")
            fresh.write_text(f"{offset}\n", "ascii")
            fresh.replace(target)
    except OSError as error:
        raise ClockError(f"can't write {target}: {error}") from error
    return offset
