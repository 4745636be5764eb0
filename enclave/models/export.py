"""From what developers train to what an enclave runs.

scikit-learn estimators go through skl2onnx, torch modules through torch's exporter, and weights for an architecture
that is built into the enclave are written as the same plan in ONNX, so that either engine may run them.
"""

from __future__ import annotations

import contextlib
import io
import logging
import warnings
from collections.abc import Iterator
from typing import Any

import numpy as np
import numpy.typing as npt
from onnx import helper, numpy_helper

from goldengrain.chaincode.protocol.task import ModelInterface, TensorType
from goldengrain.enclave.architectures import SCALE, Step, plan
from goldengrain.enclave.models.errors import ExportFailed
from goldengrain.enclave.onnx_rules.check import ELEMENT_NAMES
from goldengrain.enclave.weights import read_weights

Array = npt.NDArray[Any]
OPSETS = {"": 18, "ai.onnx.ml": 3}
IR_VERSION = 9


def weights_to_onnx(data: bytes, interface: ModelInterface) -> bytes:
    """Write weights for an architecture as an ONNX model of a task's interface; refused as the enclave refuses."""
    config, weights = read_weights(data)
    source, result = interface.input, interface.output
    made = plan(config, source.name, source.shape[1:], source.type is TensorType.UINT8)
    tensors = {**weights, SCALE: np.float32(1 / 255)} if source.type is TensorType.UINT8 else dict(weights)
    nodes = []
    for step in made.steps:
        output = result.name if step.output == made.output else step.output
        if step.operator == "Reshape":
            tensors["sizes"] = np.array(step.attributes["sizes"], np.int64)
        nodes.append(_node(step, output))
    graph = helper.make_graph(
        nodes,
        config.architecture,
        [_value(source.name, source.type, source.shape[1:])],
        [_value(result.name, result.type, made.values[made.output])],
        [numpy_helper.from_array(np.asarray(one), name) for name, one in tensors.items()],
    )
    model = helper.make_model(graph, opset_imports=[helper.make_opsetid("", OPSETS[""])], ir_version=IR_VERSION)
    return bytes(model.SerializeToString(deterministic=True))


def _node(step: Step, output: str) -> Any:
    inputs = [*step.inputs, "sizes"] if step.operator == "Reshape" else list(step.inputs)
    attributes = {} if step.operator == "Reshape" else dict(step.attributes)
    return helper.make_node(step.operator, inputs, [output], **attributes)


def _value(name: str, kind: str, shape: tuple[int, ...]) -> Any:
    return helper.make_tensor_value_info(name, ELEMENT_NAMES[kind], ("samples", *shape))


def from_sklearn(estimator: Any, features: int) -> bytes:
    """Export a fitted scikit-learn estimator: `input`, float32 (samples, features); a classifier gives `probabilities`.

    A regressor gives `prediction`. Raises `ExportFailed` for what skl2onnx can't convert, and for classes that are
    numbers but not 0, 1, …: its columns would be taken for other classes than it means.
    """
    from skl2onnx import to_onnx
    from skl2onnx.common.data_types import FloatTensorType

    _require_numbered(estimator)
    types = [("input", FloatTensorType([None, features]))]
    classifier = hasattr(estimator, "classes_")
    options = {id(estimator): {"zipmap": False}} if classifier else None
    try:
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # deprecations inside the exporter
            model = to_onnx(estimator, initial_types=types, options=options, target_opset=OPSETS)
    except Exception as error:
        raise ExportFailed(f"skl2onnx can't export a {type(estimator).__name__}: {error}") from error
    model.graph.name = "golden-grain"
    imports = sorted(model.opset_import, key=lambda one: one.domain)  # skl2onnx lists them as a set has them
    del model.opset_import[:]
    model.opset_import.extend(imports)
    if not classifier:
        _rename(model.graph, model.graph.output[0].name, "prediction")
    return bytes(model.SerializeToString(deterministic=True))


def _require_numbered(estimator: Any) -> None:
    """Raise `ExportFailed` where an estimator's classes are numbers that aren't those of a test set's columns."""
    classes = np.asarray(getattr(estimator, "classes_", []))
    if np.issubdtype(classes.dtype, np.number) and classes.tolist() != list(range(len(classes))):
        known = ", ".join(map(str, classes.tolist()[:8]))
        raise ExportFailed(
            f"a test set's classes are numbered from 0, the estimator's are {known}: train it on 0, 1, …"
        )


def from_torch(module: Any, interface: ModelInterface) -> bytes:
    """Export a torch module by torch's own exporter for a task's interface; raises `ExportFailed`."""
    import torch

    source = interface.input
    example = torch.zeros((2, *source.shape[1:]), dtype=getattr(torch, source.type.value))
    samples = torch.export.Dim("samples")
    names = {"input_names": [source.name], "output_names": [interface.output.name]}
    try:
        with _quiet(), torch.inference_mode():
            program = torch.onnx.export(
                module.eval(),
                (example,),
                dynamic_shapes=({0: samples},),
                opset_version=OPSETS[""],
                dynamo=True,
                **names,
            )
            model = program.model_proto
    except Exception as error:
        raise ExportFailed(f"torch can't export this module: {str(error).strip().splitlines()[0][:200]}") from error
    del model.metadata_props[:], model.graph.metadata_props[:], model.functions[:]
    for one in (*model.graph.node, *model.graph.input, *model.graph.output, *model.graph.value_info):
        del one.metadata_props[:]
        one.doc_string = ""
    return bytes(model.SerializeToString(deterministic=True))


@contextlib.contextmanager
def _quiet() -> Iterator[None]:
    """Keep the exporter's progress, warnings and logging off the terminal."""
    logging.disable(logging.WARNING)
    try:
        with warnings.catch_warnings(), contextlib.redirect_stdout(io.StringIO()):
            warnings.simplefilter("ignore")
            yield
    finally:
        logging.disable(logging.NOTSET)


def _rename(graph: Any, old: str, new: str) -> None:
    """Give a graph's output another name, everywhere."""
    for node in graph.node:
        for names in (node.input, node.output):
            for index, name in enumerate(names):
                if name == old:
                    names[index] = new
    for value in graph.output:
        if value.name == old:
            value.name = new
