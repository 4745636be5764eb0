"""Peers that keep their state in CouchDB: the whole market on them, and a chaincode's indexes, against real servers.

That rich queries are answered is the conformance suite's (`tests/conformance/test_real_fabric.py`).
"""

from __future__ import annotations

import json
from pathlib import Path
from urllib.parse import quote

import pytest

from benchmarks.swaps import CONTRACT, Swap, open_market
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.network.home import Home
from goldengrain.network.indexes import read_indexes
from goldengrain.network.lifecycle import deploy
from goldengrain.network.native import NativeNetwork
from goldengrain.network.topology import default_topology
from tests.conformance.scripted import collections
from tests.couchdb import couchdbs

pytestmark = [pytest.mark.check, pytest.mark.fabric]


@pytest.mark.timeout(120)
async def test_a_swap_is_settled_on_peers_with_couchdb(
    tmp_path: Path, fabric_bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FABRIC_BIN", str(fabric_bin))
    with couchdbs(tmp_path, default_topology()) as (topology, servers):
        async with open_market(4, kind="native", topology=topology) as bench:
            swap = Swap(bench, await bench.open_task(), 1)
            await swap.play()
            assert (await bench.users[0].offers.get(swap.offer)).state is OfferState.SETTLED
            assert (await bench.users[0].supply()).conserved
            counts = [server.ask(f"market_{CONTRACT}")["doc_count"] for server in servers]
            assert counts[0] == counts[1] == counts[2] > 10


@pytest.mark.timeout(120)
async def test_a_chaincodes_indexes_are_made_and_used(tmp_path: Path, fabric_bin: Path) -> None:
    index = {"index": {"fields": ["owner"]}, "ddoc": "byOwner", "name": "byOwner", "type": "json"}
    for place in (tmp_path / "indexes", tmp_path / "indexes" / "colA"):
        place.mkdir()
        (place / "owner.json").write_text(json.dumps(index))
    with couchdbs(tmp_path, default_topology(1)) as (topology, (server,)):
        async with NativeNetwork(Home(tmp_path / "home"), topology, fabric_bin) as network:
            indexes = read_indexes(tmp_path / "indexes")
            await deploy(
                network.home, "cc", "1", "127.0.0.1:9999", indexes=indexes, collections=collections(("Org1MSP",))
            )
            for database in ("market_cc", "market_cc$$pcol$a"):
                explained = server.ask(f"{quote(database, safe='')}/_explain", {"selector": {"owner": "alice"}})
                assert explained["index"]["name"] == "byOwner", explained
