"""Contract operations on our shim against the same in Go (fabric-chaincode-go): side by side in one run.

One network, one client, one endorsement policy (majority of three organisations), default batch settings, TLS
everywhere but between peer and chaincode, where both have none. The two chaincodes take turns, operation by operation;
keys don't collide. Every submit is waited for until it is committed as VALID; `range` is evaluated. What they do stands
in `benchmarks/operations`; without Go's compiler there is nothing to measure against. Blocks are checked afterwards.

Must hold: the median of the operations' ratios is 0.9 or more. Where more wants to run than there are processors, it is
the ratio of processor time that client, network and chaincode take together for a call.
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
from typing import NamedTuple

from fabric_protos.peer import collection_pb2

from benchmarks.blocks import check_blocks
from benchmarks.networks import cpu_seconds, keep_to_two_processors, open_channel, open_home, runtimes
from benchmarks.report import Report, busy
from goldengrain.gateway.contract import Contract, SubmitResult
from goldengrain.gateway.errors import GatewayError
from goldengrain.gateway.network import Network
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


class Measured(NamedTuple):
    """One load: calls a second, processor seconds a call of the chaincode and of all that took part."""

    rate: float
    chaincode: float
    everything: float


@dataclass
class Side:
    """One of the two chaincodes, and what it did so far, by operation."""

    name: str
    pid: int
    network_pids: tuple[int, ...]
    network: Network
    numbers: itertools.count[int] = field(default_factory=itertools.count)
    committed: list[str] = field(default_factory=list)
    measured: dict[str, list[Measured]] = field(default_factory=dict)

    @property
    def contract(self) -> Contract:
        """The chaincode."""
        return self.network.contract(self.name)

    async def load(self, operation: str, seconds: float) -> Measured:
        """Keep `IN_FLIGHT` calls of an operation going."""
        call, end, done, contract = OPERATIONS[operation], time.monotonic() + seconds, 0, self.contract

        async def worker(number: int) -> None:
            nonlocal done
            while time.monotonic() < end:
                answer = await call(contract, number, next(self.numbers))
                done += 1
                if isinstance(answer, SubmitResult):
                    self.committed.append(answer.transaction_id)

        before = self._now()
        await asyncio.gather(*(worker(number) for number in range(IN_FLIGHT)))
        wall, chaincode, rest = (now - then for now, then in zip(self._now(), before, strict=True))
        return Measured(done / wall, chaincode / done, (chaincode + rest) / done)

    def _now(self) -> tuple[float, float, float]:
        rest = time.process_time() + cpu_seconds(self.network_pids)
        return time.monotonic(), cpu_seconds((self.pid,)), rest

    async def measure(self, operation: str, seconds: float) -> None:
        """Take a measurement down."""
        self.measured.setdefault(operation, []).append(await self.load(operation, seconds))


async def run(seconds: float) -> Report:
    """Measure every operation in `ROUNDS` rounds; `seconds` is how long each chaincode gets for it in a round."""
    keep_to_two_processors()
    report = Report("chaincode")
    if shutil.which("go") is None:
        report.notes.append("Go is not installed: nothing to measure against")
        return report
    with tempfile.TemporaryDirectory() as folder:
        program = Path(folder) / "operations"
        await asyncio.to_thread(subprocess.run, ["go", "build", "-o", program, "."], cwd=GO, check=True)
        for runtime in runtimes():
            async with open_home(runtime) as (home, pids), _sides(home, pids, program) as (ours, go):
                await _rounds(ours, go, seconds)
                _take_down(report, runtime, ours, go)
                count, wrong = await check_blocks(ours.network, ours.committed + go.committed)
                report.notes.append(f"{runtime}: {count} blocks checked")
                report.failures += [f"{runtime}: {one}" for one in wrong[:5]]
    return report


async def _rounds(ours: Side, go: Side, seconds: float) -> None:
    for operation in OPERATIONS:
        for side in (ours, go):
            await side.load(operation, min(1.0, seconds))
        for number in range(ROUNDS):
            for side in (ours, go) if number % 2 else (go, ours):
                await side.measure(operation, seconds)


def _take_down(report: Report, runtime: str, ours: Side, go: Side) -> None:
    ratios, by_processor = [], []
    for operation in OPERATIONS:
        pairs = list(zip(ours.measured[operation], go.measured[operation], strict=True))
        ratios.append(median(mine.rate / other.rate for mine, other in pairs))
        by_processor.append(median(other.everything / mine.everything for mine, other in pairs))
        report.rows.append(
            {
                "runtime": runtime,
                "operation": operation,
                "python_per_s": median(mine.rate for mine, _ in pairs),
                "go_per_s": median(other.rate for _, other in pairs),
                "ratio": round(ratios[-1], 2),
                "ratio_cpu": round(by_processor[-1], 2),
                "python_cpu_ms": round(median(mine.chaincode for mine, _ in pairs) * 1000, 3),
                "go_cpu_ms": round(median(other.chaincode for _, other in pairs) * 1000, 3),
            }
        )
    found = median(by_processor if busy() else ratios)
    report.notes.append(
        f"{runtime}: ratios {min(ratios):.2f} to {max(ratios):.2f}, median {median(ratios):.2f}, by processor time "
        f"{median(by_processor):.2f}; aim {AIM}"
    )
    if found < AIM:
        report.failures.append(f"{runtime}: our shim does {found:.2f} of what Go chaincode does")


@asynccontextmanager
async def _sides(home: Home, pids: tuple[int, ...], program: Path) -> AsyncIterator[tuple[Side, Side]]:
    python = [sys.executable, "-m", "benchmarks.operations.server"]
    async with _side(home, pids, "python", python) as ours, _side(home, pids, "go", [str(program)]) as go:
        yield ours, go


@asynccontextmanager
async def _side(home: Home, pids: tuple[int, ...], name: str, command: list[str]) -> AsyncIterator[Side]:
    address = f"127.0.0.1:{free_port()}"
    deployment = await deploy(home, name, "1.0", address, collections=_collections(home))
    environment = os.environ | {"CHAINCODE_SERVER_ADDRESS": address, "CHAINCODE_ID": deployment.package_id}
    program = await asyncio.create_subprocess_exec(*command, env=environment)
    try:
        async with open_channel(home) as network:
            contract = network.contract(name)
            await _patiently(lambda: contract.submit("put", "ready", "1"))
            await _patiently(lambda: contract.submit("fill", "p", str(2 * IN_FLIGHT * TURNS)))
            await _patiently(lambda: contract.submit("fill", "r", "100"))
            yield Side(name, program.pid, pids, network)
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
