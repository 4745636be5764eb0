"""The engine: what models it takes, what it refuses before running, and that it gives the same bits every time."""

from __future__ import annotations

from dataclasses import replace

import numpy as np
import onnxruntime as ort
import pytest
from onnx import TensorProto, helper, numpy_helper

from goldengrain.enclave import errors, metrics
from goldengrain.enclave.engine import run_model
from goldengrain.enclave.onnx_engine import session_options
from goldengrain.enclave.onnx_rules.check import BATCH, check_model

from .hostile.onnx_models import linear, trees
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


@pytest.mark.parametrize("model", [trees(), linear(CLASSES * FEATURES)], ids=["trees", "linear"])
def test_machine_learning_operators_are_taken(model: bytes) -> None:
    inputs, _ = examples()
    assert run_model(model, INTERFACE, LIMITS, inputs).shape == (SAMPLES, CLASSES)


def test_limit_counts_the_whole_batchs_memory() -> None:
    with pytest.raises(errors.ModelTooLarge, match="need"):
        check_model(model_bytes(), INTERFACE, replace(LIMITS, memory_bytes=1_000), SAMPLES)


def test_inputs_of_another_shape_are_a_programming_error() -> None:
    with pytest.raises(ValueError, match="inputs"):
        run_model(model_bytes(), INTERFACE, LIMITS, np.zeros((2, 9), np.float32))


def _of_weights(kind: str, spread: bool) -> bytes:
    """Inputs by a matrix whose elements are kept as another type; `spread` writes its values one by one."""
    values = np.random.default_rng(3).integers(0, 2, (FEATURES, 512)).astype(kind)
    if spread:
        weights = helper.make_tensor("w", helper.np_dtype_to_tensor_dtype(values.dtype), values.shape, values.ravel())
    else:
        weights = numpy_helper.from_array(values, "w")
    nodes = [
        helper.make_node("Cast", ["w"], ["floats"], to=TensorProto.FLOAT),
        helper.make_node("MatMul", ["input", "floats"], ["probabilities"]),
    ]
    output = helper.make_tensor_value_info("probabilities", TensorProto.FLOAT, ("n", 512))
    graph = helper.make_graph(nodes, "g", [value("input", ("n", FEATURES))], [output], [weights])
    return bytes(
        helper.make_model(graph, ir_version=9, opset_imports=[helper.make_opsetid("", 18)]).SerializeToString()
    )


@pytest.mark.parametrize("spread", [False, True])
@pytest.mark.parametrize("kind", ["float16", "float32", "float64", "int64", "int32", "int8", "uint8", "bool"])
def test_weights_beside_the_message_give_the_bits_of_those_inside(kind: str, spread: bool) -> None:
    model, inputs = _of_weights(kind, spread), np.random.default_rng(1).random((9, FEATURES), dtype=np.float32)
    asked = replace(INTERFACE, output=replace(INTERFACE.output, shape=(0, 512)))
    checked = check_model(model, asked, LIMITS, len(inputs))
    assert list(checked.weights) == ([] if spread else ["w"])
    assert spread or len(checked.message) < 1_000
    session = ort.InferenceSession(model, session_options(), providers=["CPUExecutionProvider"])
    (expected,) = session.run(None, {"input": inputs})
    assert run_model(model, asked, LIMITS, inputs).tobytes() == expected.tobytes()
