"""Networks to measure, embedded and, where FABRIC_BIN is set, Fabric's own programs; both with default settings."""

from __future__ import annotations

import asyncio
import os
import socket
import sys
import tempfile
import time
from collections.abc import AsyncIterator
from contextlib import AbstractAsyncContextManager, asynccontextmanager
from dataclasses import dataclass
from pathlib import Path

from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.network import Network
from goldengrain.gateway.wallet import Wallet
from goldengrain.network import runtime
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from goldengrain.network.native import NativeNetwork
from goldengrain.network.topology import default_topology

NAME = "bench"
_READY_S = 60.0


@dataclass(frozen=True)
class Bench:
    """A network that runs, its chaincode deployed and connected."""

    home: Home
    network_pids: tuple[int, ...]
    chaincode_pid: int

    def channel(self) -> AbstractAsyncContextManager[Network]:
        """The channel through the first organisation's gateway; the chaincode is `NAME`."""
        return open_channel(self.home)


def runtimes() -> list[str]:
    """What can be measured here."""
    return ["embedded", "fabric"] if os.environ.get("FABRIC_BIN") else ["embedded"]


@asynccontextmanager
async def open_network(which: str) -> AsyncIterator[Bench]:
    """Bring a network up in a temporary folder, with the chaincode on it; it is gone afterwards."""
    async with open_home(which) as (home, pids), _deployed(home, pids) as bench:
        yield bench


@asynccontextmanager
async def open_home(which: str) -> AsyncIterator[tuple[Home, tuple[int, ...]]]:
    """Bring a network up in a temporary folder: its home, and the processes that it is made of."""
    with tempfile.TemporaryDirectory() as folder:
        home = Home(Path(folder) / "home")
        if which == "fabric":
            before = _children()
            async with NativeNetwork(home, default_topology()):
                yield home, tuple(sorted(_children() - before))
            return
        state = await asyncio.to_thread(runtime.up, home, default_topology())
        try:
            yield home, (state.pid,)
        finally:
            await asyncio.to_thread(runtime.down, home)


@asynccontextmanager
async def open_channel(home: Home) -> AsyncIterator[Network]:
    """The channel through the first organisation's gateway, as its User1."""
    topology = home.load_topology()
    member = topology.organizations[0]
    profile = ConnectionProfile.load(home.connection_profile(member))
    user = Wallet(home.wallet).get(f"User1@{member.domain}")
    async with Gateway.connect(profile.gateway(), user.identity, user.signer) as gateway:
        yield gateway.network(topology.channel.name)


@asynccontextmanager
async def open_contract(home: Home, name: str) -> AsyncIterator[Contract]:
    """A chaincode through the first organisation's gateway."""
    async with open_channel(home) as network:
        yield network.contract(name)


def keep_to_two_processors() -> None:
    """Run this process, and all that it starts from now on, on two processors: the same for whatever is compared."""
    os.sched_setaffinity(0, sorted(os.sched_getaffinity(0))[:2])


def _children() -> frozenset[int]:
    """Children of the process that measures: once Fabric's programs are started, these too."""
    return frozenset(map(int, Path(f"/proc/{os.getpid()}/task/{os.getpid()}/children").read_text().split()))


@asynccontextmanager
async def _deployed(home: Home, pids: tuple[int, ...]) -> AsyncIterator[Bench]:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        address = f"127.0.0.1:{probe.getsockname()[1]}"
    deployment = await deploy(home, NAME, "1.0", address)
    environment = os.environ | {"CHAINCODE_SERVER_ADDRESS": address, "CHAINCODE_ID": deployment.package_id}
    program = await asyncio.create_subprocess_exec(sys.executable, "-m", "benchmarks.chaincode", env=environment)
    try:
        bench = Bench(home, pids, program.pid)
        async with open_contract(home, NAME) as contract:
            await _ready(contract)
        yield bench
    finally:
        program.terminate()
        await program.wait()


async def _ready(contract: Contract) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            await contract.submit("update", "ready", "1")
        except GatewayError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return


def resident_bytes(pid: int) -> int:
    """Memory that a process has for itself: what it shares with files that any process may map is left out."""
    fields = Path(f"/proc/{pid}/statm").read_text().split()
    return (int(fields[1]) - int(fields[2])) * os.sysconf("SC_PAGE_SIZE")


def cpu_seconds(pids: tuple[int, ...]) -> float:
    """What these processes have used so far, user and system, their ended children left out."""
    ticks = 0
    for pid in pids:
        fields = Path(f"/proc/{pid}/stat").read_text().rpartition(")")[2].split()
        ticks += int(fields[11]) + int(fields[12])
    return ticks / os.sysconf("SC_CLK_TCK")
