"""Every request can be signed elsewhere: bytes and digest out, signature in, on another machine."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import pytest

from goldengrain.gateway import sync
from goldengrain.gateway.blocking import LOOP
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import DeliverError, EventsError, SigningError
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.network import Network
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import ServerDouble

Make = Callable[[Network, Any], Any]
Restore = Callable[[Gateway, bytes, bytes], Any]
REQUESTS: dict[str, tuple[Make, Restore]] = {
    "events": (
        lambda network, start: network.chaincode_events_request(CHAINCODE, start),
        Gateway.chaincode_events_request_from_bytes,
    ),
    "blocks": (lambda network, start: network.block_events_request(start), Gateway.block_events_request_from_bytes),
    "filtered": (
        lambda network, start: network.filtered_block_events_request(start),
        Gateway.filtered_block_events_request_from_bytes,
    ),
    "private": (
        lambda network, start: network.private_block_events_request(start),
        Gateway.private_block_events_request_from_bytes,
    ),
}


@pytest.mark.parametrize("kind", REQUESTS)
@pytest.mark.parametrize("start", [1, None])
async def test_streams_signed_elsewhere(
    server: ServerDouble, user: Credentials, contract: Contract, kind: str, start: int | None
) -> None:
    make, restore = REQUESTS[kind]
    await contract.submit("announce", "a", "")
    async with Gateway.connect(server.endpoint, user.identity) as gateway:
        request = make(gateway.network(CHANNEL), start)
        with pytest.raises(SigningError):
            request.stream()
        signed = restore(gateway, request.to_bytes(), user.signer.sign(request.digest))
        assert signed.digest == request.digest
        async with signed.stream() as stream:
            if start is None:
                await server.called(server.calls[-1])
                await contract.submit("announce", "a", "")
            assert await anext(stream) is not None


@pytest.mark.parametrize("kind", REQUESTS)
async def test_a_stream_signed_elsewhere_ends_where_it_breaks(
    server: ServerDouble, user: Credentials, contract: Contract, kind: str
) -> None:
    await contract.submit("announce", "a", "")
    server.break_after = 1
    async with Gateway.connect(server.endpoint, user.identity) as gateway:
        request = REQUESTS[kind][0](gateway.network(CHANNEL), 1)
        request.sign(user.signer.sign(request.digest))
        async with request.stream() as stream:
            await anext(stream)
            with pytest.raises((EventsError, DeliverError), match="broken"):
                await anext(stream)


async def test_a_commit_carried_elsewhere(server: ServerDouble, user: Credentials, contract: Contract) -> None:
    done = await contract.submit("put", "k", "v")
    async with Gateway.connect(server.endpoint, user.identity) as gateway:
        commit = gateway.network(CHANNEL).commit(done.transaction_id)
        signed = gateway.commit_from_bytes(commit.to_bytes(), user.signer.sign(commit.digest))
        assert signed.transaction_id == done.transaction_id
        assert (await signed.status()).block == done.block


def test_the_synchronous_client_has_it_all() -> None:
    server = ServerDouble()
    endpoint = LOOP.run(server.start())
    user = server.ledger.members[0].user
    try:
        with sync.Gateway.connect(endpoint, user.identity, user.signer) as gateway:
            gateway.network(CHANNEL).contract(CHAINCODE).submit("announce", "a", "")
        with sync.Gateway.connect(endpoint, user.identity) as unsigned:
            request = unsigned.network(CHANNEL).filtered_block_events_request(1)
            signed = unsigned.filtered_block_events_request_from_bytes(request.to_bytes(), b"")
            signed.sign(user.signer.sign(signed.digest))
            with signed.stream() as blocks:
                assert next(blocks).number == 1
    finally:
        LOOP.run(server.stop())
