"""Promise 1: the same envelope sent twice commits once; the second is DUPLICATE_TXID."""

from __future__ import annotations

from pathlib import Path

import pytest

from goldengrain.gateway.blocks import transactions
from goldengrain.gateway.gateway import Gateway
from goldengrain.network.creation import create
from goldengrain.network.home import Home
from goldengrain.network.topology import default_topology
from tests.network.embedded.services.deployed import deployed


@pytest.mark.parametrize("shared", [False, True], ids=["asked", "told"])
async def test_the_same_envelope_commits_once_and_both_have_the_first_ones_status(tmp_path: Path, shared: bool) -> None:
    home = Home(tmp_path / "home")
    create(home, default_topology())
    async with deployed(home) as net:
        user = net.user()
        async with Gateway.connect(
            [net.endpoint(1), net.endpoint(2)], user.identity, user.signer, shared_commit_stream=shared
        ) as gateway:
            network = gateway.network("market")
            contract = network.contract("kv")
            await contract.submit("put", "sum", "0")
            transaction = await contract.propose("add", "sum", "5").endorse()
            first, at_once = await transaction.submit(), await transaction.submit()
            status = await first.status()
            later = await transaction.submit()
            assert status.successful
            assert await at_once.status() == status
            assert await later.status() == status
            await contract.submit("put", "last", "1")
            assert await contract.evaluate("get", "sum") == b"5"
            codes = [
                one.code_name
                async for block in network.fetch_blocks(0, await network.height() - 1)
                for one in transactions(block)
                if one.transaction_id == transaction.transaction_id
            ]
    assert codes == ["VALID", "DUPLICATE_TXID", "DUPLICATE_TXID"]
