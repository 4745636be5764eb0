"""Reading blocks: header hashes, and what each transaction says.

Nothing here trusts or distrusts: ``trust`` checks signatures, ``verifier`` chains. Formats are Fabric's
(``common.proto``, ``transaction.proto``, ``rwset.proto``); the header's hash is SHA-256 over its ASN.1 DER form
``SEQUENCE { INTEGER number, OCTET STRING previous hash, OCTET STRING data hash }``.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from hashlib import sha256

from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from google.protobuf.message import DecodeError

from goldengrain.gateway.errors import BlockError
from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.status import code_name
from goldengrain.gateway.transaction import Endorsement


@dataclass(frozen=True, slots=True)
class Read:
    """A key that was read, and the version (block, transaction's index) it had; None where there was no such key."""

    namespace: str
    key: str
    version: tuple[int, int] | None


@dataclass(frozen=True, slots=True)
class Write:
    """A key that was written, and its value; None where it was deleted."""

    namespace: str
    key: str
    value: bytes | None


@dataclass(frozen=True, slots=True)
class Call:
    """The chaincode call of an endorser transaction, what it answered, and who endorsed it."""

    chaincode: str
    arguments: tuple[bytes, ...]
    status: int
    payload: bytes
    event: ChaincodeEvent | None
    reads: tuple[Read, ...]
    writes: tuple[Write, ...]
    endorsements: tuple[Endorsement, ...]
    response_payload: bytes
    proposal_payload: bytes
    proposal_hash: bytes
    results: bytes

    @property
    def function(self) -> str:
        """The first argument as text."""
        return self.arguments[0].decode(errors="replace") if self.arguments else ""


@dataclass(frozen=True, slots=True)
class BlockTransaction:
    """One transaction of a block.

    ``kind`` is the header type's name (``ENDORSER_TRANSACTION``, ``CONFIG``), empty where the envelope cannot be
    parsed: then only ``block``, ``index``, ``code``, ``code_name`` and ``envelope`` mean anything. ``call`` is None
    where it is not a chaincode call, or not a well-formed one. ``timestamp_ns`` is the client's word.
    """

    block: int
    index: int
    code: int
    code_name: str
    envelope: common_pb2.Envelope
    kind: str = ""
    transaction_id: str = ""
    channel: str = ""
    timestamp_ns: int = 0
    creator: bytes = b""
    nonce: bytes = b""
    header: common_pb2.Header | None = None
    call: Call | None = None

    @property
    def valid(self) -> bool:
        """Whether it changed the ledger."""
        return self.code == transaction_pb2.VALID

    @property
    def creator_msp_id(self) -> str:
        """The organisation of the client that sent it; empty where it cannot be told."""
        try:
            return identities_pb2.SerializedIdentity.FromString(self.creator).mspid
        except DecodeError:
            return ""


def header_bytes(header: common_pb2.BlockHeader) -> bytes:
    """Return the ASN.1 DER form of a header."""
    number = header.number.to_bytes(header.number.bit_length() // 8 + 1, "big")
    return _der(0x30, _der(0x02, number) + _der(0x04, header.previous_hash) + _der(0x04, header.data_hash))


def header_hash(header: common_pb2.BlockHeader) -> bytes:
    """Return a block's hash: what the next block's ``previous_hash`` is."""
    return sha256(header_bytes(header)).digest()


def data_hash(block: common_pb2.Block) -> bytes:
    """Return the hash that the header has to state for the block's transactions."""
    return sha256(b"".join(block.data.data)).digest()


def validation_codes(block: common_pb2.Block) -> bytes:
    """One code per transaction, as the peer decided. Raises BlockError where there are more or fewer."""
    metadata = block.metadata.metadata
    index = common_pb2.TRANSACTIONS_FILTER
    codes = metadata[index] if len(metadata) > index else b""
    if len(codes) != len(block.data.data):
        raise BlockError(
            f"block {block.header.number} has {len(block.data.data)} transactions and {len(codes)} validation codes"
        )
    return codes


def transactions(block: common_pb2.Block) -> list[BlockTransaction]:
    """All transactions of a block that a peer delivered. Raises BlockError where codes are missing."""
    codes = validation_codes(block)
    return [_transaction(block.header.number, index, codes[index], raw) for index, raw in enumerate(block.data.data)]


def processed(raw: bytes) -> BlockTransaction:
    """Read what ``qscc`` answers by a transaction's id (``peer.ProcessedTransaction``); its block is not told, so 0.

    Raises BlockError.
    """
    try:
        found = transaction_pb2.ProcessedTransaction.FromString(raw)
    except DecodeError as error:
        raise BlockError("the peer's answer is no processed transaction") from error
    return _transaction(0, 0, found.validationCode, found.transactionEnvelope.SerializeToString())


def _transaction(number: int, index: int, code: int, raw: bytes) -> BlockTransaction:
    bare = BlockTransaction(number, index, code, code_name(code), common_pb2.Envelope())
    try:
        envelope = common_pb2.Envelope.FromString(raw)
        payload = common_pb2.Payload.FromString(envelope.payload)
        channel_header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
        signature_header = common_pb2.SignatureHeader.FromString(payload.header.signature_header)
    except DecodeError:
        return bare
    is_call = channel_header.type == common_pb2.ENDORSER_TRANSACTION
    return BlockTransaction(
        block=number,
        index=index,
        code=code,
        code_name=code_name(code),
        envelope=envelope,
        kind=_kind(channel_header.type),
        transaction_id=channel_header.tx_id,
        channel=channel_header.channel_id,
        timestamp_ns=channel_header.timestamp.seconds * 1_000_000_000 + channel_header.timestamp.nanos,
        creator=signature_header.creator,
        nonce=signature_header.nonce,
        header=payload.header,
        call=_call(number, payload.data) if is_call else None,
    )


def _call(number: int, data: bytes) -> Call | None:
    try:
        (one,) = transaction_pb2.Transaction.FromString(data).actions
        action = transaction_pb2.ChaincodeActionPayload.FromString(one.payload)
        response_payload = action.action.proposal_response_payload
        inner = proposal_response_pb2.ProposalResponsePayload.FromString(response_payload)
        answer = proposal_pb2.ChaincodeAction.FromString(inner.extension)
        proposal = proposal_pb2.ChaincodeProposalPayload.FromString(action.chaincode_proposal_payload)
        spec = chaincode_pb2.ChaincodeInvocationSpec.FromString(proposal.input).chaincode_spec
        reads, writes = read_write_set(answer.results)
        event = _event(number, answer.events)
    except (DecodeError, ValueError):
        return None
    return Call(
        chaincode=answer.chaincode_id.name or spec.chaincode_id.name,
        arguments=tuple(spec.input.args),
        status=answer.response.status,
        payload=answer.response.payload,
        event=event,
        reads=reads,
        writes=writes,
        endorsements=tuple(Endorsement(item.endorser, item.signature) for item in action.action.endorsements),
        response_payload=response_payload,
        proposal_payload=action.chaincode_proposal_payload,
        proposal_hash=inner.proposal_hash,
        results=answer.results,
    )


def _event(number: int, raw: bytes) -> ChaincodeEvent | None:
    if not raw:
        return None
    event = chaincode_event_pb2.ChaincodeEvent.FromString(raw)
    return ChaincodeEvent(number, event.tx_id, event.chaincode_id, event.event_name, event.payload)


def read_write_set(results: bytes) -> tuple[tuple[Read, ...], tuple[Write, ...]]:
    """Public reads and writes of a simulation (``rwset.TxReadWriteSet``). Raises ``DecodeError``."""
    reads: list[Read] = []
    writes: list[Write] = []
    for space in rwset_pb2.TxReadWriteSet.FromString(results).ns_rwset:
        found = kv_rwset_pb2.KVRWSet.FromString(space.rwset)
        for read in (*found.reads, *_range_reads(found)):
            version = (read.version.block_num, read.version.tx_num) if read.HasField("version") else None
            reads.append(Read(space.namespace, read.key, version))
        writes += [Write(space.namespace, one.key, None if one.is_delete else one.value) for one in found.writes]
    return tuple(reads), tuple(writes)


def _range_reads(found: kv_rwset_pb2.KVRWSet) -> Iterator[kv_rwset_pb2.KVRead]:
    for info in found.range_queries_info:
        yield from info.raw_reads.kv_reads


def _kind(header_type: int) -> str:
    try:
        return common_pb2.HeaderType.Name(header_type)  # type: ignore[arg-type]
    except ValueError:
        return str(header_type)


def _der(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes((tag, size)) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes((tag, 0x80 | len(length))) + length + body
