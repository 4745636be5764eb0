"""Fetching a whole channel again and checking it for oneself.

What a client was told while it worked (results, commit statuses) came from one peer. An audit goes through every block
from genesis on, as Deliver hands them out, and checks hash chain, orderers, creators and endorsers (see ``verifier``).
"""

from __future__ import annotations

from dataclasses import dataclass

from fabric_protos.common import common_pb2

from goldengrain.gateway.blocks import BlockTransaction, header_hash
from goldengrain.gateway.errors import BlockError
from goldengrain.gateway.network import Network
from goldengrain.gateway.verifier import BlockVerifier


@dataclass(frozen=True)
class Audit:
    """A channel that verified: number of blocks, hash of the last one, its transactions in order."""

    height: int
    last_hash: bytes
    transactions: tuple[BlockTransaction, ...]

    def outcome(self, transaction_id: str) -> BlockTransaction:
        """Return what became of a transaction: its first occurrence, as commit status has it. Raises BlockError."""
        for one in self.transactions:
            if one.transaction_id == transaction_id:
                return one
        raise BlockError(
            f"transaction {transaction_id} is in none of the {self.height} blocks", transaction_id=transaction_id
        )


async def audit(network: Network, genesis: common_pb2.Block | None = None) -> Audit:
    """Fetch and verify all blocks that the peer has now. Raises BlockError, DeliverError.

    ``genesis`` is the channel's genesis block as the caller has it; without one the delivered one is believed, and
    with it whom it names as members.
    """
    height = await network.height()
    verifier: BlockVerifier | None = None
    found: list[BlockTransaction] = []
    last = b""
    async with network.fetch_blocks(0, height - 1) as blocks:
        async for block in blocks:
            last = header_hash(block.header)
            if verifier is not None:
                found += verifier.verify(block)
            elif genesis is not None and header_hash(genesis.header) != last:
                raise BlockError("the peer's genesis block is another than the given one: this is another channel")
            else:
                verifier = BlockVerifier.from_genesis(genesis or block)
    return Audit(height, last, tuple(found))
