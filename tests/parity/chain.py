"""The EVM that the contracts run on: compiles them once, deploys them, and sends transactions at a block's time.

    chain = Chain()
    market = chain.deploy("market.vy", registry.address)
    market.send(sender, "receipt", offer)            # raises Refused("OFFER_NOT_FOUND")

Compiled contracts are kept under `build/contracts`, named by the digest of their sources and of the compiler.
"""

from __future__ import annotations

import hashlib
import json
import os
import re
from collections.abc import Mapping
from dataclasses import dataclass, field
from functools import cache
from pathlib import Path
from typing import Any

from pyrevm import EVM, BlockEnv, Log
from vyper import __version__ as vyper_version
from vyper.cli.vyper_compile import compile_files
from vyper.compiler.settings import OptimizationLevel, Settings
from vyper.utils import keccak256

from goldengrain.chaincode.protocol.errors import ERRORS
from tests.parity import abi

CONTRACTS = Path(__file__).parent / "contracts"
KEPT = Path(__file__).parents[2] / "build" / "contracts"
SIZE_LIMIT = 24_576
"""Bytes of code that a contract may have (EIP-170)."""
UNIT = 10**9
"""Wei in a smallest unit: amounts are gwei, so that 63 bits hold more ether than there is."""
FORK = "PRAGUE"
GAS_LIMIT = 30_000_000

CODES = {keccak256(f"{code}()".encode())[:4]: code for code in ERRORS}
"""Codes of the chaincode's errors by the custom error's selector."""
_OUTPUT = re.compile(r"output: 0x([0-9a-f]*)")


class Refused(Exception):
    """A transaction that a contract has reverted, with the stable code that it says why."""

    def __init__(self, code: str) -> None:
        super().__init__(code)
        self.code = code


class Reverted(Exception):
    """A transaction that ended without a code: out of gas, an overflow, calldata that doesn't decode."""


@dataclass(frozen=True)
class Function:
    """How a function is called."""

    selector: bytes
    arguments: abi.Encoder


@dataclass(frozen=True)
class Artifact:
    """A compiled contract."""

    creation: bytes
    size: int
    """Bytes of the code that stands on the chain."""
    functions: Mapping[str, Function]
    events: Mapping[str, str]
    """Names of events by their topic, hex with 0x."""
    constructor: abi.Encoder


@cache
def artifact(name: str, folder: Path = CONTRACTS) -> Artifact:
    """Return a contract of a folder, compiled; a warning of the compiler's is an error."""
    paths = sorted({*folder.glob("*.vy"), *CONTRACTS.glob("*.vy")})
    sources = b"\0".join(path.name.encode() + b"\0" + path.read_bytes() for path in paths)
    kept = KEPT / f"{name}-{hashlib.sha256(vyper_version.encode() + sources).hexdigest()[:24]}.json"
    if not kept.exists():
        kept.parent.mkdir(parents=True, exist_ok=True)
        fresh = kept.with_suffix(f".{os.getpid()}")  # other test processes compile at the same time
        fresh.write_text(json.dumps(compiled(name, folder)))
        fresh.replace(kept)
    return _artifact(json.loads(kept.read_text()))


def compiled(name: str, folder: Path = CONTRACTS) -> dict[str, Any]:
    """Compile a contract; returns ABI and codes as the compiler gives them."""
    (result,) = compile_files(
        [str(folder / name)],
        ["abi", "bytecode", "bytecode_runtime"],
        paths=[str(CONTRACTS), str(folder)],
        settings=Settings(optimize=OptimizationLevel.CODESIZE),
        warnings_control="error",
    ).values()
    return dict(result)


def _artifact(result: dict[str, Any]) -> Artifact:
    functions, events, constructor = {}, {}, abi.sequence([])
    for entry in result["abi"]:
        if entry["type"] == "event":
            events["0x" + keccak256(abi.signature(entry).encode()).hex()] = entry["name"]
        elif entry["type"] in ("function", "constructor"):
            arguments = abi.sequence([abi.encoder(one) for one in entry["inputs"]])
            if entry["type"] == "constructor":
                constructor = arguments
            else:
                selector = keccak256(abi.signature(entry).encode())[:4]
                functions[entry["name"]] = Function(selector, arguments)
    creation = bytes.fromhex(result["bytecode"][2:])
    return Artifact(creation, len(result["bytecode_runtime"]) // 2 - 1, functions, events, constructor)


@dataclass(frozen=True)
class Event:
    """What a contract has logged: the event's name, its indexed words, and the others' bytes."""

    name: str
    topics: tuple[bytes, ...]
    data: bytes


@dataclass(frozen=True)
class Receipt:
    """An accepted transaction: what it returned and logged. `gas` is what this EVM charges, see `benchmarks.gas`."""

    output: bytes
    events: tuple[Event, ...]
    gas: int
    refund: int
    calldata: bytes
    raw: tuple[Log, ...] = field(repr=False)

    @property
    def words(self) -> list[int]:
        """What was returned, as unsigned integers."""
        return abi.words(self.output)


@dataclass(frozen=True)
class Deployed:
    """A contract on a chain."""

    chain: Chain
    address: str
    artifact: Artifact

    def send(self, sender: str, function: str, *arguments: Any, value: int = 0) -> Receipt:
        """Send a transaction, `value` in units; raises `Refused`, `Reverted`."""
        call = self.artifact.functions[function]
        return self.chain.send(sender, self, call.selector + call.arguments.write(arguments), value)

    def ask(self, function: str, *arguments: Any) -> int:
        """Return the first word that a question is answered with."""
        call = self.artifact.functions[function]
        data = call.selector + call.arguments.write(arguments)
        return abi.words(self.chain.evm.message_call(NOBODY, self.address, data))[0]


NOBODY = "0x" + "00" * 19 + "01"


class Chain:
    """An EVM with a clock. Gas costs nothing, so that accounts own what the market owes them and no less."""

    def __init__(self, at: int = 0) -> None:
        self.evm = EVM(gas_limit=GAS_LIMIT, spec_id=FORK)
        self.number = 0
        self.chain_id = self.evm.env.cfg.chain_id
        self.at(at)

    def at(self, moment: int) -> None:
        """Put the next transactions into a block of this time."""
        self.number += 1
        self.evm.set_block_env(BlockEnv(timestamp=moment, number=self.number, gas_limit=GAS_LIMIT))

    def deploy(self, name: str, *arguments: Any, sender: str = NOBODY, folder: Path = CONTRACTS) -> Deployed:
        """Put a contract on the chain."""
        made = artifact(name, folder)
        if made.size > SIZE_LIMIT:
            raise Reverted(f"{name} has {made.size} bytes of code, over the {SIZE_LIMIT} that EIP-170 allows")
        address = self.evm.deploy(sender, made.creation + made.constructor.write(arguments))
        return Deployed(self, address, made)

    def balance(self, address: str) -> int:
        """Return what an address owns outside of contracts' books, in units."""
        return int(self.evm.get_balance(address)) // UNIT

    def send(self, sender: str, to: Deployed, calldata: bytes, value: int) -> Receipt:
        """Send a transaction; see `Deployed.send`."""
        try:
            output = self.evm.message_call(sender, to.address, calldata, value=value * UNIT)
        except RuntimeError as error:
            raise _refusal(str(error)) from error
        result = self.evm.result
        assert result is not None
        logs = tuple(result.logs)
        return Receipt(
            output=output,
            events=tuple(_event(to.artifact, log) for log in logs),
            gas=result.gas_used,
            refund=result.gas_refunded,
            calldata=calldata,
            raw=logs,
        )


def _event(made: Artifact, log: Log) -> Event:
    name, *indexed = log.topics
    data = log.data
    body = data[1] if isinstance(data, tuple) else data
    return Event(made.events.get(name, name), tuple(bytes.fromhex(one[2:]) for one in indexed), bytes(body))


def _refusal(message: str) -> Refused | Reverted:
    found = _OUTPUT.search(message)
    code = CODES.get(bytes.fromhex(found[1])) if found else None
    return Reverted(message) if code is None else Refused(code)
