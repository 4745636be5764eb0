"""Contract operations on our shim against the same in Go (fabric-chaincode-go): side by side in one run.

One network, one client, one endorsement policy (majority of three organisations), default batch settings, TLS
everywhere but between peer and chaincode, where both have none. The two chaincodes take turns, operation by operation;
keys don't collide. Every submit is waited for until it is committed as VALID; `range` is evaluated. What they do stands
in `benchmarks/operations`; without Go's compiler there is nothing to measure against.
"""

from __future__ import annotations

import asyncio
import itertools
import os
import shutil
import subprocess
import sys
import tempfile
import time
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from statistics import median

from fabric_protos.peer import collection_pb2

from benchmarks.networks import cpu_seconds, open_contract, open_home, runtimes
from benchmarks.report import Report
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import GatewayError
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import deploy
from goldengrain.network.ports import free_port
from goldengrain.network.signature_policy import parse_signature_policy

IN_FLIGHT = 32
ROUNDS = 3
TURNS = 8
"""Keys that each of the submits in flight takes in turn: no peer is so far behind that it still has an old version."""

VALUE = b"v" * 100
AIM = 0.9
GO = Path(__file__).resolve().parent / "operations" / "go"
_READY_S = 60.0

Call = Callable[[Contract, int, int], Awaitable[object]]


def _submit(name: str, *args: str) -> Call:
    """A call whose arguments may hold `{w}`, which submit in flight it is, `{t}`, its turn, and `{n}`, a number."""

    def call(contract: Contract, worker: int, number: int) -> Awaitable[object]:
        known = {"w": worker, "t": number % TURNS, "n": number, "v": VALUE.decode()}
        return contract.submit(name, *(arg.format(**known) for arg in args))

    return call


def _pay(contract: Contract, worker: int, number: int) -> Awaitable[object]:
    first = 2 * (worker * TURNS + number % TURNS)
    return contract.submit("pay", f"p{first:04}", f"p{first + 1:04}")


def _seal(contract: Contract, worker: int, number: int) -> Awaitable[object]:
    return contract.submit("seal", f"s/{worker}/{number}", transient={"value": VALUE})


OPERATIONS: dict[str, Call] = {
    "put": _submit("put", "k/{w}/{n}", "{v}"),
    "update": _submit("update", "u/{w}/{t}", "{v}"),
    "pay": _pay,
    "many": _submit("many", "m/{w}/{t}/"),
    "index": _submit("index", "o{w}", "{n}"),
    "seal": _seal,
    "range": lambda contract, *_: contract.evaluate("range", "r0000", "r0100"),
}


@dataclass
class Side:
    """One of the two chaincodes: what it did so far by operation, as (calls a second, CPU seconds a call)."""

    name: str
    pid: int
    contract: Contract
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    measured: dict[str, list[tuple[float, float]]] = field(default_factory=dict)

    async def load(self, operation: str, seconds: float) -> tuple[float, float]:
        """Keep `IN_FLIGHT` calls of an operation going."""
        call, end, done = OPERATIONS[operation], time.monotonic() + seconds, 0

        async def worker(number: int) -> None:
            nonlocal done
            while time.monotonic() < end:
                await call(self.contract, number, next(self.numbers))
                done += 1

        began, used = time.monotonic(), cpu_seconds((self.pid,))
        await asyncio.gather(*(worker(number) for number in range(IN_FLIGHT)))
        wall = time.monotonic() - began
        return done / wall, (cpu_seconds((self.pid,)) - used) / done

    async def measure(self, operation: str, seconds: float) -> None:
        """Take a measurement down."""
        self.measured.setdefault(operation, []).append(await self.load(operation, seconds))


async def run(seconds: float) -> Report:
    """Measure every operation in `ROUNDS` rounds; `seconds` is how long each chaincode gets for it in a round."""
    report = Report("chaincode")
    if shutil.which("go") is None:
        report.notes.append("Go is not installed: nothing to measure against")
        return report
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "operations"
        await asyncio.to_thread(subprocess.run, ["go", "build", "-o", program, "."], cwd=GO, check=True)
        for runtime in runtimes():
            async with open_home(runtime) as (home, _), _sides(home, program) as (ours, go):
                await _rounds(ours, go, seconds)
                _take_down(report, runtime, ours, go)
    return report


async def _rounds(ours: Side, go: Side, seconds: float) -> None:
    for operation in OPERATIONS:
        for side in (ours, go):
            await side.load(operation, min(1.0, seconds))
        for number in range(ROUNDS):
            for side in (ours, go) if number % 2 else (go, ours):
                await side.measure(operation, seconds)


def _take_down(report: Report, runtime: str, ours: Side, go: Side) -> None:
    ratios = []
    for operation in OPERATIONS:
        pairs = list(zip(ours.measured[operation], go.measured[operation], strict=True))
        ratios.append(median(mine[0] / other[0] for mine, other in pairs))
        report.rows.append(
            {
                "runtime": runtime,
                "operation": operation,
                "python_per_s": median(mine[0] for mine, _ in pairs),
                "go_per_s": median(other[0] for _, other in pairs),
                "ratio": round(ratios[-1], 2),
                "python_cpu_ms": round(median(mine[1] for mine, _ in pairs) * 1000, 3),
                "go_cpu_ms": round(median(other[1] for _, other in pairs) * 1000, 3),
            }
        )
    report.notes.append(
        f"{runtime}: ratios {min(ratios):.2f} to {max(ratios):.2f}, median {median(ratios):.2f}; aim {AIM}"
    )


@asynccontextmanager
async def _sides(home: Home, program: Path) -> AsyncIterator[tuple[Side, Side]]:
    python = [sys.executable, "-m", "benchmarks.operations.server"]
    async with _side(home, "python", python) as ours, _side(home, "go", [str(program)]) as go:
        yield ours, go


@asynccontextmanager
async def _side(home: Home, name: str, command: list[str]) -> AsyncIterator[Side]:
    address = f"127.0.0.1:{free_port()}"
    deployment = await deploy(home, name, "1.0", address, collections=_collections(home))
    environment = os.environ | {"CHAINCODE_SERVER_ADDRESS": address, "CHAINCODE_ID": deployment.package_id}
    program = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        async with open_contract(home, name) as contract:
            await _patiently(lambda: contract.submit("put", "ready", "1"))
            await _patiently(lambda: contract.submit("fill", "p", str(2 * IN_FLIGHT * TURNS)))
            await _patiently(lambda: contract.submit("fill", "r", "100"))
            yield Side(name, program.pid, contract)
    finally:
        program.terminate()
        await program.wait()


def _collections(home: Home) -> collection_pb2.CollectionConfigPackage:
    """`sealed`, of all organisations; a value counts as handed on without another peer's word."""
    members = [member.msp_id for member in home.load_topology().organizations]
    policy = parse_signature_policy("OR({})".format(", ".join(f"'{one}.member'" for one in members)))
    config = collection_pb2.StaticCollectionConfig(
        name="sealed",
        member_orgs_policy=collection_pb2.CollectionPolicyConfig(signature_policy=policy),
        maximum_peer_count=2,
        member_only_write=True,
    )
    return collection_pb2.CollectionConfigPackage(
        config=[collection_pb2.CollectionConfig(static_collection_config=config)]
    )


async def _patiently(attempt: Callable[[], Awaitable[object]]) -> None:
    deadline = time.monotonic() + _READY_S
    while True:
        try:
            await attempt()
        except GatewayError:
            if time.monotonic() > deadline:
                raise
            await asyncio.sleep(0.1)
        else:
            return
