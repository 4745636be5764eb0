"""A signed proposal, unpacked and checked in the order in which Fabric's peers check it.

1. the timestamp is within 15 minutes of the peer's clock, and the client's certificate has not expired (a filter before
   everything else, whose refusal is a transport error to gateways);
2. proposal, header and payload parse, and the header's extension names a chaincode;
3. the header type is ENDORSER_TRANSACTION or CONFIG;
4. epoch 0; 5. a nonce; 6. the transaction id is the hash of nonce and creator; 7. there is a signature;
8. the creator is a valid identity of an organisation of the channel (of the peer's own, without a channel);
9. the signature is the creator's.

What comes after (duplicates, access, chaincode) needs a ledger and is the endorser's.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TypeVar

from fabric_protos.common import common_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import chaincode_pb2, proposal_pb2
from google.protobuf.message import DecodeError, Message

from goldengrain.network.embedded.errors import IdentityError
from goldengrain.network.embedded.failures import proto_error
from goldengrain.network.embedded.msp import Identity, MspManager
from goldengrain.network.embedded.policies import SignedData

__all__ = [
    "TIME_WINDOW_S",
    "BadProposal",
    "FilteredProposal",
    "Proposal",
    "Target",
    "check_expiry",
    "creator_msp_id",
    "read_target",
    "unpack",
]

_T = TypeVar("_T", bound=Message)
TIME_WINDOW_S = 15 * 60
"""How far a proposal's timestamp may be from the peer's clock, in seconds."""


class BadProposal(Exception):
    """A proposal is malformed or not its creator's; the text is Fabric's."""


class FilteredProposal(Exception):
    """A proposal is turned away before it is looked at; the text is Fabric's."""


@dataclass(frozen=True)
class Proposal:
    """A proposal, unpacked.

    Attributes:
        signed: as it came.
        header: of the proposal.
        channel_header: of it.
        signature_header: of it.
        chaincode: name of the chaincode, from the header's extension.
        input: function, arguments and decorations.
        payload: of the proposal, transient data included.
        hash: SHA-256 of the headers and the payload without transient data; what endorsements sign.

    """

    signed: proposal_pb2.SignedProposal
    header: common_pb2.Header
    channel_header: common_pb2.ChannelHeader
    signature_header: common_pb2.SignatureHeader
    chaincode: str
    input: chaincode_pb2.ChaincodeInput
    payload: proposal_pb2.ChaincodeProposalPayload
    hash: bytes

    @property
    def channel_id(self) -> str:
        """The channel; empty for proposals to a peer alone."""
        return self.channel_header.channel_id

    @property
    def tx_id(self) -> str:
        """The transaction id."""
        return self.channel_header.tx_id

    @property
    def creator(self) -> bytes:
        """The serialised identity that made it."""
        return self.signature_header.creator

    @property
    def signed_data(self) -> SignedData:
        """Bytes, creator and signature, for policies."""
        return SignedData(self.signed.proposal_bytes, self.creator, self.signed.signature)

    def validate(self, msps: MspManager, own_msp_id: str) -> Identity:
        """Run checks 3 to 9 and return the creator.

        Args:
            msps: organisations whose identities count.
            own_msp_id: the peer's organisation, the only one that counts without a channel.

        Raises:
            BadProposal: with Fabric's text.

        """
        header = self.channel_header
        if header.type not in (common_pb2.ENDORSER_TRANSACTION, common_pb2.CONFIG):
            names = {value: name for name, value in common_pb2.HeaderType.items()}
            raise BadProposal(
                f"invalid header type {names.get(common_pb2.HeaderType.ValueType(header.type), header.type)}"
            )
        if header.epoch != 0:
            raise BadProposal("epoch is non-zero")
        if not self.signature_header.nonce:
            raise BadProposal("nonce is empty")
        expected = hashlib.sha256(self.signature_header.nonce + self.creator).hexdigest()
        if header.tx_id != expected:
            raise BadProposal(f"incorrectly computed txid '{header.tx_id}' -- expected '{expected}'")
        if not self.signed.signature:
            raise BadProposal("empty signature bytes")
        return self._authenticate(msps, own_msp_id)

    def _authenticate(self, msps: MspManager, own_msp_id: str) -> Identity:
        denied = f"access denied: channel [{self.channel_id}] creator org"
        try:
            creator = msps.validated(self.creator)
            if not self.channel_id and creator.msp_id != own_msp_id:
                raise IdentityError(f"expected MSP ID {own_msp_id}, received {creator.msp_id}")
        except IdentityError as error:
            raise BadProposal(f"{denied} unknown, creator is malformed") from error
        if not creator.verify(self.signed.proposal_bytes, self.signed.signature):
            raise BadProposal(f"{denied} [{creator.msp_id}]")
        return creator


@dataclass(frozen=True)
class Target:
    """What a gateway needs to know of a proposal: where it goes, and whether it holds secrets."""

    channel_id: str
    chaincode: str
    has_transient: bool


def read_target(signed: proposal_pb2.SignedProposal) -> Target:
    """Read the target of a proposal, which a gateway does without checking anything else.

    Raises:
        BadProposal: it doesn't parse, or names no channel or chaincode.

    """
    if not signed.proposal_bytes:
        raise BadProposal("a signed proposal is required")
    proposal = _parse(proposal_pb2.Proposal, signed.proposal_bytes, "Proposal")
    header = _parse(common_pb2.Header, proposal.header, "Header")
    channel_header = _parse(common_pb2.ChannelHeader, header.channel_header, "ChannelHeader")
    payload = _parse(proposal_pb2.ChaincodeProposalPayload, proposal.payload, "ChaincodeProposalPayload")
    spec = _parse(chaincode_pb2.ChaincodeInvocationSpec, payload.input, "ChaincodeInvocationSpec")
    if not channel_header.channel_id:
        raise BadProposal("no channel id provided")
    if not spec.HasField("chaincode_spec"):
        raise BadProposal("no chaincode spec is provided, channel id [" + channel_header.channel_id + "]")
    if not spec.chaincode_spec.chaincode_id.name:
        raise BadProposal("no chaincode name is provided, channel id [" + channel_header.channel_id + "]")
    return Target(channel_header.channel_id, spec.chaincode_spec.chaincode_id.name, bool(payload.TransientMap))


def unpack(signed: proposal_pb2.SignedProposal, now_s: float) -> Proposal:
    """Unpack a proposal (checks 1, as far as the timestamp goes, and 2).

    Args:
        signed: the proposal.
        now_s: the peer's clock, in seconds since 1970.

    Raises:
        FilteredProposal: its timestamp is off.
        BadProposal: it doesn't parse, or names no chaincode.

    """
    proposal = _parse(proposal_pb2.Proposal, signed.proposal_bytes, "Proposal")
    header = _parse(common_pb2.Header, proposal.header, "Header")
    channel_header = _parse(common_pb2.ChannelHeader, header.channel_header, "ChannelHeader")
    signature_header = _parse(common_pb2.SignatureHeader, header.signature_header, "SignatureHeader")
    _check_time(channel_header, now_s)
    extension = _parse(proposal_pb2.ChaincodeHeaderExtension, channel_header.extension, "ChaincodeHeaderExtension")
    if not extension.HasField("chaincode_id"):
        raise BadProposal("ChaincodeHeaderExtension.ChaincodeId is nil")
    if not extension.chaincode_id.name:
        raise BadProposal("ChaincodeHeaderExtension.ChaincodeId.Name is empty")
    payload = _parse(proposal_pb2.ChaincodeProposalPayload, proposal.payload, "ChaincodeProposalPayload")
    spec = _parse(chaincode_pb2.ChaincodeInvocationSpec, payload.input, "ChaincodeInvocationSpec")
    if not spec.HasField("chaincode_spec"):
        raise BadProposal("chaincode invocation spec did not contain chaincode spec")
    if not spec.chaincode_spec.HasField("input"):
        raise BadProposal("chaincode input did not contain any input")
    visible = proposal_pb2.ChaincodeProposalPayload(input=payload.input).SerializeToString()
    digest = hashlib.sha256(header.channel_header + header.signature_header + visible).digest()
    return Proposal(
        signed=signed,
        header=header,
        channel_header=channel_header,
        signature_header=signature_header,
        chaincode=extension.chaincode_id.name,
        input=spec.chaincode_spec.input,
        payload=payload,
        hash=digest,
    )


def _check_time(header: common_pb2.ChannelHeader, now_s: float) -> None:
    stamp = header.timestamp
    if abs(stamp.seconds + stamp.nanos / 1e9 - now_s) > TIME_WINDOW_S:
        raise FilteredProposal(
            f"request unauthorized due to incorrect timestamp {_rfc3339(stamp.seconds)}, peer time {_rfc3339(now_s)}, "
            "peer.authentication.timewindow 15m0s"
        )


def check_expiry(creator: Identity, now_s: float) -> None:
    """Refuse an expired certificate (check 1).

    Raises:
        FilteredProposal: with Fabric's text.

    """
    if creator.expires_at.timestamp() <= now_s:
        raise FilteredProposal("proposal client identity expired")


def creator_msp_id(creator: bytes) -> str:
    """Read the MSP id that a serialised identity claims; empty where it doesn't parse."""
    try:
        return identities_pb2.SerializedIdentity.FromString(creator).mspid
    except DecodeError:
        return ""


def _rfc3339(seconds: float) -> str:
    try:
        return datetime.fromtimestamp(int(seconds), UTC).strftime("%Y-%m-%dT%H:%M:%SZ")
    except (OverflowError, ValueError, OSError):
        return str(int(seconds))


def _parse(kind: type[_T], data: bytes, what: str) -> _T:
    try:
        return kind.FromString(data)
    except DecodeError as error:
        raise BadProposal(f"error unmarshalling {what}: {proto_error(data)}") from error
