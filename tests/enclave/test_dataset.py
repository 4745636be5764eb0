from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace

import numpy as np
import pytest
import safetensors.numpy

from goldengrain.chaincode.protocol import canonical, digests, stream
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric
from goldengrain.enclave.dataset import FORMAT, pack, seal_dataset, unpack
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
    "inputs of half precision": lambda: _saved(GOOD, inputs=INPUTS.astype(np.float16), labels=LABELS),
}


@pytest.mark.parametrize("name", MALFORMED)
def test_malformed_container_is_refused(name: str) -> None:
    with pytest.raises(DatasetMalformed):
        unpack(MALFORMED[name]())


MISMATCHED = {
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
