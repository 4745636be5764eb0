"""Building Fabric's proposal and seek messages as bytes.

A proposal is ``Header{channel header, signature header} ‖ ChaincodeProposalPayload{invocation, transient}``. Its
transaction id is the hex SHA-256 of ``nonce ‖ creator``, so a new nonce of 24 random bytes is a new transaction.
"""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from dataclasses import dataclass
from hashlib import sha256

from fabric_protos.common import common_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2
from google.protobuf.timestamp_pb2 import Timestamp

from goldengrain.gateway.saved import read_saved

NONCE_SIZE = 24
_SECOND = 1_000_000_000

Argument = str | bytes


@dataclass(frozen=True, slots=True)
class UnsignedProposal:
    """A proposal (``raw``: ``protos.Proposal``) and what it says."""

    transaction_id: str
    channel: str
    raw: bytes

    @property
    def digest(self) -> bytes:
        """SHA-256 of the bytes: what is signed."""
        return sha256(self.raw).digest()


def encode(argument: Argument) -> bytes:
    """Return an argument of a chaincode call as bytes (text as UTF-8)."""
    return argument.encode() if isinstance(argument, str) else argument


def build_proposal(
    *,
    channel: str,
    chaincode: str,
    arguments: Iterable[Argument],
    creator: bytes,
    now_ns: int,
    transient: Mapping[str, bytes] | None = None,
    is_init: bool = False,
    nonce: bytes | None = None,
) -> UnsignedProposal:
    """Return a proposal to call ``chaincode`` on ``channel``; the first argument is the function's name.

    ``channel`` is empty for calls that concern the peer alone (installing a package, joining a channel).
    """
    nonce = nonce or os.urandom(NONCE_SIZE)
    transaction_id = sha256(nonce + creator).hexdigest()
    chaincode_id = chaincode_pb2.ChaincodeID(name=chaincode)
    extension = proposal_pb2.ChaincodeHeaderExtension(chaincode_id=chaincode_id)
    header = common_pb2.Header(
        channel_header=common_pb2.ChannelHeader(
            type=common_pb2.ENDORSER_TRANSACTION,
            timestamp=timestamp(now_ns),
            channel_id=channel,
            tx_id=transaction_id,
            extension=extension.SerializeToString(),
        ).SerializeToString(),
        signature_header=common_pb2.SignatureHeader(creator=creator, nonce=nonce).SerializeToString(),
    )
    invocation = chaincode_pb2.ChaincodeInvocationSpec(
        chaincode_spec=chaincode_pb2.ChaincodeSpec(
            type=chaincode_pb2.ChaincodeSpec.GOLANG,
            chaincode_id=chaincode_id,
            input=chaincode_pb2.ChaincodeInput(args=[encode(a) for a in arguments], is_init=is_init),
        )
    )
    payload = proposal_pb2.ChaincodeProposalPayload(input=invocation.SerializeToString(), TransientMap=transient)
    proposal = proposal_pb2.Proposal(header=header.SerializeToString(), payload=payload.SerializeToString())
    return UnsignedProposal(transaction_id, channel, proposal.SerializeToString())


def parse_proposal(raw: bytes) -> UnsignedProposal:
    """Return the same from ``protos.Proposal`` bytes (for offline signing). Raises SavedMalformed."""
    header = read_saved(common_pb2.Header, read_saved(proposal_pb2.Proposal, raw).header)
    channel_header = read_saved(common_pb2.ChannelHeader, header.channel_header)
    return UnsignedProposal(channel_header.tx_id, channel_header.channel_id, raw)


def build_seek(
    *,
    channel: str,
    creator: bytes,
    now_ns: int,
    start: ab_pb2.SeekPosition,
    stop: ab_pb2.SeekPosition,
    wait: bool,
) -> bytes:
    """Payload bytes of a seek envelope for Fabric's Deliver services.

    ``wait``: whether the server waits for blocks that do not exist yet, or answers NOT_FOUND.
    """
    behaviour = ab_pb2.SeekInfo.BLOCK_UNTIL_READY if wait else ab_pb2.SeekInfo.FAIL_IF_NOT_READY
    header = common_pb2.Header(
        channel_header=common_pb2.ChannelHeader(
            type=common_pb2.DELIVER_SEEK_INFO, timestamp=timestamp(now_ns), channel_id=channel
        ).SerializeToString(),
        signature_header=common_pb2.SignatureHeader(creator=creator, nonce=os.urandom(NONCE_SIZE)).SerializeToString(),
    )
    seek = ab_pb2.SeekInfo(start=start, stop=stop, behavior=behaviour)
    return common_pb2.Payload(header=header, data=seek.SerializeToString()).SerializeToString()


def timestamp(now_ns: int) -> Timestamp:
    """Nanoseconds since 1970 as protobuf's timestamp."""
    return Timestamp(seconds=now_ns // _SECOND, nanos=now_ns % _SECOND)
