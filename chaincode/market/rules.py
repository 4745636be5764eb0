"""How a rule of the market is written, and what it may use.

A rule takes a command and the transaction's context and is a generator. It yields reads, is sent the records that were
found, and returns its effects; a refusal is an exception of the tree under `ContractError`, after which nothing is
written. One yield is one round trip to the peer, and a command has at most `MAX_READS` of them.

    def transfer(command: Transfer, tx: Context) -> Rule:
        found = yield Get(coin_key(tx.caller.account, coin) for coin in command.coins)
        effects = Effects(tx)
        ...
        return effects

Rules know one time, the transaction's timestamp. They read no clock, draw no random number, use no float and never
iterate over a set (a test checks their syntax trees), so that every endorser computes the same read-write set.
"""

from __future__ import annotations

from collections.abc import Generator, Iterable, Mapping
from dataclasses import dataclass, field
from typing import Any, Generic, TypeVar, cast

from goldengrain.chaincode.market.state import StateRecord
from goldengrain.chaincode.protocol.accounts import Duty, Role

MAX_READS = 3
"""Round trips to the peer that one command may make."""

DEFAULT_WINDOW = 120
"""Seconds by which a timestamp may differ from the peer's clock where a command reads neither policy nor task."""

RecordT = TypeVar("RecordT", bound=StateRecord)


@dataclass(frozen=True, slots=True)
class Caller:
    """Who signed the transaction.

    `account` is the digest of MSP id, subject and issuer (protocol section 9), so a renewed certificate keeps it.
    `role` is the certificate's NodeOU, None without one. `duties` are what its organisation lets it be used for.
    """

    account: bytes
    msp_id: str
    role: Role | None
    duties: tuple[Duty, ...] = tuple(Duty)


@dataclass(frozen=True, slots=True)
class Context:
    """What a rule knows of its transaction: id (64 hex digits), channel, contract, timestamp in seconds and caller."""

    tx_id: str
    channel: str
    contract: str
    timestamp: int
    caller: Caller


@dataclass(frozen=True, slots=True)
class Key(Generic[RecordT]):
    """A key of the ledger and the kind of record it holds."""

    name: str
    record: type[RecordT]


@dataclass(frozen=True, slots=True)
class Scan(Generic[RecordT]):
    """One page of a range of keys: those in `start <= name < end`, from `bookmark` on, at most `size` of them."""

    start: str
    end: str
    record: type[RecordT]
    size: int
    bookmark: str = ""


@dataclass(frozen=True, slots=True)
class Get:
    """Reads of single keys, all in one round trip. No key twice: the names are put in order of first mention."""

    keys: tuple[Key[Any], ...]

    def __init__(self, keys: Iterable[Key[Any]]) -> None:
        object.__setattr__(self, "keys", tuple({key.name: key for key in keys}.values()))


@dataclass(frozen=True, slots=True)
class Found:
    """What a read found: records by key name, and for a page also the bookmark of the next one (empty: the last)."""

    records: Mapping[str, StateRecord | None]
    bookmark: str = ""

    def get(self, key: Key[RecordT]) -> RecordT | None:
        """Return the record under the key, or None where there is none."""
        return cast("RecordT | None", self.records[key.name])

    def page(self, scan: Scan[RecordT]) -> list[tuple[str, RecordT]]:
        """Return the rows of the page in the order of their keys."""
        return [(name, cast("RecordT", record)) for name, record in self.records.items() if record is not None]


@dataclass(slots=True)
class Effects:
    """What a command does: writes, one event and an answer. Built by a rule, applied by its driver in one batch.

    `window` is the greatest difference in seconds between the transaction's timestamp and the clock of the peer that
    is asked to endorse; the driver holds it against that clock, since rules read none. None, of a query, is any.
    """

    tx: Context
    window: int | None = DEFAULT_WINDOW
    writes: dict[str, StateRecord | None] = field(default_factory=dict)
    event: dict[str, Any] = field(default_factory=dict)
    result: Any = None

    def put(self, key: Key[RecordT], record: RecordT) -> None:
        """Write a record. A rule that writes a key twice is wrong, and so is one whose record isn't the key's kind."""
        if key.name in self.writes or type(record) is not key.record:
            raise AssertionError(f"second or ill-typed write of {key.name}")
        self.writes[key.name] = record

    def delete(self, key: Key[Any]) -> None:
        """Delete a key."""
        if key.name in self.writes:
            raise AssertionError(f"second write of {key.name}")
        self.writes[key.name] = None

    def tell(self, **facts: Any) -> None:
        """Add facts to the event's payload."""
        self.event.update(facts)


Rule = Generator["Get | Scan[Any]", Found, Effects]
"""A rule in progress: yields reads, is sent what they found, returns its effects."""
