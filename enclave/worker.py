"""The process that runs one model and ends: `python -m goldengrain.enclave.worker`.

It holds no key and no label. It gets interface, limits, the model and the inputs on standard input, gives the outputs
back on standard output, and is limited in memory and processor time; it can write no file, and where the system lets
it, it has no network. Whatever a model does to it, the enclave lives on.

In: a frame of JSON, a frame with the model, a frame with the inputs. Out: an empty frame when ready; then a frame of
JSON (`{"ok": …}` or `{"error": …}`), and on success a frame with the outputs.
"""

from __future__ import annotations

import ctypes
import json
import os
import resource
import sys
from typing import Any, BinaryIO

import numpy as np

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits
from goldengrain.enclave.engine import Array, run_model
from goldengrain.enclave.errors import OutOfMemory
from goldengrain.enclave.frames import frame, read_frame_from

_NEW_USER, _NEW_NETWORK = 0x10000000, 0x40000000
_NOT_DUMPABLE = 4
_SPARE_MEMORY = 512 * 1024 * 1024
_PAGE = os.sysconf("SC_PAGE_SIZE")


def main() -> int:
    """Serve one job over standard input and output."""
    source, sink = sys.stdin.buffer, _take_output()
    _confine()
    _send(sink, b"")
    try:
        request = json.loads(read_frame_from(source))
    except EOFError:
        return 0
    model, inputs = read_frame_from(source), read_frame_from(source)
    _limit(request, len(model), len(inputs))
    try:
        outputs = _run(request, model, inputs)
    except MemoryError:
        return _fail(sink, OutOfMemory("the worker ran out of memory"))
    except GoldenGrainError as error:
        return _fail(sink, error)
    _send(sink, json.dumps({"ok": {"type": str(outputs.dtype), "shape": outputs.shape}}).encode())
    _send(sink, outputs.tobytes())
    return 0


def _run(request: dict[str, Any], model: bytes, inputs: bytes) -> Array:
    interface = ModelInterface.from_json(request["interface"])
    limits = ModelLimits.from_json(request["limits"])
    samples = np.frombuffer(inputs, dtype=interface.input.type.value).reshape(-1, *interface.input.shape[1:])
    return run_model(model, interface, limits, samples)


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
    _send(sink, json.dumps({"error": {"code": error.code, "message": str(error)}}).encode())
    return 0


def _confine() -> None:
    """No core dumps, no reading of its memory by others, no files, no further processes; no network where possible."""
    libc = ctypes.CDLL(None, use_errno=True)
    libc.prctl(_NOT_DUMPABLE, 0, 0, 0, 0)
    libc.unshare(_NEW_USER | _NEW_NETWORK)  # refused in many containers; the other limits stand without it
    for limit in (resource.RLIMIT_CORE, resource.RLIMIT_FSIZE):
        resource.setrlimit(limit, (0, 0))


def _limit(request: dict[str, Any], model: int, inputs: int) -> None:
    """Bound address space and processor time by what the counted memory allows, with room for the engine's own."""
    with open("/proc/self/statm", "rb") as file:  # noqa: PTH123 - the one file that is read
        mapped = int(file.read().split()[0]) * _PAGE
    memory = mapped + _SPARE_MEMORY + 2 * int(request["limits"]["memory_bytes"]) + 8 * model + 4 * inputs
    seconds = int(request["seconds"])
    resource.setrlimit(resource.RLIMIT_AS, (memory, memory))
    resource.setrlimit(resource.RLIMIT_CPU, (seconds, seconds + 1))


if __name__ == "__main__":
    sys.exit(main())
