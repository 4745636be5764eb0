"""The real contract on the embedded network's ledger, in one process: what `MemoryLedger` is, but measured.

A call goes through the shim, the peer's answers to it, the simulator and the state store; a command's read-write set is
then checked against the state and committed as a block of its own, durably. Left out is what costs the same on every
ledger: gRPC, signatures, certificates, endorsement policies.

Before each call everything that an earlier one left in memory is forgotten (the ledger's cache of values, the
contract's parsed records), so that a small state isn't measured against its caches and a large one against its file.
"""

from __future__ import annotations

import asyncio
import gc
import hashlib
import time
from collections.abc import Iterable, Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from fabric_protos.common import common_pb2
from fabric_protos.peer import chaincode_pb2, proposal_response_pb2, transaction_pb2
from fabric_protos.peer.chaincode_shim_pb2 import ChaincodeMessage

from benchmarks.scale.copies import Row
from goldengrain.chaincode.market import state as parsed_records
from goldengrain.chaincode.market.adapter import MarketChaincode
from goldengrain.chaincode.market.memory import Committed
from goldengrain.chaincode.market.rules import Caller, Context
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.requests import Request
from goldengrain.chaincode.shim import ChaincodeStub
from goldengrain.chaincode.shim.exchange import Exchange, PeerOffers
from goldengrain.chaincode.shim.execution import execute
from goldengrain.network.embedded import blocks, rwset
from goldengrain.network.embedded.chain import Chain
from goldengrain.network.embedded.commits import Commit, CommittedTransaction
from goldengrain.network.embedded.ledger import ChannelLedger
from goldengrain.network.embedded.mvcc import StateValidator
from goldengrain.network.embedded.simulator import TxSimulator
from goldengrain.network.embedded.state import BlockUpdates, PublicWrite, StateKey, Version, VersionedValue
from goldengrain.network.embedded.state_requests import ChaincodeTransaction
from goldengrain.network.embedded.store import LedgerStore

CHANNEL, CONTRACT, MSP_ID = "market", "golden-grain", "Org1MSP"
_OFFERS = PeerOffers(write_batch=1000, get_multiple=1000)
_LOADED = Version(0, 0)


@dataclass(frozen=True)
class Call:
    """What one call cost."""

    function: str
    simulate_s: float
    """Until the read-write set is there."""
    store_s: float
    """Of that in the store's file."""
    commit_s: float | None
    """Checking the read-write set and committing it; None of a query."""
    cpu_s: float
    """Processor time of `simulate_s`."""
    keys: int
    """Keys in its read-write set: read one by one, read as a range, written."""
    rows: int
    """Rows that the store read for the simulation, found or not."""


class _CountingStore(LedgerStore):
    """The ledger's file; counts what is read of the state."""

    rows = 0
    seconds = 0.0

    def state(self, key: StateKey) -> VersionedValue | None:
        began = time.perf_counter()
        found = super().state(key)
        self.rows, self.seconds = self.rows + 1, self.seconds + time.perf_counter() - began
        return found

    def state_range(
        self, namespace: str, start: bytes, end: bytes | None, limit: int
    ) -> list[tuple[bytes, VersionedValue]]:
        began = time.perf_counter()
        found = super().state_range(namespace, start, end, limit)
        self.rows, self.seconds = self.rows + len(found), self.seconds + time.perf_counter() - began
        return found


def load(path: Path, rows: Iterable[Row]) -> None:
    """Make a ledger whose state is these rows, in the order of their keys."""
    genesis = blocks.make_block(0, b"", [])
    state = ((StateKey(CONTRACT, "", name), VersionedValue(value, b"", _LOADED)) for name, value in rows)
    ChannelLedger.create(path, CHANNEL, Commit(genesis, (), BlockUpdates()), state).abandon()


@dataclass
class _Attended(MarketChaincode):
    """The contract, told who calls and when instead of reading it from a signed proposal."""

    context: Context = field(default_factory=lambda: Context("", CHANNEL, CONTRACT, 0, Caller(b"", "", None)))

    def __post_init__(self) -> None:
        super().__init__(_Stopped(self), CONTRACT)

    def _context(self, stub: ChaincodeStub) -> Context:
        return self.context


class _Stopped(LedgerClock):
    """A clock that stands at the transaction's time."""

    def __init__(self, contract: _Attended) -> None:
        super().__init__()
        self._contract = contract

    def now_ns(self) -> int:
        return self._contract.context.timestamp * 1_000_000_000


class SimulatedLedger:
    """A loaded ledger, with the methods of `MemoryLedger` that `World` uses. `calls` is what has been measured."""

    channel, contract = CHANNEL, CONTRACT

    def __init__(self, path: Path, now: int) -> None:
        self.now = now
        self.calls: list[Call] = []
        self._store = _CountingStore.open(path)
        self._ledger = ChannelLedger(self._store, Chain.open(self._store))
        self._chaincode = _Attended()
        self._runner = asyncio.Runner()
        self._sent = 0

    def close(self) -> None:
        """Close the ledger's file."""
        self._runner.run(self._ledger.close())
        self._runner.close()

    @property
    def state(self) -> Mapping[str, bytes]:
        """What stands on the ledger, by key."""
        return _View(self._ledger)

    def submit(self, caller: Caller, request: Request, at: int | None = None) -> Committed:
        """Run a command and commit it; a refusal is a RuntimeError."""
        return self._runner.run(self._call(caller, request, at, commit=True))

    def evaluate(self, caller: Caller, request: Request, at: int | None = None) -> Committed:
        """Run a call without committing it."""
        return self._runner.run(self._call(caller, request, at, commit=False))

    async def _call(self, caller: Caller, request: Request, at: int | None, *, commit: bool) -> Committed:
        self._sent += 1
        tx_id = hashlib.sha256(f"measured transaction {self._sent}".encode()).hexdigest()
        timestamp = self.now if at is None else at
        self._chaincode.context = Context(tx_id, CHANNEL, CONTRACT, timestamp, caller)
        self._forget()
        gc.disable()
        began, began_cpu = time.perf_counter(), time.thread_time()
        try:
            payload, results = await self._simulate(tx_id, caller, request)
            cpu_s = time.thread_time() - began_cpu
            simulated, rows, store_s = time.perf_counter(), self._store.rows, self._store.seconds
            rwsets = rwset.parse(results)
            block = await self._commit(tx_id, results, rwsets) if commit else None
            committed = time.perf_counter()
        finally:
            gc.enable()
        commit_s = None if block is None else committed - simulated
        keys = sum(_touched(one) for one in rwsets)
        self.calls.append(Call(request.function(), simulated - began, store_s, commit_s, cpu_s, keys, rows))
        return Committed(tx_id, timestamp, payload, None, (), (), 0)

    def _forget(self) -> None:
        self._ledger.state.forget_cached()
        parsed_records._remembered.cache_clear()  # noqa: SLF001 - nothing but a measurement needs this
        self._store.rows, self._store.seconds = 0, 0.0

    async def _simulate(self, tx_id: str, caller: Caller, request: Request) -> tuple[bytes, bytes]:
        simulator = TxSimulator(self._ledger.snapshot(), tx_id, MSP_ID)
        peer = ChaincodeTransaction(CHANNEL, tx_id, CONTRACT, caller.msp_id, simulator, lambda _: None, _no_other)

        def answer(message: ChaincodeMessage) -> None:
            payload = peer.request(message.type, message.payload)
            assert isinstance(payload, bytes)
            exchange.deliver(ChaincodeMessage(type=ChaincodeMessage.RESPONSE, payload=payload))

        exchange = Exchange(CHANNEL, tx_id, answer, _OFFERS)
        call = chaincode_pb2.ChaincodeInput(args=request.to_args()).SerializeToString()
        message = ChaincodeMessage(type=ChaincodeMessage.TRANSACTION, payload=call, txid=tx_id, channel_id=CHANNEL)
        try:
            answered = await execute(self._chaincode, None, message, exchange)
            response = proposal_response_pb2.Response.FromString(answered.payload)
            if response.status != 200:
                raise RuntimeError(f"{request.function()} is refused: {response.message}")
            return response.payload, simulator.results().public
        finally:
            peer.close()
            simulator.done()

    async def _commit(self, tx_id: str, results: bytes, rwsets: list[rwset.NamespaceRwSet]) -> int:
        number = self._ledger.chain.height
        before = self._ledger.snapshot()
        try:
            validator = StateValidator(before)
            if validator.check(rwsets) != transaction_pb2.VALID:
                raise RuntimeError("a transaction that nobody competes with conflicts")
            validator.apply(rwsets, Version(number, 0))
        finally:
            before.close()
        written = [PublicWrite(0, key.namespace, key.key) for key in validator.updates]
        updates = BlockUpdates(state=validator.updates, history=written)
        transaction = CommittedTransaction(tx_id, 0, common_pb2.ENDORSER_TRANSACTION, transaction_pb2.VALID)
        block = blocks.make_block(number, self._ledger.chain.last_hash, [results])
        await self._ledger.commit(Commit(block, (transaction,), updates))
        return number


@dataclass(frozen=True)
class _View(Mapping[str, bytes]):
    ledger: ChannelLedger

    def __getitem__(self, name: str) -> bytes:
        found = self.ledger.state.get_public(CONTRACT, name)
        if found is None:
            raise KeyError(name)
        return found.value

    def __iter__(self) -> Iterator[str]:
        return (key.decode() for key, _ in self.ledger.state.range(CONTRACT, b"", None))

    def __len__(self) -> int:
        return sum(1 for _ in self)


async def _no_other(*_: object) -> bytes:
    raise RuntimeError("the contract calls no other")


def _touched(one: rwset.NamespaceRwSet) -> int:
    ranges = one.public.range_queries_info
    if any(info.HasField("reads_merkle_hashes") for info in ranges):
        raise RuntimeError("a range of more than 50 records: ask for smaller pages")
    in_ranges = sum(len(info.raw_reads.kv_reads) for info in ranges)
    return len(one.public.reads) + in_ranges + len(one.public.writes)
