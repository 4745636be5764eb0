"""The contract as a process of its own, to which peers connect (chaincode as a service).

    python -m goldengrain.chaincode.market --address 127.0.0.1:9999 --package-id golden-grain_1:<sha256>

Prints one JSON line once it listens, {"ready": true, "address", "package_id", "pid"}, and stops gracefully on SIGTERM
or SIGINT: calls under way get their answers. Without options it reads CHAINCODE_SERVER_ADDRESS and CHAINCODE_ID,
Fabric's names for them. `--clock` is the file that moves a test network's time.
"""

from __future__ import annotations

import argparse
import asyncio
import json
import logging
import os
import signal
import sys
from collections.abc import Sequence

from goldengrain.chaincode.market.adapter import MarketChaincode
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.shim import ChaincodeServer, TLSOptions


def main(argv: Sequence[str] | None = None) -> int:
    """Run the contract until it is told to stop; returns the exit code."""
    options = _parser().parse_args(argv)
    logging.basicConfig(level=options.log_level.upper(), format="%(asctime)s %(levelname)s %(name)s %(message)s")
    try:
        asyncio.run(_serve(options))
    except GoldenGrainError as error:
        print(f"{error.code}: {error}", file=sys.stderr)
        return 1
    return 0


async def _serve(options: argparse.Namespace) -> None:
    chaincode = MarketChaincode(LedgerClock(options.clock), options.contract)
    server = ChaincodeServer(chaincode, options.address, options.package_id, TLSOptions.from_environment(os.environ))
    stop = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stop.set)
    try:
        port = await server.start()
        host = options.address.rpartition(":")[0]
        ready = {"ready": True, "address": f"{host}:{port}", "package_id": options.package_id, "pid": os.getpid()}
        print(json.dumps(ready), flush=True)
        await stop.wait()
    finally:
        await server.stop()


def _parser() -> argparse.ArgumentParser:
    address, package_id = os.environ.get("CHAINCODE_SERVER_ADDRESS"), os.environ.get("CHAINCODE_ID")
    parser = argparse.ArgumentParser(prog="python -m goldengrain.chaincode.market", description="Serve the contract.")
    parser.add_argument("--address", default=address, required=address is None, help="HOST:PORT; port 0 picks one")
    parser.add_argument("--package-id", default=package_id, required=package_id is None, help="LABEL:SHA256")
    parser.add_argument("--contract", default="golden-grain", help="name under which it is deployed")
    parser.add_argument("--clock", help="file with a test network's offset in seconds")
    parser.add_argument("--log-level", default="info", choices=("debug", "info", "warning", "error"))
    return parser


if __name__ == "__main__":
    sys.exit(main())
