"""The network's process is killed at random moments under load, and what it acknowledged stays true.

After the last kill every block is fetched and verified. Then, with the client's journal beside the ledger:

1. each transaction whose commit was acknowledged is VALID in the block that was named;
2. each transaction whose submit was acknowledged is on the ledger;
3. no transaction id is VALID twice, though clients sent envelopes again;
4. the state is what the valid transactions sum to, and no transaction is valid that no client sent.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
import signal
from collections import Counter
from collections.abc import Awaitable, Sequence
from contextlib import AsyncExitStack
from pathlib import Path

import pytest
from fabric_protos.common import common_pb2

from goldengrain.gateway.audit import Audit, audit
from goldengrain.gateway.contract import Contract
from goldengrain.network import runtime
from goldengrain.network.home import Home
from goldengrain.network.processes import is_locked, reap, wait_until
from tests.blockcheck.checker import check_chain
from tests.conformance import programs
from tests.conformance.deployed import Deployed, patiently
from tests.conformance.ledger import stored_blocks
from tests.network.embedded.load import Journal, Load

WORKERS = 12


@pytest.mark.timeout(300)
async def test_five_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    await killed_at_random(tmp_path, kills=5)


@pytest.mark.check
@pytest.mark.timeout(900)
async def test_a_hundred_kills_lose_and_repeat_nothing(tmp_path: Path) -> None:
    await killed_at_random(tmp_path, kills=100)


async def killed_at_random(folder: Path, kills: int) -> None:
    seed = int(os.environ.get("SIGKILL_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SIGKILL_SEED={seed}; the client's journal is {folder / 'journal'}")  # shown where the test fails
    home, journal = Home(folder / "home"), Journal(folder / "journal")
    runtime.up(home)
    try:
        async with programs.key_value(home) as deployed, AsyncExitStack() as stack:
            networks = [await stack.enter_async_context(deployed.network(number)) for number in range(3)]
            load = Load(networks, deployed.name, journal, WORKERS, seed)
            load.start()
            try:
                await kill_repeatedly(deployed, load, journal, kills, random.Random(seed))
                await load.finish()
            finally:
                await load.abandon()
            print(f"{load.committed} committed; {dict(load.tally)}")
            assert load.committed > kills
            for network in networks:  # a connection may still be waiting before it tries again
                await patiently(network.height)
            genesis = common_pb2.Block.FromString(home.genesis_file("market").read_bytes())
            ledger = await audit(networks[0], genesis)
            print(f"{ledger.height} blocks; {dict(Counter(one.code_name for one in ledger.transactions))}")
            assert check_chain(await stored_blocks(deployed)) == {}
            compare(ledger, journal, deployed.name)
            await compare_state(ledger, networks[1].contract(deployed.name))
    finally:
        runtime.down(home)


async def kill_repeatedly(deployed: Deployed, load: Load, journal: Journal, kills: int, choose: random.Random) -> None:
    """Kill the network `kills` times, and its chaincode's server now and then, alone or with it."""
    for number in range(kills):
        if choose.random() < 0.7:
            await load.progress()
            pause = choose.uniform(0, 0.8)
        else:  # it may still be busy with what it found on its disk
            pause = choose.uniform(0, 0.15)
        await asyncio.sleep(pause)
        victims = choose.choices(["network", "network and chaincode", "chaincode, then network"], [8, 1, 1])[0]
        journal.write(what="killed", number=number, pause=pause, victims=victims, committed=load.committed)
        if "chaincode" in victims:
            await deployed.program.stop(signal.SIGKILL)
        if "then" in victims:
            await asyncio.sleep(choose.uniform(0, 0.2))
        await kill_network(deployed.home)
        starts: list[Awaitable[object]] = [asyncio.to_thread(runtime.up, deployed.home)]
        if "chaincode" in victims:
            starts.append(deployed.program.start(deployed.package_id))
        await asyncio.gather(*starts)


async def kill_network(home: Home) -> None:
    pid = home.load_state().pid
    os.kill(pid, signal.SIGKILL)
    assert await asyncio.to_thread(wait_until, lambda: not is_locked(home.lock_file), 20)
    reap(pid)


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
