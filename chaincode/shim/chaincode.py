"""What the shim runs."""

from collections.abc import Awaitable, Callable
from typing import Protocol

from goldengrain.chaincode.shim.responses import Response
from goldengrain.chaincode.shim.stub import ChaincodeStub

Guard = Callable[[ChaincodeStub], Awaitable[None]]
"""Runs before every call; raises to refuse it (a clock window, say). What it raises is answered as by a chaincode."""


class Chaincode(Protocol):
    """A chaincode. Many calls run at once on one event loop: keep nothing of a transaction outside its stub.

    To refuse, return `error(…)` or raise a GoldenGrainError: the client sees `CODE: text`. Any other exception is a
    bug: the client sees its class alone, the log has where it was raised.
    """

    async def init(self, stub: ChaincodeStub) -> Response:
        """Answer a call that the client marked as initialisation (chaincodes whose definition requires it)."""
        ...

    async def invoke(self, stub: ChaincodeStub) -> Response:
        """Answer a call."""
        ...
