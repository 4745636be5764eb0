"""The contract on a ledger in one process: the production rules, without a network.

For tests, simulations and whoever wants to try a market's rules: every call is a transaction that commits at once. It
checks what a peer doesn't: that money is conserved, that no rule reads more than three times, and that what is written
is read back the same.

    ledger = MemoryLedger(now=1_800_000_000)
    ledger.submit(admin, Bootstrap(policy))
"""

from __future__ import annotations

import hashlib
from bisect import bisect_left
from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import Any

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.contract import begin, event_name
from goldengrain.chaincode.market.driver import encode_event, encode_result, encode_writes, found_keys, found_page
from goldengrain.chaincode.market.records import CoinRecord, ProposalRecord
from goldengrain.chaincode.market.rules import Caller, Context, Found, Get, Scan
from goldengrain.chaincode.market.state import StateRecord
from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.requests import Request


@dataclass(frozen=True)
class Committed:
    """A committed transaction: its id, what it answered, and its event (None of a query)."""

    tx_id: str
    timestamp: int
    payload: bytes
    event: tuple[str, dict[str, Any]] | None
    writes: tuple[tuple[str, bytes | None], ...]
    reads: tuple[str, ...]
    """Keys that were read one by one, in order; pages of queries are not in it."""
    round_trips: int

    @property
    def result(self) -> Any:
        """The answer, read from its JSON; None where there is none."""
        return canonical.loads(self.payload, 2**26) if self.payload else None


@dataclass
class MemoryLedger:
    """A ledger in memory. `now` is its time in seconds; move it as you like.

    `held` is the sum of all coins, the treasury's included, and of everything in escrow; `minted` what was minted less
    what was burned. Every commit compares them.
    """

    now: int
    held: int = 0
    minted: int = 0
    channel: str = "market"
    contract: str = "golden-grain"
    state: dict[str, bytes] = field(default_factory=dict)
    transactions: list[Committed] = field(default_factory=list)
    _names: list[str] = field(default_factory=list)
    _sent: int = 0

    def submit(self, caller: Caller, request: Request, at: int | None = None) -> Committed:
        """Run a command as a transaction and commit it. A refusal is raised, and nothing is written."""
        return self.submit_args(caller, request.to_args(), at)

    def submit_args(self, caller: Caller, args: list[bytes], at: int | None = None) -> Committed:
        """Run a call given as the arguments that a peer would see."""
        committed = self._execute(caller, args, at)
        for name, value in committed.writes:
            self._write(name, value)
        self.transactions.append(committed)
        if self.held != self.minted:
            raise AssertionError(f"{args[0].decode()}: {self.held} held, {self.minted} minted")
        return committed

    def evaluate(self, caller: Caller, request: Request, at: int | None = None) -> Committed:
        """Run a call without committing it."""
        return self._execute(caller, request.to_args(), at)

    def records(self) -> Iterator[tuple[str, StateRecord]]:
        """Return every record on the ledger, in the order of their keys."""
        for name in self._names:
            yield name, self._decode(name, self.state[name])

    def balances(self) -> dict[bytes, int]:
        """Return each owner's coins in one sum."""
        sums: dict[bytes, int] = {}
        for _, record in self.records():
            if isinstance(record, CoinRecord):
                sums[record.owner] = sums.get(record.owner, 0) + record.amount
        return sums

    def _execute(self, caller: Caller, args: list[bytes], at: int | None) -> Committed:
        self._sent += 1
        tx_id = hashlib.sha256(f"transaction {self._sent}".encode()).hexdigest()
        tx = Context(tx_id, self.channel, self.contract, self.now if at is None else at, caller)
        read: list[str] = []
        steps = begin(args, tx)
        while steps.request is not None:
            steps.send(self._read(steps.request, read))
        effects = steps.done
        name = event_name(args)
        if name is None and (effects.writes or effects.event):
            raise AssertionError(f"the query {args[0].decode()} writes")
        writes = tuple(encode_writes(effects))
        event = None if name is None else (name, canonical.loads(encode_event(steps, writes), 2**24))
        return Committed(tx_id, tx.timestamp, encode_result(effects), event, writes, tuple(read), steps.reads)

    def _read(self, request: Get | Scan[Any], read: list[str]) -> Found:
        if isinstance(request, Get):
            read.extend(key.name for key in request.keys)
            return found_keys(request, [self.state.get(key.name) for key in request.keys])
        first = bisect_left(self._names, request.bookmark or request.start)
        last = bisect_left(self._names, request.end)
        names = self._names[first : min(last, first + request.size)]
        bookmark = self._names[first + request.size] if first + request.size < last else ""
        return found_page(request, [(name, self.state[name]) for name in names], bookmark)

    def _write(self, name: str, value: bytes | None) -> None:
        position = bisect_left(self._names, name)
        there = position < len(self._names) and self._names[position] == name
        if there:
            self._count(self._decode(name, self.state[name]), -1)
        if value is None:
            if there:
                del self._names[position], self.state[name]
            return
        record = self._decode(name, value)
        if record.encode() != value:
            raise AssertionError(f"{name} is not read back as it was written")
        self._count(record, 1)
        if not there:
            self._names.insert(position, name)
        self.state[name] = value

    def _count(self, record: StateRecord, times: int) -> None:
        self.held += times * record.held
        if isinstance(record, ProposalRecord):
            self.minted += times * (record.minted - record.burned)

    @staticmethod
    def _decode(name: str, value: bytes) -> StateRecord:
        kind: type[StateRecord] = keys.KINDS[name.partition("/")[0]]
        return kind.decode(value)
