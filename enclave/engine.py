"""Check a model and run it over a test set: ONNX with ONNX Runtime, weights for a built-in architecture with torch.

The same code runs in the enclave's worker and at the provider's, who evaluates the model it bought: on one kind of
machine both get the same bits. Batches are fixed, one thread runs them, and only checked bytes are run.

Example::

    outputs = run_model(model_bytes, interface, limits, inputs)     # (samples, *output shape)

or piece by piece, whatever the size::

    model = open_model(model_bytes, interface, limits, samples)
    for batch in batches:                                           # of model.batch samples, the last of fewer
        outputs = run_batch(model, interface, batch)
"""

from __future__ import annotations

from typing import Any, Protocol

import numpy as np
import numpy.typing as npt

from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits
from goldengrain.enclave.errors import ModelInterfaceWrong
from goldengrain.enclave.weights import check_weights, looks_like_weights

Array = npt.NDArray[Any]


class Model(Protocol):
    """A checked model, ready to run."""

    batch: int
    """Samples a run."""

    def run(self, batch: Array) -> Array:
        """Return the output for a batch of inputs."""


def open_model(data: bytes, interface: ModelInterface, limits: ModelLimits, samples: int) -> Model:
    """Check a model for a run over so many samples, and make it ready.

    Raises `ModelRefused` for whatever is the model's fault, `HostFault` for the machine's.
    """
    if looks_like_weights(data):
        from goldengrain.enclave.torch_engine import TorchModel

        return TorchModel(check_weights(data, interface, limits, samples))
    from goldengrain.enclave.onnx_engine import OnnxModel
    from goldengrain.enclave.onnx_rules.check import check_model

    return OnnxModel(check_model(data, interface, limits, samples), interface)


def run_batch(model: Model, interface: ModelInterface, batch: Array) -> Array:
    """Run a batch and hold the outputs against the interface; raises `ModelInterfaceWrong`, and what `run` does."""
    wanted, result = interface.output, model.run(batch)
    if result.dtype != np.dtype(wanted.type) or result.shape != (len(batch), *wanted.shape[1:]):
        raise ModelInterfaceWrong(
            f"output {wanted.name!r} came as {result.dtype} {list(result.shape)} for {len(batch)} samples"
        )
    return result


def run_model(data: bytes, interface: ModelInterface, limits: ModelLimits, inputs: Array) -> Array:
    """Check a model and run it over all samples of `inputs`; returns the task's output for each.

    Raises as `open_model` and `run_batch` do; `ValueError` when the inputs themselves are not of the interface.
    """
    wanted = interface.input
    if inputs.dtype != np.dtype(wanted.type) or inputs.shape[1:] != wanted.shape[1:] or not len(inputs):
        raise ValueError(f"inputs of {inputs.dtype} {inputs.shape} where the task has {wanted.type} {wanted.shape[1:]}")
    model = open_model(data, interface, limits, len(inputs))
    results = np.empty((len(inputs), *interface.output.shape[1:]), dtype=interface.output.type)
    for start in range(0, len(inputs), model.batch):
        batch = inputs[start : start + model.batch]
        results[start : start + len(batch)] = run_batch(model, interface, batch)
    return results
