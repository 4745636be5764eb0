"""The network of the faults: a process of its own, its nodes stopped and started, the whole of it killed."""

from __future__ import annotations

import asyncio
import sys
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from pathlib import Path

from goldengrain.gateway.connection import ConnectionProfile, Endpoint
from goldengrain.gateway.identity import Credentials
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.home import Home
from tests.conftest import ROOT

PEERS = ("peer0.org1.example.com", "peer0.org2.example.com")


class Served:
    """A running network. Everything is as User1 of the first organisation sees it."""

    def __init__(self, folder: Path) -> None:
        self.home = Home(folder)
        self._process: asyncio.subprocess.Process | None = None
        self._telling = asyncio.Lock()

    async def start(self) -> None:
        """Start the process; the ledger is what it was."""
        command = [sys.executable, "-m", "tests.gateway.faults.program", str(self.home.path)]
        pipe = asyncio.subprocess.PIPE
        self._process = await asyncio.create_subprocess_exec(*command, stdin=pipe, stdout=pipe, cwd=ROOT)
        await self._answer("ready")

    async def kill(self) -> None:
        """Kill it as it stands."""
        assert self._process is not None
        self._process.kill()
        await self._process.wait()

    async def tell(self, verb: str, host: str) -> None:
        """Have a node stopped or started."""
        async with self._telling:
            assert self._process is not None
            assert self._process.stdin is not None
            self._process.stdin.write(f"{verb} {host}\n".encode())
            await self._answer("done")

    async def _answer(self, expected: str) -> None:
        assert self._process is not None
        assert self._process.stdout is not None
        answer = await asyncio.wait_for(self._process.stdout.readline(), 60)
        assert answer.decode().strip() == expected

    def endpoint(self, organization: int) -> Endpoint:
        """The gateway peer of an organisation, 0 to 2."""
        member = self.home.load_topology().organizations[organization]
        return ConnectionProfile.load(self.home.connection_profile(member)).gateway()

    @property
    def user(self) -> Credentials:
        """User1 of the first organisation."""
        return Wallet(self.home.wallet).get("User1@org1.example.com")

    @property
    def orderer(self) -> str:
        """The orderer's host name."""
        organization = self.home.load_topology().orderer
        return organization.orderers[0].host(organization)


@asynccontextmanager
async def served(folder: Path) -> AsyncIterator[Served]:
    """Run a network in a folder; it is killed in the end."""
    network = Served(folder)
    await network.start()
    try:
        yield network
    finally:
        await network.kill()
