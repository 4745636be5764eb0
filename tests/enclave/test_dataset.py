from __future__ import annotations

import io

import numpy as np
import pytest
import safetensors.numpy

from goldengrain.chaincode.protocol import digests, stream
from goldengrain.chaincode.protocol.task import BenchmarkSpec, Metric
from goldengrain.enclave.dataset import Head, pack, seal_dataset, unpack, write_head
from goldengrain.enclave.errors import DatasetMismatch

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


INPUTS, LABELS = examples()


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
