"""The same gateway client for programs without asyncio.

Every class has the methods of its asynchronous counterpart, which wait for their results; see there for what they do
and raise. Example::

    from goldengrain.gateway.sync import Gateway

    with Gateway.connect(profile.gateway(), user.identity, user.signer) as gateway:
        contract = gateway.network("market").contract("golden-grain")
        print(contract.submit("Transfer", "…").transaction_id)
        with gateway.network("market").chaincode_events("golden-grain", start_block=0) as events:
            for event in events: …
"""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path
from types import TracebackType
from typing import Generic, TypeVar

from fabric_protos.common import common_pb2
from fabric_protos.peer import events_pb2, proposal_pb2

from goldengrain.gateway import contract as aio_contract
from goldengrain.gateway import endorser as aio_endorser
from goldengrain.gateway import gateway as aio_gateway
from goldengrain.gateway import network as aio_network
from goldengrain.gateway import streams as aio_streams
from goldengrain.gateway import transaction as aio_transaction
from goldengrain.gateway.backoff import Reconnect
from goldengrain.gateway.blocking import LOOP, Attribute, Blocking, blocking, direct
from goldengrain.gateway.channel import KEEPALIVE_S
from goldengrain.gateway.clock import Clock
from goldengrain.gateway.connection import Endpoint
from goldengrain.gateway.deadlines import Deadlines
from goldengrain.gateway.deliver import BlockAndPrivateData, BlocksRequest
from goldengrain.gateway.events import ChaincodeEvent, ChaincodeEventsRequest
from goldengrain.gateway.identity import Identity, Signer
from goldengrain.gateway.transaction import Endorsement

T = TypeVar("T")


class Stream(Blocking[aio_streams.EventStream[T]], Generic[T]):
    """An iterator over what a peer sends; leaving ``with``, or ``close``, ends it."""

    open = blocking(aio_streams.EventStream.open)
    close = direct(aio_streams.EventStream.close)

    def __iter__(self) -> Stream[T]:
        return self

    def __next__(self) -> T:
        async def following() -> tuple[T, ...]:
            try:
                return (await anext(self.asynchronous),)
            except StopAsyncIteration:
                return ()

        found = LOOP.run(following())
        if not found:
            raise StopIteration
        return found[0]

    def __enter__(self) -> Stream[T]:
        self.open()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Commit(Blocking[aio_transaction.Commit]):
    """A submitted transaction whose outcome can be asked for."""

    transaction_id = Attribute[str]()
    channel = Attribute[str]()
    payload = Attribute[bytes | None]()
    digest = Attribute[bytes]()
    sign = direct(aio_transaction.Commit.sign)
    to_bytes = direct(aio_transaction.Commit.to_bytes)
    status = blocking(aio_transaction.Commit.status)


class Transaction(Blocking[aio_transaction.Transaction]):
    """An endorsed transaction."""

    transaction_id = Attribute[str]()
    channel = Attribute[str]()
    payload = Attribute[bytes]()
    envelope = Attribute[bytes]()
    digest = Attribute[bytes]()
    proposal_response_payload = Attribute[bytes]()
    endorsements = Attribute[tuple[Endorsement, ...]]()
    chaincode_action = Attribute[proposal_pb2.ChaincodeAction]()
    result = Attribute[bytes]()
    sign = direct(aio_transaction.Transaction.sign)
    to_bytes = direct(aio_transaction.Transaction.to_bytes)
    check_answers = direct(aio_transaction.Transaction.check_answers)
    submit = blocking(aio_transaction.Transaction.submit, Commit)


class Proposal(Blocking[aio_transaction.Proposal]):
    """A call of a chaincode's function, not yet sent."""

    transaction_id = Attribute[str]()
    channel = Attribute[str]()
    digest = Attribute[bytes]()
    sign = direct(aio_transaction.Proposal.sign)
    signed = direct(aio_transaction.Proposal.signed)
    to_bytes = direct(aio_transaction.Proposal.to_bytes)
    evaluate = blocking(aio_transaction.Proposal.evaluate)
    endorse = blocking(aio_transaction.Proposal.endorse, Transaction)


class Contract(Blocking[aio_contract.Contract]):
    """Calls functions of one chaincode."""

    channel = Attribute[str]()
    chaincode = Attribute[str]()
    name = Attribute[str]()
    propose = direct(aio_contract.Contract.propose, Proposal)
    evaluate = blocking(aio_contract.Contract.evaluate)
    submit = blocking(aio_contract.Contract.submit)
    submit_async = blocking(aio_contract.Contract.submit_async, Commit)


class EventsRequest(Blocking[ChaincodeEventsRequest]):
    """A request for chaincode events that can be signed elsewhere."""

    digest = Attribute[bytes]()
    sign = direct(ChaincodeEventsRequest.sign)
    to_bytes = direct(ChaincodeEventsRequest.to_bytes)
    stream = direct(ChaincodeEventsRequest.stream, Stream[ChaincodeEvent])


class BlockEventsRequest(Blocking[BlocksRequest[T]], Generic[T]):
    """A request for blocks that can be signed elsewhere."""

    digest = Attribute[bytes]()

    def sign(self, signature: bytes) -> None:
        """Hand in a signature (DER, low s) over ``digest`` that was made elsewhere."""
        LOOP.call(lambda: self.asynchronous.sign(signature))

    def to_bytes(self) -> bytes:
        """``common.Envelope``, the form that Fabric's other clients also exchange."""
        return LOOP.call(self.asynchronous.to_bytes)

    def stream(self) -> Stream[T]:
        """Return the blocks from the position on."""
        return Stream(LOOP.call(self.asynchronous.stream))


class Network(Blocking[aio_network.Network]):
    """One channel, through the gateway peers."""

    channel = Attribute[str]()
    identity = Attribute[Identity]()
    contract = direct(aio_network.Network.contract, Contract)
    commit = direct(aio_network.Network.commit, Commit)
    chaincode_events = direct(aio_network.Network.chaincode_events, Stream[ChaincodeEvent])
    chaincode_events_request = direct(aio_network.Network.chaincode_events_request, EventsRequest)
    block_events = direct(aio_network.Network.block_events, Stream[common_pb2.Block])
    filtered_block_events = direct(aio_network.Network.filtered_block_events, Stream[events_pb2.FilteredBlock])
    private_block_events = direct(aio_network.Network.private_block_events, Stream[BlockAndPrivateData])
    block_events_request = direct(aio_network.Network.block_events_request, BlockEventsRequest[common_pb2.Block])
    filtered_block_events_request = direct(
        aio_network.Network.filtered_block_events_request, BlockEventsRequest[events_pb2.FilteredBlock]
    )
    private_block_events_request = direct(
        aio_network.Network.private_block_events_request, BlockEventsRequest[BlockAndPrivateData]
    )
    fetch_blocks = direct(aio_network.Network.fetch_blocks, Stream[common_pb2.Block])
    fetch_block = blocking(aio_network.Network.fetch_block)
    height = blocking(aio_network.Network.height)
    reach = blocking(aio_network.Network.reach)
    target = Attribute[str]()


class Gateway(Blocking[aio_gateway.Gateway]):
    """A connection to gateway peers on behalf of one identity."""

    identity = Attribute[Identity]()
    clock = Attribute[Clock]()
    network = direct(aio_gateway.Gateway.network, Network)
    proposal_from_bytes = direct(aio_gateway.Gateway.proposal_from_bytes, Proposal)
    transaction_from_bytes = direct(aio_gateway.Gateway.transaction_from_bytes, Transaction)
    commit_from_bytes = direct(aio_gateway.Gateway.commit_from_bytes, Commit)
    chaincode_events_request_from_bytes = direct(aio_gateway.Gateway.chaincode_events_request_from_bytes, EventsRequest)
    block_events_request_from_bytes = direct(
        aio_gateway.Gateway.block_events_request_from_bytes, BlockEventsRequest[common_pb2.Block]
    )
    filtered_block_events_request_from_bytes = direct(
        aio_gateway.Gateway.filtered_block_events_request_from_bytes, BlockEventsRequest[events_pb2.FilteredBlock]
    )
    private_block_events_request_from_bytes = direct(
        aio_gateway.Gateway.private_block_events_request_from_bytes, BlockEventsRequest[BlockAndPrivateData]
    )
    close = blocking(aio_gateway.Gateway.close)

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
    ) -> Gateway:
        """Prepare a connection; see the asynchronous ``Gateway.connect``."""

        def connected() -> aio_gateway.Gateway:
            return aio_gateway.Gateway.connect(
                endpoint,
                identity,
                signer,
                tls_root=tls_root,
                clock=clock,
                deadlines=deadlines,
                reconnect=reconnect,
                shared_commit_stream=shared_commit_stream,
                keepalive_s=keepalive_s,
            )

        return cls(LOOP.call(connected))

    def __enter__(self) -> Gateway:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class Endorser(Blocking[aio_endorser.Endorser]):
    """One peer's ``ProcessProposal``, on behalf of one identity."""

    process = blocking(aio_endorser.Endorser.process)
    call = blocking(aio_endorser.Endorser.call)
    join_channel = blocking(aio_endorser.Endorser.join_channel)
    channels = blocking(aio_endorser.Endorser.channels)
    chain_info = blocking(aio_endorser.Endorser.chain_info)
    block_by_number = blocking(aio_endorser.Endorser.block_by_number)
    block_by_transaction = blocking(aio_endorser.Endorser.block_by_transaction)
    transaction = blocking(aio_endorser.Endorser.transaction)
    close = blocking(aio_endorser.Endorser.close)

    @classmethod
    def connect(
        cls,
        endpoint: Endpoint,
        identity: Identity,
        signer: Signer,
        *,
        clock: Clock | None = None,
        timeout: float = 60.0,
    ) -> Endorser:
        """Prepare a connection; see the asynchronous ``Endorser.connect``."""

        def connected() -> aio_endorser.Endorser:
            return aio_endorser.Endorser.connect(endpoint, identity, signer, clock=clock, timeout=timeout)

        return cls(LOOP.call(connected))

    def __enter__(self) -> Endorser:
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()
