"""What became of each of many submits, as its caller was told, and what the ledger says of it."""

from __future__ import annotations

import asyncio
import time

from goldengrain.gateway.blocks import transactions
from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import CommitUnknown, TransactionError
from goldengrain.gateway.network import Network


class Bookkeeping:
    """Each submit has its own key; who is refused submits anew, whoever is told "unknown" asks by the id in the end."""

    def __init__(self) -> None:
        self.acknowledged: dict[str, str] = {}
        self.refused: set[str] = set()
        self.unknown: dict[str, str] = {}
        self.longest = 0.0

    @property
    def submits(self) -> int:
        """How many have ended."""
        return len(self.acknowledged) + len(self.unknown)

    async def submit(self, contract: Contract, key: str, attempts: int = 2) -> bool:
        """Submit until there is nothing to submit anew; whether the outcome is known."""
        while True:
            began = time.monotonic()
            try:
                result = await contract.submit("put", key, "1", attempts=attempts)
                self.acknowledged[key] = result.transaction_id
                return True
            except TransactionError as error:
                if error.may_commit:
                    self.unknown[key] = error.transaction_id or ""
                    return False
                self.refused.add(error.transaction_id or "")
                await asyncio.sleep(0.05)
            finally:
                self.longest = max(self.longest, time.monotonic() - began)

    async def resolve(self, network: Network, at_once: int) -> dict[str, bool]:
        """Whether each unknown one committed, by its id."""
        waiting, found = iter(list(self.unknown)), {}

        async def worker() -> None:
            for key in waiting:
                try:
                    found[key] = (await network.commit(self.unknown[key]).status(2.0)).successful
                except CommitUnknown:
                    found[key] = False

        await asyncio.gather(*(worker() for _ in range(at_once)))
        return found

    def check(self, valid: dict[str, list[str]], resolved: dict[str, bool]) -> None:
        """Each acknowledged one committed once, each unknown one as its id tells, no refused one, none twice."""
        assert {key: ids for key, ids in valid.items() if len(ids) != 1} == {}
        once = {key: ids[0] for key, ids in valid.items()}
        assert {key: once.get(key) for key in self.acknowledged} == self.acknowledged
        for key, transaction_id in self.unknown.items():
            assert once.get(key) == (transaction_id if resolved[key] else None)
        assert self.refused.isdisjoint({"", *once.values()})


async def committed(network: Network, prefix: str) -> dict[str, list[str]]:
    """The ids of the valid transactions that put each key with a prefix."""
    found: dict[str, list[str]] = {}
    async with network.fetch_blocks(0, await network.height() - 1) as blocks:
        async for block in blocks:
            for one in transactions(block):
                if one.valid and one.call is not None and one.call.function == "put":
                    key = one.call.arguments[1].decode()
                    if key.startswith(prefix):
                        found.setdefault(key, []).append(one.transaction_id)
    return found
