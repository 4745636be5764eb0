"""The history of a key: every valid transaction that wrote it, the newest first, as Fabric's history database tells it.

The ledger indexes which transactions wrote a key; what they wrote is read from their blocks. History is no part of the
read-write set: nothing checks at commit that it is still the same.
"""

from __future__ import annotations

from collections.abc import Iterator

from fabric_protos.common import common_pb2
from fabric_protos.ledger.queryresult import kv_query_result_pb2
from fabric_protos.peer import proposal_pb2, proposal_response_pb2, transaction_pb2

from goldengrain.network.embedded import rwset
from goldengrain.network.embedded.snapshot import Snapshot

__all__ = ["key_history"]


def key_history(snapshot: Snapshot, namespace: str, key: str) -> Iterator[kv_query_result_pb2.KeyModification]:
    """Changes of a public key of a chaincode up to the snapshot, read from their blocks as they are asked for."""
    for block, position in snapshot.writers(namespace, key.encode()):
        yield _modification(snapshot.block(block).data.data[position], namespace, key)


def _modification(envelope: bytes, namespace: str, key: str) -> kv_query_result_pb2.KeyModification:
    payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(envelope).payload)
    header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    (action,) = transaction_pb2.Transaction.FromString(payload.data).actions
    content = transaction_pb2.ChaincodeActionPayload.FromString(action.payload)
    response = proposal_response_pb2.ProposalResponsePayload.FromString(content.action.proposal_response_payload)
    results = proposal_pb2.ChaincodeAction.FromString(response.extension).results
    write = next(
        write
        for entry in rwset.parse(results)
        if entry.namespace == namespace
        for write in entry.public.writes
        if write.key == key
    )
    return kv_query_result_pb2.KeyModification(
        tx_id=header.tx_id, value=write.value, timestamp=header.timestamp, is_delete=write.is_delete
    )
