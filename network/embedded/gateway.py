"""The Gateway service of a peer: evaluate, endorse, submit, commit status, chaincode events.

Evaluate asks one peer, the own one first. A failure of the peer (not of the chaincode, not of the proposal) is tried on
the others. Endorse simulates on the own peer, learns from the read-write set whose endorsements are needed, collects
them, compares the results and assembles the transaction, without the transient data; `endorsing_organizations` is taken
at its word instead. Submit hands it to the orderer. Errors carry one `gateway.ErrorDetail` per peer that failed.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable, Mapping, Sequence
from dataclasses import dataclass
from typing import TYPE_CHECKING

import grpc
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.orderer import ab_pb2
from fabric_protos.peer import proposal_pb2, proposal_response_pb2, transaction_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.access import READERS, AccessDenied, check_channel
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.endorsement_plan import NoPlanError, Planner
from goldengrain.network.embedded.endorser import Endorsed, RefusedProposal
from goldengrain.network.embedded.envelopes import assemble, chaincode_events
from goldengrain.network.embedded.errors import BroadcastRefusedError
from goldengrain.network.embedded.failures import RpcError, proto_error
from goldengrain.network.embedded.interest import Interest
from goldengrain.network.embedded.policies import SignedData
from goldengrain.network.embedded.proposals import BadProposal, Proposal, Target, read_target

if TYPE_CHECKING:
    from goldengrain.network.embedded.orderer import Orderer
    from goldengrain.network.embedded.peer import EmbeddedPeer

__all__ = ["Gateway", "OrdererEndpoint"]

Code = grpc.StatusCode
ProposalResponse = proposal_response_pb2.ProposalResponse
_TOO_FEW = "failed to collect enough transaction endorsements, see attached details for more info"


@dataclass(frozen=True)
class OrdererEndpoint:
    """Where transactions go: the ordering of each channel, how errors name the orderer, and whether it runs."""

    orderers: Mapping[str, Orderer]
    address: str
    msp_id: str
    up: Callable[[], bool] = lambda: True


@dataclass(frozen=True)
class _Attempt:
    """What one peer said: a response that can be used, or what is wrong and whether another peer may do better."""

    endorsed: Endorsed | None
    code: grpc.StatusCode = Code.OK
    message: str = ""
    detail: gateway_pb2.ErrorDetail | None = None
    retry: bool = False


class _Proposed:
    """A signed proposal, unpacked once for all peers that are asked."""

    def __init__(self, signed: proposal_pb2.SignedProposal) -> None:
        self._signed = signed
        self._proposal: Proposal | None = None

    def unpacked(self, peer: EmbeddedPeer) -> Proposal:
        """Unpack it as `peer` does; raises RefusedProposal."""
        if self._proposal is None:
            self._proposal = peer.endorser.unpack(self._signed)
        return self._proposal


class Gateway:
    """The gateway of one peer."""

    def __init__(
        self,
        peer: EmbeddedPeer,
        peers: Sequence[EmbeddedPeer],
        channels: Mapping[str, Channel],
        planners: Mapping[str, Planner],
        orderer: OrdererEndpoint,
    ) -> None:
        """Make it; `peers` are all of the network, `channels` and `planners` go by channel name."""
        self._peer = peer
        self._peers = peers
        self._channels = channels
        self._planners = planners
        self._orderer = orderer

    # -- evaluate ----------------------------------------------------------------------------------------------------

    async def evaluate(self, request: gateway_pb2.EvaluateRequest) -> gateway_pb2.EvaluateResponse:
        """Evaluate a transaction.

        Raises:
            RpcError: refused or failed.

        """
        signed = request.proposed_transaction
        if not request.HasField("proposed_transaction"):
            raise RpcError(
                Code.INVALID_ARGUMENT, "failed to unpack transaction proposal: a signed proposal is required"
            )
        proposal = _target(signed)
        proposed = _Proposed(signed)
        details: list[gateway_pb2.ErrorDetail] = []
        code = Code.UNAVAILABLE
        for peer in self._evaluators(proposal, list(request.target_organizations)):
            attempt = await self._ask(peer, proposed)
            if attempt.endorsed is not None:
                return gateway_pb2.EvaluateResponse(result=attempt.endorsed.response.response)
            if attempt.detail is not None:
                details.append(attempt.detail)
            code = attempt.code
            if not attempt.retry:
                raise RpcError(code, f"evaluate call to endorser returned error: {attempt.message}", details)
        raise RpcError(code, "failed to evaluate transaction, see attached details for more info", details)

    def _evaluators(self, proposal: Target, organizations: Sequence[str]) -> list[EmbeddedPeer]:
        """Peers that can evaluate, the own one first."""
        channel = self._channels.get(proposal.channel_id)
        if channel is None:
            raise RpcError(Code.UNAVAILABLE, _no_config(proposal.channel_id))
        if self._peer.has_system_chaincode(proposal.chaincode):
            able = [peer for peer in self._peers if proposal.channel_id in peer.channels]
        else:
            able = [peer for peer in self._peers if peer.can_run(proposal.channel_id, proposal.chaincode)]
        wanted = [peer for peer in able if peer.listed and (not organizations or peer.msp_id in organizations)]
        if not wanted:
            raise RpcError(
                Code.FAILED_PRECONDITION,
                f"no peers available to evaluate chaincode {proposal.chaincode} in channel {proposal.channel_id}",
            )
        return sorted(wanted, key=lambda peer: (peer is not self._peer, peer.msp_id != self._peer.msp_id))

    # -- endorse -----------------------------------------------------------------------------------------------------

    async def endorse(self, request: gateway_pb2.EndorseRequest) -> gateway_pb2.EndorseResponse:
        """Collect endorsements and assemble the transaction.

        Raises:
            RpcError: refused or failed.

        """
        signed = request.proposed_transaction
        if not request.HasField("proposed_transaction"):
            raise RpcError(Code.INVALID_ARGUMENT, "the proposed transaction must contain a signed proposal")
        proposal = _target(signed)
        proposed = _Proposed(signed)
        if request.endorsing_organizations:
            responses = await self._endorse_at(proposal, proposed, list(request.endorsing_organizations))
        else:
            responses = await self._endorse_by_plan(proposal, proposed)
        prepared = assemble(proposed.unpacked(self._peer), responses)
        return gateway_pb2.EndorseResponse(prepared_transaction=prepared)

    async def _endorse_at(
        self, proposal: Target, proposed: _Proposed, organizations: Sequence[str]
    ) -> list[ProposalResponse]:
        """Ask one peer of each named organisation."""
        chosen: list[EmbeddedPeer] = []
        missing: list[str] = []
        for msp_id in organizations:
            peer = self._peer_of(proposal, msp_id)
            if peer is None:
                missing.append(msp_id)
            else:
                chosen.append(peer)
        if missing:
            raise RpcError(Code.UNAVAILABLE, f"failed to find any endorsing peers for org(s): {', '.join(missing)}")
        return await self._collect(chosen, proposed)

    def _peer_of(self, proposal: Target, msp_id: str) -> EmbeddedPeer | None:
        if proposal.channel_id not in self._channels:
            return None
        candidates = [peer for peer in self._peers if peer.msp_id == msp_id and peer.listed]
        candidates.sort(key=lambda peer: peer is not self._peer)
        for peer in candidates:
            if peer.has_system_chaincode(proposal.chaincode) or peer.can_run(proposal.channel_id, proposal.chaincode):
                return peer
        return None

    async def _endorse_by_plan(self, proposal: Target, proposed: _Proposed) -> list[ProposalResponse]:
        """Ask the own peer first, then whoever else its results call for."""
        planner = self._planners.get(proposal.channel_id) if proposal.channel_id in self._channels else None
        try:
            if planner is None:
                raise NoPlanError(
                    f"No metadata was found for chaincode {proposal.chaincode} in channel {proposal.channel_id}"
                )
            first = planner.candidates([proposal.chaincode], self._peer)[0]
            attempt = await self._ask(first, proposed)
            if attempt.endorsed is None:
                details = [attempt.detail] if attempt.detail is not None else []
                text = "failed to endorse transaction, see attached details for more info"
                raise RpcError(Code.ABORTED, text, details)
            endorsed = attempt.endorsed
            if endorsed.interest is None:
                raise RpcError(Code.ABORTED, "failed to assemble transaction: the peer's response is not endorsed")
            candidates = planner.candidates(endorsed.interest.chaincodes, self._peer)
            self._protect_transient(proposal, endorsed, planner, candidates)
            chosen = planner.plan(endorsed.interest, first, candidates)
        except NoPlanError as error:
            raise RpcError(
                Code.FAILED_PRECONDITION,
                f"no combination of peers can be derived which satisfy the endorsement policy: {error}",
            ) from error
        return await self._collect_by_plan(endorsed, endorsed.interest, chosen, candidates, planner, proposed)

    async def _collect_by_plan(
        self,
        endorsed: Endorsed,
        interest: Interest,
        chosen: list[EmbeddedPeer],
        candidates: Sequence[EmbeddedPeer],
        planner: Planner,
        proposed: _Proposed,
    ) -> list[ProposalResponse]:
        """Ask the chosen peers, and others instead of those that fail, as long as others could make up for them."""
        first = chosen[0]
        asked: dict[str, _Attempt] = {first.name: _Attempt(endorsed)}
        failed: list[EmbeddedPeer] = []
        while True:
            new = [peer for peer in chosen if peer.name not in asked]
            attempts = await asyncio.gather(*(self._ask(peer, proposed) for peer in new))
            asked |= {peer.name: attempt for peer, attempt in zip(new, attempts, strict=True)}
            failures = [peer for peer in chosen if asked[peer.name].endorsed is None]
            if not failures:
                found = [one.endorsed.response for peer in chosen if (one := asked[peer.name]).endorsed is not None]
                return _matching(found)
            failed += failures
            try:
                chosen = planner.replan(interest, first, candidates, failed)
            except NoPlanError:
                details = [one.detail for one in asked.values() if one.detail is not None]
                raise RpcError(Code.ABORTED, _TOO_FEW, details) from None

    def _protect_transient(
        self, proposal: Target, endorsed: Endorsed, planner: Planner, candidates: list[EmbeddedPeer]
    ) -> None:
        """Keep transient data away from organisations that may not have the private data that is made of it."""
        interest = endorsed.interest
        if interest is None or not interest.collections or not proposal.has_transient:
            return
        channel = self._channels[proposal.channel_id]
        members: set[str] | None = None
        for chaincode, name in interest.collections:
            collection = channel.definitions.collection(channel.config, chaincode, name)
            if collection is not None:
                members = set(collection.members) if members is None else members & collection.members
        if members is None:
            return
        candidates[:] = [peer for peer in candidates if peer.msp_id in members]
        if not planner.satisfiable(interest, candidates):
            names = ", ".join(dict.fromkeys(name for _, name in interest.collections))
            raise RpcError(
                Code.FAILED_PRECONDITION,
                "requires endorsement from organisation(s) that are not in the distribution policy of the private data "
                f"collection(s): [{names}]; retry specifying trusted endorsing organizations to protect transient data",
            )

    async def _collect(
        self,
        peers: Sequence[EmbeddedPeer],
        proposed: _Proposed,
    ) -> list[ProposalResponse]:
        """Ask several peers at once and return their responses, which have to be the same."""
        attempts = await asyncio.gather(*(self._ask(peer, proposed) for peer in peers))
        details = [attempt.detail for attempt in attempts if attempt.detail is not None]
        responses = [attempt.endorsed.response for attempt in attempts if attempt.endorsed is not None]
        if details:
            raise RpcError(Code.ABORTED, _TOO_FEW, details)
        return _matching(responses)

    async def _ask(self, peer: EmbeddedPeer, proposed: _Proposed) -> _Attempt:
        """Have a peer process the proposal, and judge its answer."""
        if not peer.up:
            return self._failure(peer, Code.UNAVAILABLE, _connection_refused(peer.address), retry=True)
        remote = "" if peer is self._peer else "rpc error: code = Unknown desc = "
        try:
            endorsed = await peer.endorser.process_unpacked(proposed.unpacked(peer))
        except RefusedProposal as error:
            code, retry = Code.FAILED_PRECONDITION, False
            if error.filtered or remote:
                code, retry = Code.UNAVAILABLE, True
            return self._failure(peer, code, f"{remote}{error}", retry=retry)
        response = endorsed.response
        status, message = response.response.status, response.response.message
        if 200 <= status < 400:
            return _Attempt(endorsed)
        if status == 500 and not response.payload:
            return self._failure(peer, Code.ABORTED, message, retry=True)
        return self._failure(peer, Code.UNKNOWN, f"chaincode response {status}, {message}", retry=False)

    def _failure(self, peer: EmbeddedPeer, code: grpc.StatusCode, message: str, *, retry: bool) -> _Attempt:
        detail = gateway_pb2.ErrorDetail(address=peer.address, msp_id=peer.msp_id, message=message)
        return _Attempt(None, code, message, detail, retry)

    # -- submit and status -------------------------------------------------------------------------------------------

    async def submit(self, request: gateway_pb2.SubmitRequest) -> gateway_pb2.SubmitResponse:
        """Hand a transaction to the orderer; it is durable there when this returns.

        Raises:
            RpcError: refused.

        """
        envelope = request.prepared_transaction
        if not request.HasField("prepared_transaction"):
            raise RpcError(Code.INVALID_ARGUMENT, "a prepared transaction is required")
        if not envelope.signature:
            raise RpcError(Code.INVALID_ARGUMENT, "prepared transaction must be signed")
        orderer = self._orderer.orderers.get(request.channel_id)
        if orderer is None or request.channel_id not in self._channels:
            raise RpcError(Code.FAILED_PRECONDITION, _no_config(request.channel_id))
        if not self._orderer.up():
            raise RpcError(
                Code.UNAVAILABLE,
                "no orderers could successfully process transaction",
                [
                    gateway_pb2.ErrorDetail(
                        address=self._orderer.address,
                        msp_id=self._orderer.msp_id,
                        message=_connection_refused(self._orderer.address),
                    )
                ],
            )
        try:
            await orderer.broadcast(envelope.SerializeToString())
        except BroadcastRefusedError as error:
            name = common_pb2.Status.Name(error.status)
            raise RpcError(
                Code.ABORTED, f"received unsuccessful response from orderer: status={name}, info={error.info}"
            ) from error
        return gateway_pb2.SubmitResponse()

    async def commit_status(self, request: gateway_pb2.SignedCommitStatusRequest) -> gateway_pb2.CommitStatusResponse:
        """Wait until a transaction is committed, and tell with which code.

        Raises:
            RpcError: refused.

        """
        if not request.request:
            raise RpcError(Code.INVALID_ARGUMENT, "a commit status request is required")
        try:
            status = gateway_pb2.CommitStatusRequest.FromString(request.request)
        except DecodeError as error:
            raise RpcError(Code.INVALID_ARGUMENT, f"invalid status request: {proto_error(request.request)}") from error
        channel = self.authorized(status.channel_id, status.identity, request.request, request.signature)
        if not status.transaction_id:
            raise RpcError(Code.INVALID_ARGUMENT, "transaction ID should not be empty")
        committed = await channel.ledger.arrivals.wait_for_transaction(status.transaction_id)
        return gateway_pb2.CommitStatusResponse(
            result=transaction_pb2.TxValidationCode.ValueType(committed.code), block_number=committed.block_number
        )

    # -- events ------------------------------------------------------------------------------------------------------

    async def chaincode_events(
        self, request: gateway_pb2.SignedChaincodeEventsRequest
    ) -> AsyncIterator[gateway_pb2.ChaincodeEventsResponse]:
        """Yield the events of one chaincode, a response per block that has any, for ever.

        Raises:
            RpcError: refused.

        """
        if not request.request:
            raise RpcError(Code.INVALID_ARGUMENT, "a chaincode events request is required")
        try:
            wanted = gateway_pb2.ChaincodeEventsRequest.FromString(request.request)
        except DecodeError as error:
            text = f"failed to unmarshal chaincode events request: {proto_error(request.request)}"
            raise RpcError(Code.INVALID_ARGUMENT, text) from error
        channel = self.authorized(wanted.channel_id, wanted.identity, request.request, request.signature)
        passed = not wanted.after_transaction_id
        async for block in channel.ledger.arrivals.blocks(_start(channel, wanted.start_position)):
            events = []
            for event in chaincode_events(block):
                if not passed:
                    passed = event.tx_id == wanted.after_transaction_id
                elif event.chaincode_id == wanted.chaincode_id:
                    events.append(event)
            if events:
                yield gateway_pb2.ChaincodeEventsResponse(block_number=block.header.number, events=events)

    def authorized(self, channel_id: str, identity: bytes, data: bytes, signature: bytes) -> Channel:
        """Check that somebody may read a channel, and return it.

        Raises:
            RpcError: it doesn't exist, or they may not.

        """
        if not identity:
            raise RpcError(Code.INVALID_ARGUMENT, "no identity provided")
        channel = self._channels.get(channel_id)
        if channel is None:
            raise RpcError(Code.PERMISSION_DENIED, f"Failed to get policy manager for channel [{channel_id}]")
        try:
            check_channel(channel.config, READERS, SignedData(data, identity, signature))
        except AccessDenied as error:
            raise RpcError(Code.PERMISSION_DENIED, str(error)) from error
        return channel


def _target(signed: proposal_pb2.SignedProposal) -> Target:
    try:
        return read_target(signed)
    except BadProposal as error:
        raise RpcError(Code.INVALID_ARGUMENT, f"failed to unpack transaction proposal: {error}") from error


def _matching(responses: list[ProposalResponse]) -> list[ProposalResponse]:
    if any(response.payload != responses[0].payload for response in responses):
        raise RpcError(Code.ABORTED, "failed to assemble transaction: ProposalResponsePayloads do not match")
    return responses


def _connection_refused(address: str) -> str:
    return (
        'rpc error: code = Unavailable desc = connection error: desc = "transport: Error while dialing: dial tcp '
        f'{address}: connect: connection refused"'
    )


def _no_config(channel_id: str) -> str:
    return f"failed to get config for channel [{channel_id}]: could not get last config for channel {channel_id}"


def _start(channel: Channel, position: ab_pb2.SeekPosition) -> int:
    """Number of the first block to look at."""
    kind = position.WhichOneof("Type")
    if kind in ("oldest", "newest"):
        raise RpcError(Code.INVALID_ARGUMENT, f"invalid start position type: *orderer.SeekPosition_{kind.capitalize()}")
    return position.specified.number if kind == "specified" else channel.height
