"""Handing private data on to other peers before an endorsement: a collection may require that some of them have it.

The peers of this process share one store of private data, so nothing has to be sent. What a collection's
`required_peer_count` promises is kept nonetheless: where fewer other members' peers of the channel run, a proposal that
writes to it is refused, in Fabric's words.
"""

from __future__ import annotations

from collections.abc import Callable, Iterable

from fabric_protos.ledger.rwset import rwset_pb2

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.failures import ProposalError

__all__ = ["Neighbours", "check_dissemination"]

Neighbours = Callable[[str], Iterable[str]]
"""Organisations (MSP ids) of the other peers that run on a channel, one entry a peer."""


def check_dissemination(
    channel: Channel, tx_id: str, private: rwset_pb2.TxPvtReadWriteSet, neighbours: Neighbours
) -> None:
    """Check that enough others could take a transaction's private data; raises ProposalError."""
    running = list(neighbours(channel.channel_id))
    for entry in private.ns_pvt_rwset:
        for part in entry.collection_pvt_rwset:
            collection = channel.definitions.collection(channel.config, entry.namespace, part.collection_name)
            if collection is None:
                continue
            eligible = sum(msp_id in collection.members for msp_id in running)
            if eligible < collection.required_peer_count:
                raise ProposalError(
                    f"error in simulation: failed to distribute private collection, txID {tx_id}, channel "
                    f"{channel.channel_id}: could not build private data dissemination plan for chaincode "
                    f"{entry.namespace} and collection {part.collection_name}: required to disseminate to at least "
                    f"{collection.required_peer_count} peers, but know of only {eligible} eligible peers"
                )
