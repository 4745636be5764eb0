"""Blocks: their hashes, their metadata slots, the orderer's signature, and what peers add at commit.

A block's header is hashed over its DER form, SEQUENCE { INTEGER number, OCTET STRING previous, OCTET STRING data }.
Metadata slots (common.BlockMetadataIndex): SIGNATURES, LAST_CONFIG and ORDERER are the orderer's,
TRANSACTIONS_FILTER (one validation code per transaction) and COMMIT_HASH are the peers'. The block as the orderer
delivers it has the peers' slots empty (see `orderer_view`).
"""

import hashlib
import os
from collections.abc import Callable, Iterable, Mapping, Sequence
from dataclasses import dataclass

from cryptography.hazmat.primitives import hashes
from cryptography.hazmat.primitives.asymmetric import ec, utils
from fabric_protos.common import common_pb2
from fabric_protos.orderer.etcdraft import metadata_pb2
from google.protobuf.message import DecodeError

P256_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
METADATA_SLOTS = 5


def sign_low_s(key: ec.EllipticCurvePrivateKey, data: bytes) -> bytes:
    """Sign with ECDSA P-256 and SHA-256 as Fabric wants it: DER, with the smaller of the two possible s."""
    signature = key.sign(data, ec.ECDSA(hashes.SHA256()))
    r, s = utils.decode_dss_signature(signature)
    return signature if s <= P256_ORDER // 2 else utils.encode_dss_signature(r, P256_ORDER - s)


@dataclass(frozen=True)
class BlockSigner:
    """The orderer's identity: `identity` is a serialised msp.SerializedIdentity, `sign` makes a low-s DER signature."""

    identity: bytes
    sign: Callable[[bytes], bytes]


def header_bytes(header: common_pb2.BlockHeader) -> bytes:
    """The DER form of a block header, which is what hashes and signatures cover."""
    number = header.number.to_bytes(header.number.bit_length() // 8 + 1, "big")
    return _der(0x30, _der(0x02, number) + _der(0x04, header.previous_hash) + _der(0x04, header.data_hash))


def _der(tag: int, body: bytes) -> bytes:
    size = len(body)
    if size < 0x80:
        return bytes([tag, size]) + body
    length = size.to_bytes((size.bit_length() + 7) // 8, "big")
    return bytes([tag, 0x80 | len(length)]) + length + body


def header_hash(header: common_pb2.BlockHeader) -> bytes:
    """SHA-256 of the DER header: the `previous_hash` of the next block."""
    return hashlib.sha256(header_bytes(header)).digest()


def data_hash(envelopes: Iterable[bytes]) -> bytes:
    """SHA-256 over the concatenated serialised envelopes."""
    digest = hashlib.sha256()
    for envelope in envelopes:
        digest.update(envelope)
    return digest.digest()


def make_block(number: int, previous_hash: bytes, envelopes: Sequence[bytes]) -> common_pb2.Block:
    """An unsigned block with empty metadata slots."""
    header = common_pb2.BlockHeader(number=number, previous_hash=previous_hash, data_hash=data_hash(envelopes))
    return common_pb2.Block(
        header=header,
        data=common_pb2.BlockData(data=envelopes),
        metadata=common_pb2.BlockMetadata(metadata=[b""] * METADATA_SLOTS),
    )


def sign_block(block: common_pb2.Block, signer: BlockSigner, last_config: int) -> None:
    """Fill the orderer's slots as a single Raft consenter does.

    The signature covers the metadata's value, the signature header and the DER header, in this order.
    """
    raft = metadata_pb2.BlockMetadata(consenter_ids=[1], next_consenter_id=2, raft_index=block.header.number + 2)
    value = common_pb2.OrdererBlockMetadata(
        last_config=common_pb2.LastConfig(index=last_config),
        consenter_metadata=common_pb2.Metadata(value=raft.SerializeToString()).SerializeToString(),
    ).SerializeToString()
    header = common_pb2.SignatureHeader(creator=signer.identity, nonce=os.urandom(24)).SerializeToString()
    signature = signer.sign(value + header + header_bytes(block.header))
    slots = block.metadata.metadata
    slots[common_pb2.SIGNATURES] = common_pb2.Metadata(
        value=value, signatures=[common_pb2.MetadataSignature(signature_header=header, signature=signature)]
    ).SerializeToString()
    slots[common_pb2.LAST_CONFIG] = common_pb2.Metadata(
        value=common_pb2.LastConfig(index=last_config).SerializeToString()
    ).SerializeToString()


def sign_by_consenters(block: common_pb2.Block, consenters: Mapping[int, BlockSigner], last_config: int) -> None:
    """Fill the orderer's slots as SmartBFT consenters do, who sign by their numbers and not by name.

    Each signature covers the metadata's value, the identifier header and the DER header, in this order. SmartBFT's view
    metadata (its first view, in which every block follows the one before) are encoded by hand: no Python package has
    them. The slot that repeats the last configuration stays empty.
    """
    number = block.header.number
    decisions = b"\x18" + varint(number - 1) if number > 1 else b""
    value = common_pb2.OrdererBlockMetadata(
        last_config=common_pb2.LastConfig(index=last_config), consenter_metadata=b"\x10" + varint(number) + decisions
    ).SerializeToString()
    metadata = common_pb2.Metadata(value=value)
    tail = header_bytes(block.header)
    for identifier, signer in consenters.items():
        header = common_pb2.IdentifierHeader(identifier=identifier, nonce=os.urandom(24)).SerializeToString()
        metadata.signatures.add(identifier_header=header, signature=signer.sign(value + header + tail))
    block.metadata.metadata[common_pb2.SIGNATURES] = metadata.SerializeToString()


def bft_quorum(consenters: int) -> int:
    """How many of so many SmartBFT consenters have to sign a block: f of 3f + 1 may lie."""
    faults = (consenters - 1) // 3
    return (consenters + faults) // 2 + 1


def varint(number: int) -> bytes:
    """Encode a number as protobuf does."""
    if number < 0x80:
        return bytes((number,))
    encoded = bytearray()
    while number >= 0x80:
        encoded.append(number & 0x7F | 0x80)
        number >>= 7
    return bytes([*encoded, number])


@dataclass(frozen=True)
class BlockSignature:
    """One signature on a block: who (serialised identity), the signature, and the bytes it covers."""

    identity: bytes
    signature: bytes
    data: bytes


def block_signatures(block: common_pb2.Block) -> list[BlockSignature]:
    """The orderer's signatures on a block, ready to be evaluated against /Channel/Orderer/BlockValidation."""
    metadata = common_pb2.Metadata.FromString(block.metadata.metadata[common_pb2.SIGNATURES])
    tail = header_bytes(block.header)
    return [
        BlockSignature(
            identity=common_pb2.SignatureHeader.FromString(entry.signature_header).creator,
            signature=entry.signature,
            data=metadata.value + entry.signature_header + tail,
        )
        for entry in metadata.signatures
    ]


def last_config(block: common_pb2.Block) -> int:
    """The number of the newest configuration block at or before this one, as its orderer states it."""
    metadata = common_pb2.Metadata.FromString(block.metadata.metadata[common_pb2.SIGNATURES])
    return common_pb2.OrdererBlockMetadata.FromString(metadata.value).last_config.index


def set_commit_metadata(block: common_pb2.Block, flags: bytes, commit_hash: bytes) -> None:
    """Fill the peers' slots: one validation code per transaction, and the commit hash (empty in block 0)."""
    slots = block.metadata.metadata
    slots.extend([b""] * (METADATA_SLOTS - len(slots)))
    slots[common_pb2.TRANSACTIONS_FILTER] = flags
    slots[common_pb2.COMMIT_HASH] = common_pb2.Metadata(value=commit_hash).SerializeToString() if commit_hash else b""


def transaction_flags(block: common_pb2.Block) -> bytes:
    """The validation codes (peer.TxValidationCode) of a committed block, one byte per transaction."""
    slots = block.metadata.metadata
    return slots[common_pb2.TRANSACTIONS_FILTER] if len(slots) > common_pb2.TRANSACTIONS_FILTER else b""


def commit_hash(block: common_pb2.Block) -> bytes:
    """The commit hash of a committed block, empty for block 0."""
    slots = block.metadata.metadata
    if len(slots) <= common_pb2.COMMIT_HASH:
        return b""
    return common_pb2.Metadata.FromString(slots[common_pb2.COMMIT_HASH]).value


def orderer_view(block: common_pb2.Block) -> common_pb2.Block:
    """A copy of a committed block as the orderer delivers it: without the peers' metadata."""
    view = common_pb2.Block()
    view.CopyFrom(block)
    view.metadata.metadata[common_pb2.TRANSACTIONS_FILTER] = b""
    view.metadata.metadata[common_pb2.COMMIT_HASH] = b""
    return view


def channel_header_of(envelope: bytes) -> common_pb2.ChannelHeader | None:
    """The channel header of a serialised envelope, None if it has none that can be decoded."""
    try:
        payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(envelope).payload)
        return common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    except DecodeError:
        return None
