"""The process that runs one model and ends: `python -m goldengrain.enclave.worker`.

It holds no key and no label. It gets interface, limits, the model and the inputs on standard input, gives the outputs
back on standard output, and is limited in memory and processor time; it can write no file, start no program, and where
the system lets it, it has no network. Whatever a model does to it, the enclave lives on.

In: a frame of JSON; the model with its size before it; an empty frame once it may be parsed; then the inputs' bytes, as
many as the samples take. Out: an empty frame when ready; then frames whose first byte says what they are: `o` and a
batch's outputs, as often as there are batches, then `d`; or `e` and an error as JSON, which ends it.
"""

from __future__ import annotations

import json
import os
import resource
import sys
from collections.abc import Iterator
from concurrent.futures import ThreadPoolExecutor
from typing import Any, BinaryIO

import numpy as np

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits
from goldengrain.enclave.confinement import confine, forbid_writing
from goldengrain.enclave.engine import open_model, run_batch
from goldengrain.enclave.errors import OutOfMemory
from goldengrain.enclave.frames import frame, read_announced_from, read_frame_from
from goldengrain.enclave.ready_memory import have_memory_ready
from goldengrain.enclave.torch_engine import load_torch
from goldengrain.enclave.warm_up import warm_up
from goldengrain.enclave.weights import BATCH, check_weights, looks_like_weights

OUTPUTS, DONE, ERROR = b"o", b"d", b"e"
_SPARE_MEMORY = 512 * 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    """Serve one job over standard input and output."""
    source, sink = sys.stdin.buffer, _take_output()
    confine()
    have_memory_ready()
    warm_up()
    pipes = ThreadPoolExecutor(1)
    pipes.submit(int).result()  # its thread is there before memory is bounded
    _send(sink, b"")
    try:
        request = json.loads(read_frame_from(source))
    except EOFError:
        return 0
    try:
        _run(request, source, sink, pipes)
    except MemoryError:
        return _fail(sink, OutOfMemory("the worker ran out of memory"))
    except GoldenGrainError as error:
        return _fail(sink, error)
    _send(sink, DONE)
    return 0


def _run(request: dict[str, Any], source: BinaryIO, sink: BinaryIO, pipes: ThreadPoolExecutor) -> None:
    interface = ModelInterface.from_json(request["interface"])
    limits, samples = ModelLimits.from_json(request["limits"]), int(request["samples"])
    data = read_announced_from(source)
    read_frame_from(source)  # the enclave has held it against the ledger's digest
    kind, shape = np.dtype(interface.input.type.value), interface.input.shape[1:]
    row = kind.itemsize * int(np.prod(shape))
    if looks_like_weights(data):
        check_weights(data, interface, limits, samples)  # costs nothing; torch's import takes seconds
        load_torch()  # before memory is bounded: what torch itself maps doesn't count
    forbid_writing()
    _limit(request, len(data), row)
    model = open_model(data, interface, limits, samples)
    del data
    sizes = [row * min(model.batch, samples - start) for start in range(0, samples, model.batch)]
    for piece in _read_ahead(pipes, source, sizes):
        batch = np.frombuffer(piece, dtype=kind).reshape(-1, *shape)
        outputs = np.ascontiguousarray(run_batch(model, interface, batch))
        sent = pipes.submit(_send, sink, OUTPUTS + outputs.tobytes())
    sent.result()


def _read_ahead(pipes: ThreadPoolExecutor, source: BinaryIO, sizes: list[int]) -> Iterator[memoryview]:
    """Read pieces of these sizes, each while the one before is at work; a piece is good until the next one."""
    halves = [memoryview(bytearray(sizes[0])) for _ in range(2)]
    coming = pipes.submit(_read_into, source, halves[0])
    for number, size in enumerate(sizes):
        coming.result()
        if number + 1 < len(sizes):
            coming = pipes.submit(_read_into, source, halves[(number + 1) % 2][: sizes[number + 1]])
        yield halves[number % 2][:size]


def _read_into(source: BinaryIO, piece: memoryview) -> None:
    done = 0
    while done < len(piece):
        count = source.readinto(piece[done:])  # type: ignore[attr-defined]  # a BufferedReader has it
        if not count:
            raise EOFError("the inputs ended early")
        done += count


def _take_output() -> BinaryIO:
    """Keep standard output for frames alone: what libraries print goes nowhere."""
    sink = os.fdopen(os.dup(1), "wb")
    nowhere = os.open(os.devnull, os.O_WRONLY)
    os.dup2(nowhere, 1)
    os.dup2(nowhere, 2)
    return sink


def _send(sink: BinaryIO, data: bytes) -> None:
    sink.write(frame(data))
    sink.flush()


def _fail(sink: BinaryIO, error: GoldenGrainError) -> int:
    _send(sink, ERROR + json.dumps({"code": error.code, "message": str(error)}).encode())
    return 0


def _limit(request: dict[str, Any], model: int, row: int) -> None:
    """Bound address space and processor time by what the counted memory allows, with room for the engine's own."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - the one file that is read
        mapped = int(file.read().split()[0]) * _PAGE
    memory = mapped + _SPARE_MEMORY + 2 * int(request["limits"]["memory_bytes"]) + 8 * model + 4 * BATCH * row
    seconds = int(request["seconds"])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


if __name__ == "__main__":
    sys.exit(main())
