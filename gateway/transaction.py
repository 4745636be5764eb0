"""The steps of one transaction: propose → endorse → submit → status.

Each step is an object that holds the bytes it needs, can be signed elsewhere (``digest`` out, ``sign(signature)`` in),
and is taken by one awaitable method with a deadline of its own. ``Contract.submit`` is these steps in a row::

    proposal = contract.propose("Transfer", "alice", "5")
    transaction = await proposal.endorse()
    commit = await transaction.submit()
    status = await commit.status()

An endorsed transaction need not be submitted: what several organisations' peers signed is a statement by itself
(a *job ticket* of the market is exactly that, ``transaction.envelope``).
"""

from __future__ import annotations

import asyncio
from collections.abc import Sequence
from dataclasses import dataclass
from functools import cached_property
from hashlib import sha256

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import proposal_pb2, proposal_response_pb2, transaction_pb2
from google.protobuf.message import DecodeError

from goldengrain.gateway.commits import CommitWatcher, Watch
from goldengrain.gateway.errors import (
    CommitStatusError,
    CommitUnknown,
    EndorseError,
    EvaluateError,
    SubmitError,
    SubmitUnknown,
)
from goldengrain.gateway.proposal import UnsignedProposal
from goldengrain.gateway.session import NO_ANSWER, CallFailed, Session, busy
from goldengrain.gateway.status import Status, code_name

__all__ = ["Commit", "Endorsement", "Proposal", "Status", "Transaction", "code_name"]

_SECOND_OPINION_S = 5.0
"""Seconds after which a transaction that the shared stream says nothing of is asked for with a call."""

_REFUSED_BY_ORDERER = frozenset(
    {
        grpc.StatusCode.ABORTED,
        grpc.StatusCode.INVALID_ARGUMENT,
        grpc.StatusCode.FAILED_PRECONDITION,
        grpc.StatusCode.PERMISSION_DENIED,
        grpc.StatusCode.UNAUTHENTICATED,
        grpc.StatusCode.UNIMPLEMENTED,
        grpc.StatusCode.NOT_FOUND,
    }
)

_ORDERED_ALREADY = "request already processed"
"""What a SmartBFT orderer says that got the transaction from another one before it came from the gateway, which asks
all of them and counts this as a failure: the transaction is on its way, and its status tells the rest (ADR 62)."""


@dataclass(frozen=True, slots=True)
class Endorsement:
    """One peer's signature over ``proposal response payload ‖ endorser``; ``endorser`` is a SerializedIdentity."""

    endorser: bytes
    signature: bytes

    @property
    def msp_id(self) -> str:
        """The endorser's organisation."""
        return identities_pb2.SerializedIdentity.FromString(self.endorser).mspid


class Proposal:
    """A call of a chaincode's function, not yet sent."""

    def __init__(
        self, session: Session, proposal: UnsignedProposal, organizations: Sequence[str] = (), signature: bytes = b""
    ) -> None:
        self._session = session
        self._proposal = proposal
        self._organizations = tuple(organizations)
        self._signature = signature

    @property
    def transaction_id(self) -> str:
        """The transaction's id, 64 hex digits."""
        return self._proposal.transaction_id

    @property
    def channel(self) -> str:
        """The channel's name."""
        return self._proposal.channel

    @property
    def digest(self) -> bytes:
        """What has to be signed, 32 bytes."""
        return self._proposal.digest

    def sign(self, signature: bytes) -> None:
        """Hand in a signature (DER, low s) over ``digest`` that was made elsewhere."""
        self._signature = signature

    def to_bytes(self) -> bytes:
        """``gateway.ProposedTransaction``, the form that Fabric's other clients also exchange for offline signing."""
        return gateway_pb2.ProposedTransaction(
            transaction_id=self.transaction_id,
            proposal=proposal_pb2.SignedProposal(proposal_bytes=self._proposal.raw, signature=self._signature),
            endorsing_organizations=self._organizations,
        ).SerializeToString()

    def signed(self) -> proposal_pb2.SignedProposal:
        """Return the signed proposal message. Raises SigningError where there is neither signature nor signer."""
        if not self._signature:
            self._signature = self._session.sign(self._proposal.raw, self.transaction_id)
        return proposal_pb2.SignedProposal(proposal_bytes=self._proposal.raw, signature=self._signature)

    async def evaluate(self, deadline: float | None = None) -> bytes:
        """Run the function on a peer and return its payload; nothing is written. Raises EvaluateError."""
        request = gateway_pb2.EvaluateRequest(
            transaction_id=self.transaction_id,
            channel_id=self.channel,
            proposed_transaction=self.signed(),
            target_organizations=self._organizations,
        )
        try:
            response = await self._session.call(
                lambda peer: peer.evaluate, request, deadline or self._session.deadlines.evaluate
            )
        except CallFailed as failed:
            raise self._session.failed(EvaluateError, failed, "evaluate", self.transaction_id) from failed.error
        return response.result.payload

    async def endorse(self, deadline: float | None = None) -> Transaction:
        """Have peers of enough organisations run the function and sign the result. Raises EndorseError."""
        request = gateway_pb2.EndorseRequest(
            transaction_id=self.transaction_id,
            channel_id=self.channel,
            proposed_transaction=self.signed(),
            endorsing_organizations=self._organizations,
        )
        try:
            response = await self._session.call(
                lambda peer: peer.endorse, request, deadline or self._session.deadlines.endorse
            )
        except CallFailed as failed:
            raise self._session.failed(EndorseError, failed, "endorse", self.transaction_id) from failed.error
        transaction = Transaction(self._session, self.channel, self.transaction_id, response.prepared_transaction)
        transaction.check_answers(self._proposal)
        return transaction


class Transaction:
    """An endorsed transaction: the function's result, signed by peers, ready to be submitted."""

    def __init__(self, session: Session, channel: str, transaction_id: str, envelope: common_pb2.Envelope) -> None:
        self._session = session
        self._envelope = envelope
        self.channel = channel
        self.transaction_id = transaction_id

    @property
    def payload(self) -> bytes:
        """The envelope's payload (``common.Payload``): what the client signs, and all that the peers signed."""
        return self._envelope.payload

    @property
    def envelope(self) -> bytes:
        """``common.Envelope``: the payload with the client's signature if it has been signed, without it if not."""
        return self._envelope.SerializeToString()

    @property
    def digest(self) -> bytes:
        """What has to be signed before submitting, 32 bytes."""
        return sha256(self._envelope.payload).digest()

    def sign(self, signature: bytes) -> None:
        """Hand in a signature (DER, low s) over ``digest`` that was made elsewhere."""
        self._envelope.signature = signature

    def to_bytes(self) -> bytes:
        """``gateway.PreparedTransaction``, the form that Fabric's other clients also exchange for offline signing."""
        prepared = gateway_pb2.PreparedTransaction(transaction_id=self.transaction_id, envelope=self._envelope)
        return prepared.SerializeToString()

    @cached_property
    def _parsed(self) -> common_pb2.Payload:
        return common_pb2.Payload.FromString(self._envelope.payload)

    @cached_property
    def _action(self) -> transaction_pb2.ChaincodeActionPayload:
        actions = transaction_pb2.Transaction.FromString(self._parsed.data).actions
        return transaction_pb2.ChaincodeActionPayload.FromString(actions[0].payload)

    @property
    def proposal_response_payload(self) -> bytes:
        """What each endorser signed (``protos.ProposalResponsePayload``)."""
        return self._action.action.proposal_response_payload

    @property
    def endorsements(self) -> tuple[Endorsement, ...]:
        """The peers' signatures."""
        return tuple(Endorsement(one.endorser, one.signature) for one in self._action.action.endorsements)

    @cached_property
    def chaincode_action(self) -> proposal_pb2.ChaincodeAction:
        """Result, read-write set and event of the simulated call."""
        inner = proposal_response_pb2.ProposalResponsePayload.FromString(self.proposal_response_payload)
        return proposal_pb2.ChaincodeAction.FromString(inner.extension)

    @property
    def result(self) -> bytes:
        """The payload that the function returned."""
        return self.chaincode_action.response.payload

    def check_answers(self, proposal: UnsignedProposal) -> None:
        """Raise EndorseError unless this answers ``proposal``: nothing else shall get the client's signature."""
        try:
            header = common_pb2.Header.FromString(proposal_pb2.Proposal.FromString(proposal.raw).header)
            answered = self._parsed.header
            same = answered.channel_header == header.channel_header
            same = same and answered.signature_header == header.signature_header
            _ = self.result
        except (DecodeError, IndexError) as error:
            raise EndorseError(
                f"the gateway's answer is not an endorsed transaction: {error}", transaction_id=self.transaction_id
            ) from error
        if not same:
            raise EndorseError(
                "the gateway answered with another transaction than the proposed one; it is not signed",
                transaction_id=self.transaction_id,
            )

    async def submit(self, deadline: float | None = None) -> Commit:
        """Send the transaction to the orderer; the very same again through the next peer where one gives no answer.

        Raises SubmitError where it was refused, and SubmitUnknown where no answer came: then it may commit, and
        ``network.commit(transaction_id)`` tells. Sent twice it commits once: the second is DUPLICATE_TXID.
        """
        loop = asyncio.get_running_loop()
        end = loop.time() + (deadline or self._session.deadlines.submit)
        if not self._envelope.signature:
            self._envelope.signature = self._session.sign(self._envelope.payload, self.transaction_id)
        request = gateway_pb2.SubmitRequest(
            transaction_id=self.transaction_id, channel_id=self.channel, prepared_transaction=self._envelope
        )
        watch = await self._watched((end - loop.time()) / 4)
        try:
            await self._session.call(lambda peer: peer.submit, request, end - loop.time())
        except CallFailed as failed:
            refused = failed.error.code() in _REFUSED_BY_ORDERER or busy(failed.error)
            if refused and not failed.unanswered:
                raise self._session.failed(SubmitError, failed, "submit", self.transaction_id) from failed.error
            unknown = self._session.failed(
                SubmitUnknown, failed, "submit: outcome unknown", self.transaction_id, _resume(self.transaction_id)
            )
            if not any(detail.message.endswith(_ORDERED_ALREADY) for detail in unknown.details):
                raise unknown from failed.error
        return Commit(self._session, self.channel, self.transaction_id, self.result, watch)

    async def _watched(self, seconds: float) -> Watch | None:
        if not self._session.shared_commit_stream or self._session.signer is None:
            return None
        return await CommitWatcher.of(self._session, self.channel).expect(self.transaction_id, seconds)


class Commit:
    """A submitted transaction whose outcome can be asked for, as often as one likes.

    ``payload`` is what the function returned when it was endorsed (None where the commit was resumed by its id).
    """

    def __init__(
        self,
        session: Session,
        channel: str,
        transaction_id: str,
        payload: bytes | None = None,
        watch: Watch | None = None,
    ) -> None:
        self._session = session
        self._watch = watch
        self.channel = channel
        self.transaction_id = transaction_id
        self.payload = payload
        self._signature = b""

    @cached_property
    def _request(self) -> bytes:
        return gateway_pb2.CommitStatusRequest(
            transaction_id=self.transaction_id, channel_id=self.channel, identity=self._session.creator
        ).SerializeToString()

    @property
    def digest(self) -> bytes:
        """What has to be signed before asking, 32 bytes."""
        return sha256(self._request).digest()

    def sign(self, signature: bytes) -> None:
        """Hand in a signature (DER, low s) over ``digest`` that was made elsewhere."""
        self._signature = signature

    def to_bytes(self) -> bytes:
        """``gateway.SignedCommitStatusRequest``, the form that Fabric's other clients also exchange."""
        return self._signed().SerializeToString()

    async def status(self, deadline: float | None = None) -> Status:
        """Wait until the transaction is in a block and return its status, whatever the code.

        Peers that give no answer are asked again until the deadline. Raises CommitUnknown when it passes and
        CommitStatusError when the question was refused; the transaction may commit in both cases.
        """
        seconds = deadline or self._session.deadlines.commit
        if self._watch is None:
            return await self._asked(seconds)
        loop = asyncio.get_running_loop()
        end = loop.time() + seconds
        seen = await self._watch.wait(min(seconds / 2, _SECOND_OPINION_S))
        return seen or await self._watch.or_else(self._asked(end - loop.time()))

    def _signed(self) -> gateway_pb2.SignedCommitStatusRequest:
        return gateway_pb2.SignedCommitStatusRequest(request=self._request, signature=self._signature)

    async def _asked(self, seconds: float) -> Status:
        if not self._signature:
            self._signature = self._session.sign(self._request, self.transaction_id)
        try:
            response = await self._session.insist(lambda peer: peer.commit_status, self._signed(), seconds)
        except CallFailed as failed:
            no_answer = failed.error.code() in NO_ANSWER or busy(failed.error)
            kind = CommitUnknown if no_answer else CommitStatusError
            raise self._session.failed(
                kind, failed, "commit status: outcome unknown", self.transaction_id, _resume(self.transaction_id)
            ) from failed.error
        return Status(self.transaction_id, response.result, code_name(response.result), response.block_number)


def _resume(transaction_id: str) -> str:
    return f"Do not send it anew: ask for transaction {transaction_id} again with network.commit(id).status()"
