from __future__ import annotations

import io
import json
from collections.abc import Callable
from dataclasses import replace
from typing import Any

import numpy as np
import pytest
import safetensors.numpy

from goldengrain.chaincode.protocol import canonical, digests, stream
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric, Tensor, TensorType
from goldengrain.enclave.dataset import FORMAT, Head, pack, seal_dataset, unpack, write_head
from goldengrain.enclave.errors import DatasetMalformed, DatasetMismatch

from .market import INTERFACE, LIMITS, SAMPLES, examples

SPEC = BenchmarkSpec(Metric.ACCURACY, False, SAMPLES, INTERFACE, LIMITS)


def test_container_gives_back_what_was_packed() -> None:
    inputs, labels = examples()
    dataset = unpack(pack(inputs, labels, name="tiny"))
    assert (dataset.inputs == inputs).all()
    assert (dataset.labels == labels).all()
    assert (dataset.name, dataset.samples) == ("tiny", SAMPLES)
    dataset.require(SPEC)


def test_same_data_gives_the_same_bytes() -> None:
    assert pack(*examples(), name="tiny") == pack(*examples(), name="tiny")


def test_sealed_dataset_names_ciphertext_plaintext_and_key() -> None:
    container = pack(*examples(), name="tiny")
    sealed = seal_dataset(container)
    assert stream.decrypt(sealed.key, sealed.ciphertext) == container
    assert sealed.digests.ciphertext == digests.sha256(sealed.ciphertext)
    assert sealed.digests.plaintext == digests.sha256(container)
    assert sealed.digests.key == digests.sha256(sealed.key)
    assert sealed.key.hex() not in repr(sealed)


def test_safetensors_own_library_reads_what_we_write() -> None:
    for inputs in (INPUTS, INPUTS.astype(np.float64), (INPUTS * 255).astype(np.uint8)):
        read = safetensors.numpy.load(pack(inputs, LABELS, name="tiny"))
        assert (read["inputs"] == inputs).all()
        assert (read["labels"] == LABELS).all()


def test_container_written_in_pieces_is_the_same() -> None:
    head, sink = Head.of("tiny", SAMPLES, "int64", "float32", INPUTS.shape[1:]), io.BytesIO()
    write_head(sink, head, LABELS)
    for row in INPUTS:
        sink.write(row.tobytes())
    assert sink.getvalue() == pack(INPUTS, LABELS, name="tiny")
    assert head.total == len(sink.getvalue())
    with pytest.raises(DatasetMismatch):
        write_head(sink, head, LABELS[1:])


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


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_container_is_refused(name: str) -> None:
    with pytest.raises(DatasetMalformed):
        unpack(MALFORMED[name]())


def _with_output(metric: Metric, shape: tuple[int, ...], kind: TensorType = TensorType.FLOAT32) -> BenchmarkSpec:
    interface = replace(INTERFACE, output=Tensor("y", kind, shape))
    return replace(SPEC, metric=metric, interface=interface, scale=10**6 if metric.is_loss else 0)


MISMATCHED = {
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


@pytest.mark.parametrize("name", MISMATCHED)
def test_dataset_of_another_kind_than_the_task_says_is_refused(name: str) -> None:
    inputs, labels, spec = MISMATCHED[name]
    with pytest.raises(DatasetMismatch):
        unpack(pack(inputs, labels, name="x")).require(spec)


@pytest.mark.parametrize(
    ("inputs", "labels", "name"),
    [
        (INPUTS, LABELS[1:], "x"),
        (INPUTS[:, 0], LABELS, "x"),
        (INPUTS, LABELS.astype(np.int32), "x"),
        (INPUTS.astype(np.float16), LABELS, "x"),
        (INPUTS, LABELS, "x" * 200),
    ],
)
def test_arrays_that_fit_no_container_are_refused(inputs: np.ndarray, labels: np.ndarray, name: str) -> None:
    with pytest.raises(DatasetMismatch):
        pack(inputs, labels, name=name)
