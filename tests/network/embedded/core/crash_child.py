"""A process that orders and commits until it is killed; it prints the id of every transaction it has acknowledged.

usage: python -m tests.network.embedded.core.crash_child HOME LEDGER FIRST
"""

import asyncio
import sys
import time
from pathlib import Path

from goldengrain.network.embedded.channel import Channel
from goldengrain.network.embedded.orderer import Orderer
from goldengrain.network.home import Home
from tests.network.embedded.core.kit import Consortium, put


async def main(home: Path, path: Path, first: int) -> None:
    consortium = Consortium(Home(home), Home(home).load_topology())
    channel = Channel.open(path)
    orderer = Orderer(channel, consortium.block_signer(), time.time)
    await orderer.start()
    print("ready", flush=True)

    async def client(lane: int) -> None:
        number = first
        while True:
            prepared = await consortium.prepare(channel, put(f"{lane}-{number}", str(number)))
            await orderer.broadcast(prepared.envelope())
            print(prepared.tx_id, flush=True)
            number += 1

    await asyncio.gather(*(client(lane) for lane in range(4)))


if __name__ == "__main__":
    asyncio.run(main(Path(sys.argv[1]), Path(sys.argv[2]), int(sys.argv[3])))
