"""Blocks of one channel, checked one after the other."""

from __future__ import annotations

from collections.abc import Iterator

from fabric_protos.common import common_pb2, configtx_pb2
from fabric_protos.peer import transaction_pb2
from google.protobuf.message import DecodeError

from tests.blockcheck import endorsement
from tests.blockcheck.config import Config
from tests.blockcheck.encoding import Key, Version, commit_hash, digest, header_der, updates
from tests.blockcheck.policies import Signed
from tests.blockcheck.state import Changes, Reads, State, Value, effects
from tests.blockcheck.transactions import Invalid, Parsed, Transaction, parse

VALID = "VALID"
SLOTS = 5


class Checker:
    """Knows a channel as far as its blocks were checked. `height` is the number of the next block."""

    def __init__(self, genesis: bytes) -> None:
        """Trust a genesis block, as a node that joins the channel does."""
        block = common_pb2.Block.FromString(genesis)
        (raw,) = block.data.data
        payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(raw).payload)
        self.channel = common_pb2.ChannelHeader.FromString(payload.header.channel_header).channel_id
        self.config = Config(configtx_pb2.ConfigEnvelope.FromString(payload.data))
        self.state = State()
        self.height = 1
        self._genesis = block.header.SerializeToString(), block.data.SerializeToString()
        self._previous = digest(header_der(block.header))
        self._commit_hash = b""
        self._last_config = 0
        self._transactions: set[str] = set()
        self._expiring: dict[int, list[tuple[Key, Version]]] = {}
        assert block.header.number == 0
        assert digest(raw) == block.header.data_hash

    # -- what is stated ----------------------------------------------------------------------------------------------

    def check(self, raw: bytes, *, ordered_only: bool = False) -> list[str]:
        """Check the next block as peers store it (as an orderer delivers it, with `ordered_only`).

        Returns what is wrong. The block is taken in only if nothing is.
        """
        try:
            block = common_pb2.Block.FromString(raw)
        except DecodeError:
            return ["not a block"]
        problems = list(self._chain(block, raw)) or list(self._orderers(block))
        if problems or ordered_only:
            if not problems:
                self._take_in(block, [], {})
            return problems
        codes, changes, parsed = self._judge(block)
        problems += self._committed(block, codes, changes)
        if not problems:
            self._take_in(block, [one.tx_id for one in parsed], changes)
            self._configure(codes, parsed)
        return problems

    def _chain(self, block: common_pb2.Block, raw: bytes) -> Iterator[str]:
        header = block.header
        if block.SerializeToString(deterministic=True) != raw:
            yield "another encoding than the only one of its content"
        if header.number != self.height:
            yield f"number {header.number} where {self.height} follows"
        if header.previous_hash != self._previous:
            yield "the previous hash isn't that of the block before"
        if header.data_hash != digest(*block.data.data):
            yield "the data hash isn't that of the transactions"
        if len(block.metadata.metadata) != SLOTS:
            yield f"{len(block.metadata.metadata)} metadata slots instead of {SLOTS}"

    def _orderers(self, block: common_pb2.Block) -> Iterator[str]:
        slots = [*block.metadata.metadata, *[b""] * SLOTS]
        try:
            metadata = common_pb2.Metadata.FromString(slots[common_pb2.SIGNATURES])
            stated = common_pb2.OrdererBlockMetadata.FromString(metadata.value)
        except DecodeError:
            yield "the orderer's metadata can't be read"
            return
        if metadata.SerializeToString(deterministic=True) != slots[common_pb2.SIGNATURES]:
            yield "the orderer's metadata is in another encoding than the only one of its content"
        allowed = {self._last_config, self.height} if _is_config(block) else {self._last_config}
        if stated.last_config.index not in allowed:
            yield f"last configuration {stated.last_config.index} instead of {max(allowed)}"
        repeated = common_pb2.Metadata(value=stated.last_config.SerializeToString())
        if slots[common_pb2.LAST_CONFIG] not in (repeated.SerializeToString(), b""):
            yield "another last configuration where it is repeated"
        if slots[common_pb2.ORDERER]:
            yield "something in the slot of former orderers"
        try:
            signed = self._signed_by_orderers(block, metadata)
        except DecodeError:
            signed = False
        if not signed:
            yield "the orderers' signatures don't satisfy the policy for blocks"

    def _signed_by_orderers(self, block: common_pb2.Block, metadata: common_pb2.Metadata) -> bool:
        header = header_der(block.header)
        if self.config.consenters:
            return self._signed_by_consenters(header, metadata)
        signed = []
        for one in metadata.signatures:
            creator = common_pb2.SignatureHeader.FromString(one.signature_header).creator
            signed.append(Signed(creator, metadata.value + one.signature_header + header, one.signature))
        good = all(self._valid(one) for one in signed)
        return good and self.config.allows("/Channel/Orderer/BlockValidation", signed)

    def _valid(self, signed: Signed) -> bool:
        identity = self.config.organizations.identity(signed.identity)
        return identity is not None and identity.signed(signed.data, signed.signature)

    def _signed_by_consenters(self, header: bytes, metadata: common_pb2.Metadata) -> bool:
        """SmartBFT: a quorum of different consenters, and no signature that isn't one."""
        signers = set()
        for one in metadata.signatures:
            number = common_pb2.IdentifierHeader.FromString(one.identifier_header).identifier
            consenter = self.config.consenters.get(number)
            if consenter is None or one.signature_header:
                return False
            if not consenter.signed(metadata.value + one.identifier_header + header, one.signature):
                return False
            signers.add(number)
        count = len(self.config.consenters)
        faults = (count - 1) // 3
        return len(signers) >= (count + faults + 1 + 1) // 2

    # -- what has to be stated ---------------------------------------------------------------------------------------

    def _judge(self, block: common_pb2.Block) -> tuple[list[str], Changes, list[Parsed]]:
        """Validation codes, the changes of the valid transactions, and the transactions."""
        parsed = [parse(raw, self.channel, self.config.organizations) for raw in block.data.data]
        codes = [self._endorsed(one) for one in parsed]
        self._check_policies(codes, parsed)
        seen: set[str] = set()
        for place, one in enumerate(parsed):
            if codes[place] == VALID and one.tx_id:
                if one.tx_id in seen:
                    codes[place] = "DUPLICATE_TXID"
                seen.add(one.tx_id)
        changes: Changes = {}
        for place, one in enumerate(parsed):
            if codes[place] == VALID and one.transaction is not None:
                namespaces = one.transaction.namespaces
                codes[place] = Reads(self.state, changes).outdated(namespaces) or VALID
                if codes[place] == VALID:
                    changes |= effects(namespaces, Version(self.height, place), self.state, changes)
        return codes, changes, parsed

    def _endorsed(self, one: Parsed) -> str:
        """The code of a transaction before policies are looked at."""
        if one.code:
            return one.code
        if one.kind == common_pb2.CONFIG:
            return VALID if self._config_follows(one) else "INVALID_CONFIG_TRANSACTION"
        if one.tx_id in self._transactions:
            return "DUPLICATE_TXID"
        return VALID

    def _check_policies(self, codes: list[str], parsed: list[Parsed]) -> None:
        """Check endorsements in order: who writes a key after its policy was changed in this block is refused."""
        updated: set[Key] = set()
        for place, one in enumerate(parsed):
            if codes[place] != VALID or one.transaction is None:
                continue
            try:
                endorsement.check(one.transaction, self.config, self.state, updated)
            except Invalid as error:
                codes[place] = error.code
            else:
                updated |= _with_new_metadata(one.transaction)

    def _config_follows(self, one: Parsed) -> bool:
        try:
            envelope = configtx_pb2.ConfigEnvelope.FromString(one.data)
        except DecodeError:
            return False
        return envelope.config.sequence == self.config.sequence + 1

    def _committed(self, block: common_pb2.Block, codes: list[str], changes: Changes) -> Iterator[str]:
        slots = block.metadata.metadata
        flags = bytes(transaction_pb2.TxValidationCode.Value(code) for code in codes)
        stated = slots[common_pb2.TRANSACTIONS_FILTER]
        if stated != flags:
            names = [_code_name(flag) for flag in stated]
            yield f"validation codes {names} where the transactions call for {codes}"
        changed = updates((key, value.value, value.version) for key, value in changes.items())
        expected = commit_hash(flags, changed, self._commit_hash)
        if slots[common_pb2.COMMIT_HASH] != common_pb2.Metadata(value=expected).SerializeToString():
            yield "the commit hash isn't that of the block's updates"

    # -- taking in ---------------------------------------------------------------------------------------------------

    def _take_in(self, block: common_pb2.Block, tx_ids: list[str], changes: Changes) -> None:
        for key, version in self._expiring.pop(self.height, []):
            current = self.state.get(key)
            if key not in changes and current is not None and current.version == version:
                self.state.apply({key: Value(None, Version(self.height, 0))})
        for key, value in changes.items():
            self._schedule(key, value)
        self.state.apply(changes)
        self._transactions.update(tx_ids)
        self._previous = digest(header_der(block.header))
        slot = block.metadata.metadata[common_pb2.COMMIT_HASH]
        self._commit_hash = common_pb2.Metadata.FromString(slot).value
        self.height += 1

    def _schedule(self, key: Key, value: Value) -> None:
        if not key.collection or value.value is None:
            return
        collection = endorsement.collections(key.namespace, self.state).get(key.collection)
        if collection is not None and collection.block_to_live:
            self._expiring.setdefault(self.height + collection.block_to_live + 1, []).append((key, value.version))

    def _configure(self, codes: list[str], parsed: list[Parsed]) -> None:
        for code, one in zip(codes, parsed, strict=True):
            if code == VALID and one.kind == common_pb2.CONFIG:
                self.config = Config(configtx_pb2.ConfigEnvelope.FromString(one.data))
                self._last_config = self.height - 1


def check_chain(blocks: list[bytes], *, ordered_only: bool = False) -> dict[int, list[str]]:
    """Check a chain from its genesis block on; what is wrong by block. Ends with the first bad block."""
    checker = Checker(blocks[0])
    for number, raw in enumerate(blocks[1:], 1):
        if problems := checker.check(raw, ordered_only=ordered_only):
            return {number: problems}
    return {}


def _with_new_metadata(transaction: Transaction) -> set[Key]:
    return {key for entry in transaction.namespaces for key, _ in entry.metadata_writes()}


def _is_config(block: common_pb2.Block) -> bool:
    if len(block.data.data) != 1:
        return False
    try:
        payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(block.data.data[0]).payload)
        header = common_pb2.ChannelHeader.FromString(payload.header.channel_header)
    except DecodeError:
        return False
    return header.type == common_pb2.CONFIG


def _code_name(flag: int) -> str:
    return transaction_pb2.TxValidationCode.Name(flag) if flag in transaction_pb2.TxValidationCode.values() else "?"
