"""Filtered blocks: per transaction its id, type and validation code, and the names of its chaincode events."""

from __future__ import annotations

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_event_pb2, events_pb2, transaction_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.blocks import channel_header_of, transaction_flags
from goldengrain.network.embedded.envelopes import events_of

__all__ = ["filtered_block"]


def filtered_block(channel_id: str, block: common_pb2.Block) -> events_pb2.FilteredBlock:
    """Reduce a committed block to what a filtered block tells; payloads of events are left out."""
    flags = transaction_flags(block)
    transactions = []
    for position, envelope in enumerate(block.data.data):
        code = flags[position] if position < len(flags) else transaction_pb2.NOT_VALIDATED
        transactions.append(_transaction(envelope, code))
    return events_pb2.FilteredBlock(
        channel_id=channel_id, number=block.header.number, filtered_transactions=transactions
    )


def _transaction(envelope: bytes, code: int) -> events_pb2.FilteredTransaction:
    header = channel_header_of(envelope)
    filtered = events_pb2.FilteredTransaction(tx_validation_code=transaction_pb2.TxValidationCode.ValueType(code))
    if header is None:
        return filtered
    filtered.txid = header.tx_id
    filtered.type = common_pb2.HeaderType.ValueType(header.type)
    if header.type == common_pb2.ENDORSER_TRANSACTION:
        filtered.transaction_actions.SetInParent()
        try:
            events = list(events_of(envelope))
        except DecodeError:
            events = []
        for event in events:
            name = chaincode_event_pb2.ChaincodeEvent(
                chaincode_id=event.chaincode_id, tx_id=event.tx_id, event_name=event.event_name
            )
            filtered.transaction_actions.chaincode_actions.add(chaincode_event=name)
    return filtered
