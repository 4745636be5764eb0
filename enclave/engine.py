"""Run a model over a test set with ONNX Runtime: one thread, fixed batches, the checked bytes only.

The same code runs in the enclave's worker and at the provider's, who evaluates the model it bought: on one kind of
machine both get the same bits.

Example::

    outputs = run_model(model_bytes, interface, limits, inputs)     # (samples, *output shape)
    correct = count_correct(outputs, labels)
"""

from __future__ import annotations

from typing import Any

import numpy as np
import numpy.typing as npt
import onnxruntime as ort
from onnxruntime.capi import onnxruntime_pybind11_state as ort_errors

from goldengrain.chaincode.protocol.task import ModelInterface, ModelLimits
from goldengrain.enclave.errors import ModelInterfaceWrong, ModelNotRunnable, OutOfMemory
from goldengrain.enclave.onnx_rules.check import CheckedModel, check_model

Array = npt.NDArray[Any]
_FATAL_ONLY = 4
_OUT_OF_MEMORY = ("bad allocation", "bad_alloc", "Failed to allocate memory", "std::length_error")
_ENGINE_ERRORS = "EPFail Fail InvalidArgument InvalidGraph InvalidProtobuf NoModel NotImplemented RuntimeException"
_ERRORS: tuple[type[Exception], ...] = (
    *(getattr(ort_errors, name) for name in _ENGINE_ERRORS.split()),
    ValueError,
    RuntimeError,
)


def run_model(data: bytes, interface: ModelInterface, limits: ModelLimits, inputs: Array) -> Array:
    """Check a model and run it over all samples of `inputs`; returns the task's output for each.

    Raises `ModelRefused` for whatever is the model's fault and `OutOfMemory` for the machine's; `ValueError` when the
    inputs themselves are not of the interface.
    """
    wanted = interface.input
    if inputs.dtype != np.dtype(wanted.type) or inputs.shape[1:] != wanted.shape[1:] or not len(inputs):
        raise ValueError(f"inputs of {inputs.dtype} {inputs.shape} where the task has {wanted.type} {wanted.shape[1:]}")
    checked = check_model(data, interface, limits, len(inputs))
    session = _guarded(_open, checked)
    return _run(session, checked, interface, inputs)


def _open(checked: CheckedModel) -> ort.InferenceSession:
    options = ort.SessionOptions()
    options.intra_op_num_threads = 1
    options.inter_op_num_threads = 1
    options.execution_mode = ort.ExecutionMode.ORT_SEQUENTIAL
    options.use_deterministic_compute = True
    options.log_severity_level = _FATAL_ONLY
    options.add_session_config_entry("session.load_model_format", "ONNX")
    options.add_session_config_entry("session.intra_op.allow_spinning", "0")
    return ort.InferenceSession(checked.data, options, providers=["CPUExecutionProvider"])


def _run(session: ort.InferenceSession, checked: CheckedModel, interface: ModelInterface, inputs: Array) -> Array:
    output = interface.output
    results = np.empty((len(inputs), *output.shape[1:]), dtype=output.type)
    for start in range(0, len(inputs), checked.batch):
        batch = inputs[start : start + checked.batch]
        (result,) = _guarded(session.run, [output.name], {interface.input.name: batch})
        if result.dtype != results.dtype or result.shape != (len(batch), *output.shape[1:]):
            raise ModelInterfaceWrong(
                f"output {output.name!r} came as {result.dtype} {list(result.shape)} for {len(batch)} samples"
            )
        results[start : start + len(batch)] = result
    return results


def _guarded(call: Any, *arguments: Any) -> Any:
    """Call into ONNX Runtime; its errors become ours."""
    try:
        return call(*arguments)
    except MemoryError as error:
        raise OutOfMemory("the engine ran out of memory") from error
    except _ERRORS as error:
        text = str(error)
        if any(mark in text for mark in _OUT_OF_MEMORY):
            raise OutOfMemory("the engine ran out of memory") from error
        raise ModelNotRunnable(f"ONNX Runtime refuses the model: {text.strip().splitlines()[0][:200]}") from error
