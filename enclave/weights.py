"""Models that are weights alone: a safetensors file for an architecture that is built into the enclave.

Its metadata hold one text, `model`: JSON with `format` and an `architectures.Config`. The tensors are the plan's
weights, float32, by name and shape, all of them and nothing else. Nothing is unpickled, and nothing in the file is
code.

    data = pack_weights(config, weights)                 # weights: arrays by name, as a torch module's state_dict
    checked = check_weights(data, interface, limits, samples)
"""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass
from math import prod
from typing import Any

import numpy as np
import numpy.typing as npt

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits, TensorType
from goldengrain.enclave.architectures import Config, Plan, Step, plan
from goldengrain.enclave.errors import (
    ModelInterfaceWrong,
    ModelStructureWrong,
    ModelTooCostly,
    ModelTooLarge,
    ModelTypeRefused,
    ModelUnparsable,
    ModelVersionRefused,
)
from goldengrain.enclave.onnx_rules.operators import COSTS, Call
from goldengrain.enclave.tensors import LENGTH, Header, HeaderWrong, read_header, write_header

FORMAT = "golden-grain/weights/v1"
MAX_HEADER = 1024 * 1024
BATCH = 256
_FLOAT = 4

Array = npt.NDArray[Any]


@dataclass(frozen=True, repr=False)
class CheckedWeights:
    """Weights that may be run: the plan, arrays over the file's own bytes, samples a run, and what a run costs."""

    plan: Plan
    weights: Mapping[str, Array]
    batch: int
    operations: int
    """Counted for one sample."""
    memory: int
    """Bytes of all tensors of one run, weights included."""


def looks_like_weights(data: bytes | memoryview) -> bool:
    """Whether a model's plaintext is a safetensors file and not an ONNX model; what it is then still has to hold."""
    length = int.from_bytes(data[:LENGTH], "little")
    return len(data) > LENGTH and data[LENGTH] == ord("{") and length <= len(data) - LENGTH


def pack_weights(config: Config, weights: Mapping[str, Array]) -> bytes:
    """Write weights for an architecture; what batch normalisation counted while training is left out.

    Raises `ModelStructureWrong` where names or shapes are not the architecture's.
    """
    config.check()
    own = {name: np.asarray(one) for name, one in weights.items() if not name.endswith("num_batches_tracked")}
    wanted = plan(config, "input", config.image, raw=False).weights
    _require_same(wanted, {name: one.shape for name, one in own.items()})
    model = canonical.dumps({"format": FORMAT, **config.to_json()}).decode()
    header = write_header({"model": model}, {name: ("F32", shape) for name, shape in wanted.items()})
    return header + b"".join(np.ascontiguousarray(own[name], dtype="<f4").tobytes() for name in wanted)


def read_weights(data: bytes) -> tuple[Config, dict[str, Array]]:
    """Read a file of weights: the architecture and the arrays, over the file's own bytes; raises `ModelRefused`."""
    try:
        header = read_header(data, MAX_HEADER)
        if header.whole != len(data):
            raise HeaderWrong(f"the header announces {header.whole:,} bytes, there are {len(data):,}")
        config = _config(header)
    except (HeaderWrong, MalformedInput, KeyError, AttributeError) as error:
        raise ModelUnparsable(f"the plaintext holds no weights for an architecture: {error}") from error
    if any(one.dtype != "F32" for one in header.entries.values()):
        raise ModelTypeRefused("weights are float32")
    return config, _arrays(data, header)


def check_weights(data: bytes, interface: ModelInterface, limits: ModelLimits, samples: int) -> CheckedWeights:
    """Check a model for a run over `samples` samples, in this order; each refusal is a `ModelRefused`.

    1. size in bytes; 2. header; 3. format; 4. architecture and its parameters; 5. element types; 6. number of steps;
    7. the task's input and output; 8. every weight there, of its shape, and no other; 9. memory; 10. counted
    operations.
    """
    if len(data) > limits.model_bytes:
        raise ModelTooLarge(f"the model has {len(data):,} bytes; the task admits {limits.model_bytes:,}")
    config, weights = read_weights(data)
    made = plan(config, interface.input.name, interface.input.shape[1:], interface.input.type is TensorType.UINT8)
    if len(made.steps) > limits.nodes:
        raise ModelTooLarge(f"the architecture has {len(made.steps):,} steps; the task admits {limits.nodes:,}")
    _require_interface(made, interface)
    _require_same(made.weights, {name: one.shape for name, one in weights.items()})
    batch = min(BATCH, samples)
    memory = _FLOAT * (batch * sum(map(prod, made.values.values())) + sum(map(prod, made.weights.values())))
    if memory > limits.memory_bytes:
        raise ModelTooLarge(f"its tensors need {memory:,} bytes for {batch} samples; {limits.memory_bytes:,} are left")
    operations = sum(_cost(made, step) for step in made.steps)
    if operations > limits.operations:
        raise ModelTooCostly(
            f"{operations:,} operations are counted for a sample; the task admits {limits.operations:,}"
        )
    return CheckedWeights(made, weights, batch, operations, memory)


def _config(header: Header) -> Config:
    document = canonical.loads(header.metadata["model"].encode(), MAX_HEADER)
    found = document.pop("format", None)
    if found != FORMAT:
        raise ModelVersionRefused(f"the model is of the format {str(found)[:80]!r}; the engine takes {FORMAT}")
    return Config.from_json(document)


def _require_interface(made: Plan, interface: ModelInterface) -> None:
    if interface.input.type not in (TensorType.FLOAT32, TensorType.UINT8):
        raise ModelInterfaceWrong(f"the architectures take float32 or uint8; the task feeds {interface.input.type}")
    wanted = interface.output
    if wanted.type is not TensorType.FLOAT32 or made.values[made.output] != tuple(wanted.shape[1:]):
        raise ModelInterfaceWrong(
            f"the task wants {wanted.type} {list(wanted.shape[1:])} for a sample, "
            f"the architecture gives float32 {list(made.values[made.output])}"
        )


def _require_same(wanted: Mapping[str, tuple[int, ...]], given: Mapping[str, tuple[int, ...]]) -> None:
    for name, shape in wanted.items():
        if given.get(name) != shape:
            raise ModelStructureWrong(f"weight {name} must have the shape {list(shape)}; it is {given.get(name)}")
    if more := set(given) - set(wanted):
        raise ModelStructureWrong(f"the architecture has no weight {min(more)[:80]!r}")


def _cost(made: Plan, step: Step) -> int:
    """Count a step for one sample, as an ONNX model's node is counted."""
    shapes = {**{name: (1, *shape) for name, shape in made.values.items()}, **made.weights}
    inputs = [shapes.get(name, ()) for name in step.inputs]
    return max(1, COSTS["", step.operator](Call(step.operator, step.attributes, inputs, [shapes[step.output]])))


def _arrays(data: bytes, header: Header) -> dict[str, Array]:
    view = memoryview(data)[header.size :]
    return {
        name: np.frombuffer(view[one.begin : one.begin + one.size], dtype="<f4").reshape(one.shape)
        for name, one in header.entries.items()
    }
