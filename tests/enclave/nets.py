"""Built-in architectures with random weights: small ones, as tests want them."""

from __future__ import annotations

from math import prod
from typing import Any

import numpy as np

from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits, Tensor, TensorType
from goldengrain.enclave.architectures import Config, plan
from goldengrain.enclave.weights import pack_weights

LIMITS = ModelLimits(model_bytes=1 << 26, nodes=200, operations=1 << 31, memory_bytes=1 << 31)
CONFIGS = {
    "mlp": Config("mlp", (64,), 10, hidden=(32, 16)),
    "lenet": Config("lenet", (1, 28, 28), 10),
    "resnet-8": Config("resnet-8", (3, 16, 16), 10),
    "resnet-18": Config("resnet-18", (3, 32, 32), 10),
}


def interface(config: Config, kind: TensorType = TensorType.FLOAT32, shape: tuple[int, ...] = ()) -> ModelInterface:
    return ModelInterface(
        Tensor("input", kind, (0, *(shape or config.image))),
        Tensor("probabilities", TensorType.FLOAT32, (0, config.outputs)),
    )


def weights(config: Config, seed: int = 1) -> dict[str, np.ndarray]:
    """Weights as training begins with: small, variances positive."""
    rng = np.random.default_rng(seed)
    made: dict[str, np.ndarray] = {}
    for name, shape in plan(config, "input", config.image, raw=False).weights.items():
        scale = (2 / max(1, prod(shape[1:]))) ** 0.5
        values = rng.normal(scale=scale, size=shape)
        made[name] = (np.abs(values) + 0.5 if "running_var" in name else values).astype(np.float32)
    return made


def net(name: str, **fields: Any) -> bytes:
    config = CONFIGS[name]
    return pack_weights(config, weights(config, **fields))


def inputs(config: Config, samples: int, seed: int = 5) -> np.ndarray:
    return np.random.default_rng(seed).random((samples, *config.image), dtype=np.float32)
