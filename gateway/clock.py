"""What time a client writes into its transactions.

A transaction's timestamp is its client's word. Real networks use the system's clock; a test network whose time can be
advanced hands in another one (``goldengrain.chaincode.protocol.clock.LedgerClock`` fits).
"""

from __future__ import annotations

import time
from typing import Protocol


class Clock(Protocol):
    """Tells the time."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        ...


class SystemClock:
    """The system's clock."""

    def now_ns(self) -> int:
        """Nanoseconds since 1970-01-01 UTC."""
        return time.time_ns()
