"""Transactions as envelopes: assembling one from endorsements, and reading the chaincode events of a block."""

from __future__ import annotations

from collections.abc import Iterator, Sequence

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_event_pb2, proposal_pb2, proposal_response_pb2, transaction_pb2

from goldengrain.network.embedded.blocks import transaction_flags
from goldengrain.network.embedded.proposals import Proposal

__all__ = ["assemble", "chaincode_events", "events_of"]


def assemble(proposal: Proposal, responses: Sequence[proposal_response_pb2.ProposalResponse]) -> common_pb2.Envelope:
    """Make the unsigned transaction of a proposal and its endorsed responses, without the transient data."""
    visible = proposal_pb2.ChaincodeProposalPayload(input=proposal.payload.input)
    action = transaction_pb2.ChaincodeActionPayload(
        chaincode_proposal_payload=visible.SerializeToString(),
        action=transaction_pb2.ChaincodeEndorsedAction(
            proposal_response_payload=responses[0].payload,
            endorsements=[response.endorsement for response in responses],
        ),
    )
    transaction = transaction_pb2.Transaction(
        actions=[
            transaction_pb2.TransactionAction(
                header=proposal.header.signature_header, payload=action.SerializeToString()
            )
        ]
    )
    payload = common_pb2.Payload(header=proposal.header, data=transaction.SerializeToString())
    return common_pb2.Envelope(payload=payload.SerializeToString())


def chaincode_events(block: common_pb2.Block) -> list[chaincode_event_pb2.ChaincodeEvent]:
    """List the events of the valid transactions of a committed block, in their order."""
    flags = transaction_flags(block)
    events: list[chaincode_event_pb2.ChaincodeEvent] = []
    for position, envelope in enumerate(block.data.data):
        if position < len(flags) and flags[position] == transaction_pb2.VALID:
            events += events_of(envelope)
    return events


def events_of(envelope: bytes) -> Iterator[chaincode_event_pb2.ChaincodeEvent]:
    """Yield the chaincode events of a serialised transaction envelope; raises protobuf's DecodeError."""
    payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(envelope).payload)
    header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    if header.type != common_pb2.ENDORSER_TRANSACTION:
        return
    for action in transaction_pb2.Transaction.FromString(payload.data).actions:
        endorsed = transaction_pb2.ChaincodeActionPayload.FromString(action.payload).action
        response = proposal_response_pb2.ProposalResponsePayload.FromString(endorsed.proposal_response_payload)
        raw = proposal_pb2.ChaincodeAction.FromString(response.extension).events
        if raw:
            yield chaincode_event_pb2.ChaincodeEvent.FromString(raw)
