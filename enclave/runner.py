"""Runs models in worker processes: one process per model, the next ones already waiting.

A crash of the engine is taken for the model's fault only when two fresh processes crash on it; a worker that is killed
from outside, out of memory or out of time is the machine's fault, and nothing is signed. A waiting worker that died
before it was given anything is replaced.

A model comes from a `Source`, inputs and outputs are a `Feed`'s, all of it piece by piece: the enclave's memory grows
neither with the model nor with the test set. A model is parsed only once all of it has come without a fault. A feed is
always read to its end, even when the model has failed by then: only at its end is it known whether the test set was the
right one, and that comes first.
"""

from __future__ import annotations

import asyncio
import contextlib
import fcntl
import json
import os
import signal
import subprocess
import sys
import threading
from abc import ABC, abstractmethod
from collections.abc import Callable, Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO, cast

import numpy as np

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits
from goldengrain.enclave.errors import (
    ModelCrashes,
    ModelInterfaceWrong,
    ModelNotRunnable,
    ModelRefused,
    OutOfTime,
    WorkerLost,
    error_from_reply,
)
from goldengrain.enclave.frames import announced, frame, read_frame_from
from goldengrain.enclave.metrics import Array

SECONDS = 600
"""Processor and wall time of one model, unless the caller says otherwise."""
START_SECONDS = 60
_CRASHES = {-signal.SIGSEGV, -signal.SIGABRT, -signal.SIGFPE, -signal.SIGILL, -signal.SIGBUS}
_COMMAND = (sys.executable, "-m", "goldengrain.enclave.worker")
_PIPE = 1024 * 1024

Forward = Callable[[memoryview], None]


class Source(ABC):
    """Where a model comes from. It may be read more than once."""

    @abstractmethod
    def read(self, forward: Forward) -> None:
        """Hand on its size (`frames.announced`), then all of it in pieces; raises what is wrong with it."""


class BytesSource(Source):
    """A model in memory."""

    def __init__(self, model: bytes) -> None:
        self._model = model

    def read(self, forward: Forward) -> None:
        """Hand on the model."""
        forward(memoryview(announced(len(self._model))))
        forward(memoryview(self._model))


class Feed(ABC):
    """Inputs for a model, and what becomes of its outputs. It may be read more than once, each time from the start."""

    samples: int

    @abstractmethod
    def read(self, forward: Forward) -> None:
        """Hand all inputs on, in order, in pieces of any size; raises what is wrong with them."""

    @abstractmethod
    def take(self, outputs: Array) -> None:
        """Take the outputs of the next samples."""


class ArrayFeed(Feed):
    """Inputs in memory; the outputs are kept."""

    def __init__(self, inputs: Array) -> None:
        self.samples = len(inputs)
        self._inputs = np.ascontiguousarray(inputs)
        self._outputs: list[Array] = []

    def read(self, forward: Forward) -> None:
        """Hand on all inputs."""
        self._outputs.clear()
        forward(self._inputs.reshape(-1).view(np.uint8).data)

    def take(self, outputs: Array) -> None:
        """Keep outputs."""
        self._outputs.append(outputs)

    @property
    def outputs(self) -> Array:
        """All outputs."""
        return np.concatenate(self._outputs)


class _Crashed(Exception):
    """The worker died of itself."""


class _NeverReady(Exception):
    """The worker ended before it was given anything."""


class Runner:
    """Runs models, several at once if asked; use it as `async with Runner() as runner`. Its methods may block."""

    def __init__(self, spares: int = 1) -> None:
        self._wanted = spares
        self._spares: list[Worker] = []
        self._lock = threading.Lock()
        self._closed = False
        self._after = ThreadPoolExecutor(1, "worker-ending")

    async def __aenter__(self) -> Runner:
        await asyncio.to_thread(self._prepare)
        return self

    async def __aexit__(self, *_: object) -> None:
        await self.close()

    async def close(self) -> None:
        """End the waiting workers."""
        with self._lock:
            self._closed = True
            spares, self._spares = self._spares, []
        for worker in spares:
            worker.end()
        await asyncio.to_thread(self._after.shutdown)

    async def run(
        self, model: bytes, interface: ModelInterface, limits: ModelLimits, inputs: Array, *, seconds: int = SECONDS
    ) -> Array:
        """Run a model over inputs in a process of its own; returns the outputs. Raises as `feed` does."""
        feed = ArrayFeed(inputs)
        await asyncio.to_thread(self.feed, BytesSource(model), interface, limits, feed, seconds)
        return feed.outputs

    def feed(
        self, model: Source, interface: ModelInterface, limits: ModelLimits, feed: Feed, seconds: int = SECONDS
    ) -> None:
        """Run a model over what a feed holds, in a process of its own.

        Raises what the source raises, but for a model's fault; then what the feed raises; then `ModelRefused` for the
        model's fault and `HostFault` for the machine's.
        """
        request = {"interface": interface.to_json(), "limits": limits.to_json(), "samples": feed.samples}
        head = json.dumps(request | {"seconds": seconds}).encode()
        crashes = 0
        for _ in range(2):
            with self._taken() as worker:
                try:
                    return worker.serve(head, model, interface, feed, seconds)
                except _Crashed:
                    crashes += 1
                except _NeverReady:
                    continue
        if crashes < 2:
            raise WorkerLost("no worker stays alive: is the extra `enclave` installed, is there memory?")
        raise ModelCrashes("the model crashes the engine")

    def _prepare(self) -> None:
        """Have as many workers waiting as are wanted."""
        with self._lock:
            while len(self._spares) < self._wanted and not self._closed:
                self._spares.append(Worker())

    @contextlib.contextmanager
    def _taken(self) -> Iterator[Worker]:
        with self._lock:
            worker = self._spares.pop(0) if self._spares else None
        worker = worker or Worker()
        try:
            yield worker
        finally:
            worker.kill()
            with self._lock:  # nobody waits for its memory to be given back
                open_still = not self._closed
                if open_still:
                    self._after.submit(self._replace, worker)
            if not open_still:
                worker.end()

    def _replace(self, worker: Worker) -> None:
        worker.end()
        self._prepare()  # only now: a start takes a processor for most of a second


class Worker:
    """A worker process that we started."""

    def __init__(self) -> None:
        try:
            self._process = subprocess.Popen(
                _COMMAND,
                stdin=subprocess.PIPE,
                stdout=subprocess.PIPE,
                stderr=subprocess.DEVNULL,
                start_new_session=True,
            )
        except OSError as error:
            raise WorkerLost(f"no worker can be started: {error.strerror}") from error
        self._expired = False
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                fcntl.fcntl(pipe, fcntl.F_SETPIPE_SZ, _PIPE)

    @property
    def pid(self) -> int:
        """The process."""
        return self._process.pid

    @property
    def _input(self) -> BinaryIO:
        return cast(BinaryIO, self._process.stdin)

    @property
    def _output(self) -> BinaryIO:
        return cast(BinaryIO, self._process.stdout)

    def serve(self, head: bytes, model: Source, interface: ModelInterface, feed: Feed, seconds: int) -> None:
        """Run one model; see `Runner.feed`."""
        with self._limited(START_SECONDS):
            try:
                read_frame_from(self._output)
            except EOFError as error:
                raise _NeverReady from error
        with self._limited(seconds):
            feeding = _Feeding(head, model, feed, self._input)
            feeding.start()
            try:
                refusal = self._collect(interface, feed)
            finally:
                feeding.join()
        if feeding.error is not None:
            raise feeding.error
        if self._expired:
            raise OutOfTime(f"the model ran for over {seconds} s: this machine is too slow or too busy")
        if refusal is not None:
            raise refusal

    def kill(self) -> None:
        """End the process."""
        with contextlib.suppress(ProcessLookupError):
            self._process.kill()

    def end(self) -> None:
        """End the process, and wait for it."""
        self.kill()
        self._process.wait()
        for pipe in (self._input, self._output):
            with contextlib.suppress(OSError):
                pipe.close()

    def _collect(self, interface: ModelInterface, feed: Feed) -> Exception | None:
        """Take the outputs as they come; returns what the worker refused, or what it died of."""
        wanted, left = interface.output, feed.samples
        kind, shape = np.dtype(wanted.type.value), tuple(wanted.shape[1:])
        try:
            while reply := read_frame_from(self._output):
                if reply[:1] == b"e":
                    return _refusal(json.loads(reply[1:]))
                if reply[:1] == b"d":
                    return None if left == 0 else WorkerLost("the worker ended early")
                outputs = np.frombuffer(reply, dtype=kind, offset=1).reshape(-1, *shape)
                left -= len(outputs)
                if left < 0:
                    return ModelInterfaceWrong("the model gave more outputs than there are samples")
                feed.take(outputs)
        except (EOFError, ValueError, OSError):
            pass
        return self._cause_of_death()

    def _cause_of_death(self) -> Exception:
        code = self._process.wait()
        if code in _CRASHES:
            return _Crashed(str(code))
        if code == -signal.SIGXCPU:
            return OutOfTime("the model used up its processor time: this machine is too slow or too busy")
        if code == 1:
            return ModelNotRunnable("the engine failed")
        return WorkerLost(f"the worker ended with {code}; look at the machine's memory")

    @contextlib.contextmanager
    def _limited(self, seconds: int) -> Iterator[None]:
        """Kill the process if it takes longer."""
        timer = threading.Timer(seconds, self._expire)
        timer.daemon = True
        timer.start()
        try:
            yield
        finally:
            timer.cancel()

    def _expire(self) -> None:
        self._expired = True
        with contextlib.suppress(ProcessLookupError):
            os.kill(self._process.pid, signal.SIGKILL)


class _Feeding(threading.Thread):
    """Hands a job, its model and its inputs to a worker; once that has gone, they are only read."""

    def __init__(self, head: bytes, model: Source, feed: Feed, sink: BinaryIO) -> None:
        super().__init__(daemon=True)
        self.error: BaseException | None = None
        self._head, self._model, self._feed, self._sink = head, model, feed, sink
        self._gone = False

    def run(self) -> None:
        """Feed; what is raised is kept for who waits."""
        try:
            self._forward(memoryview(frame(self._head)))
            fault = self._hand_over_model()
            self._feed.read(self._forward)
            if fault is not None:
                raise fault
        except BaseException as error:  # noqa: BLE001 - raised again where the thread is joined
            self.error = error
        finally:
            self._close()

    def _hand_over_model(self) -> ModelRefused | None:
        """Let the worker go on once its model is whole; else end it, and return what comes after the feed's faults."""
        try:
            self._model.read(self._forward)
        except ModelRefused as error:
            self._close()
            return error
        self._forward(memoryview(frame(b"")))
        return None

    def _close(self) -> None:
        self._gone = True
        with contextlib.suppress(OSError):
            self._sink.close()

    def _forward(self, data: memoryview) -> None:
        if self._gone:
            return
        try:
            while data:
                data = data[self._sink.write(data) :]
            self._sink.flush()
        except (BrokenPipeError, ValueError):
            self._gone = True


def _refusal(error: dict[str, Any]) -> GoldenGrainError:
    return error_from_reply(str(error.get("code")), str(error.get("message")))
