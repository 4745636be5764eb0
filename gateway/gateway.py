"""A Fabric Gateway client: connect as somebody, pick a channel and a contract, submit and evaluate.

::

    profile = ConnectionProfile.load("connection.json")
    user = Wallet("wallet").get("alice")
    async with Gateway.connect(profile.gateway(), user.identity, user.signer) as gateway:
        contract = gateway.network("market").contract("golden-grain")
        result = await contract.submit("Transfer", "…")
        print(result.transaction_id, result.block, result.payload)

Everything goes to one peer (Fabric 2.4 or newer), which collects endorsements, sends to the orderer and reports
commits; of several peers the next takes over where one doesn't answer. The steps beneath ``submit`` are in
``transaction``, errors by stage in ``errors``.
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

import grpc.aio
from fabric_protos.common import common_pb2
from fabric_protos.gateway import gateway_pb2
from fabric_protos.peer import events_pb2

from goldengrain.gateway.backoff import Reconnect
from goldengrain.gateway.channel import KEEPALIVE_S, open_caller, open_channel
from goldengrain.gateway.clock import Clock, SystemClock
from goldengrain.gateway.connection import Endpoint
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.deliver import (
    FILTERED,
    PRIVATE,
    WHOLE,
    BlockAndPrivateData,
    BlocksRequest,
    blocks_request_from_bytes,
)
from goldengrain.gateway.errors import ConnectionProfileError
from goldengrain.gateway.events import ChaincodeEventsRequest, events_request_from_bytes
from goldengrain.gateway.identity import Identity, Signer
from goldengrain.gateway.network import Network
from goldengrain.gateway.peers import Peer, Peers
from goldengrain.gateway.proposal import parse_proposal
from goldengrain.gateway.saved import read_saved
from goldengrain.gateway.session import Session
from goldengrain.gateway.transaction import Commit, Proposal, Transaction

__all__ = ["Contract", "Gateway", "Network"]


class Gateway:
    """A connection to gateway peers on behalf of one identity. Use it as ``async with``, or ``close`` it."""

    def __init__(self, session: Session, own_channel: bool) -> None:
        self._session = session
        self._own_channel = own_channel

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint | str | Sequence[Endpoint],
        identity: Identity,
        signer: Signer | None = None,
        *,
        tls_root: bytes | str | Path | None = None,
        clock: Clock | None = None,
        deadlines: Deadlines | None = None,
        reconnect: Reconnect | None = None,
        shared_commit_stream: bool = False,
        keepalive_s: float = KEEPALIVE_S,
        channel: grpc.aio.Channel | None = None,
    ) -> Gateway:
        """Prepare a connection; it is made on first use. Must be called where an event loop runs.

        ``endpoint`` is an ``Endpoint`` (see ``ConnectionProfile``), several of which each takes over where the one
        before it doesn't answer, or ``host:port`` with ``tls_root`` (PEM, or a file). Without ``signer`` every step
        has to be signed by hand. ``channel`` shares an open gRPC channel, which then stays open.

        ``shared_commit_stream``: learn the outcome of all transactions from one stream of blocks instead of one call
        each; saves much where many are under way. ``reconnect`` is for streams of events and blocks that break,
        ``keepalive_s`` the seconds after which a silent connection is tried (Fabric's peers take 60 or more).
        """
        endpoints = _endpoints(endpoint, tls_root)
        if channel is not None:
            (only,) = endpoints
            peers = [Peer(channel, only.address)]
        else:
            peers = [_peer(one, keepalive_s) for one in endpoints]
        session = Session(
            Peers(peers),
            identity,
            signer,
            clock or SystemClock(),
            deadlines or Deadlines(),
            reconnect or Reconnect(),
            shared_commit_stream,
        )
        return cls(session, channel is None)

    @property
    def identity(self) -> Identity:
        """On whose behalf this gateway acts."""
        return self._session.identity

    @property
    def clock(self) -> Clock:
        """The clock whose time its transactions bear."""
        return self._session.clock

    def network(self, channel: str) -> Network:
        """Return a channel of the network."""
        return Network(self._session, channel)

    def proposal_from_bytes(self, raw: bytes, signature: bytes = b"") -> Proposal:
        """Return a proposal saved with ``Proposal.to_bytes``, perhaps with a signature made in the meantime."""
        saved = read_saved(gateway_pb2.ProposedTransaction, raw)
        return Proposal(
            self._session,
            parse_proposal(saved.proposal.proposal_bytes),
            saved.endorsing_organizations,
            signature or saved.proposal.signature,
        )

    def transaction_from_bytes(self, channel: str, raw: bytes, signature: bytes = b"") -> Transaction:
        """Return an endorsed transaction saved with ``Transaction.to_bytes``, perhaps signed in the meantime."""
        saved = read_saved(gateway_pb2.PreparedTransaction, raw)
        transaction = Transaction(self._session, channel, saved.transaction_id, saved.envelope)
        if signature:
            transaction.sign(signature)
        return transaction

    def commit_from_bytes(self, raw: bytes, signature: bytes = b"") -> Commit:
        """Return a commit saved with ``Commit.to_bytes``, perhaps signed in the meantime."""
        saved = read_saved(gateway_pb2.SignedCommitStatusRequest, raw)
        asked = read_saved(gateway_pb2.CommitStatusRequest, saved.request)
        commit = Commit(self._session, asked.channel_id, asked.transaction_id)
        commit.sign(signature or saved.signature)
        return commit

    def chaincode_events_request_from_bytes(self, raw: bytes, signature: bytes = b"") -> ChaincodeEventsRequest:
        """Return a request saved with its ``to_bytes``, perhaps signed in the meantime."""
        return events_request_from_bytes(self._session, raw, signature)

    def block_events_request_from_bytes(self, raw: bytes, signature: bytes = b"") -> BlocksRequest[common_pb2.Block]:
        """Return a request saved with its ``to_bytes``, perhaps signed in the meantime."""
        return blocks_request_from_bytes(self._session, WHOLE, raw, signature)

    def filtered_block_events_request_from_bytes(
        self, raw: bytes, signature: bytes = b""
    ) -> BlocksRequest[events_pb2.FilteredBlock]:
        """Return a request saved with its ``to_bytes``, perhaps signed in the meantime."""
        return blocks_request_from_bytes(self._session, FILTERED, raw, signature)

    def private_block_events_request_from_bytes(
        self, raw: bytes, signature: bytes = b""
    ) -> BlocksRequest[BlockAndPrivateData]:
        """Return a request saved with its ``to_bytes``, perhaps signed in the meantime."""
        return blocks_request_from_bytes(self._session, PRIVATE, raw, signature)

    async def close(self) -> None:
        """Close the connections; calls and streams under way fail as if no peer had answered."""
        self._session.closed = True
        for watcher in self._session.watchers.values():
            await watcher.close()
        if self._own_channel:
            await self._session.peers.close()

    async def __aenter__(self) -> Gateway:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()


def _peer(endpoint: Endpoint, keepalive_s: float) -> Peer:
    return Peer(open_channel(endpoint, keepalive_s), endpoint.address, open_caller(endpoint, keepalive_s))


def _endpoints(
    endpoint: Endpoint | str | Sequence[Endpoint], tls_root: bytes | str | Path | None
) -> Sequence[Endpoint]:
    if isinstance(endpoint, Endpoint):
        return [endpoint]
    if isinstance(endpoint, str):
        root = tls_root if isinstance(tls_root, bytes) or tls_root is None else Path(tls_root).read_bytes()
        return [Endpoint.parse(endpoint, root)]
    if not endpoint:
        raise ConnectionProfileError("no gateway peer is given to connect to")
    return endpoint
