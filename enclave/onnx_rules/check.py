"""Check a model and count what a run of it costs, before anything of it runs.

In this order, each with its own refusal (all are `ModelRefused`):

 1. size in bytes;
 2. parses as an ONNX model;
 3. IR version, operator sets; no functions of its own, no training part;
 4. number of nodes and tensors;
 5. every operator on the allow-list, no subgraphs, no references to attributes of functions;
 6. every tensor's bytes inside the model, of an allowed element type, as many as its shape says;
 7. the task's input and nothing else that has to be fed; the task's output (what doesn't lead to it is cut off); every
    name made once, and before it is used;
 8. every shape known for a full batch, by inference from the input alone (what the model claims is dropped);
 9. memory for all tensors at once;
10. counted operations for one sample; the task fixes the number of samples, and with it the time.

What is run afterwards is the checked message, written anew: bytes that another parser might read differently are gone.
The bytes of large weights are taken out of the message as they are checked and go beside it: nothing is as slow with a
large model as to copy it.
"""

from __future__ import annotations

import math
from collections.abc import Iterator, Mapping, Sequence, Set
from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
from google.protobuf.message import DecodeError
from onnx import AttributeProto, GraphProto, ModelProto, NodeProto, TensorProto, TypeProto, helper, numpy_helper

from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits
from goldengrain.enclave.errors import (
    ModelExternalData,
    ModelInterfaceWrong,
    ModelOperatorRefused,
    ModelShapeUnknown,
    ModelStructureWrong,
    ModelTooCostly,
    ModelTooLarge,
    ModelTypeRefused,
    ModelUnparsable,
    ModelVersionRefused,
)
from goldengrain.enclave.onnx_rules.operators import COSTS, ML, Call, Shape
from goldengrain.enclave.onnx_rules.shapes import infer_ml

Array = npt.NDArray[Any]
IR_VERSIONS = range(3, 14)
OPERATOR_SETS = {"": range(9, 26), ML: range(1, 5)}
MAX_TENSORS = 65_536
MAX_ELEMENTS = 2**40
MAX_SHAPE = 1024
"""Elements of a tensor that may be a shape, or indices into one; what is larger is known by its own shape alone."""
BATCH = 256
"""Samples a run; part of what is measured, so that every enclave runs the same batches."""

ELEMENT_BYTES: dict[int, int] = {
    TensorProto.FLOAT: 4,
    TensorProto.DOUBLE: 8,
    TensorProto.FLOAT16: 2,
    TensorProto.INT64: 8,
    TensorProto.INT32: 4,
    TensorProto.INT8: 1,
    TensorProto.UINT8: 1,
    TensorProto.BOOL: 1,
}
ELEMENT_NAMES = {
    "float32": TensorProto.FLOAT,
    "float64": TensorProto.DOUBLE,
    "float16": TensorProto.FLOAT16,
    "int64": TensorProto.INT64,
    "int32": TensorProto.INT32,
    "int8": TensorProto.INT8,
    "uint8": TensorProto.UINT8,
    "bool": TensorProto.BOOL,
}


@dataclass(frozen=True)
class CheckedModel:
    """A model that may be run: its message written anew, the weights beside it, samples a run, and what a run costs."""

    message: bytes
    weights: Mapping[str, Array]
    batch: int
    operations: int
    """Counted for one sample."""
    memory: int
    """Bytes of all tensors of one run, weights included."""


def check_model(data: bytes, interface: ModelInterface, limits: ModelLimits, samples: int) -> CheckedModel:
    """Check a model for a run over `samples` samples; see the module's docstring for the refusals."""
    if len(data) > limits.model_bytes:
        raise ModelTooLarge(f"the model has {len(data):,} bytes; the task admits {limits.model_bytes:,}")
    model = _parse(data)
    _check_versions(model)
    _check_nodes(model.graph, limits)
    model, weights = _lift(model)
    _check_interface(model.graph, interface)
    _check_order(model.graph)
    _prune(model.graph, interface.output.name)
    batch = _fix_batch(model.graph, interface, samples)
    shapes = _infer_shapes(model, interface, batch)
    memory: int = sum(math.prod(shape) * ELEMENT_BYTES[kind] for shape, kind in shapes.values())
    if memory > limits.memory_bytes:
        raise ModelTooLarge(
            f"its tensors need {memory:,} bytes for {batch} samples; the task admits {limits.memory_bytes:,}"
        )
    operations = -(-sum(_cost(node, shapes) for node in model.graph.node) // batch)
    if operations > limits.operations:
        raise ModelTooCostly(
            f"{operations:,} operations are counted for a sample; the task admits {limits.operations:,}"
        )
    kept = {tensor.name: weights[tensor.name] for tensor in model.graph.initializer if tensor.name in weights}
    return CheckedModel(model.SerializeToString(), kept, batch, operations, memory)


def _parse(data: bytes) -> ModelProto:
    model = ModelProto()
    try:
        model.ParseFromString(data)
    except (DecodeError, RecursionError) as error:
        raise ModelUnparsable("the plaintext is not an ONNX model") from error
    if not model.HasField("graph") or not model.graph.node:
        raise ModelUnparsable("the plaintext is not an ONNX model: it has no graph")
    require_text(model)
    return model


def require_text(model: ModelProto) -> None:
    """Refuse a model with a name that is not UTF-8: protobuf hands it on as bytes. Raises ModelUnparsable."""
    if not all(isinstance(one, str) for one in _texts(model)):
        raise ModelUnparsable("the plaintext is not an ONNX model: it has names that are not UTF-8")


def _texts(model: ModelProto) -> Iterator[str]:
    graph = model.graph
    yield graph.name
    yield from (one.domain for one in model.opset_import)
    yield from (one.name for one in graph.initializer)
    for node in graph.node:
        yield from (node.name, node.op_type, node.domain, *node.input, *node.output)
        yield from (one.name for one in node.attribute)
    for value in (*graph.input, *graph.output, *graph.value_info):
        yield value.name
        yield from (size.dim_param for size in value.type.tensor_type.shape.dim)


def _check_versions(model: ModelProto) -> None:
    if model.ir_version not in IR_VERSIONS:
        raise ModelVersionRefused(f"IR version {model.ir_version}; the engine takes {_span(IR_VERSIONS)}")
    if model.functions or model.training_info:
        raise ModelVersionRefused("the model brings functions or a training part; export it for inference only")
    sets = {("" if one.domain == "ai.onnx" else one.domain, one.version) for one in model.opset_import}
    if len({domain for domain, _ in sets}) != len(sets) or not sets:
        raise ModelVersionRefused("the model names an operator set in two versions, or none")
    for domain, version in sets:
        if domain not in OPERATOR_SETS or version not in OPERATOR_SETS[domain]:
            known = ", ".join(f"{name or 'ai.onnx'} {_span(versions)}" for name, versions in OPERATOR_SETS.items())
            raise ModelVersionRefused(f"operator set {domain or 'ai.onnx'} {version}; the engine takes {known}")


def _span(versions: range) -> str:
    return f"{versions.start} to {versions.stop - 1}"


def _check_nodes(graph: GraphProto, limits: ModelLimits) -> None:
    if len(graph.node) > limits.nodes:
        raise ModelTooLarge(f"the model has {len(graph.node):,} nodes; the task admits {limits.nodes:,}")
    names = sum(len(node.input) + len(node.output) + len(node.attribute) for node in graph.node)
    if len(graph.initializer) + names > MAX_TENSORS:
        raise ModelTooLarge(f"the model names more than {MAX_TENSORS:,} tensors")
    for node in graph.node:
        if _key(node) not in COSTS:
            raise ModelOperatorRefused(f"operator {node.domain or 'ai.onnx'}.{node.op_type} is not on the allow-list")
        for attribute in node.attribute:
            if attribute.type not in _READERS or attribute.ref_attr_name:
                raise ModelOperatorRefused(f"{node.op_type} has an attribute of a kind that is not on the allow-list")


def _key(node: NodeProto) -> tuple[str, str]:
    return ("" if node.domain == "ai.onnx" else node.domain, node.op_type)


_to_array: Any = numpy_helper.to_array
_READERS = {
    AttributeProto.FLOAT: lambda attribute: attribute.f,
    AttributeProto.INT: lambda attribute: attribute.i,
    AttributeProto.STRING: lambda attribute: attribute.s,
    AttributeProto.TENSOR: lambda attribute: _to_array(attribute.t).ravel(),
    AttributeProto.FLOATS: lambda attribute: attribute.floats,
    AttributeProto.INTS: lambda attribute: attribute.ints,
    AttributeProto.STRINGS: lambda attribute: attribute.strings,
}


def _attributes(node: NodeProto) -> Mapping[str, Any]:
    found = {attribute.name: _READERS[attribute.type](attribute) for attribute in node.attribute}
    if len(found) != len(node.attribute):
        raise ModelStructureWrong(f"{node.op_type} names an attribute twice")
    return found


def _lift(model: ModelProto) -> tuple[ModelProto, dict[str, Array]]:
    """Check all tensors; return the model without the bytes of large weights, and these.

    The given model is spent: with it goes the memory of its weights.
    """
    weights = _check_tensors(model.graph)
    return ModelProto.FromString(model.SerializeToString()), weights


def _check_tensors(graph: GraphProto) -> dict[str, Array]:
    if graph.sparse_initializer or graph.quantization_annotation:
        raise ModelTypeRefused("the model holds sparse or quantised tensors; export it with dense ones")
    weights: dict[str, Array] = {}
    for tensor in graph.initializer:
        content = _check_tensor(tensor)
        if content and math.prod(tensor.dims) > MAX_SHAPE:
            kind = helper.tensor_dtype_to_np_dtype(tensor.data_type)
            weights[tensor.name] = np.frombuffer(content, kind).reshape(tuple(tensor.dims))
            _leave_out(tensor)
    for tensor in _attribute_tensors(graph):
        _check_tensor(tensor)
    names = {tensor.name for tensor in graph.initializer}
    if len(names) != len(graph.initializer) or "" in names:
        raise ModelStructureWrong("the model names an initializer twice, or not at all")
    return weights


def _leave_out(tensor: TensorProto) -> None:
    """Say that a tensor's bytes are beside the model; the engine is given them by name and looks for no file."""
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value="beside")


def _attribute_tensors(graph: GraphProto) -> Iterator[TensorProto]:
    for node in graph.node:
        for attribute in node.attribute:
            if attribute.type == AttributeProto.TENSOR:
                yield attribute.t


_TYPED_FIELDS = ("float_data", "int32_data", "string_data", "int64_data", "double_data", "uint64_data")


def _check_tensor(tensor: TensorProto) -> bytes:
    """Check a tensor; return its raw bytes, none where its values are written one by one."""
    if tensor.data_location != TensorProto.DEFAULT or tensor.external_data:
        raise ModelExternalData(f"the bytes of tensor {tensor.name[:80]!r} lie outside the model")
    if tensor.data_type not in ELEMENT_BYTES or tensor.HasField("segment"):
        raise ModelTypeRefused(f"tensor {tensor.name[:80]!r} has an element type that is not on the allow-list")
    elements = _elements(tuple(tensor.dims))
    typed = sum(len(getattr(tensor, name)) for name in _TYPED_FIELDS)
    raw = tensor.raw_data  # once: each look is a copy
    whole = len(raw) == elements * ELEMENT_BYTES[tensor.data_type] if raw else typed == elements
    if not whole or (raw and typed):
        raise ModelStructureWrong(f"tensor {tensor.name[:80]!r} holds another number of values than its shape says")
    return raw


def _elements(shape: Shape) -> int:
    if min(shape, default=0) < 0 or math.prod(shape) > MAX_ELEMENTS:
        raise ModelTooLarge(f"a tensor of the shape {list(shape)[:8]} is negative or too large")
    return math.prod(shape)


def _check_interface(graph: GraphProto, interface: ModelInterface) -> None:
    initialised = {tensor.name for tensor in graph.initializer}
    fed = [value for value in graph.input if value.name not in initialised]
    wanted = interface.input
    if [value.name for value in fed] != [wanted.name]:
        names = ", ".join(value.name[:40] for value in fed) or "none"
        raise ModelInterfaceWrong(f"the task feeds the one input {wanted.name!r}; the model has {names}")
    _require_tensor(fed[0].type, wanted.type, f"input {wanted.name!r}")
    dims = fed[0].type.tensor_type.shape.dim
    given = [dim.dim_value if dim.HasField("dim_value") else None for dim in dims]
    if len(given) != len(wanted.shape) or any(
        own not in (None, size) for own, size in zip(given[1:], wanted.shape[1:], strict=True)
    ):
        raise ModelInterfaceWrong(f"input {wanted.name!r} must have the shape {_text(wanted.shape)}; it is {given}")
    result = next((value for value in graph.output if value.name == interface.output.name), None)
    if result is None:
        raise ModelInterfaceWrong(f"the model has no output {interface.output.name!r}")
    _require_tensor(result.type, interface.output.type, f"output {result.name!r}")


def _check_order(graph: GraphProto) -> None:
    """Every name is made once, and before it is used."""
    made = {tensor.name for tensor in graph.initializer} | {value.name for value in graph.input} | {""}
    for node in graph.node:
        own = [name for name in node.output if name]
        if made.isdisjoint(own) and len(set(own)) == len(own) and made.issuperset(node.input):
            made.update(own)
        else:
            raise ModelStructureWrong(f"{node.op_type} makes a name that is taken, or uses one that isn't made yet")


def _text(shape: Sequence[int]) -> str:
    return f"[samples, {', '.join(map(str, shape[1:]))}]"


def _require_tensor(kind: TypeProto, element: str, what: str) -> None:
    if not kind.HasField("tensor_type") or kind.tensor_type.elem_type != ELEMENT_NAMES[element]:
        raise ModelInterfaceWrong(f"{what} must be a tensor of {element}")


def _prune(graph: GraphProto, output: str) -> None:
    """Leave only what the one output is computed from, in the graph's order."""
    needed, kept = {output}, []
    for node in reversed(graph.node):
        if needed.intersection(node.output):
            needed.update(name for name in node.input if name)
            kept.append(node)
    kept.reverse()
    _replace(graph.node, kept)
    _keep(graph.output, {output})
    _keep(graph.initializer, needed)
    _keep(graph.input, needed)
    if not graph.input:
        raise ModelInterfaceWrong(f"output {output!r} doesn't depend on the input")


def _keep(field: Any, names: Set[str]) -> None:
    """Delete the messages of a repeated field that are not named."""
    for index in range(len(field) - 1, -1, -1):
        if field[index].name not in names:
            del field[index]


def _replace(field: Any, kept: Sequence[NodeProto]) -> None:
    copies = [NodeProto.FromString(node.SerializeToString()) for node in kept]
    del field[:]
    field.extend(copies)


def _fix_batch(graph: GraphProto, interface: ModelInterface, samples: int) -> int:
    """Set the input's first dimension to the samples of one run (1 where the model says so) and return it."""
    value = next(one for one in graph.input if one.name == interface.input.name)
    dims = value.type.tensor_type.shape.dim
    own = dims[0].dim_value if dims[0].HasField("dim_value") else 0
    if own not in (0, 1):
        raise ModelInterfaceWrong(f"the model takes batches of {own} only; export it with a free batch dimension")
    return own or min(BATCH, samples)


def _infer_shapes(model: ModelProto, interface: ModelInterface, batch: int) -> dict[str, tuple[Shape, int]]:
    """Return shape and element type of every tensor for a batch, from the input and the weights alone."""
    known = _without_weights(model)
    graph = known.graph
    for value in graph.output:
        value.type.tensor_type.ClearField("shape")
    for value in graph.input:
        if value.name == interface.input.name:
            sizes = (batch, *interface.input.shape[1:])
            del value.type.tensor_type.shape.dim[:]
            for size in sizes:
                value.type.tensor_type.shape.dim.add(dim_value=size)
    known = infer_ml(known)
    shapes: dict[str, tuple[Shape, int]] = {
        tensor.name: (tuple(tensor.dims), tensor.data_type) for tensor in model.graph.initializer
    }
    for value in (*known.graph.input, *known.graph.value_info, *known.graph.output):
        shapes.setdefault(value.name, _shape(value.name, value.type))
    for node in known.graph.node:
        for name in (*node.input, *node.output):
            if name and name not in shapes:
                raise ModelShapeUnknown(
                    f"the shape of {name[:80]!r} (of a {node.op_type}) can't be told before running"
                )
    wanted = (batch, *interface.output.shape[1:])
    if shapes[interface.output.name] != (wanted, ELEMENT_NAMES[interface.output.type]):
        raise ModelInterfaceWrong(
            f"output {interface.output.name!r} must have the shape {_text(interface.output.shape)} "
            f"of {interface.output.type}; for {batch} samples it is {list(shapes[interface.output.name][0])}"
        )
    return shapes


def _without_weights(model: ModelProto) -> ModelProto:
    """Return a copy in which large tensors have become inputs of their shape: only small ones can be shapes themselves.

    So nothing of a model's weight is copied, written and read again to find out its shapes.
    """
    known = ModelProto(ir_version=model.ir_version, opset_import=model.opset_import)
    graph, own = known.graph, model.graph
    graph.name = own.name or "graph"
    for field in ("node", "input", "output"):
        getattr(graph, field).extend(getattr(own, field))
    declared = {value.name for value in own.input}
    for tensor in own.initializer:
        if math.prod(tensor.dims) <= MAX_SHAPE:
            graph.initializer.append(tensor)
        elif tensor.name not in declared:
            graph.input.append(helper.make_tensor_value_info(tensor.name, tensor.data_type, tensor.dims))
    return known


def _shape(name: str, kind: TypeProto) -> tuple[Shape, int]:
    if not kind.HasField("tensor_type") or kind.tensor_type.elem_type not in ELEMENT_BYTES:
        raise ModelTypeRefused(f"{name[:80]!r} is no tensor of an element type on the allow-list")
    dims = kind.tensor_type.shape.dim
    if not kind.tensor_type.HasField("shape") or not all(dim.HasField("dim_value") for dim in dims):
        raise ModelShapeUnknown(f"the shape of {name[:80]!r} can't be told before running")
    shape = tuple(dim.dim_value for dim in dims)
    _elements(shape)
    return shape, kind.tensor_type.elem_type


def _cost(node: NodeProto, shapes: Mapping[str, tuple[Shape, int]]) -> int:
    call = Call(
        node.op_type,
        _attributes(node),
        [shapes[name][0] if name else None for name in node.input],
        [shapes[name][0] for name in node.output if name],
    )
    try:
        return max(1, COSTS[_key(node)](call))
    except (IndexError, TypeError, ValueError, OverflowError) as error:
        raise ModelStructureWrong(f"{node.op_type}'s attributes and inputs contradict each other") from error
