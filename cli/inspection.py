"""What an ONNX file is made of, and whether an enclave would take it: offline, by the enclave's own checks."""

from __future__ import annotations

from collections import Counter
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.task import BenchmarkSpec, ModelInterface, ModelLimits, Tensor, TensorType
from goldengrain.cli.errors import ExtraMissing
from goldengrain.cli.testsets import LIMITS, OUTPUT

if TYPE_CHECKING:
    from onnx import GraphProto, ModelProto

BATCH_SAMPLES = 256
"""Samples that costs are counted for where no task says how many there are."""


@dataclass(frozen=True)
class Inspected:
    """A model's parts, and the enclave's verdict: counted operations a sample and bytes, or a refusal."""

    ir_version: int
    operator_sets: dict[str, int]
    operators: dict[str, int]
    inputs: list[str]
    outputs: list[str]
    operations: int | None
    memory: int | None
    refusal: GoldenGrainError | None

    @property
    def accepted(self) -> bool:
        """Whether the enclave would run it."""
        return self.refusal is None


def inspect_model(data: bytes, spec: BenchmarkSpec | None = None) -> Inspected:
    """Look at an ONNX model, or weights for a built-in architecture.

    It is judged by a task's spec, or without one by its own interface and the default limits.

    Raises:
        ModelUnparsable: where the bytes are no ONNX model.
        ExtraMissing: without the extra ``enclave``.

    """
    try:
        from goldengrain.enclave.errors import ModelRefused
        from goldengrain.enclave.onnx_rules.check import check_model
        from goldengrain.enclave.weights import looks_like_weights
    except ImportError as error:
        raise ExtraMissing(f"looking into models needs {error.name}: pip install 'goldengrain[enclave]'") from error
    if looks_like_weights(data):
        return _inspect_weights(data, spec)
    model = _parsed(data)
    operations = memory = None
    refusal: GoldenGrainError | None = None
    try:
        interface, limits, samples = _asked(model, spec)
        checked = check_model(data, interface, limits, samples)
        operations, memory = checked.operations, checked.memory
    except ModelRefused as error:
        refusal = error
    graph = model.graph
    return Inspected(
        ir_version=model.ir_version,
        operator_sets={one.domain or "ai.onnx": one.version for one in model.opset_import},
        operators=dict(sorted(Counter(_name(node) for node in graph.node).items())),
        inputs=[_described(value) for value in _fed(graph)],
        outputs=[_described(value) for value in graph.output],
        operations=operations,
        memory=memory,
        refusal=refusal,
    )


def _inspect_weights(data: bytes, spec: BenchmarkSpec | None) -> Inspected:
    """Look at weights for a built-in architecture: its plan stands for the graph, and no ONNX version is told."""
    from goldengrain.enclave.architectures import plan
    from goldengrain.enclave.errors import ModelRefused
    from goldengrain.enclave.weights import check_weights, read_weights

    config, _ = read_weights(data)
    own = ModelInterface(
        Tensor("input", TensorType.FLOAT32, (0, *config.image)), Tensor(OUTPUT, TensorType.FLOAT32, (0, config.outputs))
    )
    made = plan(config, "input", config.image, raw=False)
    operations = memory = None
    refusal: GoldenGrainError | None = None
    limits, samples = (spec.limits, spec.samples) if spec else (LIMITS, BATCH_SAMPLES)
    try:
        checked = check_weights(data, spec.interface if spec else own, limits, samples)
        operations, memory = checked.operations, checked.memory
    except ModelRefused as error:
        refusal = error
    return Inspected(
        ir_version=0,
        operator_sets={},
        operators=dict(sorted(Counter(step.operator for step in made.steps).items())),
        inputs=[f"{config.architecture}: float [samples, {', '.join(map(str, config.image))}]"],
        outputs=[f"{OUTPUT}: float [samples, {config.outputs}]"],
        operations=operations,
        memory=memory,
        refusal=refusal,
    )


def _parsed(data: bytes) -> ModelProto:
    from google.protobuf.message import DecodeError
    from onnx import ModelProto

    from goldengrain.enclave.errors import ModelUnparsable
    from goldengrain.enclave.onnx_rules.check import require_text

    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise ModelUnparsable("the file is not an ONNX model; export one, for instance with skl2onnx") from error
    if not model.HasField("graph") or not model.graph.node:
        raise ModelUnparsable("the file is not an ONNX model: it has no graph; export one, for instance with skl2onnx")
    require_text(model)
    return model


def _asked(model: ModelProto, spec: BenchmarkSpec | None) -> tuple[ModelInterface, ModelLimits, int]:
    if spec is not None:
        return spec.interface, spec.limits, spec.samples
    return _own_interface(model.graph), LIMITS, BATCH_SAMPLES


def own_interface(data: bytes) -> ModelInterface:
    """The interface that an ONNX model has by itself. Raises ModelRefused for what is none or has another one."""
    return _own_interface(_parsed(data).graph)


def _own_interface(graph: GraphProto) -> ModelInterface:
    """The interface that a model has: its one input, and its output ``probabilities`` or else its first one."""
    from goldengrain.enclave.errors import ModelInterfaceWrong

    fed = _fed(graph)
    if len(fed) != 1 or not graph.output:
        raise ModelInterfaceWrong(f"a model has one input and an output; this one has {len(fed)} inputs")
    output = next((one for one in graph.output if one.name == OUTPUT), graph.output[0])
    return ModelInterface(_tensor(fed[0]), _tensor(output))


def _tensor(value: Any) -> Tensor:
    from goldengrain.enclave.errors import ModelInterfaceWrong, ModelShapeUnknown
    from goldengrain.enclave.onnx_rules.check import ELEMENT_NAMES

    kinds = {number: name for name, number in ELEMENT_NAMES.items()}
    kind = kinds.get(value.type.tensor_type.elem_type)
    if kind not in [str(one) for one in TensorType] or not value.name:
        raise ModelInterfaceWrong(f"{value.name[:80]!r} is no tensor of {', '.join(TensorType)}")
    sizes = [dim.dim_value for dim in value.type.tensor_type.shape.dim]
    if not 1 <= len(sizes) <= 8 or 0 in sizes[1:]:
        raise ModelShapeUnknown(f"the shape of {value.name[:80]!r} is not declared; judge the model for a task: --task")
    return Tensor(value.name[:128], TensorType(str(kind)), (0, *sizes[1:]))


def _fed(graph: GraphProto) -> list[Any]:
    initialised = {tensor.name for tensor in graph.initializer}
    return [value for value in graph.input if value.name not in initialised]


def _name(node: Any) -> str:
    return f"{node.domain}.{node.op_type}" if node.domain not in ("", "ai.onnx") else str(node.op_type)


def _described(value: Any) -> str:
    from onnx import TensorProto

    dims = value.type.tensor_type.shape.dim
    sizes = ", ".join(str(one.dim_value) if one.dim_value else one.dim_param or "samples" for one in dims)
    kind = value.type.tensor_type.elem_type
    name = TensorProto.DataType.Name(kind).lower() if kind in TensorProto.DataType.values() else f"type {kind}"
    return f"{value.name}: {name} [{sizes}]"
