"""A guard between the client's word for the time and this machine's clock.

A transaction's timestamp is whatever its client wrote; peers accept any within 15 minutes of theirs. A contract whose
rules depend on time needs a narrower window, and must not read a clock itself: endorsers would disagree.

    server = ChaincodeServer(chaincode, address, package_id, guard=ClockWindow(60))

The guard compares the two before anything of the chaincode runs, and refuses; rules then go by `stub.timestamp` alone.
So endorsers may differ in refusing, never in a result. Windows have to be wider than the clocks of endorsers differ.
"""

import time
from collections.abc import Callable

from goldengrain.chaincode.shim.errors import TimestampRefused
from goldengrain.chaincode.shim.stub import ChaincodeStub

_NANOSECONDS = 1_000_000_000


class ClockWindow:
    """Refuses transactions whose timestamp is more than `seconds` before or after this machine's time."""

    def __init__(self, seconds: float, now_ns: Callable[[], int] = time.time_ns) -> None:
        """`now_ns` tells the time in nanoseconds since 1970. Raises ValueError unless `seconds` is positive."""
        if not seconds > 0:
            raise ValueError(f"a clock window is longer than nothing, not {seconds} s")
        self._window = seconds
        self._now_ns = now_ns

    async def __call__(self, stub: ChaincodeStub) -> None:
        """Raise TimestampRefused for a transaction outside the window, InvalidArgument for one without a time."""
        stated = stub.timestamp
        apart = (stated.seconds * _NANOSECONDS + stated.nanos - self._now_ns()) / _NANOSECONDS
        if abs(apart) > self._window:
            side = "ahead of" if apart > 0 else "behind"
            raise TimestampRefused(
                f"the transaction's time is {abs(apart):.1f} s {side} this peer's clock, over {self._window:g} s: "
                "set the client's clock"
            )
