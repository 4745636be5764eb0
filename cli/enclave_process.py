"""An enclave beside its operator's agent: a child process behind a Unix socket in ``HOME/enclaves/NAME``.

::

    HOME/enclaves/NAME/socket      where it answers
    HOME/enclaves/NAME/exchange    files that the host hands over
    HOME/enclaves/NAME/trust-bundle.json    whom it believes: it starts again with this, and so with the same keys
    HOME/logs/enclave-NAME.log     what it says
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import re
import sys
import time
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, replace
from pathlib import Path

from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.cli import enclave_config
from goldengrain.cli.enclave_config import EnclaveConfig
from goldengrain.cli.errors import CommandLineError, ProcessFailed
from goldengrain.cli.founding import BUNDLE, bundle_file, root_folder
from goldengrain.enclave.client import EnclaveClient, EnclaveIdentity, Reach
from goldengrain.enclave.errors import EnclaveUnreachable
from goldengrain.enclave.quoting import SourceKind
from goldengrain.network.home import Home, write_atomically
from goldengrain.network.processes import NetworkLock, last_lines

_NAME = re.compile(r"[a-z0-9][a-z0-9-]{0,62}")
_START_S = 30.0
_STOP_S = 20.0


@dataclass(frozen=True)
class EnclaveHost:
    """Where an enclave is reached, and what it says of itself. ``pid`` 0: somebody else's process."""

    name: str
    reach: Reach
    exchange: Path
    identity: EnclaveIdentity
    pid: int = 0

    @property
    def id(self) -> bytes:
        """The enclave's id."""
        return self.identity.enclave

    @property
    def simulated(self) -> bool:
        """Whether its quotes rest on a simulated root."""
        return self.identity.attestation == "simulated"

    def client(self) -> EnclaveClient:
        """A new connection to it, for ``async with``."""
        return self.reach.client()


def folder_of(home: Home, name: str) -> Path:
    """The folder of an enclave. Raises CommandLineError for what cannot be a name."""
    if not _NAME.fullmatch(name):
        raise CommandLineError(f"{name!r} cannot name an enclave: use lowercase letters, digits and dashes")
    return home.path / "enclaves" / name


async def attach(home: Home, name: str) -> EnclaveHost:
    """Find an enclave that runs. Raises EnclaveUnreachable where none does."""
    folder = folder_of(home, name)
    reach = enclave_config.load(folder).reach(home)
    async with reach.client() as client:
        identity = await client.identity()
    return EnclaveHost(name, reach, folder / "exchange", identity)


def trust(home: Home, name: str) -> None:
    """Have an enclave believe the trust bundle that is in force in this folder, from its next start."""
    pinned = folder_of(home, name) / BUNDLE
    pinned.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    write_atomically(pinned, bundle_file(home).read_bytes())


class EnclaveKeeper:
    """Keeps an enclave running; use it as ``async with``.

    One that runs under its name already is used as it is. One that this keeper has started ends with this process,
    whatever ends it: an enclave goes when the pipe to it is closed. Its keys stay: it comes back as the same enclave.
    """

    def __init__(self, home: Home, name: str, *, channel: str, contract: str, jobs: int = 1) -> None:
        self._home, self._name = home, name
        self._folder = folder_of(home, name)
        self._where = channel, contract
        self._jobs = jobs
        self._process: asyncio.subprocess.Process | None = None

    async def __aenter__(self) -> EnclaveKeeper:
        return self

    async def __aexit__(self, *_: object) -> None:
        if self._process is not None:
            await _stop(self._process)

    async def host(self) -> EnclaveHost:
        """Return the enclave, started where it doesn't run. Raises ProcessFailed with the last lines of its log."""
        with contextlib.suppress(EnclaveUnreachable):
            return await self._attached()
        self._folder.mkdir(mode=0o700, parents=True, exist_ok=True)
        with NetworkLock(self._folder / "start.lock") as lock:
            await _acquired(lock)
            with contextlib.suppress(EnclaveUnreachable):
                return await self._attached()  # another agent has started it meanwhile
            if self._process is not None:
                await _stop(self._process)
            await self._start()
            return await self._attached()

    def is_outdated(self, host: EnclaveHost) -> bool:
        """Whether an enclave that this has started is to believe another trust bundle from its next start (`trust`)."""
        pinned = self._folder / BUNDLE
        if self._process is None or not pinned.exists():
            return False
        return TrustBundle.from_bytes(pinned.read_bytes()).digest() != host.identity.bundle

    async def again(self) -> EnclaveHost:
        """Start the enclave again that this has started, once its job has ended."""
        if self._process is not None:
            await _stop(self._process)
        return await self.host()

    async def _attached(self) -> EnclaveHost:
        found = await attach(self._home, self._name)
        return replace(found, pid=self._process.pid) if self._process is not None else found

    async def _start(self) -> None:
        config = enclave_config.load(self._folder)
        if config.quotes is SourceKind.GRAMINE:
            raise ProcessFailed(f"no enclave answers at {config.socket}: start it with gramine-sgx (docs/enclave.md)")
        (self._folder / "exchange").mkdir(mode=0o700, exist_ok=True)
        if not (self._folder / BUNDLE).exists():
            trust(self._home, self._name)
        self._home.logs.mkdir(parents=True, exist_ok=True)
        log = self._home.logs / f"enclave-{self._name}.log"
        offset = log.stat().st_size if log.exists() else 0
        with log.open("ab") as output:
            self._process = await asyncio.create_subprocess_exec(
                *_command(self._home, self._name, config, *self._where, self._jobs),
                stdin=asyncio.subprocess.PIPE,
                stdout=asyncio.subprocess.PIPE,
                stderr=output,
                start_new_session=True,
            )
        try:
            await _ready(self._process, log, offset)
        except BaseException:
            await _stop(self._process)
            raise


@asynccontextmanager
async def enclave_process(home: Home, name: str, *, channel: str, contract: str) -> AsyncIterator[EnclaveHost]:
    """Start an enclave as a child process, and stop it at the end; one that runs under that name is used as it is.

    One inside Gramine is not started here: ``gramine-sgx`` does that.

    Raises:
        ProcessFailed: with the last lines of its log.

    """
    async with EnclaveKeeper(home, name, channel=channel, contract=contract) as keeper:
        yield await keeper.host()


async def _acquired(lock: NetworkLock) -> None:
    """Wait for another agent that starts the enclave just now."""
    until = time.monotonic() + 2 * _START_S
    while not lock.acquire():
        if time.monotonic() > until:
            raise ProcessFailed("another agent has been starting this enclave for a minute; look at the enclave's log")
        await asyncio.sleep(0.05)


async def _ready(process: asyncio.subprocess.Process, log: Path, offset: int) -> None:
    if process.stdout is None:
        raise AssertionError("the process was started with a pipe")
    line = b""
    with contextlib.suppress(TimeoutError):
        async with asyncio.timeout(_START_S):
            line = await process.stdout.readline()
    try:
        if json.loads(line)["ready"] is True:
            return
    except (ValueError, KeyError, TypeError):
        pass
    said = "\n".join(f"  | {one}" for one in last_lines(log, 10, offset=offset))
    raise ProcessFailed(f"the enclave did not start; its log is {log}\n{said}")


async def _stop(process: asyncio.subprocess.Process) -> None:
    if process.returncode is not None:
        return
    with contextlib.suppress(ProcessLookupError):
        process.terminate()
    try:
        async with asyncio.timeout(_STOP_S):
            await process.wait()
    except TimeoutError:
        with contextlib.suppress(ProcessLookupError):
            process.kill()
        await process.wait()


def _command(home: Home, name: str, config: EnclaveConfig, channel: str, contract: str, jobs: int) -> list[str]:
    folder = config.folder
    options = {
        "--quotes": config.quotes.value,
        "--socket": config.socket,
        "--name": name,
        "--bundle": folder / BUNDLE,
        "--root-dir": root_folder(home),
        "--exchange": folder / "exchange",
        "--channel": channel,
        "--contract": contract,
        "--clock": home.clock_file,
    }
    if not config.quotes.simulated:
        options["--state"] = folder / "state"
    made = [sys.executable, "-m", "goldengrain.enclave", "--until-eof", "--jobs", str(jobs)]
    for option, value in options.items():
        made += [option, str(value.absolute() if isinstance(value, Path) else value)]
    return made
