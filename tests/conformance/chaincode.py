"""Chaincode servers for conformance tests: programs of their own, as on a real network."""

import asyncio
import os
import signal
import socket
import sys
from collections.abc import Sequence
from pathlib import Path
from types import TracebackType

ROOT = Path(__file__).resolve().parent.parent.parent


def free_port() -> int:
    with socket.socket() as probe:
        probe.bind(("127.0.0.1", 0))
        port: int = probe.getsockname()[1]
        return port


class ChaincodeProgram:
    """A chaincode module run by this Python, or any other program. It can be started again after `stop`.

    Every start has the variables that `environment` holds by then.
    """

    def __init__(
        self, program: str | Sequence[str], port: int, log: Path, environment: dict[str, str] | None = None
    ) -> None:
        self.address = f"127.0.0.1:{port}"
        self.log = log
        self._command = [sys.executable, "-m", program] if isinstance(program, str) else list(program)
        self._port = port
        self._environment = {} if environment is None else environment
        self._process: asyncio.subprocess.Process | None = None

    async def start(self, package_id: str) -> None:
        """Start it and wait until it listens."""
        process = await self.launch(package_id)
        async with asyncio.timeout(60):
            while not self._listens():
                assert process.returncode is None, self.log.read_text()
                await asyncio.sleep(0.05)

    async def launch(self, package_id: str) -> asyncio.subprocess.Process:
        """Start it, whatever becomes of it."""
        settings = {"CHAINCODE_SERVER_ADDRESS": self.address, "CHAINCODE_ID": package_id, **self._environment}
        with self.log.open("ab") as log:
            self._process = await asyncio.create_subprocess_exec(
                *self._command, env={**os.environ, **settings}, stdout=log, stderr=log, cwd=ROOT
            )
        return self._process

    @property
    def runs(self) -> bool:
        """Whether it has been started and has not ended."""
        return self._process is not None and self._process.returncode is None

    def pause(self) -> None:
        """Let it take no step until ``resume``; its connections stay."""
        assert self._process is not None
        self._process.send_signal(signal.SIGSTOP)

    def resume(self) -> None:
        assert self._process is not None
        self._process.send_signal(signal.SIGCONT)

    async def stop(self, number: int = signal.SIGTERM) -> int:
        """End it with a signal; its exit code."""
        assert self._process is not None
        self._process.send_signal(number)
        return await self.wait()

    async def wait(self, patience_s: float = 20) -> int:
        """Wait until it has ended by itself; its exit code."""
        assert self._process is not None
        return await asyncio.wait_for(self._process.wait(), patience_s)

    async def __aenter__(self) -> "ChaincodeProgram":
        return self

    async def __aexit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if self.runs:
            await self.stop(signal.SIGKILL)

    def _listens(self) -> bool:
        with socket.socket() as probe:
            return probe.connect_ex(("127.0.0.1", self._port)) == 0
