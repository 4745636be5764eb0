"""What has to be true after crashes under load, with the client's journal beside the ledger.

Every block is fetched and verified. Then:

1. each transaction whose commit was acknowledged is VALID in the block that was named;
2. each transaction whose submit was acknowledged is on the ledger;
3. no transaction id is VALID twice, though clients sent envelopes again;
4. the state is what the valid transactions sum to, and no transaction is valid that no client sent.
"""

from __future__ import annotations

import json
from collections import Counter
from collections.abc import AsyncIterator, Sequence
from contextlib import AsyncExitStack, asynccontextmanager

from fabric_protos.common import common_pb2

from goldengrain.gateway.audit import Audit, audit
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.network import Network
from tests.blockcheck.checker import check_chain
from tests.conformance.deployed import Deployed, patiently
from tests.conformance.ledger import stored_blocks
from tests.network.embedded.load import Journal, Load


@asynccontextmanager
async def under_load(
    deployed: Deployed, journal: Journal, workers: int, seed: int, trusting: bool = True
) -> AsyncIterator[Load]:
    """Keep clients of all three organisations busy; once they have come to an end, points 1 to 4 are checked."""
    async with AsyncExitStack() as stack:
        networks = [await stack.enter_async_context(deployed.network(number)) for number in range(3)]
        load = Load(networks, deployed.name, journal, workers, seed, trusting)
        load.start()
        try:
            yield load
            await load.finish()
        finally:
            await load.abandon()
        print(f"{load.committed} committed; {dict(load.tally)}")
        await check_all(deployed, networks, journal)


async def check_all(deployed: Deployed, networks: Sequence[Network], journal: Journal) -> None:
    """Points 1 to 4."""
    for network in networks:  # a connection may still be waiting before it tries again
        await patiently(network.height)
    genesis = common_pb2.Block.FromString(deployed.home.genesis_file("market").read_bytes())
    ledger = await audit(networks[0], genesis)
    print(f"{ledger.height} blocks; {dict(Counter(one.code_name for one in ledger.transactions))}")
    assert check_chain(await stored_blocks(deployed)) == {}
    compare(ledger, journal, deployed.name)
    await compare_state(ledger, networks[1].contract(deployed.name))


def compare(ledger: Audit, journal: Journal, chaincode: str) -> None:
    """Points 1 to 3, and of point 4 that every valid transaction is one that a client sent, with its arguments."""
    valid = {one.transaction_id: one for one in ledger.transactions if one.valid and one.call is not None}
    times = Counter(one.transaction_id for one in ledger.transactions if one.valid)
    assert [tx for tx, count in times.items() if count > 1] == []
    codes = Counter(one.code_name for one in ledger.transactions)
    assert set(codes) <= {"VALID", "DUPLICATE_TXID"}, codes
    acknowledged = list(journal.read("committed"))
    assert {entry["code"] for entry in acknowledged} == {"VALID"}
    assert [entry for entry in acknowledged if entry["tx"] not in valid] == []
    assert [entry for entry in acknowledged if valid[entry["tx"]].block != entry["block"]] == []
    assert [entry for entry in journal.read("ordered") if entry["tx"] not in valid] == []
    sent = {entry["tx"]: entry["call"] for entry in journal.read("sent")}
    for one in valid.values():
        if one.call is not None and one.call.chaincode == chaincode and one.transaction_id in sent:
            assert [part.decode() for part in one.call.arguments] == sent[one.transaction_id]
    unknown = {tx for tx in valid.keys() - sent.keys() if not _is_ready_call(valid[tx].call)}
    assert unknown == set()


def _is_ready_call(call: object) -> bool:
    """Whether a call is of the deployment: the lifecycle's, or the one that waits until all is ready."""
    name, arguments = getattr(call, "chaincode", ""), getattr(call, "arguments", ())
    return name == "_lifecycle" or arguments == (b"put", b"ready", b"1")


async def compare_state(ledger: Audit, contract: Contract) -> None:
    """The rest of point 4."""
    expected: dict[str, str] = {}
    for one in ledger.transactions:
        if one.valid and one.call is not None and one.call.chaincode == contract.chaincode:
            function, key, value = (part.decode() for part in one.call.arguments)
            expected[key] = value if function == "put" else str(int(expected.get(key, "0")) + int(value))
    assert await _state(contract) == expected


async def _state(contract: Contract) -> dict[str, str]:
    found: Sequence[Sequence[str]] = json.loads(await contract.evaluate("range", "", "", deadline=60))
    return {key: value for key, value in found}  # noqa: C416 - rows of two, as lists
