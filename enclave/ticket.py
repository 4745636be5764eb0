"""The sixteen checks of a job ticket (protocol section 8), in that order; each has its own refusal.

 1. sizes; every message parses, no unknown fields                                        `TicketMalformed`
 2. channel header: endorser transaction, the bundle's channel and contract               `TicketChannelMismatch`
 3. input: the contract; arguments exactly `JobTicket`, offer, claim, own id, nonce;
    no init, no decorations, no transient data                                            `TicketInputMismatch`
 4. the nonce is one of its own, now deleted                                              `TicketNonceUnknown`
 5. H(channel header ‖ signature header ‖ payload) = proposal hash                        `TicketProposalHashMismatch`
 6. chaincode action: names the contract, status exactly 200, no event                    `TicketActionRefused`
 7. read-write set: namespaces only the contract and `_lifecycle`; no write, no metadata
    write, no private data                                                                `TicketReadWriteSetRefused`
 8. all endorsements over the same bytes                                                  `TicketEndorsementsDiffer`
 9. each endorser: one certificate, chains to that MSP in the bundle, OU peer, not
    revoked, valid at the header's time, P-256, low s, signature over payload ‖ endorser  `TicketEndorserRefused`
10. at least k different MSPs                                                             `TicketTooFewOrganizations`
11. the payload re-encodes identically; version, channel, contract, bundle and enclave
    are its own                                                                           `TicketPayloadMismatch`
12. header time before lease end and own expiry, not before the last seen - 2 W           `TicketTimeRefused`
13. task, order and offer digests recomputed                                              `TicketDigestMismatch`
14. model envelope opened under the order digest; `key_check` and `h` right               `ModelEnvelopeWrong`
15. dataset key opened under the task digest; key, ciphertext and plaintext digests and n `DatasetRefused`
16. model ciphertext's size and digest; decrypted; only then parsed                       `ModelCiphertextWrong`

1 to 13 are here: they need the transaction alone, and a refusal signs nothing. 14 to 16 open files that the host
brings; they are in `openings`. There a file of another digest than the ledger's is the host's doing
(`HostBytesRefused`: nothing is signed), one of the right digest that is wrong inside its author's: a signed outcome.

Since an endorser signs payload and proposal hash together, and the hash covers the nonce, a ticket can't be older than
its nonce; the contract recomputes the ticket's digest at the report, so it can't be of a state that has passed.
"""

from __future__ import annotations

import hashlib
import secrets
from collections import OrderedDict
from dataclasses import dataclass

from fabric_protos.common import common_pb2 as common

from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.queries import JobTicket
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.enclave.errors import (
    TicketActionRefused,
    TicketChannelMismatch,
    TicketDigestMismatch,
    TicketEndorsementsDiffer,
    TicketInputMismatch,
    TicketNonceUnknown,
    TicketPayloadMismatch,
    TicketProposalHashMismatch,
    TicketReadWriteSetRefused,
    TicketTimeRefused,
    TicketTooFewOrganizations,
)
from goldengrain.enclave.msp import Endorsers
from goldengrain.enclave.transaction import PreparedTransaction, parse_transaction

LIFECYCLE = "_lifecycle"
MAX_NONCES = 1024
"""Nonces that are kept open; the oldest gives way to a new one."""
_OK = 200


class Nonces:
    """Nonces that this enclave has made and not yet seen again; in memory only, so that none outlives a restart."""

    def __init__(self) -> None:
        self._open: OrderedDict[bytes, None] = OrderedDict()

    def make(self) -> bytes:
        """Return a new nonce of 32 bytes."""
        nonce = secrets.token_bytes(32)
        self._open[nonce] = None
        if len(self._open) > MAX_NONCES:
            self._open.popitem(last=False)
        return nonce

    def spend(self, nonce: bytes) -> bool:
        """Delete a nonce; tell whether it was open."""
        return self._open.pop(nonce, self) is None


@dataclass
class TicketVerifier:
    """Checks 1 to 13 for one enclave.

    `enclave` is its id, `expires` the time (seconds) until which its keys serve, `bundle` whom it believes. It keeps
    the open nonces and the greatest time seen, both in memory only.
    """

    enclave: bytes
    bundle: TrustBundle
    expires: int
    last_seen: int = 0

    def __post_init__(self) -> None:
        self.nonces = Nonces()
        self._endorsers = Endorsers(self.bundle)
        self._bundle_digest = self.bundle.digest()

    def verify(self, transaction: bytes) -> JobTicketPayload:
        """Check a prepared transaction (bytes of an `Envelope`); returns what the organisations stated.

        Raises the `TicketRefused` of the first check that fails. The nonce is spent as soon as check 4 is reached.
        """
        parts = parse_transaction(transaction)  # 1
        self._check_channel(parts)  # 2
        request = self._check_input(parts)  # 3
        if not self.nonces.spend(request.nonce):  # 4
            raise TicketNonceUnknown("the ticket's nonce is not this enclave's or was used: ask for a new one")
        self._check_proposal_hash(parts)  # 5
        self._check_action(parts)  # 6
        self._check_read_write_set(parts)  # 7
        self._check_same_bytes(parts)  # 8
        organizations = self._check_endorsers(parts)  # 9
        if len(organizations) < self.bundle.required:  # 10
            raise TicketTooFewOrganizations(
                f"endorsed by {', '.join(sorted(organizations))}; {self.bundle.required} organisations are needed"
            )
        payload = self._check_payload(parts, request)  # 11
        self._check_time(parts.seconds, payload.ticket.lease_end)  # 12
        _check_digests(payload)  # 13
        self.last_seen = max(self.last_seen, parts.seconds)
        return payload

    def _check_channel(self, parts: PreparedTransaction) -> None:
        header = parts.channel_header
        if header.type != common.ENDORSER_TRANSACTION or header.epoch:
            raise TicketChannelMismatch("the ticket's channel header is not that of an endorser transaction")
        if header.channel_id != self.bundle.channel:
            raise TicketChannelMismatch(
                f"the ticket is of channel {header.channel_id[:80]!r}, not {self.bundle.channel!r}"
            )
        if parts.header_extension.chaincode_id.name != self.bundle.contract:
            raise TicketChannelMismatch(f"the ticket's header is not for the contract {self.bundle.contract!r}")

    def _check_input(self, parts: PreparedTransaction) -> JobTicket:
        spec = parts.invocation.chaincode_spec
        if spec.chaincode_id.name != self.bundle.contract or spec.chaincode_id.path or spec.chaincode_id.version:
            raise TicketInputMismatch(f"the ticket's input is not for the contract {self.bundle.contract!r}")
        if spec.input.is_init or spec.input.decorations or parts.proposal_payload.TransientMap:
            raise TicketInputMismatch("a ticket is asked for without init, decorations and transient data")
        arguments = list(spec.input.args)
        try:
            request = JobTicket.from_args(arguments)
        except MalformedInput as error:
            raise TicketInputMismatch(f"the ticket's arguments: {error}") from error
        if request.enclave != self.enclave or arguments[0] != JobTicket.function().encode():
            raise TicketInputMismatch("the ticket was asked for another enclave or by another function")
        return request

    def _check_proposal_hash(self, parts: PreparedTransaction) -> None:
        proposal = parts.channel_header_bytes + parts.signature_header_bytes + parts.proposal_payload_bytes
        if hashlib.sha256(proposal).digest() != parts.response_payload.proposal_hash:
            raise TicketProposalHashMismatch("the endorsements are of another proposal than the one shown")

    def _check_action(self, parts: PreparedTransaction) -> None:
        action = parts.action
        if action.chaincode_id.name != self.bundle.contract:
            raise TicketActionRefused(f"the endorsed action is not of the contract {self.bundle.contract!r}")
        if action.response.status != _OK:
            raise TicketActionRefused(f"the contract answered with status {action.response.status}, not {_OK}")
        if action.events:
            raise TicketActionRefused("a ticket sets no event")

    def _check_read_write_set(self, parts: PreparedTransaction) -> None:
        for namespace, keys in parts.namespaces:
            if namespace.namespace not in (self.bundle.contract, LIFECYCLE):
                raise TicketReadWriteSetRefused(f"a ticket doesn't touch the namespace {namespace.namespace[:80]!r}")
            if keys.writes or keys.metadata_writes:
                raise TicketReadWriteSetRefused("a ticket writes nothing")
            if namespace.collection_hashed_rwset:
                raise TicketReadWriteSetRefused("a ticket holds no private data")

    def _check_same_bytes(self, parts: PreparedTransaction) -> None:
        """One action holds one payload for all its endorsements; two actions would hold two."""
        if parts.actions != 1 or not parts.endorsements:
            raise TicketEndorsementsDiffer(
                f"{parts.actions} actions, {len(parts.endorsements)} endorsements; a ticket is one action, endorsed"
            )

    def _check_endorsers(self, parts: PreparedTransaction) -> set[str]:
        at = parts.seconds
        for one in parts.endorsements:
            message = parts.response_payload_bytes + one.endorser
            self._endorsers.check(one.msp_id, one.certificate, at, message, one.signature)
        return {one.msp_id for one in parts.endorsements}

    def _check_payload(self, parts: PreparedTransaction, request: JobTicket) -> JobTicketPayload:
        try:
            payload = JobTicketPayload.from_bytes(parts.action.response.payload)
        except MalformedInput as error:
            raise TicketPayloadMismatch(f"the ticket's payload: {error}") from error
        ticket = payload.ticket
        own = (self.bundle.channel, self.bundle.contract, self._bundle_digest, self.enclave)
        if (ticket.channel, ticket.contract, ticket.bundle, ticket.enclave) != own:
            raise TicketPayloadMismatch("the ticket is for another channel, contract, trust bundle or enclave")
        if (ticket.offer, ticket.claim) != (request.offer, request.claim):
            raise TicketPayloadMismatch("the ticket is for another offer or claim than the one asked for")
        return payload

    def _check_time(self, at: int, lease_end: int) -> None:
        if at > lease_end:
            raise TicketTimeRefused(f"the lease ended at {lease_end}, the ticket is of {at}")
        if at > self.expires:
            raise TicketTimeRefused(f"this enclave's keys expired at {self.expires}: register it anew")
        if at < self.last_seen - 2 * self.bundle.window:
            raise TicketTimeRefused(f"the ticket is of {at}, long before {self.last_seen}, which was seen already")


def _check_digests(payload: JobTicketPayload) -> None:
    task, order, ticket = payload.task, payload.order, payload.ticket
    if {(one.channel, one.contract) for one in (task, order)} != {(ticket.channel, ticket.contract)}:
        raise TicketDigestMismatch("task or order are of another channel or contract than the ticket")
    if order.task != task.digest() or order.spec != task.spec.digest():
        raise TicketDigestMismatch("the order is for another task than the one shown")
    if order.provider_key != hashlib.sha256(task.provider_key).digest():
        raise TicketDigestMismatch("the order names another provider's key than the task")
    if ticket.order != order.digest() or ticket.offer != order.offer_id:
        raise TicketDigestMismatch("the ticket is for another order than the one shown")
