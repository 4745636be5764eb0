"""A model of one multiplication: a waiting worker runs it, so that what comes next finds everything loaded."""

from __future__ import annotations

import numpy as np
from onnx import TensorProto, helper, numpy_helper

from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits, Tensor, TensorType
from goldengrain.enclave.engine import open_model, run_batch

INTERFACE = ModelInterface(Tensor("x", TensorType.FLOAT32, (0, 1)), Tensor("y", TensorType.FLOAT32, (0, 1)))
LIMITS = ModelLimits(model_bytes=10_000, nodes=10, operations=1_000, memory_bytes=1_000_000)


def tiny_model() -> bytes:
    """Return it as ONNX."""
    ends = [helper.make_tensor_value_info(name, TensorProto.FLOAT, ("n", 1)) for name in ("x", "y")]
    weight = numpy_helper.from_array(np.ones((1, 1), np.float32), "w")
    graph = helper.make_graph([helper.make_node("MatMul", ["x", "w"], ["y"])], "tiny", ends[:1], ends[1:], [weight])
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", 18)], ir_version=9)
    return bytes(model.SerializeToString())


def warm_up() -> None:
    """Have ONNX Runtime ready before a job comes; torch, which takes seconds and is rarely wanted, only then."""
    run_batch(open_model(tiny_model(), INTERFACE, LIMITS, 1), INTERFACE, np.zeros((1, 1), np.float32))
