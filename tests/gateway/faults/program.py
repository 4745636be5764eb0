"""An embedded network with a key-value chaincode, as a process that can be killed and told what to do.

`python -m tests.gateway.faults.program HOME`: makes the network where the folder holds none. Says `ready`, then reads
lines, `stop HOST` and `start HOST`, and answers each with `done`.
"""

from __future__ import annotations

import asyncio
import json
import sys
from pathlib import Path

from goldengrain.chaincode.shim import ChaincodeServer
from goldengrain.chaincode.shim.example import KeyValueStore
from goldengrain.network import lifecycle
from goldengrain.network.creation import create, is_network
from goldengrain.network.embedded.network import EmbeddedNetwork
from goldengrain.network.home import Home
from goldengrain.network.ports import free_port
from goldengrain.network.topology import default_topology


def known(file: Path) -> list[str]:
    """The chaincode's address and package, where it is deployed."""
    return json.loads(file.read_text()) if file.exists() else []  # type: ignore[no-any-return]


async def deploy(home: Home) -> list[str]:
    address = f"127.0.0.1:{free_port()}"
    return [address, (await lifecycle.deploy(home, "kv", "1.0", address)).package_id]


async def run(home: Home) -> None:
    if not is_network(home):
        create(home, default_topology())
    async with EmbeddedNetwork(home) as network:
        file = home.path / "kv.json"
        address, package_id = known(file) or await deploy(home)
        await asyncio.to_thread(file.write_text, json.dumps([address, package_id]))
        server = ChaincodeServer(KeyValueStore(), address, package_id)
        await server.start()
        print("ready", flush=True)
        while line := await asyncio.to_thread(sys.stdin.readline):
            verb, host = line.split()
            await (network.stop_node if verb == "stop" else network.start_node)(host)
            print("done", flush=True)
        await server.stop()


if __name__ == "__main__":
    asyncio.run(run(Home(Path(sys.argv[1]))))
