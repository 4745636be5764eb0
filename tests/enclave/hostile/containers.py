"""Hostile test sets, each the control with one defect; `build.py` writes them down as cases."""

from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import safetensors.numpy

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric, Tensor, TensorType
from goldengrain.enclave.dataset import FORMAT, pack
from tests.enclave.market import INTERFACE, LIMITS, SAMPLES, examples

from .onnx_models import zip_bomb

SPEC = BenchmarkSpec(Metric.ACCURACY, False, SAMPLES, INTERFACE, LIMITS)


def _saved(manifest: object, **tensors: np.ndarray) -> bytes:
    text = manifest if isinstance(manifest, str) else canonical.dumps(manifest).decode()
    return safetensors.numpy.save(tensors, metadata={"manifest": text})


GOOD = {"format": FORMAT, "name": "x", "samples": SAMPLES}
INPUTS, LABELS = examples()
MALFORMED: dict[str, Callable[[], bytes]] = {
    "nothing": lambda: b"",
    "a pickle": lambda: b"\x80\x04\x95" + bytes(60),
    "a zip archive": lambda: b"PK\x03\x04" + bytes(60),
    "a header of 2^63 bytes": lambda: (2**63).to_bytes(8, "little") + b"{}",
    "a zip bomb": zip_bomb,
    "an .npz file of pickled objects": lambda: _npz(),
    "a name from another folder and no end": lambda: _saved(GOOD | {"name": "../" * 100}, inputs=INPUTS, labels=LABELS),
    "the same tensor twice": lambda: _twice(),
    "2^40 samples in a few bytes": lambda: _edited(lambda f: f["labels"].__setitem__("shape", [2**40])),
    "cut off": lambda: pack(*examples(), name="x")[:-1],
    "trailing bytes": lambda: pack(*examples(), name="x") + b"x",
    "no manifest": lambda: safetensors.numpy.save({"inputs": INPUTS, "labels": LABELS}),
    "a manifest that is a list": lambda: _saved([], inputs=INPUTS, labels=LABELS),
    "a manifest that isn't JSON": lambda: _saved("{", inputs=INPUTS, labels=LABELS),
    "another format": lambda: _saved(GOOD | {"format": "x"}, inputs=INPUTS, labels=LABELS),
    "no name": lambda: _saved({"format": FORMAT, "samples": SAMPLES}, inputs=INPUTS, labels=LABELS),
    "another count": lambda: _saved(GOOD | {"samples": 1}, inputs=INPUTS, labels=LABELS),
    "a count that is text": lambda: _saved(GOOD | {"samples": "40"}, inputs=INPUTS, labels=LABELS),
    "no samples": lambda: _saved(GOOD | {"samples": 0}, inputs=INPUTS[:0], labels=LABELS[:0]),
    "fewer labels": lambda: _saved(GOOD, inputs=INPUTS, labels=LABELS[1:]),
    "labels in a table": lambda: _saved(GOOD, inputs=INPUTS, labels=LABELS[:, None]),
    "no inputs": lambda: _saved(GOOD, labels=LABELS),
    "a third tensor": lambda: _saved(GOOD, inputs=INPUTS, labels=LABELS, more=LABELS),
    "inputs before labels": lambda: _saved(GOOD, inputs=INPUTS.astype(np.int64), labels=LABELS),
    "a gap between tensors": lambda: _edited(lambda f: f["inputs"]["data_offsets"].__setitem__(1, 10**6)),
    "tensors that overlap": lambda: _edited(lambda f: f["inputs"].__setitem__("data_offsets", [0, 640])),
    "a negative axis": lambda: _edited(lambda f: f["inputs"].__setitem__("shape", [-40, -4])),
    "an axis that is true": lambda: _edited(lambda f: f["inputs"].__setitem__("shape", [40, True])),
    "an empty axis": lambda: _saved(GOOD, inputs=INPUTS[:, :0], labels=LABELS),
    "too many axes": lambda: _saved(GOOD, inputs=INPUTS.reshape(40, 4, 1, 1, 1, 1, 1, 1, 1), labels=LABELS),
    "a tensor with more to say": lambda: _edited(lambda f: f["inputs"].__setitem__("file", "/etc/passwd")),
    "a header longer than any": lambda: (10**6).to_bytes(8, "little") + b"{" + b" " * 10**6,
    "inputs of half precision": lambda: _saved(GOOD, inputs=INPUTS.astype(np.float16), labels=LABELS),
}


def _edited(edit: Callable[[dict[str, Any]], object]) -> bytes:
    """A good container with a change in its header."""
    good = pack(INPUTS, LABELS, name="x")
    length = int.from_bytes(good[:8], "little")
    fields = json.loads(good[8 : 8 + length])
    edit(fields)
    text = json.dumps(fields).encode()
    return len(text).to_bytes(8, "little") + text + good[8 + length :]


def _npz() -> bytes:
    sink = io.BytesIO()
    np.savez(sink, inputs=np.array([{}, {}], dtype=object), labels=np.zeros(2))
    return sink.getvalue()


def _twice() -> bytes:
    good = pack(INPUTS, LABELS, name="x")
    length = int.from_bytes(good[:8], "little")
    text = good[8 : 8 + length].rstrip()
    fields = json.loads(text)
    text = text[:-1] + b',"inputs":' + json.dumps(fields["inputs"]).encode() + b"}"
    return len(text).to_bytes(8, "little") + text + good[8 + length :]


def _with_output(metric: Metric, shape: tuple[int, ...], kind: TensorType = TensorType.FLOAT32) -> BenchmarkSpec:
    interface = replace(INTERFACE, output=Tensor("y", kind, shape))
    return replace(SPEC, metric=metric, interface=interface, scale=10**6 if metric.is_loss else 0)


MISMATCHED: dict[str, tuple[np.ndarray, np.ndarray, BenchmarkSpec]] = {
    "a label beyond the classes": (INPUTS, LABELS + 1, SPEC),
    "one class for AUROC": (INPUTS, LABELS * 0, replace(SPEC, metric=Metric.AUROC)),
    "a third class for two": (INPUTS, LABELS, _with_output(Metric.AUROC, (0, 1))),
    "maps that can't be scored": (INPUTS, LABELS, _with_output(Metric.ACCURACY, (0, 3, 8))),
    "integers for probabilities": (INPUTS, LABELS, _with_output(Metric.LOG_LOSS, (0, 3), TensorType.INT64)),
    "one prediction for top-5": (INPUTS, LABELS, _with_output(Metric.TOP_5, (0, 1))),
    "three numbers for RMSE": (INPUTS, LABELS.astype(np.float64), _with_output(Metric.RMSE, (0, 3))),
    "classes without end": (INPUTS, LABELS + 2**40, _with_output(Metric.MACRO_F1, (0,), TensorType.INT64)),
    "another number of samples": (INPUTS[1:], LABELS[1:], SPEC),
    "another shape": (INPUTS[:, :2], LABELS, SPEC),
    "another type": (INPUTS.astype(np.float64), LABELS, SPEC),
    "a negative label": (INPUTS, LABELS - 5, SPEC),
    "labels that are no classes": (INPUTS, LABELS.astype(np.float64), SPEC),
    "classes where numbers are wanted": (INPUTS, LABELS, replace(SPEC, metric=Metric.RMSE, scale=1)),
    "a target that is no number": (INPUTS, LABELS * np.nan, replace(SPEC, metric=Metric.RMSE, scale=1)),
}
