"""Run a checked ONNX model with ONNX Runtime: one thread, deterministic, no external data, no custom operators."""

from __future__ import annotations

from typing import Any

import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from goldengrain.chaincode.protocol.task import ModelInterface
from goldengrain.enclave.errors import ModelNotRunnable, OutOfMemory
from goldengrain.enclave.onnx_rules.check import CheckedModel

Array = npt.NDArray[Any]
_FATAL_ONLY = 4
_OUT_OF_MEMORY = ("bad allocation", "bad_alloc", "Failed to allocate memory", "std::length_error")
_ENGINE_ERRORS = "EPFail Fail InvalidArgument InvalidGraph InvalidProtobuf NoModel NotImplemented RuntimeException"
_ERRORS: tuple[type[Exception], ...] = (
    *(getattr(ort_errors, name) for name in _ENGINE_ERRORS.split()),
    ValueError,
    RuntimeError,
)


def session_options() -> ort.SessionOptions:
    """Return the options of every session: one thread, what is measured and what it is measured against."""
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return options


class OnnxModel:
    """A checked model, ready to run on batches. The session is made here: `ModelNotRunnable`, `OutOfMemory`."""

    def __init__(self, checked: CheckedModel, interface: ModelInterface) -> None:
        self.batch = checked.batch
        self._input, self._output = interface.input.name, interface.output.name
        self._weights = {name: ort.OrtValue.ortvalue_from_numpy(one) for name, one in checked.weights.items()}
        options = session_options()
        options.add_external_initializers(list(self._weights), list(self._weights.values()))
        self._session = _guarded(ort.InferenceSession, checked.message, options, providers=["CPUExecutionProvider"])

    def run(self, batch: Array) -> Array:
        """Return the output for a batch of inputs; raises `ModelNotRunnable`, `OutOfMemory`."""
        (result,) = _guarded(self._session.run, [self._output], {self._input: batch})
        found: Array = result
        return found


def _guarded(call: Any, *arguments: Any, **options: Any) -> Any:
    """Call into ONNX Runtime; its errors become ours."""
    try:
        return call(*arguments, **options)
    except MemoryError as error:
        raise OutOfMemory("the engine ran out of memory") from error
    except _ERRORS as error:
        text = str(error)
        if any(mark in text for mark in _OUT_OF_MEMORY):
            raise OutOfMemory("the engine ran out of memory") from error
        raise ModelNotRunnable(f"ONNX Runtime refuses the model: {text.strip().splitlines()[0][:200]}") from error
