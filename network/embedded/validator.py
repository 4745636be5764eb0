"""Commit-time validation: a peer.TxValidationCode for every transaction of a block, in Fabric's order of checks.

For each envelope, on its own:
 1. it is there and decodes                                       NIL_ENVELOPE, INVALID_OTHER_REASON, BAD_PAYLOAD
 2. its headers are well formed, its type is known, epoch is 0    BAD_COMMON_HEADER
 3. its creator is a valid member and has signed it               BAD_CREATOR_SIGNATURE
 4. CONFIG: it continues the configuration                        INVALID_CONFIG_TRANSACTION
    CONFIG_UPDATE and the like                                    UNSUPPORTED_TX_PAYLOAD
 5. the transaction id is the hash of nonce and creator           BAD_PROPOSAL_TXID
 6. exactly one action, whose proposal hash fits                  INVALID_ENDORSER_TRANSACTION
 7. it is of this channel                                         TARGET_CHAIN_NOT_FOUND
 8. the id is not in the ledger                                   DUPLICATE_TXID
 9. extension, response and read-write set decode                 BAD_HEADER_EXTENSION, BAD_RESPONSE_PAYLOAD, BAD_RWSET
10. chaincode names and version agree, the event too              INVALID_CHAINCODE, INVALID_OTHER_REASON
11. no namespace occurs twice                                     ILLEGAL_WRITESET
12. each written chaincode is defined                             INVALID_CHAINCODE
13. each written chaincode's policies are satisfied               ENDORSEMENT_POLICY_FAILURE  (see `endorsement`)
Then over the block in order:
14. of two good ones with the same id the first counts            DUPLICATE_TXID
15. reads are current, ranges have no phantoms                    MVCC_READ_CONFLICT, PHANTOM_READ_CONFLICT

Steps 8 to 13 look at the state before the block.
"""

import asyncio
import hashlib
from collections.abc import Sequence
from dataclasses import dataclass, field
from typing import Protocol, TypeAlias

from fabric_protos.common import common_pb2
from fabric_protos.peer import (
    chaincode_event_pb2,
    proposal_pb2,
    proposal_response_pb2,
    transaction_pb2,
)
from google.protobuf.message import DecodeError

from goldengrain.network.embedded import rwset
from goldengrain.network.embedded.config import ChannelConfig
from goldengrain.network.embedded.definitions import ChaincodeDefinitions
from goldengrain.network.embedded.endorsement import EndorsementValidator
from goldengrain.network.embedded.errors import ConfigError, IdentityError, PolicyError
from goldengrain.network.embedded.ledger import ChannelLedger
from goldengrain.network.embedded.mvcc import StateValidator
from goldengrain.network.embedded.policies import SignedData
from goldengrain.network.embedded.state import StateKey, Update, Version

Code: TypeAlias = "transaction_pb2.TxValidationCode.ValueType"
_PAUSE_EVERY = 8
_KNOWN_TYPES = frozenset({common_pb2.ENDORSER_TRANSACTION, common_pb2.CONFIG_UPDATE, common_pb2.CONFIG})


@dataclass
class ValidatedTransaction:
    """The outcome for one transaction, and what of it decodes."""

    code: Code = transaction_pb2.NOT_VALIDATED
    tx_id: str = ""
    header_type: int = -1
    rwsets: Sequence[rwset.NamespaceRwSet] = ()
    config: ChannelConfig | None = None


@dataclass
class ValidatedBlock:
    """The outcome for a block: its transactions in order and the changes of the valid ones."""

    transactions: list[ValidatedTransaction] = field(default_factory=list)
    updates: dict[StateKey, Update] = field(default_factory=dict)

    @property
    def flags(self) -> bytes:
        """One validation code per transaction, as block metadata holds them."""
        return bytes(transaction.code for transaction in self.transactions)

    @property
    def config(self) -> ChannelConfig | None:
        """The new configuration if the block brings a valid one."""
        return next((t.config for t in reversed(self.transactions) if t.config is not None), None)


class ConfigChecker(Protocol):
    """Judges a CONFIG transaction against the configuration in force."""

    def __call__(self, current: ChannelConfig, envelope: bytes, block_number: int) -> ChannelConfig:
        """Return the configuration it makes; raises ConfigError."""


class _Refused(Exception):
    def __init__(self, code: Code) -> None:
        super().__init__(transaction_pb2.TxValidationCode.Name(code))
        self.code = code


class BlockValidator:
    """Validates blocks against a ledger as it stands; it changes nothing."""

    def __init__(self, ledger: ChannelLedger, definitions: ChaincodeDefinitions, check_config: ConfigChecker) -> None:
        self._ledger = ledger
        self._definitions = definitions
        self._check_config = check_config

    async def validate(self, block: common_pb2.Block, config: ChannelConfig) -> ValidatedBlock:
        """Judge every transaction of a block that follows the ledger's newest.

        Other tasks run in between; the ledger must not commit meanwhile.
        """
        number = block.header.number
        endorsements = EndorsementValidator(self._ledger.state.metadata, self._definitions, config)
        result = ValidatedBlock()
        for position, envelope in enumerate(block.data.data):
            if position % _PAUSE_EVERY == _PAUSE_EVERY - 1:
                await asyncio.sleep(0)
            transaction = ValidatedTransaction()
            try:
                self._validate_alone(envelope, number, config, endorsements, transaction)
                transaction.code = transaction_pb2.VALID
            except _Refused as refusal:
                transaction.code = refusal.code
            result.transactions.append(transaction)
        _mark_duplicates(result.transactions)
        result.updates = self._apply(number, result.transactions)
        return result

    def _apply(self, number: int, transactions: Sequence[ValidatedTransaction]) -> dict[StateKey, Update]:
        state = StateValidator(self._ledger.state)
        for position, transaction in enumerate(transactions):
            if transaction.code != transaction_pb2.VALID:
                continue
            transaction.code = state.check(transaction.rwsets)
            if transaction.code == transaction_pb2.VALID:
                state.apply(transaction.rwsets, Version(number, position))
        return state.updates

    # -- one transaction ---------------------------------------------------------------------------------------------

    def _validate_alone(
        self,
        raw: bytes,
        number: int,
        config: ChannelConfig,
        endorsements: EndorsementValidator,
        out: ValidatedTransaction,
    ) -> None:
        envelope, payload = _decode_envelope(raw)
        channel_header, signature_header = _decode_headers(payload.header)
        out.tx_id, out.header_type = channel_header.tx_id, channel_header.type
        _check_headers(channel_header, signature_header)
        self._check_creator(envelope, signature_header, config)
        if channel_header.type == common_pb2.CONFIG:
            self._validate_config(raw, number, channel_header, config, out)
            return
        if channel_header.type != common_pb2.ENDORSER_TRANSACTION:
            raise _Refused(transaction_pb2.UNSUPPORTED_TX_PAYLOAD)
        if channel_header.tx_id != hashlib.sha256(signature_header.nonce + signature_header.creator).hexdigest():
            raise _Refused(transaction_pb2.BAD_PROPOSAL_TXID)
        action = _decode_action(payload)
        self._check_channel(channel_header)
        if self._ledger.chain.transaction_status(channel_header.tx_id) is not None:
            raise _Refused(transaction_pb2.DUPLICATE_TXID)
        out.rwsets = _validate_effects(channel_header, action, self._definitions, config, endorsements)

    def _check_channel(self, header: common_pb2.ChannelHeader) -> None:
        if header.channel_id != self._ledger.channel_id:
            raise _Refused(transaction_pb2.TARGET_CHAIN_NOT_FOUND)

    def _check_creator(
        self, envelope: common_pb2.Envelope, header: common_pb2.SignatureHeader, config: ChannelConfig
    ) -> None:
        try:
            creator = config.msps.validated(header.creator)
        except IdentityError as error:
            raise _Refused(transaction_pb2.BAD_CREATOR_SIGNATURE) from error
        if not envelope.signature or not creator.verify(envelope.payload, envelope.signature):
            raise _Refused(transaction_pb2.BAD_CREATOR_SIGNATURE)

    def _validate_config(
        self,
        raw: bytes,
        number: int,
        header: common_pb2.ChannelHeader,
        config: ChannelConfig,
        out: ValidatedTransaction,
    ) -> None:
        self._check_channel(header)
        try:
            out.config = self._check_config(config, raw, number)
        except ConfigError as error:
            raise _Refused(transaction_pb2.INVALID_CONFIG_TRANSACTION) from error


@dataclass(frozen=True)
class _Action:
    """The one action of an endorser transaction: the signed payload, who endorsed it, and what it says."""

    payload: bytes
    response: proposal_response_pb2.ProposalResponsePayload
    endorsements: Sequence[proposal_response_pb2.Endorsement]


def _decode_envelope(raw: bytes) -> tuple[common_pb2.Envelope, common_pb2.Payload]:
    if not raw:
        raise _Refused(transaction_pb2.NIL_ENVELOPE)
    try:
        envelope = common_pb2.Envelope.FromString(raw)
    except DecodeError as error:
        raise _Refused(transaction_pb2.INVALID_OTHER_REASON) from error
    try:
        return envelope, common_pb2.Payload.FromString(envelope.payload)
    except DecodeError as error:
        raise _Refused(transaction_pb2.BAD_PAYLOAD) from error


def _decode_headers(header: common_pb2.Header) -> tuple[common_pb2.ChannelHeader, common_pb2.SignatureHeader]:
    try:
        return (
            common_pb2.ChannelHeader.FromString(header.channel_header),
            common_pb2.SignatureHeader.FromString(header.signature_header),
        )
    except DecodeError as error:
        raise _Refused(transaction_pb2.BAD_COMMON_HEADER) from error


def _check_headers(channel: common_pb2.ChannelHeader, signature: common_pb2.SignatureHeader) -> None:
    if channel.type not in _KNOWN_TYPES or channel.epoch != 0 or not signature.nonce or not signature.creator:
        raise _Refused(transaction_pb2.BAD_COMMON_HEADER)


def _decode_action(payload: common_pb2.Payload) -> _Action:
    try:
        transaction = transaction_pb2.Transaction.FromString(payload.data)
        if len(transaction.actions) != 1:
            raise _Refused(transaction_pb2.INVALID_ENDORSER_TRANSACTION)
        action = transaction.actions[0]
        header = common_pb2.SignatureHeader.FromString(action.header)
        content = transaction_pb2.ChaincodeActionPayload.FromString(action.payload)
        signed = content.action.proposal_response_payload
        response = proposal_response_pb2.ProposalResponsePayload.FromString(signed)
    except DecodeError as error:
        raise _Refused(transaction_pb2.INVALID_ENDORSER_TRANSACTION) from error
    digest = hashlib.sha256(payload.header.channel_header + action.header + content.chaincode_proposal_payload).digest()
    if not header.nonce or not header.creator or digest != response.proposal_hash:
        raise _Refused(transaction_pb2.INVALID_ENDORSER_TRANSACTION)
    return _Action(signed, response, content.action.endorsements)


def _validate_effects(
    header: common_pb2.ChannelHeader,
    action: _Action,
    definitions: ChaincodeDefinitions,
    config: ChannelConfig,
    endorsements: EndorsementValidator,
) -> list[rwset.NamespaceRwSet]:
    chaincode, effects, rwsets = _decode_effects(header, action)
    _check_chaincode(chaincode, effects)
    names = [entry.namespace for entry in rwsets]
    if len(set(names)) != len(names):
        raise _Refused(transaction_pb2.ILLEGAL_WRITESET)
    signed = [
        SignedData(action.payload + endorsement.endorser, endorsement.endorser, endorsement.signature)
        for endorsement in action.endorsements
    ]
    for name in dict.fromkeys([chaincode, *(entry.namespace for entry in rwsets if entry.writes_anything)]):
        policy = definitions.policy(config, name)
        if policy is None:
            raise _Refused(transaction_pb2.INVALID_CHAINCODE)
        written = next((entry for entry in rwsets if entry.namespace == name), None)
        try:
            endorsements.check(name, policy, written, signed)
        except PolicyError as error:
            raise _Refused(transaction_pb2.ENDORSEMENT_POLICY_FAILURE) from error
    endorsements.accepted(rwsets)
    return rwsets


def _decode_effects(
    header: common_pb2.ChannelHeader, action: _Action
) -> tuple[str, proposal_pb2.ChaincodeAction, list[rwset.NamespaceRwSet]]:
    try:
        extension = proposal_pb2.ChaincodeHeaderExtension.FromString(header.extension)
    except DecodeError as error:
        raise _Refused(transaction_pb2.BAD_HEADER_EXTENSION) from error
    try:
        effects = proposal_pb2.ChaincodeAction.FromString(action.response.extension)
    except DecodeError as error:
        raise _Refused(transaction_pb2.BAD_RESPONSE_PAYLOAD) from error
    try:
        rwsets = rwset.parse(effects.results)
    except DecodeError as error:
        raise _Refused(transaction_pb2.BAD_RWSET) from error
    if not extension.HasField("chaincode_id") or not effects.HasField("chaincode_id"):
        raise _Refused(transaction_pb2.INVALID_OTHER_REASON)
    return extension.chaincode_id.name, effects, rwsets


def _check_chaincode(chaincode: str, effects: proposal_pb2.ChaincodeAction) -> None:
    stated = effects.chaincode_id
    if not chaincode or chaincode != stated.name or not stated.version:
        raise _Refused(transaction_pb2.INVALID_CHAINCODE)
    if effects.events:
        try:
            event = chaincode_event_pb2.ChaincodeEvent.FromString(effects.events)
        except DecodeError as error:
            raise _Refused(transaction_pb2.INVALID_OTHER_REASON) from error
        if event.chaincode_id != chaincode:
            raise _Refused(transaction_pb2.INVALID_OTHER_REASON)


def _mark_duplicates(transactions: Sequence[ValidatedTransaction]) -> None:
    seen: set[str] = set()
    for transaction in transactions:
        if transaction.code != transaction_pb2.VALID or transaction.header_type != common_pb2.ENDORSER_TRANSACTION:
            continue
        if transaction.tx_id in seen:
            transaction.code = transaction_pb2.DUPLICATE_TXID
        seen.add(transaction.tx_id)
