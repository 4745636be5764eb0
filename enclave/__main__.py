"""Run an enclave as a process.

    python -m goldengrain.enclave --socket PATH --name NAME --bundle FILE --root-dir DIR --exchange DIR
    python -m goldengrain.enclave --quotes gramine --socket tcp://127.0.0.1:7400 --name NAME --bundle FILE --state DIR …

It prints one line of JSON when it is ready (`{"ready": true, "enclave": …, "socket": …, …}`) and serves until SIGTERM
or SIGINT, with `--until-eof` also until its standard input ends; then it lets a running job end. `--quotes` chooses
where its quotes come from (`quoting.source`). A simulated one keeps the machine's secret, the sealed keys and the
development root that signs its quotes in `--root-dir`; a real one keeps its keys in `--state`, which only the enclave
can read (an encrypted mount, or memory).
"""

from __future__ import annotations

import argparse
import asyncio
import json
import os
import signal
import sys
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.enclave import sockets
from goldengrain.enclave.errors import BundleRefused, EnclaveError, KeysRefused
from goldengrain.enclave.job import Bench
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.measurement import simulated_measurement
from goldengrain.enclave.quoting import SourceKind, open_source
from goldengrain.enclave.runner import SECONDS, Runner
from goldengrain.enclave.service import Service, log
from goldengrain.enclave.tls import server_context

MAX_BUNDLE = 4 * 1024 * 1024


def main(arguments: list[str] | None = None) -> int:
    """Parse the command line and serve; returns the exit code."""
    options = _parser().parse_args(arguments)
    os.umask(0o077)
    try:
        return asyncio.run(_serve(options))
    except (GoldenGrainError, OSError) as error:
        code = error.code if isinstance(error, GoldenGrainError) else EnclaveError.code
        sys.stderr.write(f"{code}: {error}\n")
        return 1


def _parser() -> argparse.ArgumentParser:
    parser = argparse.ArgumentParser("python -m goldengrain.enclave", description="Run an enclave.")
    parser.add_argument("--socket", required=True, help="Unix socket to serve, or tcp://127.0.0.1:PORT")
    parser.add_argument("--name", required=True, help="name of this enclave and its machine; fixes its PCK key")
    parser.add_argument("--bundle", type=Path, required=True, help="trust bundle, JSON")
    parser.add_argument("--quotes", type=SourceKind, choices=list(SourceKind), default=SourceKind.SIMULATED)
    parser.add_argument("--root-dir", type=Path, help="folder of the development root, for simulated quotes")
    parser.add_argument("--exchange", type=Path, required=True, help="folder through which the host hands files over")
    parser.add_argument("--state", type=Path, help="folder of the sealed keys (default: ROOT-DIR/enclaves/NAME)")
    parser.add_argument("--channel", help="refuse a bundle of another channel")
    parser.add_argument("--contract", help="refuse a bundle of another contract")
    parser.add_argument("--clock", type=Path, help="file with a test network's clock offset")
    parser.add_argument("--until-eof", action="store_true", help="end when standard input does, with whoever holds it")
    parser.add_argument("--seconds", type=int, default=SECONDS, help="greatest time of one model")
    parser.add_argument("--jobs", type=int, choices=range(1, 65), default=1, metavar="N", help="jobs at once (1)")
    return parser


async def _serve(options: argparse.Namespace) -> int:
    bundle = read_bundle(options.bundle, options.channel, options.contract)
    clock = LedgerClock(options.clock)
    source = open_source(options.quotes, root=options.root_dir, name=options.name, code=simulated_measurement())
    state = options.state or _state_of(options)

    def current_keys() -> EnclaveKeys:
        return EnclaveKeys.unseal_or_make(state, source.measurement, bundle.digest(), clock.now())

    stopped = asyncio.Event()
    loop = asyncio.get_running_loop()
    for number in (signal.SIGTERM, signal.SIGINT):
        loop.add_signal_handler(number, stopped.set)
    if options.until_eof:
        loop.add_reader(sys.stdin.fileno(), _read_to_end, loop, stopped)
    loop.set_default_executor(ThreadPoolExecutor(options.jobs + 2))  # a job takes a thread
    async with Runner(options.jobs) as runner:
        bench = Bench(current_keys(), bundle, runner, options.seconds)
        service = Service(options.name, bench, source, options.exchange, clock, current_keys, options.jobs)
        context = server_context(source.certified())
        server = await asyncio.start_server(service.serve, sock=sockets.listen(options.socket), ssl=context)
        own = sockets.inode(options.socket)
        ready = {"ready": True, "pid": os.getpid(), "socket": options.socket, **service.identity}
        sys.stdout.write(json.dumps(ready) + "\n")
        sys.stdout.flush()
        log(options.name, event="ready")
        epochs = asyncio.create_task(service.keep_epochs())
        await stopped.wait()
        epochs.cancel()
        server.close()
        await service.drain()
    sockets.remove(options.socket, own)
    log(options.name, event="stopped")
    return 0


def _read_to_end(loop: asyncio.AbstractEventLoop, ended: asyncio.Event) -> None:
    """Note that standard input has ended."""
    if not os.read(sys.stdin.fileno(), 4096):
        loop.remove_reader(sys.stdin.fileno())
        ended.set()


def _state_of(options: argparse.Namespace) -> Path:
    """Where a simulated enclave keeps its keys; a real one is told."""
    if options.root_dir is None or not options.quotes.simulated:
        raise KeysRefused("name a folder that only this enclave can read: --state")
    state: Path = options.root_dir / "enclaves" / options.name
    return state


def read_bundle(path: Path, channel: str | None = None, contract: str | None = None) -> TrustBundle:
    """Read a trust bundle; raises `BundleRefused` where it is none or of another channel or contract."""
    try:
        bundle = TrustBundle.from_json(canonical.loads(path.read_bytes(), MAX_BUNDLE))
    except (OSError, GoldenGrainError) as error:
        raise BundleRefused(f"{path} holds no trust bundle: {error}") from error
    if channel not in (None, bundle.channel) or contract not in (None, bundle.contract):
        raise BundleRefused(f"{path} is for {bundle.channel}/{bundle.contract}, not for {channel}/{contract}")
    return bundle


if __name__ == "__main__":
    sys.exit(main())
