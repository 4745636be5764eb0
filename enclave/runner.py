"""Runs models in worker processes: one process per model, the next one already waiting.

A crash of the engine is taken for the model's fault only when two fresh processes crash on it; a worker that is killed
from outside, out of memory or out of time is the machine's fault, and nothing is signed. A waiting worker that died
before it was given anything is replaced.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import signal
import sys
from typing import Any

import numpy as np

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits
from goldengrain.enclave.errors import (
    ModelCrashes,
    ModelNotRunnable,
    OutOfTime,
    RequestRefused,
    WorkerLost,
    error_from_reply,
)
from goldengrain.enclave.frames import frame, read_frame
from goldengrain.enclave.metrics import Array

SECONDS = 600
"""Processor and wall time of one model, unless the caller says otherwise."""
START_SECONDS = 60
MAX_REPLY = 2**31
_CRASHES = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL, -signal.SIGBUS}
_COMMAND = (sys.executable, "-m", "goldengrain.enclave.worker")


class _Crashed(Exception):
    """The worker died of itself."""


class _NeverReady(Exception):
    """The worker ended before it was given anything."""


class Runner:
    """Runs one model after another; use it as `async with Runner() as runner`."""

    def __init__(self) -> None:
        self._spare: asyncio.Task[asyncio.subprocess.Process] | None = None

    async def __aenter__(self) -> Runner:
        self._prepare()
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the waiting worker."""
        if self._spare is not None:
            spare, self._spare = self._spare, None
            await _end(await spare)

    async def run(
        self, model: bytes, interface: ModelInterface, limits: ModelLimits, inputs: Array, *, seconds: int = SECONDS
    ) -> Array:
        """Run a model over inputs in a process of its own; returns the outputs.

        Raises `ModelRefused` for the model's fault and `HostFault` for the machine's.
        """
        request = {"interface": interface.to_json(), "limits": limits.to_json(), "seconds": seconds}
        frames = (json.dumps(request).encode(), model, np.ascontiguousarray(inputs).tobytes())
        crashes = 0
        for _ in range(2):
            worker = await self._take()
            try:
                return await asyncio.wait_for(_serve(worker, frames), seconds)
            except _Crashed:
                crashes += 1
            except _NeverReady:
                continue
            except TimeoutError as error:
                raise OutOfTime(f"the model ran for over {seconds} s: this machine is too slow or too busy") from error
            finally:
                await _end(worker)
        if crashes < 2:
            raise WorkerLost("no worker stays alive: is the extra `enclave` installed, is there memory?")
        raise ModelCrashes("the model crashes the engine")

    def _prepare(self) -> None:
        self._spare = asyncio.ensure_future(_start())

    async def _take(self) -> asyncio.subprocess.Process:
        if self._spare is None:
            self._prepare()
        spare, self._spare = self._spare, None
        worker = await spare if spare is not None else await _start()
        self._prepare()
        return worker


async def _start() -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        *_COMMAND,
        stdin=asyncio.subprocess.PIPE,
        stdout=asyncio.subprocess.PIPE,
        stderr=asyncio.subprocess.DEVNULL,
        start_new_session=True,
    )


async def _serve(worker: asyncio.subprocess.Process, frames: tuple[bytes, ...]) -> Array:
    """Send a job, read what comes back."""
    if worker.stdin is None or worker.stdout is None:
        raise WorkerLost("the worker has no pipes")
    try:
        if await asyncio.wait_for(read_frame(worker.stdout, 0), START_SECONDS) is None:
            raise _NeverReady
        if worker.returncode is not None:
            raise _NeverReady
        for data in frames:
            worker.stdin.write(frame(data))
            await worker.stdin.drain()
        head = await read_frame(worker.stdout, MAX_REPLY)
        reply = None if head is None else json.loads(head)
        body = await read_frame(worker.stdout, MAX_REPLY) if reply and "ok" in reply else None
    except (ConnectionError, RequestRefused, ValueError):
        reply = body = None
    if reply is None or ("ok" in reply and body is None):
        raise await _cause_of_death(worker)
    if body is None:
        raise _refusal(reply)
    shape, kind = reply["ok"]["shape"], reply["ok"]["type"]
    return np.frombuffer(body, dtype=kind).reshape(shape)


def _refusal(reply: dict[str, Any]) -> GoldenGrainError:
    error = reply.get("error", {})
    return error_from_reply(str(error.get("code")), str(error.get("message")))


async def _cause_of_death(worker: asyncio.subprocess.Process) -> Exception:
    code = await worker.wait()
    if code in _CRASHES:
        return _Crashed(str(code))
    if code == -signal.SIGXCPU:
        return OutOfTime("the model used up its processor time: this machine is too slow or too busy")
    if code == 1:
        return ModelNotRunnable("the engine failed")
    return WorkerLost(f"the worker ended with {code}; look at the machine's memory")


async def _end(worker: asyncio.subprocess.Process) -> None:
    """End a worker that we started, and wait for it."""
    if worker.returncode is None:
        with contextlib.suppress(ProcessLookupError):
            os.kill(worker.pid, signal.SIGKILL)  # not worker.kill(), which reaps behind asyncio's back
    await worker.wait()
    transport = getattr(worker, "_transport", None)
    if transport is not None:
        transport.close()
