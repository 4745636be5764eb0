"""Network and chaincode are killed at every stage of a transaction, under load, and what was acknowledged stays true.

The places are in the order in which a transaction comes through them.
"""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sys
from pathlib import Path

import pytest

from goldengrain.network import runtime
from goldengrain.network.errors import StartFailed
from goldengrain.network.home import Home
from tests.conformance import programs
from tests.conformance.chaincode import ROOT
from tests.conformance.deployed import Deployed
from tests.network.embedded.aftermath import under_load
from tests.network.embedded.load import Journal
from tests.network.embedded.test_sigkill import has_died, kill_network

NETWORK, SHIM = "goldengrain.network.embedded", "goldengrain.chaincode.shim"
DYING = "tests.network.embedded.dying"
PLACES = {
    "the gateway is asked to endorse": "gateway:Gateway.endorse before",
    "a peer takes up the proposal": "endorser:Endorser.process_unpacked before",
    "the chaincode asks for state": "chaincode_stream:ChaincodeStream._answer before",
    "a peer has endorsed": "endorser:Endorser.process_unpacked after",
    "all have endorsed, the client is not told": "gateway:Gateway.endorse after",
    "the orderer is asked": "orderer:Orderer.broadcast before",
    "the envelope is about to be written": "store:LedgerStore.write_queue before",
    "the envelope is on disk, nobody is told": "store:LedgerStore.write_queue after",
    "the client is about to be told": "gateway:Gateway.submit after",
    "a block is cut": "orderer:Orderer._commit before",
    "a block is validated": "validator:BlockValidator.validate after",
    "a block is written, not committed": "store:_insert_block after",
    "a block is on disk, nobody sees it": "store:LedgerStore.write_block after",
    "a block is seen": "ledger:ChannelLedger._publish after",
    "the client asks for the status": "gateway:Gateway.commit_status before",
    "the client is about to be told the status": "gateway:Gateway.commit_status after",
}
CHAINCODE_PLACES = {
    "the call arrives": "stream:PeerStream._start before",
    "the peer answers a read": "exchange:Exchange.deliver before",
    "the writes are about to leave": "stub:ChaincodeStub.flush_writes before",
    "the writes have left, the answer has not": "stub:ChaincodeStub.flush_writes after",
    "the answer is about to leave": "stream:execute after",
}
WORKERS = 8
MOST_CALLS = 25
"""So many calls at most does a process live through until it dies: that is, under load."""


@pytest.mark.check
@pytest.mark.timeout(600)
async def test_killed_at_every_stage(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    seed = int(os.environ.get("SIGKILL_SEED") or random.SystemRandom().randrange(10**6))
    print(f"SIGKILL_SEED={seed}")
    choose = random.Random(seed)
    home, journal = Home(tmp_path / "home"), Journal(tmp_path / "journal")
    monkeypatch.setattr(runtime, "_EMBEDDED", (sys.executable, "-m", DYING, NETWORK))
    monkeypatch.setenv("PYTHONPATH", str(ROOT))
    monkeypatch.delenv("DIE_AT", raising=False)
    runtime.up(home)
    try:
        dying: dict[str, str] = {}
        command = [sys.executable, "-m", DYING, programs.EXAMPLE]
        async with (
            programs.running(home, command, "kv", "put", "ready", "1", environment=dying) as deployed,
            under_load(deployed, journal, WORKERS, seed) as load,
        ):
            await load.progress()
            for place in PLACES.values():
                await network_dies(home, f"{NETWORK}.{place} {choose.randrange(1, MOST_CALLS)}", monkeypatch)
            monkeypatch.delenv("DIE_AT")
            await asyncio.to_thread(runtime.up, home)
            await load.progress()
            for place in CHAINCODE_PLACES.values():
                dying["DIE_AT"] = f"{SHIM}.{place} {choose.randrange(1, MOST_CALLS)}"
                await chaincode_dies(deployed, dying["DIE_AT"])
            dying.clear()
            await deployed.program.start(deployed.package_id)
            await load.progress()
    finally:
        runtime.down(home)


async def network_dies(home: Home, place: str, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have a network that dies at a place take the running one's."""
    if runtime.is_running(home):
        await kill_network(home)
    monkeypatch.setenv("DIE_AT", place)
    try:
        await asyncio.to_thread(runtime.up, home)
    except StartFailed:  # it got there with what it found on its disk, before it was ready
        pass
    else:
        await has_died(home, 60)
    assert f"DIED {place}" in (home.logs / runtime.EMBEDDED_LOG).read_text(), place


async def chaincode_dies(deployed: Deployed, place: str) -> None:
    """The same for the chaincode."""
    if deployed.program.runs:
        await deployed.program.stop(signal.SIGKILL)
    await deployed.program.launch(deployed.package_id)  # it may die before anybody sees that it listens
    assert await deployed.program.wait(60) == -signal.SIGKILL
    assert f"DIED {place}" in deployed.program.log.read_text(), place
