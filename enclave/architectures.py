"""The architectures that are built into the enclave: MLP, LeNet, ResNet-8 and ResNet-18, as plans.

A plan is a list of steps in ONNX's words, with every shape and the name and shape of every weight: data, made from an
architecture's few parameters. The torch engine carries it out, the exporter writes it as an ONNX model, and its cost
is counted by the same rules as an ONNX model's, before anything runs.

=========  ===========================================================================================================
mlp        flattened input, hidden layers with ReLU (`hidden`), weights `fc1.weight`, `fc1.bias`, …
lenet      LeNet-5 (LeCun et al., 1998) with ReLU and greatest-value pooling; from 12 x 12 pixels
resnet-8   three stages of one block with 16, 32, 64 channels (He et al., 2016, for small images; as in MLPerf Tiny)
resnet-18  He et al., 2016: 7 x 7 stem, four stages of two blocks; weights named as torchvision names them
=========  ===========================================================================================================

`image` is the shape (channels, height, width), or features, that the network sees; the task's input is brought to it,
and bytes (uint8) to numbers from 0 to 1. With `probabilities` the last step is a softmax.
"""

from __future__ import annotations

from collections.abc import Callable, Mapping, Sequence
from dataclasses import dataclass, field
from math import prod
from typing import Any

from goldengrain.enclave.errors import ModelStructureWrong

Shape = tuple[int, ...]
MAX_WIDTH = 2**20
MAX_HIDDEN = 64
EPSILON = 1e-5
SCALE = "scale"
"""The one constant: what bytes are multiplied with, 1/255 in float32."""


@dataclass(frozen=True)
class Config:
    """An architecture by name, with its parameters."""

    architecture: str
    image: Shape
    outputs: int
    probabilities: bool = True
    hidden: Shape = ()

    def to_json(self) -> dict[str, Any]:
        """Return it as JSON has it."""
        return {
            "architecture": self.architecture,
            "image": list(self.image),
            "outputs": self.outputs,
            "probabilities": self.probabilities,
            "hidden": list(self.hidden),
        }

    @classmethod
    def from_json(cls, document: Any) -> Config:
        """Read it; raises `ModelStructureWrong` for what is no architecture of this module."""
        try:
            made = cls(**(document | {"image": tuple(document["image"]), "hidden": tuple(document["hidden"])}))
        except (TypeError, KeyError) as error:
            raise ModelStructureWrong("the model names no architecture with its parameters") from error
        made.check()
        return made

    def check(self) -> None:
        """Raise `ModelStructureWrong` for an unknown name and for sizes that can't be."""
        if self.architecture not in ARCHITECTURES or type(self.probabilities) is not bool:
            raise ModelStructureWrong(f"the enclave has {', '.join(ARCHITECTURES)}, no other architecture")
        sizes = (*self.image, *self.hidden, self.outputs)
        if not all(type(one) is int and 0 < one <= MAX_WIDTH for one in sizes) or prod(self.image) > MAX_WIDTH:
            raise ModelStructureWrong(f"sizes are from 1 to {MAX_WIDTH:,}")
        if (self.architecture == "mlp") != bool(self.hidden) or len(self.hidden) > MAX_HIDDEN:
            raise ModelStructureWrong(f"an mlp has 1 to {MAX_HIDDEN} hidden layers, no other architecture has any")
        if self.architecture != "mlp" and len(self.image) != 3:
            raise ModelStructureWrong(f"{self.architecture} sees channels, height and width")


@dataclass(frozen=True)
class Step:
    """One operator of ONNX: inputs and outputs by name."""

    operator: str
    inputs: tuple[str, ...]
    output: str
    attributes: Mapping[str, Any] = field(default_factory=dict)


@dataclass
class Plan:
    """Steps in order; the shapes of all values for one sample (without the axis of samples), and of all weights."""

    steps: list[Step]
    values: dict[str, Shape]
    weights: dict[str, Shape]
    output: str = ""


def plan(config: Config, input_name: str, input_shape: Shape, raw: bool) -> Plan:
    """Lay out an architecture for a task's input (shape of one sample; `raw`: bytes, to be scaled).

    Raises `ModelStructureWrong` where the input can't be brought to what the network sees.
    """
    if prod(input_shape) != prod(config.image):
        raise ModelStructureWrong(f"an input of {list(input_shape)} can't become {list(config.image)}")
    made = _Maker(Plan([], {input_name: input_shape}, {}))
    here = input_name
    if raw:
        here = made.scaled(here)
    if made.shape(here) != config.image:
        here = made.add("Reshape", here, config.image, sizes=(0, *config.image))
    here = ARCHITECTURES[config.architecture](made, here, config)
    made.plan.output = made.add("Softmax", here, made.shape(here), axis=-1) if config.probabilities else here
    return made.plan


class _Maker:
    """Adds steps to a plan."""

    def __init__(self, plan: Plan) -> None:
        self.plan = plan

    def shape(self, name: str) -> Shape:
        return self.plan.values[name]

    def add(self, operator: str, inputs: str | Sequence[str], shape: Shape, **attributes: Any) -> str:
        names = (inputs,) if isinstance(inputs, str) else tuple(inputs)
        output = f"{operator.lower()}_{len(self.plan.steps)}"
        self.plan.steps.append(Step(operator, names, output, attributes))
        self.plan.values[output] = shape
        return output

    def weight(self, name: str, *shape: int) -> str:
        self.plan.weights[name] = shape
        return name

    def scaled(self, here: str) -> str:
        here = self.add("Cast", here, self.shape(here), to=1)
        return self.add("Mul", [here, SCALE], self.shape(here))

    def linear(self, here: str, name: str, outputs: int) -> str:
        (features,) = self.shape(here)
        weights = self.weight(f"{name}.weight", outputs, features), self.weight(f"{name}.bias", outputs)
        return self.add("Gemm", [here, *weights], (outputs,), transB=1)

    def convolution(self, here: str, name: str, channels: int, kernel: int, stride: int, bias: bool = False) -> str:
        before, height, width = self.shape(here)
        pad = kernel // 2
        size = tuple((one + 2 * pad - kernel) // stride + 1 for one in (height, width))
        weights = [self.weight(f"{name}.weight", channels, before, kernel, kernel)]
        weights += [self.weight(f"{name}.bias", channels)] if bias else []
        attributes = {"kernel_shape": (kernel, kernel), "strides": (stride, stride), "pads": (pad,) * 4}
        return self.add("Conv", [here, *weights], (channels, *size), **attributes)

    def normalized(self, here: str, name: str) -> str:
        channels = self.shape(here)[0]
        names = ("weight", "bias", "running_mean", "running_var")
        weights = [self.weight(f"{name}.{one}", channels) for one in names]
        return self.add("BatchNormalization", [here, *weights], self.shape(here), epsilon=EPSILON)

    def relu(self, here: str) -> str:
        return self.add("Relu", here, self.shape(here))

    def pooled(self, here: str, kernel: int, stride: int, pad: int) -> str:
        channels, height, width = self.shape(here)
        size = tuple((one + 2 * pad - kernel) // stride + 1 for one in (height, width))
        if min(size) < 1:
            raise ModelStructureWrong(f"an image of {height} x {width} is too small for the network")
        attributes = {"kernel_shape": (kernel, kernel), "strides": (stride, stride), "pads": (pad,) * 4}
        return self.add("MaxPool", here, (channels, *size), **attributes)

    def flat(self, here: str) -> str:
        return self.add("Flatten", here, (prod(self.shape(here)),), axis=1)

    def block(self, here: str, name: str, channels: int, stride: int) -> str:
        """A basic residual block: two 3 x 3 convolutions beside a shortcut."""
        within = self.relu(self.normalized(self.convolution(here, f"{name}.conv1", channels, 3, stride), f"{name}.bn1"))
        within = self.normalized(self.convolution(within, f"{name}.conv2", channels, 3, 1), f"{name}.bn2")
        if self.shape(here) != self.shape(within):
            here = self.convolution(here, f"{name}.downsample.0", channels, 1, stride)
            here = self.normalized(here, f"{name}.downsample.1")
        return self.relu(self.add("Add", [within, here], self.shape(within)))

    def headed(self, here: str, outputs: int) -> str:
        here = self.add("GlobalAveragePool", here, (self.shape(here)[0], 1, 1))
        return self.linear(self.flat(here), "fc", outputs)


def _mlp(made: _Maker, here: str, config: Config) -> str:
    if len(made.shape(here)) != 1:
        here = made.flat(here)
    for number, width in enumerate(config.hidden, 1):
        here = made.relu(made.linear(here, f"fc{number}", width))
    return made.linear(here, f"fc{len(config.hidden) + 1}", config.outputs)


def _lenet(made: _Maker, here: str, config: Config) -> str:
    here = made.pooled(made.relu(made.convolution(here, "conv1", 6, 5, 1, bias=True)), 2, 2, 0)
    channels, height, width = made.shape(here)
    if min(height, width) < 6:
        raise ModelStructureWrong("LeNet takes images from 12 x 12 pixels")
    weights = made.weight("conv2.weight", 16, channels, 5, 5), made.weight("conv2.bias", 16)
    attributes = {"kernel_shape": (5, 5), "strides": (1, 1), "pads": (0, 0, 0, 0)}
    here = made.add("Conv", [here, *weights], (16, height - 4, width - 4), **attributes)
    here = made.flat(made.pooled(made.relu(here), 2, 2, 0))
    here = made.relu(made.linear(here, "fc1", 120))
    here = made.relu(made.linear(here, "fc2", 84))
    return made.linear(here, "fc3", config.outputs)


def _resnet_8(made: _Maker, here: str, config: Config) -> str:
    here = made.relu(made.normalized(made.convolution(here, "conv1", 16, 3, 1), "bn1"))
    for stage, channels in enumerate((16, 32, 64), 1):
        here = made.block(here, f"layer{stage}.0", channels, 1 if stage == 1 else 2)
    return made.headed(here, config.outputs)


def _resnet_18(made: _Maker, here: str, config: Config) -> str:
    here = made.relu(made.normalized(made.convolution(here, "conv1", 64, 7, 2), "bn1"))
    here = made.pooled(here, 3, 2, 1)
    for stage, channels in enumerate((64, 128, 256, 512), 1):
        here = made.block(here, f"layer{stage}.0", channels, 1 if stage == 1 else 2)
        here = made.block(here, f"layer{stage}.1", channels, 1)
    return made.headed(here, config.outputs)


ARCHITECTURES: dict[str, Callable[[_Maker, str, Config], str]] = {
    "mlp": _mlp,
    "lenet": _lenet,
    "resnet-8": _resnet_8,
    "resnet-18": _resnet_18,
}
