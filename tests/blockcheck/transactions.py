"""A transaction by itself: its parts, and the checks that need no state."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field

from fabric_protos.common import common_pb2
from fabric_protos.ledger.rwset import rwset_pb2
from fabric_protos.ledger.rwset.kvrwset import kv_rwset_pb2
from fabric_protos.peer import chaincode_event_pb2, proposal_pb2, proposal_response_pb2, transaction_pb2
from google.protobuf.message import DecodeError

from tests.blockcheck.encoding import Key, Version, digest
from tests.blockcheck.identities import Organizations
from tests.blockcheck.policies import Signed

ORDERED_TYPES = (common_pb2.ENDORSER_TRANSACTION, common_pb2.CONFIG, common_pb2.CONFIG_UPDATE)


class Invalid(Exception):
    """A transaction has to have this validation code."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


@dataclass(frozen=True)
class Namespace:
    """One chaincode's part of a read-write set."""

    name: str
    public: kv_rwset_pb2.KVRWSet
    collections: dict[str, kv_rwset_pb2.HashedRWSet]

    def reads(self) -> Iterator[tuple[Key, Version | None]]:
        for read in self.public.reads:
            yield Key(self.name, "", read.key.encode()), _version(read)

    def hashed_reads(self) -> Iterator[tuple[Key, Version | None]]:
        for collection, part in self.collections.items():
            for read in part.hashed_reads:
                yield Key(self.name, collection, read.key_hash), _version(read)

    def writes(self) -> Iterator[tuple[Key, bytes | None]]:
        """Keys with their new values (in collections, hashes), None for a delete."""
        for write in self.public.writes:
            yield Key(self.name, "", write.key.encode()), None if write.is_delete or not write.value else write.value
        for collection, part in self.collections.items():
            for hashed in part.hashed_writes:
                gone = hashed.is_delete or hashed.is_purge or not hashed.value_hash
                yield Key(self.name, collection, hashed.key_hash), None if gone else hashed.value_hash

    def metadata_writes(self) -> Iterator[tuple[Key, dict[str, bytes]]]:
        for write in self.public.metadata_writes:
            yield Key(self.name, "", write.key.encode()), {one.name: one.value for one in write.entries}
        for collection, part in self.collections.items():
            for hashed in part.metadata_writes:
                yield Key(self.name, collection, hashed.key_hash), {one.name: one.value for one in hashed.entries}

    def touched(self) -> list[Key]:
        """Keys whose value or metadata is written: those whose policies have to be satisfied."""
        return [key for key, _ in (*self.writes(), *self.metadata_writes())]


@dataclass(frozen=True)
class Transaction:
    """A well-formed endorser transaction."""

    chaincode: str
    namespaces: list[Namespace]
    endorsements: list[Signed]


@dataclass
class Parsed:
    """An envelope's headers, and what can be said of it alone: a code, or the transaction; of a configuration, it."""

    tx_id: str = ""
    kind: int = -1
    code: str = ""
    transaction: Transaction | None = None
    creator: bytes = b""
    data: bytes = field(default=b"", repr=False)


def parse(raw: bytes, channel: str, organizations: Organizations) -> Parsed:
    """Check an envelope as far as it can be checked alone."""
    found = Parsed()
    try:
        _check(raw, channel, organizations, found)
    except Invalid as error:
        found.code = error.code
    return found


def _check(raw: bytes, channel: str, organizations: Organizations, found: Parsed) -> None:
    envelope = _decoded(common_pb2.Envelope, raw, "INVALID_OTHER_REASON")
    if not raw:
        raise Invalid("NIL_ENVELOPE")
    payload = _decoded(common_pb2.Payload, envelope.payload, "BAD_PAYLOAD")
    header = _decoded(common_pb2.ChannelHeader, payload.header.channel_header, "BAD_COMMON_HEADER")
    author = _decoded(common_pb2.SignatureHeader, payload.header.signature_header, "BAD_COMMON_HEADER")
    found.tx_id, found.kind, found.creator, found.data = header.tx_id, header.type, author.creator, payload.data
    if header.type not in ORDERED_TYPES or header.epoch or not author.nonce or not author.creator:
        raise Invalid("BAD_COMMON_HEADER")
    creator = organizations.identity(author.creator)
    if creator is None or not creator.signed(envelope.payload, envelope.signature):
        raise Invalid("BAD_CREATOR_SIGNATURE")
    if header.channel_id != channel:
        raise Invalid("TARGET_CHAIN_NOT_FOUND")
    if header.type == common_pb2.ENDORSER_TRANSACTION:
        if header.tx_id != digest(author.nonce, author.creator).hex():
            raise Invalid("BAD_PROPOSAL_TXID")
        found.transaction = _transaction(payload, header)
    elif header.type != common_pb2.CONFIG:
        raise Invalid("UNSUPPORTED_TX_PAYLOAD")


def _transaction(payload: common_pb2.Payload, header: common_pb2.ChannelHeader) -> Transaction:
    wrong = "INVALID_ENDORSER_TRANSACTION"
    actions = _decoded(transaction_pb2.Transaction, payload.data, wrong).actions
    if len(actions) != 1:
        raise Invalid(wrong)
    content = _decoded(transaction_pb2.ChaincodeActionPayload, actions[0].payload, wrong)
    signed = content.action.proposal_response_payload
    response = _decoded(proposal_response_pb2.ProposalResponsePayload, signed, wrong)
    hashed = digest(payload.header.channel_header, payload.header.signature_header, content.chaincode_proposal_payload)
    if actions[0].header != payload.header.signature_header or response.proposal_hash != hashed:
        raise Invalid(wrong)
    action = _decoded(proposal_pb2.ChaincodeAction, response.extension, "BAD_RESPONSE_PAYLOAD")
    extension = _decoded(proposal_pb2.ChaincodeHeaderExtension, header.extension, "BAD_HEADER_EXTENSION")
    name = extension.chaincode_id.name
    if not name or not action.HasField("chaincode_id"):
        raise Invalid("INVALID_OTHER_REASON")
    if action.chaincode_id.name != name or not action.chaincode_id.version:
        raise Invalid("INVALID_CHAINCODE")
    if action.events:
        event = _decoded(chaincode_event_pb2.ChaincodeEvent, action.events, "INVALID_OTHER_REASON")
        if event.chaincode_id != name:
            raise Invalid("INVALID_OTHER_REASON")
    endorsements = [Signed(one.endorser, signed + one.endorser, one.signature) for one in content.action.endorsements]
    return Transaction(name, _namespaces(action.results), endorsements)


def _namespaces(raw: bytes) -> list[Namespace]:
    found = []
    for entry in _decoded(rwset_pb2.TxReadWriteSet, raw, "BAD_RWSET").ns_rwset:
        public = _decoded(kv_rwset_pb2.KVRWSet, entry.rwset, "BAD_RWSET")
        collections = {
            part.collection_name: _decoded(kv_rwset_pb2.HashedRWSet, part.hashed_rwset, "BAD_RWSET")
            for part in entry.collection_hashed_rwset
        }
        found.append(Namespace(entry.namespace, public, collections))
    return found


def _version(read: kv_rwset_pb2.KVRead | kv_rwset_pb2.KVReadHash) -> Version | None:
    return Version(read.version.block_num, read.version.tx_num) if read.HasField("version") else None


def _decoded(kind, raw, code):  # type: ignore[no-untyped-def]  # each caller's message, read
    try:
        return kind.FromString(raw)
    except DecodeError:
        raise Invalid(code) from None
