"""Carry out an architecture's plan with torch: one thread, deterministic algorithms, weights as they were checked.

torch is imported when the first such model is run (three seconds, 500 MB). Nothing of it but tensors and functions of
`torch.nn.functional` is used: no `torch.load`, no pickle, no TorchScript, no compiler.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping
from typing import Any

import numpy as np
import numpy.typing as npt

from goldengrain.enclave.architectures import SCALE, Step
from goldengrain.enclave.errors import EngineMissing, OutOfMemory
from goldengrain.enclave.weights import CheckedWeights

Array = npt.NDArray[Any]


def load_torch() -> Any:
    """Import torch, set to one thread and to deterministic algorithms; raises `EngineMissing` where it isn't there."""
    try:
        import torch
    except (ImportError, OSError) as error:
        raise EngineMissing("this enclave has no torch engine: pip install 'goldengrain[torch]'") from error
    torch.set_num_threads(1)
    torch.use_deterministic_algorithms(True)
    return torch


class TorchModel:
    """A checked model, ready to run on batches."""

    def __init__(self, checked: CheckedWeights) -> None:
        self.batch = checked.batch
        self._torch = load_torch()
        self._plan = checked.plan
        self._input = next(iter(checked.plan.values))
        self._last = _last_uses(checked.plan.steps)
        own = {name: self._torch.tensor(one) for name, one in checked.weights.items()}
        self._weights = own | {SCALE: self._torch.tensor(np.float32(1 / 255))}

    def run(self, batch: Array) -> Array:
        """Return the output for a batch of inputs; raises `OutOfMemory`."""
        try:
            with self._torch.inference_mode():
                return self._run(batch)
        except (RuntimeError, MemoryError) as error:
            if isinstance(error, MemoryError) or "allocate" in str(error):
                raise OutOfMemory("the engine ran out of memory") from error
            raise

    def _run(self, batch: Array) -> Array:
        values: dict[str, Any] = {self._input: self._torch.from_numpy(np.array(batch))}
        for number, step in enumerate(self._plan.steps):
            inputs = [values[name] if name in values else self._weights[name] for name in step.inputs]
            values[step.output] = _OPERATORS[step.operator](self._torch, inputs, step.attributes)
            for name in self._last.get(number, ()):
                del values[name]
        result: Array = values[self._plan.output].numpy()
        return result


def _last_uses(steps: list[Step]) -> dict[int, list[str]]:
    """Return by step the values that no later one needs, so that their memory is given back."""
    last = {name: number for number, step in enumerate(steps) for name in step.inputs}
    made = {steps[0].inputs[0], *(step.output for step in steps)}
    found: dict[int, list[str]] = {}
    for name, number in last.items():
        if name in made:
            found.setdefault(number, []).append(name)
    return found


def _convolution(torch: Any, inputs: list[Any], attributes: Mapping[str, Any]) -> Any:
    bias = inputs[2] if len(inputs) > 2 else None
    pads = attributes["pads"][:2]
    return torch.nn.functional.conv2d(inputs[0], inputs[1], bias, stride=attributes["strides"], padding=pads)


def _pool(torch: Any, inputs: list[Any], attributes: Mapping[str, Any]) -> Any:
    kernel, strides = attributes["kernel_shape"], attributes["strides"]
    return torch.nn.functional.max_pool2d(inputs[0], kernel, stride=strides, padding=attributes["pads"][:2])


def _normalize(torch: Any, inputs: list[Any], attributes: Mapping[str, Any]) -> Any:
    here, weight, bias, mean, variance = inputs
    epsilon = attributes["epsilon"]
    return torch.nn.functional.batch_norm(here, mean, variance, weight, bias, training=False, eps=epsilon)


_OPERATORS: dict[str, Callable[[Any, list[Any], Mapping[str, Any]], Any]] = {
    "Add": lambda _, inputs, __: inputs[0] + inputs[1],
    "BatchNormalization": _normalize,
    "Cast": lambda torch, inputs, _: inputs[0].to(torch.float32),
    "Conv": _convolution,
    "Flatten": lambda _, inputs, __: inputs[0].flatten(1),
    "Gemm": lambda torch, inputs, _: torch.nn.functional.linear(*inputs),
    "GlobalAveragePool": lambda _, inputs, __: inputs[0].mean((2, 3), keepdim=True),
    "MaxPool": _pool,
    "Mul": lambda _, inputs, __: inputs[0] * inputs[1],
    "Relu": lambda torch, inputs, _: torch.relu(inputs[0]),
    "Reshape": lambda _, inputs, attributes: inputs[0].reshape(len(inputs[0]), *attributes["sizes"][1:]),
    "Softmax": lambda torch, inputs, _: torch.softmax(inputs[0], -1),
}
