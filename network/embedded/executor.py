"""Running chaincodes on a peer: user chaincodes over their streams, system chaincodes here, and calls between them."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass

from fabric_protos.peer import chaincode_pb2, chaincode_shim_pb2, proposal_response_pb2

from goldengrain.network.embedded.access import WRITERS, AccessDenied, check_channel
from goldengrain.network.embedded.chaincode_launcher import ChaincodeLaunchers
from goldengrain.network.embedded.chaincode_registry import ChaincodeRegistry, RunnableChaincode
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.definitions import LIFECYCLE, Collection
from goldengrain.network.embedded.failures import ChaincodeExecutionError, ProposalError, StateRequestError
from goldengrain.network.embedded.lifecycle_state import NAMESPACES, field_key, read_definition
from goldengrain.network.embedded.proposals import Proposal
from goldengrain.network.embedded.simulator import TxSimulator
from goldengrain.network.embedded.state_requests import ChaincodeTransaction
from goldengrain.network.embedded.system import SystemCall, SystemChaincodes

__all__ = ["EXECUTE_TIMEOUT_S", "ChaincodeExecutor", "Transaction"]

Message = chaincode_shim_pb2.ChaincodeMessage
EXECUTE_TIMEOUT_S = 30.0
"""How long a chaincode may take for one transaction (Fabric's `executetimeout`)."""

INITIALIZED_KEY = "\x00\U0010ffffinitialized"
"""Key under which the version that was initialised is kept, in the chaincode's namespace."""


@dataclass(frozen=True)
class Transaction:
    """What is simulated: a proposal on a channel (None for a proposal to the peer alone)."""

    proposal: Proposal
    creator_msp_id: str
    channel: Channel | None
    simulator: TxSimulator | None

    @property
    def tx_id(self) -> str:
        """The transaction id."""
        return self.proposal.tx_id


class ChaincodeExecutor:
    """Runs the chaincodes of one peer."""

    def __init__(
        self,
        system: SystemChaincodes,
        channels: Mapping[str, Channel],
        registries: Mapping[str, ChaincodeRegistry],
        launchers: ChaincodeLaunchers,
        msp_id: str,
        execute_timeout_s: float = EXECUTE_TIMEOUT_S,
    ) -> None:
        """Make it; `channels` and `registries` are by channel name."""
        self._system = system
        self._channels = channels
        self._registries = registries
        self._launchers = launchers
        self._msp_id = msp_id
        self._timeout_s = execute_timeout_s

    def call_system(self, transaction: Transaction, name: str, args: list[bytes]) -> proposal_response_pb2.Response:
        """Run a system chaincode for a client."""
        return self._call_system(transaction, name, args, None)

    async def run(
        self, transaction: Transaction, chaincode: RunnableChaincode, name: str, call: chaincode_pb2.ChaincodeInput
    ) -> Message:
        """Run a user chaincode and return its COMPLETED or ERROR message.

        Raises:
            ChaincodeExecutionError: it can't be run to its end.
            SimulationError: the state can't be read.

        """
        channel, simulator = transaction.channel, transaction.simulator
        if channel is None or simulator is None:
            raise ChaincodeExecutionError(f"chaincode {name} needs a channel")
        simulator.get_state(LIFECYCLE, field_key(NAMESPACES, name, "Sequence"))
        is_init = self._initialize(simulator, name, chaincode, call.is_init)

        async def invoke(
            caller: ChaincodeTransaction, channel_id: str, callee: str, args: chaincode_pb2.ChaincodeInput
        ) -> bytes:
            return await self._invoke(transaction, caller.chaincode, channel_id, callee, args)

        state = ChaincodeTransaction(
            channel_id=channel.channel_id,
            tx_id=transaction.tx_id,
            chaincode=name,
            creator_msp_id=transaction.creator_msp_id,
            simulator=simulator,
            collection=lambda collection: _collection(channel, simulator, name, collection),
            invoke=invoke,
            is_init=is_init,
        )
        message = Message(
            type=Message.INIT if is_init else Message.TRANSACTION,
            payload=call.SerializeToString(),
            txid=transaction.tx_id,
            channel_id=channel.channel_id,
            proposal=transaction.proposal.signed,
        )
        stream = await self._launchers.get(chaincode.package).stream()
        try:
            return await stream.execute(state, message, self._timeout_s)
        finally:
            state.close()

    def _initialize(self, simulator: TxSimulator, name: str, chaincode: RunnableChaincode, is_init: bool) -> bool:
        """Check `is_init` against the definition and the state; True to run the chaincode as INIT."""
        if not chaincode.definition.init_required:
            if is_init:
                raise ChaincodeExecutionError(
                    f"invalid invocation: chaincode '{name}' does not require initialization but called as init"
                )
            return False
        version = chaincode.definition.version.encode()
        initialized = simulator.get_state(name, INITIALIZED_KEY) == version
        if initialized and is_init:
            raise ChaincodeExecutionError(
                f"invalid invocation: chaincode '{name}' is already initialized but called as init"
            )
        if not initialized and not is_init:
            raise ChaincodeExecutionError(
                f"invalid invocation: chaincode '{name}' has not been initialized for this version, must call as init "
                "first"
            )
        if is_init:
            simulator.put_state(name, INITIALIZED_KEY, version)
        return is_init

    def _call_system(
        self, transaction: Transaction, name: str, args: list[bytes], caller: str | None
    ) -> proposal_response_pb2.Response:
        call = SystemCall(
            channel=transaction.channel,
            args=args,
            signed=transaction.proposal.signed_data,
            simulator=transaction.simulator,
            caller=caller,
        )
        return self._system.invoke(name, call)

    async def _invoke(
        self, transaction: Transaction, caller: str, channel_id: str, name: str, call: chaincode_pb2.ChaincodeInput
    ) -> bytes:
        """Call a chaincode from another one; returns the callee's serialised message."""
        if transaction.channel is None:
            raise ChaincodeExecutionError(f"chaincode {name} needs a channel")
        if channel_id and channel_id != transaction.channel.channel_id:
            return await self._invoke_elsewhere(transaction, caller, channel_id, name, call)
        if self._system.has(name):
            response = self._call_system(transaction, name, list(call.args), caller)
            return Message(
                type=Message.COMPLETED,
                payload=response.SerializeToString(),
                txid=transaction.tx_id,
                channel_id=transaction.channel.channel_id,
            ).SerializeToString()
        own = transaction.channel.channel_id
        try:
            chaincode = self._registries[own].find(name)
        except ProposalError as error:
            raise ChaincodeExecutionError(
                f"invalid invocation: [channel {own}] failed to get chaincode container info for {name}: {error}"
            ) from error
        return (await self.run(transaction, chaincode, name, call)).SerializeToString()

    async def _invoke_elsewhere(
        self, transaction: Transaction, caller: str, channel_id: str, name: str, call: chaincode_pb2.ChaincodeInput
    ) -> bytes:
        """Call a chaincode on another channel: what it writes is thrown away."""
        channel = self._channels.get(channel_id)
        if channel is None:
            raise StateRequestError(f"Failed to get policy manager for channel [{channel_id}]")
        try:
            check_channel(channel.config, WRITERS, transaction.proposal.signed_data)
        except AccessDenied as error:
            raise StateRequestError(str(error)) from error
        simulator = channel.simulator(transaction.tx_id, self._msp_id)
        try:
            other = Transaction(transaction.proposal, transaction.creator_msp_id, channel, simulator)
            return await self._invoke(other, caller, "", name, call)
        finally:
            simulator.done()


def _collection(channel: Channel, simulator: TxSimulator, chaincode: str, name: str) -> Collection | None:
    """Find a collection; the definition's keys count as read, so that a change of it is a conflict."""

    class _Reads:
        def get(self, key: str) -> bytes | None:
            return simulator.get_state(LIFECYCLE, key)

    read_definition(_Reads(), chaincode)
    return channel.definitions.collection(channel.config, chaincode, name)
