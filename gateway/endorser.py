"""Calls straight at one peer's endorser: installing packages, joining channels, asking system chaincodes.

These do not go through the Gateway service because they concern one peer: their proposals have no channel
(``_lifecycle`` install, ``cscc``) or ask what this very peer has (``qscc``). Example::

    async with Endorser.connect(endpoint, admin.identity, admin.signer) as peer:
        await peer.join_channel(genesis_block)
        print(await peer.channels())
"""

from __future__ import annotations

from collections.abc import Mapping
from types import TracebackType

import grpc.aio
from fabric_protos.common import common_pb2, ledger_pb2
from fabric_protos.peer import proposal_pb2, proposal_response_pb2, query_pb2, transaction_pb2

from goldengrain.gateway.channel import open_channel
from goldengrain.gateway.clock import Clock, SystemClock
from goldengrain.gateway.connection import Endpoint
from goldengrain.gateway.errors import PeerError, from_rpc
from goldengrain.gateway.identity import Identity, Signer
from goldengrain.gateway.proposal import Argument, build_proposal

_OK = range(200, 400)


class Endorser:
    """One peer's ``ProcessProposal``, on behalf of one identity."""

    def __init__(
        self,
        channel: grpc.aio.Channel,
        target: str,
        identity: Identity,
        signer: Signer,
        clock: Clock,
        timeout: float,
        own_channel: bool,
    ) -> None:
        self._channel = channel
        self._target = target
        self._identity = identity
        self._signer = signer
        self._clock = clock
        self._timeout = timeout
        self._own_channel = own_channel
        self._process = channel.unary_unary(
            "/protos.Endorser/ProcessProposal",
            request_serializer=proposal_pb2.SignedProposal.SerializeToString,
            response_deserializer=proposal_response_pb2.ProposalResponse.FromString,
        )

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        identity: Identity,
        signer: Signer,
        *,
        clock: Clock | None = None,
        timeout: float = 60.0,
        channel: grpc.aio.Channel | None = None,
    ) -> Endorser:
        """Prepare a connection to a peer; ``timeout`` (seconds) is each call's deadline."""
        return cls(
            channel or open_channel(endpoint),
            endpoint.address,
            identity,
            signer,
            clock or SystemClock(),
            timeout,
            channel is None,
        )

    async def process(
        self,
        chaincode: str,
        *arguments: Argument,
        channel: str = "",
        transient: Mapping[str, bytes] | None = None,
        deadline: float | None = None,
    ) -> proposal_response_pb2.ProposalResponse:
        """Send one proposal and return the peer's whole answer, whatever its status.

        Raises PeerError where the peer gave none (``grpc_code`` says why).
        """
        proposal = build_proposal(
            channel=channel,
            chaincode=chaincode,
            arguments=arguments,
            creator=self._identity.serialized,
            now_ns=self._clock.now_ns(),
            transient=transient,
        )
        signed = proposal_pb2.SignedProposal(proposal_bytes=proposal.raw, signature=self._signer.sign(proposal.digest))
        try:
            return await self._process(signed, timeout=deadline or self._timeout)
        except grpc.aio.AioRpcError as error:
            raise from_rpc(
                PeerError, error, proposal.transaction_id, f"proposal to {chaincode} at the peer {self._target}"
            ) from error

    async def call(
        self,
        chaincode: str,
        *arguments: Argument,
        channel: str = "",
        transient: Mapping[str, bytes] | None = None,
        deadline: float | None = None,
    ) -> bytes:
        """Return the payload of the peer's answer. Raises PeerError unless its status is 2xx or 3xx."""
        answer = await self.process(chaincode, *arguments, channel=channel, transient=transient, deadline=deadline)
        if answer.response.status not in _OK:
            raise PeerError(
                f"{chaincode}: status {answer.response.status}, {answer.response.message}",
                status=answer.response.status,
            )
        return answer.response.payload

    async def join_channel(self, genesis: common_pb2.Block) -> None:
        """Have the peer join the channel of a genesis block (needs an administrator). Raises PeerError."""
        await self.call("cscc", "JoinChain", genesis.SerializeToString())

    async def channels(self) -> list[str]:
        """Return the channels that the peer has joined. Raises PeerError."""
        answer = query_pb2.ChannelQueryResponse.FromString(await self.call("cscc", "GetChannels"))
        return [one.channel_id for one in answer.channels]

    async def chain_info(self, channel: str) -> ledger_pb2.BlockchainInfo:
        """Height and newest hashes of a channel at this peer. Raises PeerError."""
        return ledger_pb2.BlockchainInfo.FromString(await self.call("qscc", "GetChainInfo", channel, channel=channel))

    async def block_by_number(self, channel: str, number: int) -> common_pb2.Block:
        """Return a block as this peer keeps it. Raises PeerError."""
        raw = await self.call("qscc", "GetBlockByNumber", channel, str(number), channel=channel)
        return common_pb2.Block.FromString(raw)

    async def block_by_transaction(self, channel: str, transaction_id: str) -> common_pb2.Block:
        """Return the block that holds a transaction. Raises PeerError."""
        raw = await self.call("qscc", "GetBlockByTxID", channel, transaction_id, channel=channel)
        return common_pb2.Block.FromString(raw)

    async def transaction(self, channel: str, transaction_id: str) -> transaction_pb2.ProcessedTransaction:
        """Return a transaction's envelope and validation code. Raises PeerError."""
        raw = await self.call("qscc", "GetTransactionByID", channel, transaction_id, channel=channel)
        return transaction_pb2.ProcessedTransaction.FromString(raw)

    async def close(self) -> None:
        """Close the connection."""
        if self._own_channel:
            await self._channel.close()

    async def __aenter__(self) -> Endorser:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
