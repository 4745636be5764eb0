"""The ordering core: a durable queue of envelopes, cut into signed blocks (API; being filled)."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

    from goldengrain.network.embedded.blocks import BlockSigner
    from goldengrain.network.embedded.channel import Channel


class Orderer:
    """Orders one channel. Every acknowledged envelope is in exactly one block, whenever the process is killed."""

    def __init__(self, channel: Channel, signer: BlockSigner, clock: Callable[[], float]) -> None:
        """`clock` returns seconds since 1970 (ledger time), for the expiry of certificates; timers use real time."""
        raise NotImplementedError

    async def start(self) -> None:
        """Take up the envelopes that were acknowledged but not yet in a block, and start cutting."""
        raise NotImplementedError

    async def broadcast(self, envelope: bytes) -> None:
        """Check and queue a serialised common.Envelope; durable when this returns.

        Raises BroadcastRefusedError(status, info) with the fields of Fabric's orderer.BroadcastResponse.
        """
        raise NotImplementedError

    async def stop(self) -> None:
        """Stop cutting; what is queued stays on disk."""
        raise NotImplementedError
