"""Hostile ONNX models, each the control with one defect; `build.py` writes them down as cases."""

from __future__ import annotations

import gzip
import io
import os
import pickle
import zipfile
from collections.abc import Callable
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from tests.enclave.market import CLASSES, FEATURES, model_bytes, value


def _node(operator: str, inputs: str, outputs: str, **attributes: Any) -> Any:
    return helper.make_node(operator, inputs.split(), outputs.split(), **attributes)


def _tensor(name: str, array: np.ndarray) -> TensorProto:
    return numpy_helper.from_array(array, name)


WEIGHTS = _tensor("weights", np.eye(FEATURES, CLASSES, dtype=np.float32))
MATMUL_TO_LOGITS = _node("MatMul", "input weights", "logits")
MATMUL = _node("MatMul", "input weights", "probabilities")


def _external(location: str) -> bytes:
    tensor = _tensor("weights", np.eye(FEATURES, CLASSES, dtype=np.float32))
    tensor.ClearField("raw_data")
    tensor.data_location = TensorProto.EXTERNAL
    tensor.external_data.add(key="location", value=location)
    return model_bytes(initializers=[tensor])


def _edited(edit: Callable[[onnx.ModelProto], object]) -> bytes:
    model = onnx.load_from_string(model_bytes())
    edit(model)
    return bytes(model.SerializeToString())


def _loop() -> bytes:
    body = helper.make_graph(
        [_node("Identity", "c", "d"), _node("Identity", "x", "y")],
        "body",
        [value("i", (), TensorProto.INT64), value("c", (), TensorProto.BOOL), value("x", (None, CLASSES))],
        [value("d", (), TensorProto.BOOL), value("y", (None, CLASSES))],
    )
    trips = _tensor("trips", np.array(2**62, dtype=np.int64))
    loop = helper.make_node("Loop", ["trips", "", "logits"], ["probabilities"], body=body)
    return model_bytes([_node("MatMul", "input weights", "logits"), loop], initializers=[WEIGHTS, trips])


def _expanding(elements: int) -> bytes:
    shape = _tensor("shape", np.array([elements, FEATURES], dtype=np.int64))
    return model_bytes(
        [
            _node("ConstantOfShape", "shape", "big"),
            _node("ReduceSum", "big", "sum", keepdims=0),
            _node("MatMul", "input weights", "logits"),
            _node("Add", "logits sum", "probabilities"),
        ],
        initializers=[WEIGHTS, shape],
    )


def trees(**changed: Any) -> bytes:
    attributes = {
        "nodes_treeids": [0, 0, 0],
        "nodes_nodeids": [0, 1, 2],
        "nodes_featureids": [0, 0, 0],
        "nodes_modes": ["BRANCH_LEQ", "LEAF", "LEAF"],
        "nodes_values": [0.5, 0.0, 0.0],
        "nodes_truenodeids": [1, 0, 0],
        "nodes_falsenodeids": [2, 0, 0],
        "class_treeids": [0, 0],
        "class_nodeids": [1, 2],
        "class_ids": [0, 1],
        "class_weights": [1.0, 1.0],
        "classlabels_int64s": [0, 1, 2],
        "post_transform": "NONE",
    } | changed
    node = helper.make_node(
        "TreeEnsembleClassifier", ["input"], ["label", "probabilities"], domain="ai.onnx.ml", **attributes
    )
    outputs = [value("label", (None,), TensorProto.INT64), value("probabilities", (None, CLASSES))]
    return model_bytes([node], initializers=[], outputs=outputs, opsets={"": 18, "ai.onnx.ml": 3})


def linear(coefficients: int) -> bytes:
    node = helper.make_node(
        "LinearClassifier",
        ["input"],
        ["label", "probabilities"],
        domain="ai.onnx.ml",
        coefficients=[0.5] * coefficients,
        intercepts=[0.0] * CLASSES,
        classlabels_ints=[0, 1, 2],
        multi_class=1,
        post_transform="SOFTMAX",
    )
    outputs = [value("label", (None,), TensorProto.INT64), value("probabilities", (None, CLASSES))]
    return model_bytes([node], initializers=[], outputs=outputs, opsets={"": 18, "ai.onnx.ml": 3})


def _words() -> bytes:
    model = onnx.load_from_string(trees())
    node = model.graph.node[0]
    kept = [one for one in node.attribute if one.name != "classlabels_int64s"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("classlabels_strings", ["a", "b", "c"])])
    return bytes(model.SerializeToString())


def _subgraph(name: str, inputs: list[Any], outputs: list[Any], nodes: list[Any]) -> Any:
    return helper.make_graph(nodes, name, inputs, outputs)


def _conditional() -> bytes:
    branch = _subgraph("branch", [], [value("y", (None, CLASSES))], [_node("Identity", "logits", "y")])
    chosen = helper.make_node("If", ["yes"], ["probabilities"], then_branch=branch, else_branch=branch)
    return model_bytes([MATMUL_TO_LOGITS, chosen], initializers=[WEIGHTS, _tensor("yes", np.array(True))])


def _scan() -> bytes:
    body = _subgraph("body", [value("x", (CLASSES,))], [value("y", (CLASSES,))], [_node("Identity", "x", "y")])
    scan = helper.make_node("Scan", ["logits"], ["probabilities"], body=body, num_scan_inputs=1)
    return model_bytes([MATMUL_TO_LOGITS, scan], initializers=[WEIGHTS])


def _enlarged(operator: str, sizes: np.ndarray) -> bytes:
    """A small tensor made large by an operator, and summed up again."""
    return model_bytes(
        [
            _node(operator, "input sizes", "big"),
            _node("ReduceSum", "big", "sum", keepdims=0),
            MATMUL_TO_LOGITS,
            _node("Add", "logits sum", "probabilities"),
        ],
        initializers=[WEIGHTS, _tensor("sizes", sizes)],
    )


def _convolved(**attributes: Any) -> bytes:
    kernel = _tensor("kernel", np.ones((1, 1, 1), np.float32))
    return model_bytes(
        [
            _node("Unsqueeze", "input one", "rows"),
            _node("Conv", "rows kernel", "out", **attributes),
            _node("ReduceSum", "out", "sum", keepdims=0),
            MATMUL_TO_LOGITS,
            _node("Add", "logits sum", "probabilities"),
        ],
        initializers=[WEIGHTS, kernel, _tensor("one", np.array([1], np.int64))],
    )


def _outside() -> bytes:
    return model_bytes(
        [
            MATMUL_TO_LOGITS,
            _node("Gather", "logits far", "picked", axis=1),
            _node("Add", "logits picked", "probabilities"),
        ],
        initializers=[WEIGHTS, _tensor("far", np.array([99], np.int64))],
    )


def zip_bomb() -> bytes:
    """16 MB of zeros a member, all in a few kilobytes."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w", zipfile.ZIP_DEFLATED, compresslevel=9) as archive:
        data = bytes(1 << 24)
        for number in range(4):
            archive.writestr(zipfile.ZipInfo(f"model-{number}.onnx"), data, zipfile.ZIP_DEFLATED)
    return sink.getvalue()


class _Command:
    def __reduce__(self) -> Any:
        return os.system, ("touch /tmp/golden-grain-was-here",)


def _torch_file() -> bytes:
    """What `torch.save` writes: a zip archive with a pickle in it."""
    sink = io.BytesIO()
    with zipfile.ZipFile(sink, "w") as archive:
        archive.writestr(zipfile.ZipInfo("archive/data.pkl"), pickle.dumps(_Command(), 2))
        archive.writestr(zipfile.ZipInfo("archive/version"), "3\n")
    return sink.getvalue()


def _nested() -> bytes:
    """A graph in an attribute of a node of a graph, a thousand times; written by hand, for protobuf can't."""
    data = b""
    for _ in range(1_000):
        attribute = _field(6, data)
        data = _field(1, _field(5, attribute))
    return b"\x08\x09" + _field(7, data)


def _field(number: int, data: bytes) -> bytes:
    size, length = b"", len(data)
    while True:
        size += bytes([length & 0x7F | (0x80 if length > 0x7F else 0)])
        length >>= 7
        if not length:
            return bytes([number << 3 | 2]) + size + data


MODELS: dict[str, tuple[Callable[[], bytes], str]] = {
    "nothing": (lambda: b"", "MODEL_UNPARSABLE"),
    "noise": (lambda: b"\x93NUMPY" * 30, "MODEL_UNPARSABLE"),
    "a pickle": (lambda: b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}.", "MODEL_UNPARSABLE"),
    "a zip archive": (lambda: b"PK\x03\x04" + bytes(60), "MODEL_UNPARSABLE"),
    "cut in the middle": (lambda: model_bytes()[:-20], "MODEL_UNPARSABLE"),
    "a model without a graph": (lambda: onnx.ModelProto(ir_version=9).SerializeToString(), "MODEL_UNPARSABLE"),
    "too many bytes": (
        lambda: model_bytes(initializers=[WEIGHTS, _tensor("x", np.zeros(30_000, np.float32))]),
        "MODEL_TOO_LARGE",
    ),
    "an unknown IR version": (lambda: model_bytes(ir_version=99), "MODEL_VERSION_REFUSED"),
    "an old operator set": (lambda: model_bytes(opsets={"": 1}), "MODEL_VERSION_REFUSED"),
    "a future operator set": (lambda: model_bytes(opsets={"": 99}), "MODEL_VERSION_REFUSED"),
    "a foreign operator set": (lambda: model_bytes(opsets={"": 18, "com.evil": 1}), "MODEL_VERSION_REFUSED"),
    "the same operator set twice": (
        lambda: _edited(lambda m: m.opset_import.add(domain="ai.onnx", version=17)),
        "MODEL_VERSION_REFUSED",
    ),
    "functions": (lambda: _edited(lambda m: m.functions.add(name="f")), "MODEL_VERSION_REFUSED"),
    "a training part": (lambda: _edited(lambda m: m.training_info.add()), "MODEL_VERSION_REFUSED"),
    "too many nodes": (
        lambda: model_bytes([MATMUL, *[_node("Identity", "probabilities", f"x{i}") for i in range(60)]]),
        "MODEL_TOO_LARGE",
    ),
    "a loop": (_loop, "MODEL_OPERATOR_REFUSED"),
    "a custom operator": (
        lambda: model_bytes([helper.make_node("Run", ["input"], ["probabilities"], domain="com.evil")]),
        "MODEL_OPERATOR_REFUSED",
    ),
    "a random operator": (
        lambda: model_bytes([_node("RandomNormalLike", "input", "probabilities")]),
        "MODEL_OPERATOR_REFUSED",
    ),
    "an output size that depends on the data": (
        lambda: model_bytes([_node("NonZero", "input", "n"), MATMUL]),
        "MODEL_OPERATOR_REFUSED",
    ),
    "an attribute of a function": (
        lambda: _edited(lambda m: m.graph.node[1].attribute[0].__setattr__("ref_attr_name", "axis")),
        "MODEL_OPERATOR_REFUSED",
    ),
    "external data": (lambda: _external("weights.bin"), "MODEL_EXTERNAL_DATA"),
    "external data up the tree": (lambda: _external("../../../etc/passwd"), "MODEL_EXTERNAL_DATA"),
    "external data by absolute path": (lambda: _external("/etc/passwd"), "MODEL_EXTERNAL_DATA"),
    "external data in an attribute": (
        lambda: _edited(
            lambda m: m.graph.node.insert(
                0,
                _node(
                    "Constant",
                    "",
                    "k",
                    value=TensorProto(data_type=1, dims=[1], data_location=TensorProto.EXTERNAL, name="k"),
                ),
            )
        ),
        "MODEL_EXTERNAL_DATA",
    ),
    "strings": (
        lambda: model_bytes(initializers=[WEIGHTS, helper.make_tensor("s", TensorProto.STRING, [1], [b"x"])]),
        "MODEL_TYPE_REFUSED",
    ),
    "sparse tensors": (
        lambda: _edited(lambda m: m.graph.sparse_initializer.add()),
        "MODEL_TYPE_REFUSED",
    ),
    "a tensor shorter than its shape": (
        lambda: _edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, 4000)),
        "MODEL_STRUCTURE_WRONG",
    ),
    "a tensor of negative size": (
        lambda: _edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, -4)),
        "MODEL_TOO_LARGE",
    ),
    "a tensor of 2^80 elements": (
        lambda: _edited(lambda m: m.graph.initializer[0].dims.extend([2**40, 2**40])),
        "MODEL_TOO_LARGE",
    ),
    "an initializer twice": (lambda: model_bytes(initializers=[WEIGHTS, WEIGHTS]), "MODEL_STRUCTURE_WRONG"),
    "an attribute twice": (
        lambda: _edited(lambda m: m.graph.node[1].attribute.append(m.graph.node[1].attribute[0])),
        "MODEL_STRUCTURE_WRONG",
    ),
    "another input's name": (
        lambda: _edited(lambda m: m.graph.input[0].__setattr__("name", "x")),
        "MODEL_INTERFACE_WRONG",
    ),
    "a second input": (
        lambda: model_bytes(inputs=[value("input", (None, FEATURES)), value("more", (None, 1))]),
        "MODEL_INTERFACE_WRONG",
    ),
    "another input type": (
        lambda: model_bytes(inputs=[value("input", (None, FEATURES), TensorProto.DOUBLE)]),
        "MODEL_INTERFACE_WRONG",
    ),
    "another input shape": (
        lambda: model_bytes(inputs=[value("input", (None, FEATURES + 1))]),
        "MODEL_INTERFACE_WRONG",
    ),
    "a fixed batch": (lambda: model_bytes(inputs=[value("input", (7, FEATURES))]), "MODEL_INTERFACE_WRONG"),
    "no such output": (lambda: model_bytes(outputs=[value("logits", (None, CLASSES))]), "MODEL_INTERFACE_WRONG"),
    "another output type": (
        lambda: model_bytes(
            [MATMUL, _node("ArgMax", "probabilities", "p")],
            outputs=[value("probabilities", (None,), TensorProto.INT64)],
        ),
        "MODEL_INTERFACE_WRONG",
    ),
    "another output shape": (
        lambda: model_bytes(initializers=[_tensor("weights", np.eye(FEATURES, CLASSES + 1, dtype=np.float32))]),
        "MODEL_INTERFACE_WRONG",
    ),
    "an output that doesn't depend on the input": (
        lambda: model_bytes([_node("Identity", "weights", "probabilities")]),
        "MODEL_INTERFACE_WRONG",
    ),
    "one output for the whole batch": (
        lambda: model_bytes(
            [MATMUL_TO_LOGITS, _node("ReduceMean", "logits", "probabilities", axes=[0], keepdims=1)], opsets={"": 17}
        ),
        "MODEL_INTERFACE_WRONG",
    ),
    "shapes that contradict": (
        lambda: model_bytes(initializers=[_tensor("weights", np.eye(FEATURES + 1, CLASSES, dtype=np.float32))]),
        "MODEL_STRUCTURE_WRONG",
    ),
    "a shape from the data": (
        lambda: model_bytes(
            [
                _node("Cast", "input", "i", to=TensorProto.INT64),
                _node("ReduceMax", "i", "m", keepdims=0),
                _node("Unsqueeze", "m zero", "s"),
                _node("ConstantOfShape", "s", "big"),
                _node("ReduceSum", "big", "sum", keepdims=0),
                _node("MatMul", "input weights", "logits"),
                _node("Add", "logits sum", "probabilities"),
            ],
            initializers=[WEIGHTS, _tensor("zero", np.zeros(1, np.int64))],
        ),
        "MODEL_SHAPE_UNKNOWN",
    ),
    "a huge tensor made of nothing": (lambda: _expanding(2**33), "MODEL_TOO_LARGE"),
    "a tensor beyond the largest": (lambda: _expanding(2**61), "MODEL_TOO_LARGE"),
    "too many operations": (
        lambda: model_bytes(
            [
                _node("Gemm", "input a", "h0"),
                *[_node("Erf", f"h{i}", f"h{i + 1}") for i in range(8)],
                _node("Gemm", "h8 b", "probabilities"),
            ],
            initializers=[
                _tensor("a", np.zeros((FEATURES, 3_000), np.float32)),
                _tensor("b", np.zeros((3_000, CLASSES), np.float32)),
            ],
        ),
        "MODEL_TOO_COSTLY",
    ),
    "a tree that runs in a circle": (
        lambda: trees(
            nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 2, 0]
        ),
        "MODEL_STRUCTURE_WRONG",
    ),
    "a tree beside a circle": (
        lambda: trees(
            nodes_treeids=[0] * 5,
            nodes_nodeids=[0, 1, 2, 3, 4],
            nodes_featureids=[0] * 5,
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "BRANCH_LEQ"],
            nodes_values=[0.5] * 5,
            nodes_truenodeids=[1, 0, 0, 4, 3],
            nodes_falsenodeids=[2, 0, 0, 9, 9],
        ),
        "MODEL_STRUCTURE_WRONG",
    ),
    "a tree with a missing child": (lambda: trees(nodes_falsenodeids=[9, 0, 0]), "MODEL_STRUCTURE_WRONG"),
    "a tree that asks for a feature outside": (
        lambda: trees(nodes_featureids=[FEATURES, 0, 0]),
        "MODEL_STRUCTURE_WRONG",
    ),
    "a tree of negative features": (lambda: trees(nodes_featureids=[-1, 0, 0]), "MODEL_STRUCTURE_WRONG"),
    "a tree with lists of different length": (lambda: trees(nodes_values=[0.5]), "MODEL_STRUCTURE_WRONG"),
    "a tree with a node twice": (lambda: trees(nodes_nodeids=[0, 1, 1]), "MODEL_STRUCTURE_WRONG"),
    "a tree of an unknown mode": (
        lambda: trees(nodes_modes=["BRANCH_ODD", "LEAF", "LEAF"]),
        "MODEL_STRUCTURE_WRONG",
    ),
    "a tree that doesn't begin with its root": (
        lambda: trees(
            nodes_nodeids=[1, 0, 2],
            nodes_modes=["LEAF", "BRANCH_LEQ", "LEAF"],
            nodes_truenodeids=[0, 1, 0],
            nodes_falsenodeids=[0, 2, 0],
        ),
        "MODEL_STRUCTURE_WRONG",
    ),
    "a weight for no class": (lambda: trees(class_ids=[0, 9]), "MODEL_STRUCTURE_WRONG"),
    "a weight at no leaf": (lambda: trees(class_nodeids=[0, 2]), "MODEL_STRUCTURE_WRONG"),
    "labels that are words": (
        lambda: _words(),
        "MODEL_STRUCTURE_WRONG",
    ),
    "too few coefficients": (lambda: linear(CLASSES * FEATURES - 1), "MODEL_STRUCTURE_WRONG"),
    "a conditional": (lambda: _conditional(), "MODEL_OPERATOR_REFUSED"),
    "a scan": (lambda: _scan(), "MODEL_OPERATOR_REFUSED"),
    "a custom operator in ONNX's own domain": (
        lambda: model_bytes([_node("PyFunc", "input", "probabilities")]),
        "MODEL_OPERATOR_REFUSED",
    ),
    "an operator that reads a file": (
        lambda: model_bytes(
            [_node("TfIdfVectorizer", "input", "probabilities", max_gram_length=1, max_skip_count=0, min_gram_length=1)]
        ),
        "MODEL_OPERATOR_REFUSED",
    ),
    "a tensor repeated 2^40 times": (
        lambda: _enlarged("Tile", np.array([2**20, 2**20], np.int64)),
        "MODEL_TOO_LARGE",
    ),
    "a tensor expanded to gigabytes": (
        lambda: _enlarged("Expand", np.array([2**16, 40, FEATURES], np.int64)),
        "MODEL_TOO_LARGE",
    ),
    "a tensor padded to gigabytes": (
        lambda: _enlarged("Pad", np.array([0, 2**28, 0, 0], np.int64)),
        "MODEL_TOO_LARGE",
    ),
    "a batch that grows to billions of rows": (
        lambda: _enlarged("Tile", np.array([2**24, 1], np.int64)),
        "MODEL_TOO_LARGE",
    ),
    "a zip bomb": (lambda: zip_bomb(), "MODEL_UNPARSABLE"),
    "a gzip bomb": (lambda: gzip.compress(bytes(1 << 24), mtime=0), "MODEL_UNPARSABLE"),
    "a file of torch.save": (lambda: _torch_file(), "MODEL_UNPARSABLE"),
    "a pickle behind an ONNX version": (
        lambda: b"\x08\x09\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}.",
        "MODEL_UNPARSABLE",
    ),
    "a pickle that runs a command": (lambda: pickle.dumps(_Command(), 4), "MODEL_UNPARSABLE"),
    "graphs nested a thousand deep": (lambda: _nested(), "MODEL_UNPARSABLE"),
    "quantised tensors": (
        lambda: _edited(lambda m: m.graph.quantization_annotation.add(tensor_name="weights")),
        "MODEL_TYPE_REFUSED",
    ),
    "complex numbers": (
        lambda: _edited(lambda m: m.graph.initializer[0].__setattr__("data_type", TensorProto.COMPLEX64)),
        "MODEL_TYPE_REFUSED",
    ),
    "a circle of nodes": (
        lambda: model_bytes(
            [_node("Add", "input b", "a"), _node("Relu", "a", "b"), _node("MatMul", "a weights", "probabilities")]
        ),
        "MODEL_STRUCTURE_WRONG",
    ),
    "two nodes for one name": (lambda: model_bytes([MATMUL, MATMUL]), "MODEL_STRUCTURE_WRONG"),
    "a convolution of stride zero": (lambda: _convolved(strides=[0]), "MODEL_STRUCTURE_WRONG"),
    "a kernel of a billion": (lambda: _convolved(kernel_shape=[2**30]), "MODEL_TOO_LARGE"),
    "an index outside the data": (lambda: _outside(), "MODEL_NOT_RUNNABLE"),
}


def nan_outputs() -> bytes:
    """A model that the engine takes and whose every output is not a number."""
    return model_bytes(
        [MATMUL_TO_LOGITS, _node("Sub", "logits logits", "zero"), _node("Div", "zero zero", "probabilities")],
        initializers=[WEIGHTS],
    )
