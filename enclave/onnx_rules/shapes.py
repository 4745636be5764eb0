"""Shape inference, with the rules that ONNX itself lacks for its machine-learning operators.

ONNX infers the standard operators; for several of `ai.onnx.ml` it has no rule, so that everything behind them stays
unknown. Here such nodes get their shapes from their attributes, then inference goes on.
"""

from __future__ import annotations

import math
from collections.abc import Callable, Mapping, Sequence

import onnx
from onnx import ModelProto, NodeProto, TensorProto

from goldengrain.enclave.errors import ModelShapeUnknown, ModelStructureWrong
from goldengrain.enclave.onnx_rules.operators import ML, Shape, matrix

Typed = tuple[Shape, int]
Rule = Callable[[NodeProto, Sequence[Typed]], list[Typed]]
_ROUNDS = 64


def _same(_: NodeProto, inputs: Sequence[Typed]) -> list[Typed]:
    return [inputs[0]]


def _as_float(_: NodeProto, inputs: Sequence[Typed]) -> list[Typed]:
    return [(inputs[0][0], TensorProto.FLOAT)]


def _extracted(_: NodeProto, inputs: Sequence[Typed]) -> list[Typed]:
    (shape, kind), (indices, _kind) = inputs[0], inputs[1]
    return [((*(shape[:-1] if len(shape) > 1 else (1,)), math.prod(indices)), kind)]


def _lists(node: NodeProto) -> Mapping[str, int]:
    return {one.name: max(len(one.ints), len(one.floats), len(one.strings), one.i) for one in node.attribute}


def _classes(node: NodeProto, inputs: Sequence[Typed]) -> list[Typed]:
    rows, _features = matrix(inputs[0][0])
    sizes = _lists(node)
    classes = sizes.get("classlabels_int64s", 0) or sizes.get("classlabels_ints", 0)
    if not classes:
        raise ModelStructureWrong(f"{node.op_type} has no integer class labels; export it with integer classes")
    return [((rows,), TensorProto.INT64), ((rows, max(2, classes)), TensorProto.FLOAT)]


def _targets(node: NodeProto, inputs: Sequence[Typed]) -> list[Typed]:
    rows, _features = matrix(inputs[0][0])
    sizes = _lists(node)
    return [((rows, sizes.get("n_targets", 0) or sizes.get("targets", 0) or 1), TensorProto.FLOAT)]


_RULES: dict[str, Rule] = {
    "ArrayFeatureExtractor": _extracted,
    "Binarizer": _same,
    "Imputer": _same,
    "Scaler": _as_float,
    "Normalizer": _as_float,
    "TreeEnsembleClassifier": _classes,
    "LinearClassifier": _classes,
    "SVMClassifier": _classes,
    "TreeEnsembleRegressor": _targets,
    "LinearRegressor": _targets,
    "SVMRegressor": _targets,
}


def infer_ml(model: ModelProto) -> ModelProto:
    """Return the model with every shape that can be told; raises `ModelStructureWrong` where shapes contradict."""
    for _ in range(_ROUNDS):
        model = _infer(model)
        if not _complete(model):
            return model
    raise ModelShapeUnknown(f"more than {_ROUNDS} machine-learning operators in a row")


def _infer(model: ModelProto) -> ModelProto:
    try:
        return onnx.shape_inference.infer_shapes(model, check_type=True, strict_mode=True, data_prop=True)
    except (onnx.shape_inference.InferenceError, ValueError, RuntimeError, TypeError) as error:
        text = str(error).strip().splitlines()
        raise ModelStructureWrong(
            f"shapes or types contradict each other: {text[-1][:200] if text else 'no reason given'}"
        ) from error


def _complete(model: ModelProto) -> bool:
    """Give the next machine-learning nodes, whose inputs are known, their shapes; tell whether there were any."""
    graph = model.graph
    known: dict[str, Typed] = {one.name: (tuple(one.dims), one.data_type) for one in graph.initializer}
    values = {value.name: value for value in (*graph.input, *graph.value_info, *graph.output)}
    for name, value in values.items():
        kind = value.type.tensor_type
        if kind.HasField("shape") and all(dim.HasField("dim_value") for dim in kind.shape.dim):
            known[name] = (tuple(dim.dim_value for dim in kind.shape.dim), kind.elem_type)
    added = False
    for node in graph.node:
        rule = _RULES.get(node.op_type) if node.domain == ML else None
        if rule is None or not node.input or not all(name in known for name in node.input):
            continue
        for name, typed in zip(node.output, rule(node, [known[name] for name in node.input]), strict=False):
            if name and name not in known:
                added = True
                _set(values[name] if name in values else graph.value_info.add(name=name), *typed)
    return added


def _set(value: onnx.ValueInfoProto, shape: Shape, kind: int) -> None:
    value.type.tensor_type.elem_type = kind
    value.type.tensor_type.ClearField("shape")
    value.type.tensor_type.shape.SetInParent()
    for size in shape:
        value.type.tensor_type.shape.dim.add(dim_value=size)
