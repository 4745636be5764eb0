"""The Endorser service of a peer: simulate a proposal, and sign what came out of it.

The order of checks is Fabric's: see `proposals` for the first nine; then

10. the transaction id is not in the ledger yet;
11. the creator satisfies /Channel/Application/Writers (system chaincodes check access themselves);
12. the chaincode is defined, approved by this organisation and installed here;
13. as many other peers as its collections require can have the private data that it wrote.

Refusals before 12 end the call with an error (and, for a gateway in the same process, say whether the proposal itself
is to blame); what goes wrong from there on is a response of status 500. A response of the chaincode below 400 is
endorsed: the peer signs the proposal's hash, the response, the event and the read-write set.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from dataclasses import dataclass

import grpc
import grpc.aio
from fabric_protos.peer import (
    chaincode_event_pb2,
    chaincode_pb2,
    chaincode_shim_pb2,
    peer_pb2,
    proposal_pb2,
    proposal_response_pb2,
)
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.access import WRITERS, AccessDenied, check_channel
from goldengrain.network.embedded.blocks import BlockSigner
from goldengrain.network.embedded.chaincode_registry import ChaincodeRegistry
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.definitions import LIFECYCLE
from goldengrain.network.embedded.dissemination import Neighbours, check_dissemination
from goldengrain.network.embedded.errors import LedgerError, SimulationError
from goldengrain.network.embedded.executor import ChaincodeExecutor, Transaction
from goldengrain.network.embedded.failures import ChaincodeExecutionError, ProposalError, RpcError, abort
from goldengrain.network.embedded.interest import Interest, build_interest
from goldengrain.network.embedded.msp import MspManager
from goldengrain.network.embedded.proposals import (
    BadProposal,
    FilteredProposal,
    Proposal,
    check_expiry,
    unpack,
)
from goldengrain.network.embedded.simulator import SimulationResults
from goldengrain.network.embedded.system import SystemChaincodes

__all__ = ["Endorsed", "Endorser", "EndorserService", "RefusedProposal"]

Response = proposal_response_pb2.Response
ProposalResponse = proposal_response_pb2.ProposalResponse
Message = chaincode_shim_pb2.ChaincodeMessage
_ERROR, _ERROR_THRESHOLD = 500, 400
_NO_RESULTS = SimulationResults(public=b"", private=None, policies={}, plain=frozenset())


class RefusedProposal(Exception):
    """A proposal was refused before it was simulated.

    Attributes:
        filtered: by the filter before everything else; a gateway takes that for a failing peer and tries the next.

    """

    def __init__(self, message: str, *, filtered: bool = False) -> None:
        super().__init__(message)
        self.filtered = filtered


@dataclass(frozen=True)
class Endorsed:
    """What became of a proposal: the response, and whose endorsements the transaction needs (None if none was made)."""

    response: ProposalResponse
    interest: Interest | None = None


@dataclass(frozen=True)
class _Outcome:
    response: Response
    version: str
    event: bytes = b""


class Endorser:
    """Endorses for one peer."""

    def __init__(
        self,
        *,
        msp_id: str,
        signer: BlockSigner,
        msps: Callable[[], MspManager],
        channels: Mapping[str, Channel],
        registries: Mapping[str, ChaincodeRegistry],
        system: SystemChaincodes,
        executor: ChaincodeExecutor,
        clock: Callable[[], float],
        neighbours: Neighbours,
    ) -> None:
        """Make it.

        Args:
            msp_id: the peer's organisation.
            signer: the peer's signing identity.
            msps: gives the organisations as the peer knows them without a channel.
            channels: by name.
            registries: runnable chaincodes by channel name.
            system: the peer's system chaincodes.
            executor: runs user chaincodes.
            clock: seconds since 1970.
            neighbours: who could take private data.

        """
        self._msp_id = msp_id
        self._signer = signer
        self._msps = msps
        self._channels = channels
        self._registries = registries
        self._system = system
        self._executor = executor
        self._clock = clock
        self._neighbours = neighbours

    async def process(self, signed: proposal_pb2.SignedProposal) -> Endorsed:
        """Process a proposal.

        Raises:
            RefusedProposal: refused before it was simulated.

        """
        return await self.process_unpacked(self.unpack(signed))

    def unpack(self, signed: proposal_pb2.SignedProposal) -> Proposal:
        """Unpack a proposal that is in time.

        Raises:
            RefusedProposal: it is not, or it is malformed.

        """
        try:
            return unpack(signed, self._clock())
        except (BadProposal, FilteredProposal) as error:
            raise RefusedProposal(str(error), filtered=isinstance(error, FilteredProposal)) from error

    async def process_unpacked(self, proposal: Proposal) -> Endorsed:
        """Process a proposal that `unpack` gave.

        Raises:
            RefusedProposal: refused before it was simulated.

        """
        channel = self._channels.get(proposal.channel_id)
        if channel is None and proposal.channel_id:
            return _failed(f"channel '{proposal.channel_id}' not found")
        creator_msp_id = self._admit(proposal, channel)
        if channel is None:
            return await self._endorse(Transaction(proposal, creator_msp_id, None, None))
        simulator = channel.simulator(proposal.tx_id, self._msp_id)
        try:
            return await self._endorse(Transaction(proposal, creator_msp_id, channel, simulator))
        except LedgerError as error:
            return _failed(f"error in simulation: {error}")
        finally:
            simulator.done()

    def _admit(self, proposal: Proposal, channel: Channel | None) -> str:
        """Run checks 3 to 11; returns the creator's organisation."""
        msps = self._msps() if channel is None else channel.config.msps
        try:
            creator = proposal.validate(msps, self._msp_id)
            check_expiry(creator, self._clock())
        except BadProposal as error:
            raise RefusedProposal(f"error validating proposal: {error}") from error
        except FilteredProposal as error:
            raise RefusedProposal(str(error), filtered=True) from error
        if channel is None:
            return creator.msp_id
        if channel.ledger.chain.transaction_status(proposal.tx_id) is not None:
            raise RefusedProposal(f"duplicate transaction found [{proposal.tx_id}]. Creator [{proposal.creator.hex()}]")
        if not self._system.has(proposal.chaincode):
            try:
                check_channel(channel.config, WRITERS, proposal.signed_data)
            except AccessDenied as error:
                raise RefusedProposal(str(error)) from error
        return creator.msp_id

    async def _endorse(self, transaction: Transaction) -> Endorsed:
        proposal, simulator = transaction.proposal, transaction.simulator
        try:
            outcome = await self._simulate(transaction)
            results = _NO_RESULTS if simulator is None else simulator.results()
            if results.private is not None and transaction.channel is not None:
                check_dissemination(transaction.channel, proposal.tx_id, results.private, self._neighbours)
            interest = None
            if transaction.channel is not None:
                interest = build_interest(transaction.channel, results, proposal.chaincode)
        except (ProposalError, SimulationError) as error:
            prefix = "error in simulation: " if isinstance(error, SimulationError) else ""
            return _failed(f"{prefix}{error}")
        payload = _payload(proposal, outcome, results.public)
        response = outcome.response
        reported = None if interest is None else self._reported(proposal, interest)
        if response.status >= _ERROR:
            return Endorsed(ProposalResponse(response=response, payload=payload, interest=reported))
        if transaction.channel is None or response.status >= _ERROR_THRESHOLD:
            return Endorsed(ProposalResponse(response=response))
        if results.private is not None:
            await transaction.channel.stage_private(proposal.tx_id, results.private)
        endorsement = proposal_response_pb2.Endorsement(
            endorser=self._signer.identity, signature=self._signer.sign(payload + self._signer.identity)
        )
        return Endorsed(
            ProposalResponse(version=1, endorsement=endorsement, payload=payload, response=response, interest=reported),
            interest,
        )

    def _reported(self, proposal: Proposal, interest: Interest) -> proposal_response_pb2.ChaincodeInterest | None:
        """Give the interest as peers report it: `_lifecycle` names no chaincode, other system chaincodes have none."""
        if not self._system.has(proposal.chaincode):
            return interest.message
        return proposal_response_pb2.ChaincodeInterest() if proposal.chaincode == LIFECYCLE else None

    async def _simulate(self, transaction: Transaction) -> _Outcome:
        proposal = transaction.proposal
        name = proposal.chaincode
        if self._system.has(name):
            response = self._executor.call_system(transaction, name, list(proposal.input.args))
            return _Outcome(response, "syscc")
        where = f"on channel {proposal.channel_id}"
        hint = f"make sure the chaincode {name} has been successfully defined {where} and try again"
        if transaction.channel is None:
            raise ProposalError(f"{hint}: could not get channel config for channel '{proposal.channel_id}'")
        try:
            chaincode = self._registries[proposal.channel_id].find(name)
        except ProposalError as error:
            raise ProposalError(f"{hint}: {error}") from error
        try:
            message = await self._executor.run(transaction, chaincode, name, proposal.input)
        except ChaincodeExecutionError as error:
            text = f"error in simulation: failed to execute transaction {proposal.tx_id}: {error}"
            raise ProposalError(text) from error
        return _Outcome(_response(message), chaincode.definition.version, _event(message, name, proposal.tx_id))


class EndorserService:
    """`protos.Endorser` on the wire."""

    def __init__(self, endorser: Endorser) -> None:
        self._endorser = endorser

    async def process_proposal(
        self,
        request: proposal_pb2.SignedProposal,
        context: grpc.aio.ServicerContext[proposal_pb2.SignedProposal, ProposalResponse],
    ) -> ProposalResponse:
        """`ProcessProposal`."""
        try:
            return (await self._endorser.process(request)).response
        except RefusedProposal as error:
            await abort(context, RpcError(grpc.StatusCode.UNKNOWN, str(error)))

    def handler(self) -> grpc.GenericRpcHandler:
        """Make the handler for a server."""
        method = grpc.unary_unary_rpc_method_handler(
            self.process_proposal,
            request_deserializer=proposal_pb2.SignedProposal.FromString,
            response_serializer=ProposalResponse.SerializeToString,
        )
        return grpc.method_handlers_generic_handler(
            peer_pb2.DESCRIPTOR.services_by_name["Endorser"].full_name, {"ProcessProposal": method}
        )


def _failed(message: str) -> Endorsed:
    return Endorsed(ProposalResponse(response=Response(status=_ERROR, message=message)))


def _payload(proposal: Proposal, outcome: _Outcome, results: bytes) -> bytes:
    action = proposal_pb2.ChaincodeAction(
        results=results,
        events=outcome.event,
        response=outcome.response,
        chaincode_id=chaincode_pb2.ChaincodeID(name=proposal.chaincode, version=outcome.version),
    )
    return proposal_response_pb2.ProposalResponsePayload(
        proposal_hash=proposal.hash, extension=action.SerializeToString()
    ).SerializeToString()


def _response(message: Message) -> Response:
    if message.type == Message.ERROR:
        text = message.payload.decode(errors="replace")
        raise ProposalError(f"error in simulation: transaction returned with failure: {text}")
    try:
        return Response.FromString(message.payload)
    except DecodeError as error:
        raise ProposalError(f"error in simulation: failed to unmarshal response: {error}") from error


def _event(message: Message, chaincode: str, tx_id: str) -> bytes:
    if not message.HasField("chaincode_event"):
        return b""
    return chaincode_event_pb2.ChaincodeEvent(
        chaincode_id=chaincode,
        tx_id=tx_id,
        event_name=message.chaincode_event.event_name,
        payload=message.chaincode_event.payload,
    ).SerializeToString()
