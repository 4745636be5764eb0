"""A Fabric Gateway client: connect as somebody, pick a channel and a contract, submit and evaluate.

::

    profile = ConnectionProfile.load("connection.json")
    user = Wallet("wallet").get("alice")
    async with Gateway.connect(profile.gateway(), user.identity, user.signer) as gateway:
        contract = gateway.network("market").contract("golden-grain")
        result = await contract.submit("Transfer", "…")
        print(result.transaction_id, result.block, result.payload)

Everything goes to one peer (Fabric 2.4 or newer), which collects endorsements, sends to the orderer and reports
commits. The steps beneath ``submit`` are in ``transaction``, errors by stage in ``errors``.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType

import grpc.aio
from fabric_protos.gateway import gateway_pb2

from goldengrain.gateway.channel import open_channel
from goldengrain.gateway.clock import Clock, SystemClock
from goldengrain.gateway.connection import Endpoint
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.identity import Identity, Signer
from goldengrain.gateway.network import Network
from goldengrain.gateway.proposal import parse_proposal
from goldengrain.gateway.session import Session
from goldengrain.gateway.transaction import Proposal, Transaction

__all__ = ["Contract", "Gateway", "Network"]


class Gateway:
    """A connection to one gateway peer on behalf of one identity. Use it as ``async with``, or ``close`` it."""

    def __init__(self, session: Session, own_channel: bool) -> None:
        self._session = session
        self._own_channel = own_channel

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint | str,
        identity: Identity,
        signer: Signer | None = None,
        *,
        tls_root: bytes | str | Path | None = None,
        clock: Clock | None = None,
        deadlines: Deadlines | None = None,
        channel: grpc.aio.Channel | None = None,
    ) -> Gateway:
        """Prepare a connection; it is made on first use. Must be called where an event loop runs.

        ``endpoint`` is an ``Endpoint`` (see ``ConnectionProfile``) or ``host:port`` with ``tls_root`` (PEM, or a file).
        Without ``signer`` every step has to be signed by hand. ``channel`` shares an open gRPC channel,
        which then stays open.
        """
        if isinstance(endpoint, str):
            root = tls_root if isinstance(tls_root, bytes) or tls_root is None else Path(tls_root).read_bytes()
            endpoint = Endpoint.parse(endpoint, root)
        session = Session(
            channel or open_channel(endpoint),
            endpoint.address,
            identity,
            signer,
            clock or SystemClock(),
            deadlines or Deadlines(),
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
        saved = gateway_pb2.ProposedTransaction.FromString(raw)
        return Proposal(
            self._session,
            parse_proposal(saved.proposal.proposal_bytes),
            saved.endorsing_organizations,
            signature or saved.proposal.signature,
        )

    def transaction_from_bytes(self, channel: str, raw: bytes, signature: bytes = b"") -> Transaction:
        """Return an endorsed transaction saved with ``Transaction.to_bytes``, perhaps signed in the meantime."""
        saved = gateway_pb2.PreparedTransaction.FromString(raw)
        transaction = Transaction(self._session, channel, saved.transaction_id, saved.envelope)
        if signature:
            transaction.sign(signature)
        return transaction

    async def close(self) -> None:
        """Close the connection; running calls are cancelled."""
        if self._own_channel:
            await self._session.channel.close()

    async def __aenter__(self) -> Gateway:
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        await self.close()
