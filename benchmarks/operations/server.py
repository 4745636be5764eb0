"""The operations on our shim. `go/main.go` is the same for Go's."""

from __future__ import annotations

import asyncio
from dataclasses import dataclass

from goldengrain.chaincode.shim import (
    ChaincodeServer,
    ChaincodeStub,
    contract,
    contracts,
    from_json,
    query,
    serve,
    to_json,
    transaction,
)


@dataclass
class Account:
    """A record of the operations `pay` and `range`."""

    balance: int
    owner: str
    tags: list[str]


@contract
class Operations:
    """What is measured."""

    @transaction
    async def fill(self, stub: ChaincodeStub, prefix: str, count: int) -> None:
        """Write `count` accounts under keys that begin with `prefix`."""
        value = to_json(Account(1_000_000, "Org1MSP", ["a", "b"]))
        for number in range(count):
            await stub.put_state(f"{prefix}{number:04}", value)

    @transaction
    async def put(self, stub: ChaincodeStub, key: str, value: bytes) -> None:
        """Write a key."""
        await stub.put_state(key, value)

    @transaction
    async def update(self, stub: ChaincodeStub, key: str, value: bytes) -> bytes:
        """Read a key, then write it."""
        before = await stub.get_state(key)
        await stub.put_state(key, value)
        return before or b""

    @transaction
    async def pay(self, stub: ChaincodeStub, payer: str, payee: str) -> None:
        """Move 1 from one account to another."""
        source, target = [from_json(raw, Account) for raw in await stub.get_states([payer, payee])]
        source.balance -= 1
        target.balance += 1
        await stub.put_state(payer, to_json(source))
        await stub.put_state(payee, to_json(target))

    @transaction
    async def many(self, stub: ChaincodeStub, prefix: str) -> None:
        """Read 20 keys, write all of them."""
        keys = [f"{prefix}{number:04}" for number in range(20)]
        for key, value in zip(keys, await stub.get_states(keys), strict=True):
            await stub.put_state(key, (value or b"") + b".")

    @query(name="range")
    async def range_of(self, stub: ChaincodeStub, start: str, end: str) -> int:
        """Sum up the balances in a range."""
        return sum([from_json(row.value, Account).balance async for row in stub.range(start, end)])

    @transaction
    async def index(self, stub: ChaincodeStub, owner: str, key: str) -> None:
        """Write a composite key, set an event."""
        stub.set_event("indexed", key.encode())
        await stub.put_state(stub.composite_key("index", [owner, key]), b"\x01")

    @transaction
    async def seal(self, stub: ChaincodeStub, key: str, *, value: bytes) -> None:
        """Write a private value that came as transient data."""
        await stub.private_data("sealed").put(key, value)


if __name__ == "__main__":
    asyncio.run(serve(ChaincodeServer.from_environment(contracts(Operations()))))
