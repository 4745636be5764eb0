"""Take a Fabric transaction apart, strictly: every message parses, holds no unknown field, and comes once.

What comes in is the `Envelope` that Gateway's Endorse returns as the prepared transaction: the proposal's headers and
payload, the proposal response payload that the peers signed, and their endorsements. Nothing is judged here but form.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TypeVar

from fabric_protos.common import common_pb2 as common
from fabric_protos.ledger.rwset import rwset_pb2 as rwset
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2 as kvrwset
from fabric_protos.msp import identities_pb2 as identities
from fabric_protos.peer import chaincode_pb2 as chaincode
from fabric_protos.peer import proposal_pb2 as proposal
from fabric_protos.peer import proposal_response_pb2 as proposal_response
from fabric_protos.peer import transaction_pb2 as transaction
from google.protobuf.message import DecodeError, Message
from google.protobuf.unknown_fields import UnknownFieldSet

from goldengrain.enclave.errors import TicketMalformed

MAX_TRANSACTION = 1024 * 1024
"""Bytes of a whole prepared transaction."""
MAX_ENDORSEMENTS = 64

M = TypeVar("M", bound=Message)


@dataclass(frozen=True)
class Endorsement:
    """One peer's signature."""

    endorser: bytes
    """The serialised identity as signed."""
    signature: bytes
    msp_id: str
    certificate: bytes
    """PEM."""


@dataclass(frozen=True)
class PreparedTransaction:
    """A transaction in its parts; `*_bytes` are as they came, since hashes and signatures are over them."""

    channel_header_bytes: bytes
    signature_header_bytes: bytes
    proposal_payload_bytes: bytes
    response_payload_bytes: bytes
    channel_header: common.ChannelHeader
    header_extension: proposal.ChaincodeHeaderExtension
    proposal_payload: proposal.ChaincodeProposalPayload
    invocation: chaincode.ChaincodeInvocationSpec
    response_payload: proposal_response.ProposalResponsePayload
    action: proposal.ChaincodeAction
    namespaces: tuple[tuple[rwset.NsReadWriteSet, kvrwset.KVRWSet], ...]
    endorsements: tuple[Endorsement, ...]
    actions: int
    """How many actions the transaction has; only the first is taken apart."""

    @property
    def seconds(self) -> int:
        """The channel header's time, rounded down to seconds."""
        return self.channel_header.timestamp.seconds


def parse_transaction(data: bytes) -> PreparedTransaction:
    """Take a prepared transaction apart (its first action); raises `TicketMalformed`."""
    if len(data) > MAX_TRANSACTION:
        raise TicketMalformed(f"a transaction of {len(data):,} bytes; at most {MAX_TRANSACTION:,} are read")
    payload = _parse(common.Payload, _parse(common.Envelope, data).payload)
    header = payload.header
    channel_header = _parse(common.ChannelHeader, header.channel_header)
    _parse(common.SignatureHeader, header.signature_header)
    actions = _parse(transaction.Transaction, payload.data).actions
    if not actions:
        raise TicketMalformed("the transaction has no action")
    action_payload = _parse(transaction.ChaincodeActionPayload, actions[0].payload)
    proposal_payload = _parse(proposal.ChaincodeProposalPayload, action_payload.chaincode_proposal_payload)
    response_bytes = action_payload.action.proposal_response_payload
    response = _parse(proposal_response.ProposalResponsePayload, response_bytes)
    action = _parse(proposal.ChaincodeAction, response.extension)
    sets = _parse(rwset.TxReadWriteSet, action.results)
    return PreparedTransaction(
        channel_header_bytes=header.channel_header,
        signature_header_bytes=header.signature_header,
        proposal_payload_bytes=action_payload.chaincode_proposal_payload,
        response_payload_bytes=response_bytes,
        channel_header=channel_header,
        header_extension=_parse(proposal.ChaincodeHeaderExtension, channel_header.extension),
        proposal_payload=proposal_payload,
        invocation=_parse(chaincode.ChaincodeInvocationSpec, proposal_payload.input),
        response_payload=response,
        action=action,
        namespaces=tuple((one, _parse(kvrwset.KVRWSet, one.rwset)) for one in sets.ns_rwset),
        endorsements=_endorsements(action_payload.action),
        actions=len(actions),
    )


def _endorsements(action: transaction.ChaincodeEndorsedAction) -> tuple[Endorsement, ...]:
    if len(action.endorsements) > MAX_ENDORSEMENTS:
        raise TicketMalformed(f"{len(action.endorsements)} endorsements; at most {MAX_ENDORSEMENTS} are read")
    found = []
    for one in action.endorsements:
        identity = _parse(identities.SerializedIdentity, one.endorser)
        found.append(Endorsement(one.endorser, one.signature, identity.mspid, identity.id_bytes))
    return tuple(found)


def _parse(kind: type[M], data: bytes) -> M:
    message = kind()
    try:
        message.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise TicketMalformed(f"a {kind.DESCRIPTOR.name} of the transaction doesn't parse") from error
    _refuse_unknown(message)
    return message


def _refuse_unknown(message: Message) -> None:
    if len(UnknownFieldSet(message)):
        raise TicketMalformed(f"a {message.DESCRIPTOR.name} of the transaction holds a field that it doesn't have")
    for field, value in message.ListFields():
        if field.message_type is None:
            continue
        if field.message_type.GetOptions().map_entry:
            children = [child for child in value.values() if isinstance(child, Message)]
        else:
            children = [value] if isinstance(value, Message) else list(value)
        for child in children:
            _refuse_unknown(child)
