"""The engine: what models it takes, what it refuses before running, and that it gives the same bits every time."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import onnx
import pytest
from onnx import TensorProto, helper, numpy_helper

from goldengrain.enclave import errors, metrics
from goldengrain.enclave.engine import run_model
from goldengrain.enclave.onnx_rules.check import BATCH, check_model

from .market import CLASSES, FEATURES, INTERFACE, LIMITS, SAMPLES, examples, model_bytes, value


def test_good_model_predicts_what_it_should() -> None:
    inputs, labels = examples(correct=36)
    outputs = run_model(model_bytes(), INTERFACE, LIMITS, inputs)
    assert outputs.shape == (SAMPLES, CLASSES)
    assert metrics.count_correct(outputs, labels) == 36


def test_batches_don_t_change_a_bit() -> None:
    inputs = np.random.default_rng(1).random((2 * BATCH + 17, FEATURES), dtype=np.float32)
    whole = run_model(model_bytes(), INTERFACE, LIMITS, inputs)
    single = np.concatenate([run_model(model_bytes(), INTERFACE, LIMITS, row[None]) for row in inputs[:20]])
    assert (whole[:20] == single).all()
    assert (whole == run_model(model_bytes(), INTERFACE, LIMITS, inputs)).all()


def test_model_with_a_batch_of_one_is_run_row_by_row() -> None:
    model = model_bytes(inputs=[value("input", (1, FEATURES))], outputs=[value("probabilities", (1, CLASSES))])
    inputs, labels = examples()
    assert check_model(model, INTERFACE, LIMITS, SAMPLES).batch == 1
    assert metrics.count_correct(run_model(model, INTERFACE, LIMITS, inputs), labels) == 36


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


def _trees(**changed: Any) -> bytes:
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


def _linear(coefficients: int) -> bytes:
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


@pytest.mark.parametrize("model", [_trees(), _linear(CLASSES * FEATURES)], ids=["trees", "linear"])
def test_machine_learning_operators_are_taken(model: bytes) -> None:
    inputs, _ = examples()
    assert run_model(model, INTERFACE, LIMITS, inputs).shape == (SAMPLES, CLASSES)


REFUSED: dict[str, tuple[Callable[[], bytes], type[errors.ModelRefused]]] = {
    "nothing": (lambda: b"", errors.ModelUnparsable),
    "noise": (lambda: b"\x93NUMPY" * 30, errors.ModelUnparsable),
    "a pickle": (lambda: b"\x80\x04\x95\x10\x00\x00\x00\x00\x00\x00\x00}.", errors.ModelUnparsable),
    "a zip archive": (lambda: b"PK\x03\x04" + bytes(60), errors.ModelUnparsable),
    "cut in the middle": (lambda: model_bytes()[:-20], errors.ModelUnparsable),
    "a model without a graph": (lambda: onnx.ModelProto(ir_version=9).SerializeToString(), errors.ModelUnparsable),
    "too many bytes": (
        lambda: model_bytes(initializers=[WEIGHTS, _tensor("x", np.zeros(30_000, np.float32))]),
        errors.ModelTooLarge,
    ),
    "an unknown IR version": (lambda: model_bytes(ir_version=99), errors.ModelVersionRefused),
    "an old operator set": (lambda: model_bytes(opsets={"": 1}), errors.ModelVersionRefused),
    "a future operator set": (lambda: model_bytes(opsets={"": 99}), errors.ModelVersionRefused),
    "a foreign operator set": (lambda: model_bytes(opsets={"": 18, "com.evil": 1}), errors.ModelVersionRefused),
    "the same operator set twice": (
        lambda: _edited(lambda m: m.opset_import.add(domain="ai.onnx", version=17)),
        errors.ModelVersionRefused,
    ),
    "functions": (lambda: _edited(lambda m: m.functions.add(name="f")), errors.ModelVersionRefused),
    "a training part": (lambda: _edited(lambda m: m.training_info.add()), errors.ModelVersionRefused),
    "too many nodes": (
        lambda: model_bytes([MATMUL, *[_node("Identity", "probabilities", f"x{i}") for i in range(60)]]),
        errors.ModelTooLarge,
    ),
    "a loop": (_loop, errors.ModelOperatorRefused),
    "a custom operator": (
        lambda: model_bytes([helper.make_node("Run", ["input"], ["probabilities"], domain="com.evil")]),
        errors.ModelOperatorRefused,
    ),
    "a random operator": (
        lambda: model_bytes([_node("RandomNormalLike", "input", "probabilities")]),
        errors.ModelOperatorRefused,
    ),
    "an output size that depends on the data": (
        lambda: model_bytes([_node("NonZero", "input", "n"), MATMUL]),
        errors.ModelOperatorRefused,
    ),
    "an attribute of a function": (
        lambda: _edited(lambda m: m.graph.node[1].attribute[0].__setattr__("ref_attr_name", "axis")),
        errors.ModelOperatorRefused,
    ),
    "external data": (lambda: _external("weights.bin"), errors.ModelExternalData),
    "external data up the tree": (lambda: _external("../../../etc/passwd"), errors.ModelExternalData),
    "external data by absolute path": (lambda: _external("/etc/passwd"), errors.ModelExternalData),
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
        errors.ModelExternalData,
    ),
    "strings": (
        lambda: model_bytes(initializers=[WEIGHTS, helper.make_tensor("s", TensorProto.STRING, [1], [b"x"])]),
        errors.ModelTypeRefused,
    ),
    "sparse tensors": (
        lambda: _edited(lambda m: m.graph.sparse_initializer.add()),
        errors.ModelTypeRefused,
    ),
    "a tensor shorter than its shape": (
        lambda: _edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, 4000)),
        errors.ModelStructureWrong,
    ),
    "a tensor of negative size": (
        lambda: _edited(lambda m: m.graph.initializer[0].dims.__setitem__(0, -4)),
        errors.ModelTooLarge,
    ),
    "a tensor of 2^80 elements": (
        lambda: _edited(lambda m: m.graph.initializer[0].dims.extend([2**40, 2**40])),
        errors.ModelTooLarge,
    ),
    "an initializer twice": (lambda: model_bytes(initializers=[WEIGHTS, WEIGHTS]), errors.ModelStructureWrong),
    "an attribute twice": (
        lambda: _edited(lambda m: m.graph.node[1].attribute.append(m.graph.node[1].attribute[0])),
        errors.ModelStructureWrong,
    ),
    "another input's name": (
        lambda: _edited(lambda m: m.graph.input[0].__setattr__("name", "x")),
        errors.ModelInterfaceWrong,
    ),
    "a second input": (
        lambda: model_bytes(inputs=[value("input", (None, FEATURES)), value("more", (None, 1))]),
        errors.ModelInterfaceWrong,
    ),
    "another input type": (
        lambda: model_bytes(inputs=[value("input", (None, FEATURES), TensorProto.DOUBLE)]),
        errors.ModelInterfaceWrong,
    ),
    "another input shape": (
        lambda: model_bytes(inputs=[value("input", (None, FEATURES + 1))]),
        errors.ModelInterfaceWrong,
    ),
    "a fixed batch": (lambda: model_bytes(inputs=[value("input", (7, FEATURES))]), errors.ModelInterfaceWrong),
    "no such output": (lambda: model_bytes(outputs=[value("logits", (None, CLASSES))]), errors.ModelInterfaceWrong),
    "another output type": (
        lambda: model_bytes(
            [MATMUL, _node("ArgMax", "probabilities", "p")],
            outputs=[value("probabilities", (None,), TensorProto.INT64)],
        ),
        errors.ModelInterfaceWrong,
    ),
    "another output shape": (
        lambda: model_bytes(initializers=[_tensor("weights", np.eye(FEATURES, CLASSES + 1, dtype=np.float32))]),
        errors.ModelInterfaceWrong,
    ),
    "an output that doesn't depend on the input": (
        lambda: model_bytes([_node("Identity", "weights", "probabilities")]),
        errors.ModelInterfaceWrong,
    ),
    "one output for the whole batch": (
        lambda: model_bytes(
            [MATMUL_TO_LOGITS, _node("ReduceMean", "logits", "probabilities", axes=[0], keepdims=1)], opsets={"": 17}
        ),
        errors.ModelInterfaceWrong,
    ),
    "shapes that contradict": (
        lambda: model_bytes(initializers=[_tensor("weights", np.eye(FEATURES + 1, CLASSES, dtype=np.float32))]),
        errors.ModelStructureWrong,
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
        errors.ModelShapeUnknown,
    ),
    "a huge tensor made of nothing": (lambda: _expanding(2**33), errors.ModelTooLarge),
    "a tensor beyond the largest": (lambda: _expanding(2**61), errors.ModelTooLarge),
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
        errors.ModelTooCostly,
    ),
    "a tree that runs in a circle": (
        lambda: _trees(
            nodes_modes=["BRANCH_LEQ", "BRANCH_LEQ", "LEAF"], nodes_truenodeids=[1, 0, 0], nodes_falsenodeids=[2, 2, 0]
        ),
        errors.ModelStructureWrong,
    ),
    "a tree beside a circle": (
        lambda: _trees(
            nodes_treeids=[0] * 5,
            nodes_nodeids=[0, 1, 2, 3, 4],
            nodes_featureids=[0] * 5,
            nodes_modes=["BRANCH_LEQ", "LEAF", "LEAF", "BRANCH_LEQ", "BRANCH_LEQ"],
            nodes_values=[0.5] * 5,
            nodes_truenodeids=[1, 0, 0, 4, 3],
            nodes_falsenodeids=[2, 0, 0, 9, 9],
        ),
        errors.ModelStructureWrong,
    ),
    "a tree with a missing child": (lambda: _trees(nodes_falsenodeids=[9, 0, 0]), errors.ModelStructureWrong),
    "a tree that asks for a feature outside": (
        lambda: _trees(nodes_featureids=[FEATURES, 0, 0]),
        errors.ModelStructureWrong,
    ),
    "a tree of negative features": (lambda: _trees(nodes_featureids=[-1, 0, 0]), errors.ModelStructureWrong),
    "a tree with lists of different length": (lambda: _trees(nodes_values=[0.5]), errors.ModelStructureWrong),
    "a tree with a node twice": (lambda: _trees(nodes_nodeids=[0, 1, 1]), errors.ModelStructureWrong),
    "a tree of an unknown mode": (
        lambda: _trees(nodes_modes=["BRANCH_ODD", "LEAF", "LEAF"]),
        errors.ModelStructureWrong,
    ),
    "a tree that doesn't begin with its root": (
        lambda: _trees(
            nodes_nodeids=[1, 0, 2],
            nodes_modes=["LEAF", "BRANCH_LEQ", "LEAF"],
            nodes_truenodeids=[0, 1, 0],
            nodes_falsenodeids=[0, 2, 0],
        ),
        errors.ModelStructureWrong,
    ),
    "a weight for no class": (lambda: _trees(class_ids=[0, 9]), errors.ModelStructureWrong),
    "a weight at no leaf": (lambda: _trees(class_nodeids=[0, 2]), errors.ModelStructureWrong),
    "labels that are words": (
        lambda: _words(),
        errors.ModelStructureWrong,
    ),
    "too few coefficients": (lambda: _linear(CLASSES * FEATURES - 1), errors.ModelStructureWrong),
}


def _words() -> bytes:
    model = onnx.load_from_string(_trees())
    node = model.graph.node[0]
    kept = [one for one in node.attribute if one.name != "classlabels_int64s"]
    del node.attribute[:]
    node.attribute.extend([*kept, helper.make_attribute("classlabels_strings", ["a", "b", "c"])])
    return bytes(model.SerializeToString())


@pytest.mark.parametrize("name", REFUSED)
def test_hostile_model_is_refused_by_name_before_it_runs(name: str) -> None:
    make, refusal = REFUSED[name]
    with pytest.raises(refusal) as caught:
        check_model(make(), INTERFACE, LIMITS, SAMPLES)
    assert type(caught.value) is refusal


def test_limit_counts_the_whole_batchs_memory() -> None:
    with pytest.raises(errors.ModelTooLarge, match="need"):
        check_model(model_bytes(), INTERFACE, replace(LIMITS, memory_bytes=1_000), SAMPLES)


def test_model_that_the_runtime_refuses_is_the_models_fault() -> None:
    squeezed = model_bytes(
        [
            _node("MatMul", "input weights", "logits"),
            _node("Gather", "logits far", "picked", axis=1),
            _node("Add", "logits picked", "probabilities"),
        ],
        initializers=[WEIGHTS, _tensor("far", np.array([99], np.int64))],
    )
    inputs, _ = examples()
    with pytest.raises(errors.ModelNotRunnable):
        run_model(squeezed, INTERFACE, LIMITS, inputs)


def test_inputs_of_another_shape_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="inputs"):
        run_model(model_bytes(), INTERFACE, LIMITS, np.zeros((2, 9), np.float32))
