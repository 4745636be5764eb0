"""The peer's system chaincodes: `_lifecycle`, `cscc` (channels) and `qscc` (the ledger), called through proposals."""

from __future__ import annotations

import re
from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass

from fabric_protos.common import common_pb2, ledger_pb2
from fabric_protos.peer import proposal_response_pb2, query_pb2, transaction_pb2
from google.protobuf.message import DecodeError

from goldengrain.network.embedded.access import (
    ADMINS,
    MEMBERS,
    READERS,
    WRITERS,
    AccessDenied,
    check_channel,
    check_local,
)
from goldengrain.network.embedded.blocks import header_hash
from goldengrain.network.embedded.chaincode_registry import PrivateReader
from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.errors import BlockNotFoundError, ConfigError, LedgerError
from goldengrain.network.embedded.failures import LifecycleError, proto_error
from goldengrain.network.embedded.lifecycle import ADMIN_FUNCTIONS, CHANNEL_FUNCTIONS, Lifecycle
from goldengrain.network.embedded.lifecycle_state import LIFECYCLE, NAMESPACES, implicit_collection
from goldengrain.network.embedded.msp import MspManager
from goldengrain.network.embedded.policies import SignedData
from goldengrain.network.embedded.simulator import TxSimulator

__all__ = ["SystemCall", "SystemChaincodes"]

Response = proposal_response_pb2.Response
_NUMBER = re.compile(r"[0-9]+")


@dataclass(frozen=True)
class SystemCall:
    """One call of a system chaincode.

    Attributes:
        channel: of the proposal; None for a proposal without one.
        args: function and arguments.
        signed: the proposal, its creator and signature.
        simulator: of the transaction; None without a channel.
        caller: the chaincode that calls; None for a client.

    """

    channel: Channel | None
    args: Sequence[bytes]
    signed: SignedData
    simulator: TxSimulator | None
    caller: str | None = None


class SystemChaincodes:
    """The system chaincodes of one peer."""

    def __init__(
        self,
        msp_id: str,
        msps: Callable[[], MspManager],
        channels: Mapping[str, Channel],
        lifecycle: Lifecycle,
        join: Callable[[common_pb2.Block], None],
    ) -> None:
        """Make them.

        Args:
            msp_id: the peer's organisation.
            msps: gives the peer's current view of organisations.
            channels: what the peer has joined, by name.
            lifecycle: `_lifecycle`.
            join: has the peer join the channel of a genesis block; raises ConfigError, LedgerError.

        """
        self._msp_id = msp_id
        self._msps = msps
        self._channels = channels
        self._lifecycle = lifecycle
        self._join_channel = join
        self._chaincodes = {LIFECYCLE: self._call_lifecycle, "cscc": self._cscc, "qscc": self._qscc}

    def has(self, name: str) -> bool:
        """Whether `name` is one of them."""
        return name in self._chaincodes

    def invoke(self, name: str, call: SystemCall) -> Response:
        """Run one of them."""
        try:
            return self._chaincodes[name](call)
        except BlockNotFoundError as error:
            return _error(str(error))

    # -- _lifecycle --------------------------------------------------------------------------------------------------

    def _call_lifecycle(self, call: SystemCall) -> Response:
        if not call.args:
            return _error("lifecycle scc must be invoked with arguments")
        if len(call.args) != 2:
            return _error(f"lifecycle scc operations require exactly two arguments but received {len(call.args)}")
        function = call.args[0].decode(errors="replace")
        try:
            self._check_lifecycle_access(function, call)
        except AccessDenied as error:
            return _error(f"Failed to authorize invocation due to failed ACL check: {error}")
        state = None
        if call.channel is not None and call.simulator is not None:
            state = _SimulatedLifecycleState(call.channel, call.simulator, self._msp_id)
        try:
            return _success(self._lifecycle.invoke(function, call.args[1], state))
        except LifecycleError as error:
            return Response(status=error.status, message=str(error))

    def _check_lifecycle_access(self, function: str, call: SystemCall) -> None:
        if function in ADMIN_FUNCTIONS:
            check_local(self._msps(), self._msp_id, ADMINS, call.signed.identity)
        elif function not in CHANNEL_FUNCTIONS:
            raise AccessDenied(f"Unmapped policy for {LIFECYCLE}/{function}")
        elif call.channel is None:
            raise AccessDenied("Invalid channel ID: it must not be empty")
        else:
            check_channel(call.channel.config, WRITERS, call.signed)

    # -- cscc --------------------------------------------------------------------------------------------------------

    def _cscc(self, call: SystemCall) -> Response:
        if call.caller is not None:
            return _error(f"Rejecting invoke of CSCC from another chaincode, original invocation for '{call.caller}'")
        if not call.args:
            return _error("Incorrect number of arguments, 0")
        function = call.args[0].decode(errors="replace")
        if function != "GetChannels" and len(call.args) < 2:
            return _error(f"Incorrect number of arguments, {len(call.args)}")
        argument = call.args[1] if len(call.args) > 1 else b""
        try:
            if function == "GetChannels":
                return self._get_channels(call)
            if function == "JoinChain":
                return self._join(argument, call)
            if function in ("GetConfigBlock", "GetChannelConfig"):
                return self._get_config(function, argument.decode(errors="replace"), call)
        except AccessDenied as error:
            return _error(f"access denied for [{function}][{argument.decode(errors='replace')}]: [{error}]")
        return _error(f"Requested function {function} not found.")

    def _get_channels(self, call: SystemCall) -> Response:
        check_local(self._msps(), self._msp_id, MEMBERS, call.signed.identity)
        names = [query_pb2.ChannelInfo(channel_id=name) for name in sorted(self._channels)]
        return _success(query_pb2.ChannelQueryResponse(channels=names).SerializeToString())

    def _join(self, argument: bytes, call: SystemCall) -> Response:
        try:
            block = common_pb2.Block.FromString(argument)
            payload = common_pb2.Payload.FromString(common_pb2.Envelope.FromString(block.data.data[0]).payload)
            name = common_pb2.ChannelHeader.FromString(payload.header.channel_header).channel_id
        except (DecodeError, IndexError):
            return _error(
                f"Failed to reconstruct the genesis block, error unmarshalling Block: {proto_error(argument)}"
            )
        try:
            check_local(self._msps(), self._msp_id, ADMINS, call.signed.identity)
        except AccessDenied as error:
            return _error(f"access denied for [JoinChain][{name}]: [{error}]")
        if name in self._channels:
            return _error(
                f"cannot create ledger from genesis block: ledger [{name}] already exists with state [ACTIVE]"
            )
        try:
            self._join_channel(block)
        except ConfigError as error:
            text = "failed because of validation of configuration block, because of"
            return _error(f'"JoinChain" for channelID = {name} {text} {error}')
        except LedgerError as error:
            return _error(f"cannot create ledger from genesis block: {error}")
        return _success(b"")

    def _get_config(self, function: str, name: str, call: SystemCall) -> Response:
        channel = self._channels.get(name)
        if channel is None:
            return _error(f"Unknown chain ID, {name}")
        check_channel(channel.config, READERS, call.signed)
        if function == "GetChannelConfig":
            return _success(channel.config.config.SerializeToString())
        return _success(channel.ledger.chain.block_bytes(channel.config.block_number))

    # -- qscc --------------------------------------------------------------------------------------------------------

    def _qscc(self, call: SystemCall) -> Response:
        if call.caller is not None:
            return _error(
                "Rejecting invoke of QSCC from another chaincode because of potential for deadlocks, original "
                f"invocation for '{call.caller}'"
            )
        if len(call.args) < 2:
            return _error(f"Incorrect number of arguments, {len(call.args)}")
        function, name = call.args[0].decode(errors="replace"), call.args[1].decode(errors="replace")
        if function != "GetChainInfo" and len(call.args) < 3:
            return _error(f"missing 3rd argument for {function}")
        channel = self._channels.get(name)
        if channel is None:
            return _error(f"Invalid chain ID, {name}")
        query = _QUERIES.get(function)
        if query is None:
            return _error(f"Requested function {function} not found.")
        try:
            check_channel(channel.config, READERS, call.signed)
        except AccessDenied as error:
            return _error(f"access denied for [{function}][{name}]: [{error}]")
        return query(channel, call.args[2] if len(call.args) > 2 else b"")


class _SimulatedLifecycleState:
    """`LifecycleState` on a simulator."""

    def __init__(self, channel: Channel, simulator: TxSimulator, msp_id: str) -> None:
        self.channel_id = channel.channel_id
        self.organizations: Sequence[str] = channel.config.application_msp_ids
        self._channel = channel
        self._simulator = simulator
        self._msp_id = msp_id

    def public(self) -> _PublicState:
        """Public state."""
        return _PublicState(self._simulator)

    def private(self, msp_id: str) -> _PrivateState:
        """Own private state."""
        return _PrivateState(self._simulator, msp_id)

    def hashes(self, msp_id: str) -> _HashedState:
        """Hashes of private state."""
        return _HashedState(self._simulator, implicit_collection(msp_id))

    def approvals(self, msp_id: str) -> dict[str, bytes]:
        """Approvals; read beside the transaction, since ranges of private keys are in no read set."""
        prefix = f"{NAMESPACES}/metadata/"
        simulator = self._channel.simulator("", self._msp_id)
        try:
            records = simulator.private_range(LIFECYCLE, implicit_collection(msp_id), prefix, prefix + "\U0010ffff")
            found = {}
            while (record := records.next()) is not None:
                found[record.key.removeprefix(prefix)] = record.value
            records.close()
            return found
        finally:
            simulator.done()

    def public_names(self) -> list[str]:
        """Names of committed definitions; the range that they are in is read by the transaction."""
        prefix = f"{NAMESPACES}/metadata/"
        records = self._simulator.range(LIFECYCLE, prefix, prefix + "\x7f")
        names = []
        while (record := records.next()) is not None:
            names.append(record.key.removeprefix(prefix))
        records.close()
        return names

    def legacy(self, name: str) -> None:
        """Record that `lscc` has nothing of that name."""
        self._simulator.get_state("lscc", name)


class _PublicState:
    def __init__(self, simulator: TxSimulator) -> None:
        self._simulator = simulator

    def get(self, key: str) -> bytes | None:
        return self._simulator.get_state(LIFECYCLE, key)

    def put(self, key: str, value: bytes) -> None:
        self._simulator.put_state(LIFECYCLE, key, value)

    def delete(self, key: str) -> None:
        self._simulator.delete_state(LIFECYCLE, key)


class _PrivateState(PrivateReader):
    def put(self, key: str, value: bytes) -> None:
        self._simulator.put_private(LIFECYCLE, self._collection, key, value)

    def delete(self, key: str) -> None:
        self._simulator.delete_private(LIFECYCLE, self._collection, key)


class _HashedState:
    def __init__(self, simulator: TxSimulator, collection: str) -> None:
        self._simulator = simulator
        self._collection = collection

    def get_hash(self, key: str) -> bytes | None:
        return self._simulator.get_private_hash(LIFECYCLE, self._collection, key)


def _success(payload: bytes) -> Response:
    return Response(status=200, payload=payload)


def _error(message: str) -> Response:
    return Response(status=500, message=message)


def _chain_info(channel: Channel, _: bytes) -> Response:
    newest = channel.ledger.chain.block(channel.height - 1).header
    info = ledger_pb2.BlockchainInfo(
        height=channel.height, currentBlockHash=header_hash(newest), previousBlockHash=newest.previous_hash
    )
    return _success(info.SerializeToString())


def _block_by_number(channel: Channel, argument: bytes) -> Response:
    text = argument.decode(errors="replace")
    if not _NUMBER.fullmatch(text):
        return _error(f'Failed to parse block number with error strconv.ParseUint: parsing "{text}": invalid syntax')
    number = int(text)
    if number == 2**64 - 1:
        number = channel.height - 1
    if number >= channel.height:
        return _error(f"Failed to get block number {number}, error no such block number [{number}] in index")
    return _success(channel.ledger.chain.block_bytes(number))


def _block_by_hash(channel: Channel, argument: bytes) -> Response:
    try:
        return _success(channel.ledger.chain.block_by_hash(argument).SerializeToString())
    except BlockNotFoundError:
        text = argument.hex()
        return _error(f"Failed to get block hash {text}, error no such block hash [{text}] in index")


def _transaction_by_id(channel: Channel, argument: bytes) -> Response:
    tx_id = argument.decode(errors="replace")
    status = channel.ledger.chain.transaction_status(tx_id)
    if status is None:
        return _error(f"Failed to get transaction with id {tx_id}, error no such transaction ID [{tx_id}] in index")
    transaction = transaction_pb2.ProcessedTransaction(
        transactionEnvelope=channel.ledger.chain.envelope(tx_id), validationCode=status.code
    )
    return _success(transaction.SerializeToString())


def _block_by_tx_id(channel: Channel, argument: bytes) -> Response:
    tx_id = argument.decode(errors="replace")
    status = channel.ledger.chain.transaction_status(tx_id)
    if status is None:
        return _error(f"Failed to get block for txID {tx_id}, error no such transaction ID [{tx_id}] in index")
    return _success(channel.ledger.chain.block_bytes(status.block_number))


_QUERIES: dict[str, Callable[[Channel, bytes], Response]] = {
    "GetChainInfo": _chain_info,
    "GetBlockByNumber": _block_by_number,
    "GetBlockByHash": _block_by_hash,
    "GetTransactionByID": _transaction_by_id,
    "GetBlockByTxID": _block_by_tx_id,
}
