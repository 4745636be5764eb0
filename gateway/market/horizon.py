"""How far a client knows the ledger to have come, and that the peer it asks is no less far (ADR 82).

A block reaches one organisation's peer a moment before another's. So a client that was told of a block, by its own
commits and events, or by another client that hands on the number, doesn't take an answer from a peer without it.
"""

from __future__ import annotations

from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.network import Network


class Horizon:
    """The newest block that a client was told of, and how far each gateway peer is known to be."""

    def __init__(self, network: Network) -> None:
        self._network = network
        self._peers: dict[str, int] = {}
        self.block = -1
        """The newest block's number; -1 before there is any."""

    def told(self, block: int, target: str = "") -> None:
        """Note a block that a peer (default: the one in use) has told of."""
        target = target or self._network.target
        self._peers[target] = max(block, self._peers.get(target, -1))
        self.block = max(block, self.block)

    def heard(self, target: str, event: ChaincodeEvent) -> None:
        """Note the block of an event that a peer has sent."""
        self.told(event.block, target)

    def require(self, block: int) -> None:
        """Note a block that is known from elsewhere."""
        self.block = max(block, self.block)

    @property
    def reached(self) -> bool:
        """Whether the peer in use is known to have the newest block."""
        return self._peers.get(self._network.target, -1) >= self.block

    async def reach(self) -> None:
        """Wait until the peer in use has the newest block; costs nothing where that is known. Raises PeerBehind."""
        while not self.reached:
            block = self.block
            await self._network.reach(block)
            self.told(block)
