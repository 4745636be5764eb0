"""Run an embedded network: `python -m goldengrain.network.embedded --home HOME`.

Prints one line to standard output once every port answers, `READY ` and a JSON object with channel, organisations and
orderer; the log goes to standard error. SIGTERM and SIGINT stop it gracefully. It ends with 1 when it can't start.
"""

from __future__ import annotations

import argparse
import asyncio
import gc
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence
from pathlib import Path

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.network.home import READY_PREFIX, Home, network_state


def main(arguments: Sequence[str] | None = None) -> int:
    """Run the network until it is told to stop; returns the exit code."""
    parser = argparse.ArgumentParser(prog="python -m goldengrain.network.embedded", description=__doc__)
    parser.add_argument("--home", type=Path, required=True, help="the network's folder")
    parser.add_argument("--log-level", default="INFO", choices=["DEBUG", "INFO", "WARNING", "ERROR"])
    options = parser.parse_args(arguments)
    logging.basicConfig(
        level=options.log_level, stream=sys.stderr, format="%(asctime)s %(levelname)s %(name)s: %(message)s"
    )
    os.environ.setdefault("GRPC_VERBOSITY", "NONE")
    try:
        asyncio.run(_run(Home(options.home)))
    except GoldenGrainError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    return 0


async def _run(home: Home) -> None:
    from goldengrain.network.embedded.network import EmbeddedNetwork  # gRPC reads its environment when it is imported

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    network = EmbeddedNetwork(home)
    await network.start()
    try:
        gc.collect()
        gc.freeze()
        state = network_state(network.topology, runtime="embedded", pid=os.getpid(), started=0)
        print(READY_PREFIX + json.dumps(state.to_json()), flush=True)
        await stopped.wait()
    finally:
        await network.stop()


if __name__ == "__main__":
    sys.exit(main())
