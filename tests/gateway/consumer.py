"""A consumer of events that is there to be killed: `python -m tests.gateway.consumer FOLDER ADDRESS KIND`.

Each line on standard input forks a consumer, whose process id is printed; it handles events for ever. FOLDER holds the
client's identity (see `Killed`), and what the consumer did: `effects.db` (KIND sqlite), where effect and checkpoint are
one transaction; `effects.txt` and `checkpoint.json` (KIND file), where what wasn't recorded is cut off; or the same two
as an effect elsewhere and a checkpoint after it (KIND elsewhere), where a kill between them repeats one event, which
its transaction's id tells. Each line of effects is a transaction's id and the event's name.
"""

from __future__ import annotations

import asyncio
import os
import signal
import sqlite3
import sys
from collections.abc import Callable
from pathlib import Path

from goldengrain.gateway.backoff import Reconnect
from goldengrain.gateway.checkpoint import Checkpointer, FileCheckpointer, SqliteCheckpointer
from goldengrain.gateway.connection import Endpoint
from goldengrain.gateway.events import ChaincodeEvent
from goldengrain.gateway.gateway import Gateway
from goldengrain.gateway.wallet import Wallet
from tests.gateway.ledger_double import CHAINCODE, CHANNEL

Handle = Callable[[ChaincodeEvent], None]


def sqlite(folder: Path) -> tuple[Checkpointer, Handle]:
    database = sqlite3.connect(folder / "effects.db")
    database.execute("PRAGMA synchronous = OFF")  # a killed process loses nothing that it wrote
    database.execute("CREATE TABLE IF NOT EXISTS effects (number INTEGER PRIMARY KEY, line TEXT)")
    checkpoint = SqliteCheckpointer(database)

    def handle(event: ChaincodeEvent) -> None:
        with database:
            database.execute("INSERT INTO effects (line) VALUES (?)", (line(event),))
            checkpoint.record_event(event)

    return checkpoint, handle


def file(folder: Path) -> tuple[Checkpointer, Handle]:
    checkpoint = FileCheckpointer(folder / "checkpoint.json", folder / "effects.txt")

    def handle(event: ChaincodeEvent) -> None:
        checkpoint.write(f"{line(event)}\n")
        checkpoint.record_event(event)

    return checkpoint, handle


def elsewhere(folder: Path) -> tuple[Checkpointer, Handle]:
    checkpoint = FileCheckpointer(folder / "checkpoint.json")

    def handle(event: ChaincodeEvent) -> None:
        with (folder / "effects.txt").open("a") as effects:
            effects.write(f"{line(event)}\n")
        checkpoint.record_event(event)

    return checkpoint, handle


def line(event: ChaincodeEvent) -> str:
    return f"{event.transaction_id} {event.name}"


KINDS = {"sqlite": sqlite, "file": file, "elsewhere": elsewhere}


async def consume(folder: Path, address: str, kind: str) -> None:
    checkpoint, handle = KINDS[kind](folder)
    endpoint = Endpoint.parse(address, (folder / "root.pem").read_bytes())
    user = Wallet(folder).get("user")
    async with Gateway.connect(endpoint, user.identity, user.signer, reconnect=Reconnect(first=0.02)) as gateway:
        events = gateway.network(CHANNEL).chaincode_events(CHAINCODE, start_block=0, checkpoint=checkpoint)
        async for event in events:
            handle(event)
            await asyncio.sleep(0.002)


def main() -> None:
    folder, address, kind = sys.argv[1:]
    signal.signal(signal.SIGCHLD, signal.SIG_IGN)
    for _ in sys.stdin:
        child = os.fork()
        if not child:
            asyncio.run(consume(Path(folder), address, kind))
        print(child, flush=True)


if __name__ == "__main__":
    main()
