"""Proposals straight to one peer."""

from __future__ import annotations

from collections.abc import AsyncIterator

import grpc
import pytest

from goldengrain.gateway.endorser import Endorser
from goldengrain.gateway.errors import PeerError
from goldengrain.gateway.identity import Credentials
from tests.gateway.ledger_double import CHAINCODE
from tests.gateway.server_double import Fault, ServerDouble


@pytest.fixture
async def peer(server: ServerDouble, user: Credentials) -> AsyncIterator[Endorser]:
    async with Endorser.connect(server.endpoint, user.identity, user.signer, timeout=2) as connected:
        yield connected


async def test_a_call_returns_the_payload(peer: Endorser) -> None:
    assert await peer.call(CHAINCODE, "append", "k", "v", channel="market") == b"v"


async def test_a_refusal_carries_the_status(peer: Endorser) -> None:
    with pytest.raises(PeerError, match="status 404, none such") as caught:
        await peer.call(CHAINCODE, "refuse", "404", "none such")
    assert caught.value.status == 404
    answer = await peer.process(CHAINCODE, "refuse", "404", "none such")
    assert answer.response.status == 404


async def test_no_answer_is_a_peer_error(peer: Endorser, server: ServerDouble) -> None:
    server.faults["ProcessProposal"] = [Fault(grpc.StatusCode.UNKNOWN, "access denied")]
    with pytest.raises(PeerError, match="access denied") as caught:
        await peer.call("cscc", "GetChannels")
    assert (caught.value.status, caught.value.grpc_code) == (0, grpc.StatusCode.UNKNOWN)
