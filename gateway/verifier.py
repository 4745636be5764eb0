"""Checking a chain of blocks for oneself, instead of believing the peer that delivered them.

Per block, in this order:

1. its number and ``previous_hash`` follow from the block before;
2. ``data_hash`` is the hash of its transactions;
3. the ordering service signed the header: a member of an orderer organisation, or on SmartBFT a quorum of consenters;
4. there is one validation code per transaction;
5. each endorser transaction that counts as VALID: its creator belongs to the channel and signed the envelope, its id is
   the hash of nonce and creator, and occurs once; each endorsement is a channel member's *peer*'s over the very bytes;
   the proposal hash binds what was asked to what was answered.

The codes themselves are the peer's decisions, which orderers don't sign: whoever wants to be sure asks several
organisations' peers and compares. A config block found valid changes whom the blocks after it are checked against.
"""

from __future__ import annotations

from collections.abc import Collection
from hashlib import sha256
from typing import TypeVar

from fabric_protos.common import common_pb2
from google.protobuf.message import DecodeError, Message

from goldengrain.gateway.blocks import (
    BlockTransaction,
    Call,
    data_hash,
    header_bytes,
    header_hash,
    transactions,
)
from goldengrain.gateway.errors import BlockError
from goldengrain.gateway.trust import ChannelTrust

M = TypeVar("M", bound=Message)


class BlockVerifier:
    """Verifies blocks one after the other. ``trust`` is where it starts: usually from the channel's genesis block.

    With ``start`` None the first block given may be any; its predecessor is then not checked.
    """

    def __init__(self, trust: ChannelTrust, start: common_pb2.Block | None = None) -> None:
        self.trust = trust
        self._number: int | None = None
        self._hash = b""
        self._seen: set[str] = set()
        if start is not None:
            self._follow(start)

    @classmethod
    def from_genesis(cls, genesis: common_pb2.Block) -> BlockVerifier:
        """Return a verifier that believes this genesis block and expects block 1 next."""
        if genesis.header.number or genesis.header.data_hash != data_hash(genesis):
            raise BlockError("this is not a genesis block: its number is not 0, or its data hash is wrong")
        return cls(ChannelTrust.from_config_block(genesis), genesis)

    def verify(self, block: common_pb2.Block) -> list[BlockTransaction]:
        """Return the block's transactions, after all checks. Raises BlockError naming block and reason."""
        number = block.header.number
        try:
            found = self._verified(block)
        except BlockError as error:
            raise BlockError(f"block {number}: {error}") from error
        self._seen.update(one.transaction_id for one in found if one.valid)
        self._follow(block)
        if number and found and found[0].kind == "CONFIG" and found[0].valid:
            self.trust = ChannelTrust.from_config_block(block)
        return found

    def _verified(self, block: common_pb2.Block) -> list[BlockTransaction]:
        header = block.header
        if self._number is not None:
            if header.number != self._number + 1:
                raise BlockError(f"block {self._number + 1} should come next")
            if header.previous_hash != self._hash:
                raise BlockError("its previous hash is not the hash of the block before")
        if header.data_hash != data_hash(block):
            raise BlockError("its data hash is not the hash of its transactions")
        if header.number:
            check_orderer_signatures(block, self.trust)
        found = transactions(block)
        for one in found:
            if one.valid and one.kind == "ENDORSER_TRANSACTION":
                check_transaction(one, self.trust, self._seen)
        return found

    def _follow(self, block: common_pb2.Block) -> None:
        self._number = block.header.number
        self._hash = header_hash(block.header)


def check_orderer_signatures(block: common_pb2.Block, trust: ChannelTrust) -> None:
    """Raise BlockError unless the ordering service signed the block's header."""
    try:
        metadata = common_pb2.Metadata.FromString(block.metadata.metadata[common_pb2.SIGNATURES])
    except (DecodeError, IndexError) as error:
        raise BlockError(f"its signatures are malformed: {error}") from error
    header = header_bytes(block.header)
    signers = set()
    for one in metadata.signatures:
        if trust.consenters:
            signers.add(_check_consenter(one, metadata.value, header, trust))
        else:
            creator = _signed_header(common_pb2.SignatureHeader, one.signature_header).creator
            message = metadata.value + one.signature_header + header
            trust.check(creator, one.signature, message, "orderer", orderer=True)
            signers.add(len(signers))
    if len(signers) < trust.quorum:
        raise BlockError(f"{len(signers)} orderers signed it, {trust.quorum} have to")


def _signed_header(kind: type[M], raw: bytes) -> M:
    try:
        return kind.FromString(raw)
    except DecodeError as error:
        raise BlockError(f"a signature's header is malformed: {error}") from error


def _check_consenter(one: common_pb2.MetadataSignature, value: bytes, header: bytes, trust: ChannelTrust) -> int:
    number = int(_signed_header(common_pb2.IdentifierHeader, one.identifier_header).identifier)
    identity = trust.consenters.get(number)
    if identity is None:
        raise BlockError(f"it is signed by consenter {number}, which the channel does not have")
    message = value + one.identifier_header + header
    trust.check(identity, one.signature, message, "orderer", orderer=True)
    return number


def check_transaction(one: BlockTransaction, trust: ChannelTrust, seen: Collection[str] = ()) -> None:
    """Raise BlockError unless a VALID endorser transaction proves who asked for it and who endorsed it (check 5)."""
    where = f"transaction {one.index} ({one.transaction_id})"
    if one.call is None or one.header is None:
        raise BlockError(f"{where} is VALID but not a chaincode call")
    if one.transaction_id != sha256(one.nonce + one.creator).hexdigest():
        raise BlockError(f"{where}: the id is not the hash of nonce and creator")
    if one.transaction_id in seen:
        raise BlockError(f"{where} was VALID in an earlier block already")
    try:
        trust.check(one.creator, one.envelope.signature, one.envelope.payload, None)
        check_endorsements(one.call, one.header, trust)
    except BlockError as error:
        raise BlockError(f"{where}: {error}") from error


def check_endorsements(call: Call, header: common_pb2.Header, trust: ChannelTrust) -> set[str]:
    """Return the MSP ids of the peers that endorsed a call. Raises BlockError where one of them did not."""
    asked = sha256(header.channel_header + header.signature_header + call.proposal_payload).digest()
    if call.proposal_hash != asked:
        raise BlockError("the answer is not one to this proposal")
    if not call.endorsements:
        raise BlockError("nobody endorsed it")
    return {
        trust.check(one.endorser, one.signature, call.response_payload + one.endorser, "peer")
        for one in call.endorsements
    }
