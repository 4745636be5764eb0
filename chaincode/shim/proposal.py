"""What the client signed, opened where it is asked for: headers, creator, transient data, timestamp, binding."""

import hashlib
import struct
from functools import cached_property
from typing import NamedTuple, TypeVar

from fabric_protos.common import common_pb2
from fabric_protos.peer import proposal_pb2
from google.protobuf.message import DecodeError, Message

from goldengrain.chaincode.shim.errors import InvalidArgument

_Parsed = TypeVar("_Parsed", bound=Message)
_HEADER_TYPES = (common_pb2.ENDORSER_TRANSACTION, common_pb2.CONFIG)


class Timestamp(NamedTuple):
    """A time as the client wrote it into its proposal: whole seconds since 1970 and nanoseconds (0 to 999,999,999)."""

    seconds: int
    nanos: int


class ProposalView:
    """A signed proposal. Every property raises InvalidArgument if that part of the proposal is missing or malformed."""

    def __init__(self, signed: proposal_pb2.SignedProposal | None) -> None:
        self.signed = signed

    @cached_property
    def proposal(self) -> proposal_pb2.Proposal:
        """The `protos.Proposal` that was signed."""
        if self.signed is None:
            raise InvalidArgument("the peer sent no signed proposal with this transaction")
        return _parse(proposal_pb2.Proposal, self.signed.proposal_bytes, "proposal")

    @cached_property
    def channel_header(self) -> common_pb2.ChannelHeader:
        """The channel header: type, timestamp, channel, transaction id, epoch."""
        header = _parse(common_pb2.ChannelHeader, self._header.channel_header, "channel header")
        if header.type not in _HEADER_TYPES:
            raise InvalidArgument(f"unexpected type {header.type} in the channel header")
        return header

    @cached_property
    def signature_header(self) -> common_pb2.SignatureHeader:
        """The signature header: creator and nonce."""
        return _parse(common_pb2.SignatureHeader, self._header.signature_header, "signature header")

    @cached_property
    def transient(self) -> dict[str, bytes]:
        """Transient data: the client's, for the endorsers only, in no transaction."""
        if self.signed is None:
            return {}
        payload = _parse(proposal_pb2.ChaincodeProposalPayload, self.proposal.payload, "proposal payload")
        return dict(payload.TransientMap)

    @cached_property
    def timestamp(self) -> Timestamp:
        """The client's time. Peers accept any within 15 minutes of theirs: a guard has to be stricter."""
        header = self.channel_header
        if not header.HasField("timestamp"):
            raise InvalidArgument("the proposal has no timestamp")
        return Timestamp(header.timestamp.seconds, header.timestamp.nanos)

    @cached_property
    def binding(self) -> bytes:
        """sha256(nonce, creator, epoch as 8 bytes little-endian): ties other data to this proposal."""
        header = self.signature_header
        epoch = struct.pack("<Q", self.channel_header.epoch)
        return hashlib.sha256(header.nonce + header.creator + epoch).digest()

    @cached_property
    def _header(self) -> common_pb2.Header:
        if not self.proposal.header:
            raise InvalidArgument("the proposal has no header")
        return _parse(common_pb2.Header, self.proposal.header, "header")


def _parse(kind: type[_Parsed], raw: bytes, what: str) -> _Parsed:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise InvalidArgument(f"the {what} is malformed") from error
