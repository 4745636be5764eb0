"""Killing a consumer of events again and again, while events go on."""

from __future__ import annotations

import asyncio
import os
import random
import signal
import sqlite3
import sys
from pathlib import Path

from goldengrain.gateway.contract import Contract
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.identity import PrivateKeySigner
from goldengrain.gateway.wallet import Wallet
from tests.conftest import ROOT
from tests.gateway.ledger_double import CHAINCODE, CHANNEL
from tests.gateway.server_double import CA, ServerDouble


class Produced:
    """Events that are committed one block after the other, one to four in each, and their names."""

    def __init__(self, server: ServerDouble, contract: Contract, chance: random.Random) -> None:
        self.names: list[str] = []
        self._server = server
        self._contract = contract
        self._chance = chance

    async def block(self) -> None:
        for _ in range(self._chance.randint(1, 4)):
            self.names.append(f"event {len(self.names)}")
            proposal = self._contract.propose("announce", self.names[-1], "")
            self._server.held.append(self._server.ledger.endorse(proposal.signed(), ["Org1MSP"]))
        await self._server.cut()

    async def for_ever(self) -> None:
        while True:
            await self.block()
            await asyncio.sleep(0.01)


async def kill_again_and_again(folder: Path, kind: str, kills: int, seed: int = 0) -> tuple[list[str], list[str]]:
    """Return the names of all events, and those that the consumer handled, in its order."""
    chance, server = random.Random(seed), ServerDouble()
    endpoint = await server.start()
    user = server.ledger.members[0].user
    assert isinstance(user.signer, PrivateKeySigner)
    Wallet(folder).put("user", user.identity.msp_id, user.identity.certificate, user.signer.pem)
    (folder / "root.pem").write_bytes(CA.pem)
    address = f"grpcs://{endpoint.address}"
    command = [sys.executable, "-m", "tests.gateway.consumer", str(folder), address, kind]
    pipe = asyncio.subprocess.PIPE
    forker = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
    assert forker.stdin is not None
    assert forker.stdout is not None
    async with Gateway.connect(endpoint, user.identity, user.signer) as gateway:
        produced = Produced(server, gateway.network(CHANNEL).contract(CHAINCODE), chance)
        producing = asyncio.create_task(produced.for_ever())
        child = 0
        try:
            for number in range(kills + 1):
                forker.stdin.write(b"again\n")
                child = int(await asyncio.wait_for(forker.stdout.readline(), 30))
                if number < kills:
                    await asyncio.sleep(chance.uniform(0, 0.3))
                    os.kill(child, signal.SIGKILL)
            producing.cancel()
            await asyncio.gather(producing, return_exceptions=True)
            await produced.block()
            async with asyncio.timeout(60):
                while handled(folder, kind)[-1:] != produced.names[-1:]:  # noqa: ASYNC110 - another process does it
                    await asyncio.sleep(0.05)
            return produced.names, handled(folder, kind)
        finally:
            producing.cancel()
            os.kill(child, signal.SIGKILL)
            forker.stdin.close()
            await forker.wait()
            await server.stop()


def handled(folder: Path, kind: str) -> list[str]:
    """The names of the events in effects that count: in a file, those that its checkpoint holds."""
    return [line.partition(" ")[2] for line in effects(folder, kind)]


def effects(folder: Path, kind: str) -> list[str]:
    if kind == "sqlite":
        return _rows(folder / "effects.db")
    found = folder / "effects.txt"
    return found.read_text().splitlines() if found.exists() else []


def _rows(path: Path) -> list[str]:
    database = sqlite3.connect(path)
    try:
        return [line for (line,) in database.execute("SELECT line FROM effects ORDER BY number")]
    except sqlite3.OperationalError:
        return []
    finally:
        database.close()
