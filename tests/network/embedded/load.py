"""Load for crash tests: a client that keeps submits in flight, survives the network's deaths and writes down what it
was told.

Every worker sends one transaction after the other: half of them add to a counter of their own, the other half put keys
that nobody else puts. A transaction whose submit or status got no answer is resumed: by its id, or by sending the very
same envelope again, as a client may. So every transaction that was sent ends up acknowledged, and the journal and the
ledger can be compared line by line.

An embedded orderer acknowledges what is on its disk, and clients trust in that. Fabric's orderers acknowledge what they
are about to agree on, which goes with the one that dies: there a client sends again what doesn't commit.
"""

from __future__ import annotations

import asyncio
import json
import os
import random
from collections import Counter
from collections.abc import Iterator, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Any

from goldengrain.gateway.contract import Contract
from goldengrain.gateway.errors import CommitStatusError, CommitUnknown, EndorseError, SubmitError, SubmitUnknown
from goldengrain.gateway.network import Network
from goldengrain.gateway.transaction import Status, Transaction

_PAUSE_S = 0.06
_PATIENCE_S = 20.0
_IMPATIENCE_S = 3.0
_IMPATIENT = 0.1  # so often a client sends an envelope again although the orderer has it


class Journal:
    """What the client was told, one JSON object a line, on disk before the client goes on."""

    def __init__(self, path: Path) -> None:
        self.path = path
        self.path.touch()

    def write(self, **entry: object) -> None:
        with self.path.open("a", encoding="utf-8") as file:
            file.write(json.dumps(entry) + "\n")
            file.flush()
            os.fsync(file.fileno())

    def read(self, what: str) -> Iterator[dict[str, Any]]:
        """The entries of one kind: `sent`, `ordered`, `committed`, `killed`."""
        with self.path.open(encoding="utf-8") as file:
            yield from (entry for entry in map(json.loads, file) if entry["what"] == what)


class Worker:
    """Sends transactions one after the other until it is told to stop."""

    def __init__(
        self, number: int, network: Network, chaincode: str, journal: Journal, seed: int, trusting: bool = True
    ) -> None:
        self.number = number
        self._trusting = trusting
        self.committed = 0
        self.tally: Counter[str] = Counter()
        self._network = network
        self._contract: Contract = network.contract(chaincode)
        self._journal = journal
        self._random = random.Random(seed * 1000 + number)
        self._stopping = False

    def stop(self) -> None:
        self._stopping = True

    async def run(self) -> None:
        while not self._stopping:
            await self.send(self._call())

    def _call(self) -> tuple[str, str, str]:
        if self.number % 2:
            return "add", f"counter/{self.number}", str(self._random.randrange(1, 1000))
        return "put", f"unique/{self.number}/{self.committed:06}", f"{self._random.randrange(10**9)}"

    async def send(self, call: tuple[str, str, str]) -> None:
        """Take one transaction to its end, whatever happens to the network in between."""
        try:
            transaction = await self._contract.propose(*call).endorse()
        except EndorseError:
            self.tally["not endorsed"] += 1
            await asyncio.sleep(_PAUSE_S)
            return
        self._journal.write(what="sent", tx=transaction.transaction_id, call=call)
        status = await self._deliver(transaction)
        self._journal.write(what="committed", tx=status.transaction_id, block=status.block, code=status.code_name)
        assert status.successful, (call, status)
        self.committed += 1

    async def _deliver(self, transaction: Transaction) -> Status:
        if await self._submit(transaction):
            if self._random.random() < _IMPATIENT:
                self.tally["sent again"] += 1
                await self._submit(transaction)
            return await self._outcome(transaction)
        while True:  # nobody knows whether it was ordered
            if self._random.random() < 0.5:
                with suppress(CommitStatusError):
                    return await self._status(transaction.transaction_id, self._random.uniform(0.2, 1.5))
            self.tally["sent again"] += 1
            if await self._submit(transaction):
                return await self._outcome(transaction)

    async def _submit(self, transaction: Transaction) -> bool:
        """Whether the orderer acknowledged it."""
        try:
            await transaction.submit()
        except (SubmitUnknown, SubmitError) as error:
            self.tally["submit unknown" if isinstance(error, SubmitUnknown) else "not ordered"] += 1
            await asyncio.sleep(_PAUSE_S)
            return False
        self._journal.write(what="ordered", tx=transaction.transaction_id)
        return True

    async def _status(self, transaction_id: str, deadline: float) -> Status:
        return await self._network.commit(transaction_id).status(deadline)

    async def _outcome(self, transaction: Transaction) -> Status:
        """What became of a transaction that the orderer acknowledged, however often the network dies meanwhile."""
        while True:
            try:
                return await self._status(transaction.transaction_id, _PATIENCE_S if self._trusting else _IMPATIENCE_S)
            except CommitUnknown as error:
                if self._trusting:  # the network lived all that time
                    text = f"{transaction.transaction_id} was acknowledged by the orderer and then lost"
                    raise AssertionError(text) from error
                self.tally["sent again"] += 1
                await self._submit(transaction)
            except CommitStatusError:
                self.tally["status unknown"] += 1
                await asyncio.sleep(_PAUSE_S)


class Load:
    """Workers, and what they have achieved together."""

    def __init__(
        self,
        networks: Sequence[Network],
        chaincode: str,
        journal: Journal,
        workers: int,
        seed: int,
        trusting: bool = True,
    ) -> None:
        self.workers = [
            Worker(number, networks[number % len(networks)], chaincode, journal, seed, trusting)
            for number in range(workers)
        ]
        self._tasks: list[asyncio.Task[None]] = []

    @property
    def committed(self) -> int:
        return sum(worker.committed for worker in self.workers)

    @property
    def tally(self) -> Counter[str]:
        return sum((worker.tally for worker in self.workers), Counter())

    def start(self) -> None:
        self._tasks = [asyncio.create_task(worker.run()) for worker in self.workers]

    async def progress(self, patience_s: float = 60.0) -> None:
        """Wait until one more transaction has committed; raises what a worker failed with."""
        before = self.committed
        async with asyncio.timeout(patience_s):
            while self.committed == before:
                for task in self._tasks:
                    if task.done():
                        task.result()
                await asyncio.sleep(0.005)

    async def finish(self, patience_s: float = 90.0) -> None:
        """Let every worker take what it has begun to its end."""
        for worker in self.workers:
            worker.stop()
        async with asyncio.timeout(patience_s):
            await asyncio.gather(*self._tasks)

    async def abandon(self) -> None:
        """Stop without waiting for anything."""
        for task in self._tasks:
            task.cancel()
        await asyncio.gather(*self._tasks, return_exceptions=True)
