"""The dataset container: a test set as one plain file, encrypted as a whole.

It is a safetensors file with two tensors, `labels` (one int64 per sample, for RMSE one float64), then `inputs` (samples
first, of the task's element type and shape), and a manifest in its metadata. Nothing in it is code; nothing is
unpickled. Header and labels come first, so that the inputs can be read a batch at a time, whatever their size.

    container = pack(inputs, labels, name="digits")
    sealed = seal_dataset(container)            # the digests for the task, the key for the enclaves, the ciphertext
    dataset = unpack(container)

What doesn't fit into memory is written and read in pieces::

    write_head(sink, head := Head.of(name, labels, "uint8", (28, 28)))
    for batch in batches:
        sink.write(batch.tobytes())

    head = Head.parse(first_bytes)        # raises DatasetMalformed
"""

from __future__ import annotations

from dataclasses import dataclass
from math import prod
from typing import Any, BinaryIO, Self

import numpy as np
import numpy.typing as npt

from goldengrain.chaincode.protocol import canonical, digests, stream
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.task import BenchmarkSpec, DatasetDigests, Metric, TensorType
from goldengrain.enclave.errors import DatasetMalformed, DatasetMismatch
from goldengrain.enclave.metrics import MAX_CLASSES
from goldengrain.enclave.tensors import HeaderWrong, read_header, write_header

FORMAT = "golden-grain/dataset/v1"
MAX_NAME = 128
MAX_HEADER = 64 * 1024
MAX_AXES = 8
INPUT_TYPES = tuple(str(one) for one in TensorType)
_LABEL_TYPES = ("int64", "float64")
_CODES = {"float32": "F32", "float64": "F64", "int64": "I64", "int32": "I32", "uint8": "U8"}
_TYPES = {code: name for name, code in _CODES.items()}

Array = npt.NDArray[Any]


@dataclass(frozen=True)
class Part:
    """One tensor: element type, shape, and the bytes it takes."""

    type: str
    shape: tuple[int, ...]

    @property
    def size(self) -> int:
        """Bytes."""
        return prod(self.shape) * np.dtype(self.type).itemsize

    def array(self, data: bytes | bytearray | memoryview) -> Array:
        """Return it as an array over its bytes."""
        return np.frombuffer(data, dtype=self.type).reshape(self.shape)


@dataclass(frozen=True)
class Head:
    """What a container's header says: a name, labels (n,), inputs (n, …), and the header's own size in bytes."""

    name: str
    labels: Part
    inputs: Part
    size: int

    @classmethod
    def of(cls, name: str, samples: int, label_type: str, input_type: str, shape: tuple[int, ...]) -> Self:
        """Describe a container to be written; raises `DatasetMismatch` for what can't be in one."""
        if not samples or not shape or len(shape) >= MAX_AXES or not all(shape) or not 0 < len(name) <= MAX_NAME:
            raise DatasetMismatch("inputs have samples first and one more axis at least; the set has a short name")
        if input_type not in INPUT_TYPES or label_type not in _LABEL_TYPES:
            raise DatasetMismatch(f"inputs are of {', '.join(INPUT_TYPES)}; labels of {', '.join(_LABEL_TYPES)}")
        made = cls(name, Part(label_type, (samples,)), Part(input_type, (samples, *shape)), 0)
        return cls(made.name, made.labels, made.inputs, len(made.to_bytes()))

    @classmethod
    def parse(cls, data: bytes | bytearray | memoryview) -> Self:
        """Read the header from a container's first bytes; raises `DatasetMalformed`. `total` is what has to follow."""
        try:
            header = read_header(data, MAX_HEADER)
            if list(header.entries) != ["labels", "inputs"]:
                raise DatasetMalformed("a test set has labels, then inputs, and nothing else")
            labels, inputs = (Part(_TYPES[one.dtype], one.shape) for one in header.entries.values())
            manifest = canonical.loads(header.metadata["manifest"].encode())
        except (HeaderWrong, MalformedInput, KeyError, ValueError) as error:
            raise DatasetMalformed(f"the test set is no dataset container: {error}") from error
        return cls(_checked(manifest, labels, inputs), labels, inputs, header.size)

    @property
    def samples(self) -> int:
        """N."""
        return self.labels.shape[0]

    @property
    def row(self) -> int:
        """Bytes of one sample's input."""
        return self.inputs.size // self.samples

    @property
    def total(self) -> int:
        """Bytes of the whole container."""
        return self.size + self.labels.size + self.inputs.size

    def to_bytes(self) -> bytes:
        """Return the header as it is written, filled up with spaces to a multiple of eight bytes."""
        manifest = canonical.dumps({"format": FORMAT, "name": self.name, "samples": self.samples}).decode()
        parts = {"labels": self.labels, "inputs": self.inputs}
        return write_header(
            {"manifest": manifest}, {name: (_CODES[one.type], one.shape) for name, one in parts.items()}
        )

    def require(self, spec: BenchmarkSpec) -> None:
        """Raise `DatasetMismatch` unless samples, shapes and types are what a benchmark spec says and can be scored."""
        wanted = spec.interface.input
        if self.samples != spec.samples:
            raise DatasetMismatch(f"the test set has {self.samples:,} samples, the task says {spec.samples:,}")
        if self.inputs.type != wanted.type.value or self.inputs.shape[1:] != tuple(wanted.shape[1:]):
            raise DatasetMismatch(f"inputs are {self.inputs.type} {self.inputs.shape[1:]}, not as the task says")
        if self.labels.type != ("float64" if spec.metric is Metric.RMSE else "int64"):
            raise DatasetMismatch("labels are int64; for RMSE float64")
        require_scorable(spec)


@dataclass(frozen=True)
class Dataset:
    """A test set in memory: inputs (n, …) and labels (n,)."""

    name: str
    inputs: Array
    labels: Array

    @property
    def samples(self) -> int:
        """N."""
        return len(self.inputs)

    def require(self, spec: BenchmarkSpec) -> None:
        """Raise `DatasetMismatch` unless samples, shapes, types and labels are what a benchmark spec says."""
        head = Head.of(self.name, self.samples, str(self.labels.dtype), str(self.inputs.dtype), self.inputs.shape[1:])
        head.require(spec)
        require_labels(spec, self.labels)


@dataclass(frozen=True, repr=False)
class SealedDataset:
    """An encrypted test set: what the task names, the key, and the ciphertext for the content store."""

    digests: DatasetDigests
    key: bytes
    ciphertext: bytes


def require_scorable(spec: BenchmarkSpec) -> None:
    """Raise `DatasetMismatch` where the task's output can't be scored by its metric: then every model would fail."""
    output = spec.interface.output
    floats = output.type in (TensorType.FLOAT32, TensorType.FLOAT64)
    width = output.shape[1] if len(output.shape) == 2 else 1 if len(output.shape) == 1 else 0
    columns = len(output.shape) == 2
    possible = {
        Metric.ACCURACY: columns if floats else width == 1,
        Metric.MACRO_F1: columns if floats else width == 1,
        Metric.TOP_5: columns and width > 1,
        Metric.AUROC: width > 0,
        Metric.RMSE: width == 1,
        Metric.LOG_LOSS: columns and floats,
    }[spec.metric]
    if not possible:
        raise DatasetMismatch(f"an output of {output.type} {list(output.shape)} can't be scored by {spec.metric}")


def require_labels(spec: BenchmarkSpec, labels: Array) -> None:
    """Raise `DatasetMismatch` unless labels are what a metric takes: finite numbers, or classes of the output."""
    if spec.metric is Metric.RMSE:
        if not np.isfinite(labels).all():
            raise DatasetMismatch("RMSE takes one finite float64 per sample")
        return
    output = spec.interface.output
    width = output.shape[1] if len(output.shape) == 2 else 1
    classes = width if width > 1 else 2 if spec.metric is Metric.AUROC else MAX_CLASSES
    if labels.min() < 0 or labels.max() >= classes:
        raise DatasetMismatch(f"labels are classes from 0 to {classes - 1:,}; the task's output has no others")
    if spec.metric is Metric.AUROC and labels.min() == labels.max():
        raise DatasetMismatch("AUROC takes a test set with more than one class")


def pack(inputs: Array, labels: Array, *, name: str) -> bytes:
    """Write a container; raises `DatasetMismatch` for arrays that can't be in one."""
    if len(inputs) != len(labels) or labels.ndim != 1:
        raise DatasetMismatch("there is one label for each input")
    head = Head.of(name, len(inputs), str(labels.dtype), str(inputs.dtype), inputs.shape[1:])
    return head.to_bytes() + np.ascontiguousarray(labels).tobytes() + np.ascontiguousarray(inputs).tobytes()


def write_head(sink: BinaryIO, head: Head, labels: Array) -> None:
    """Begin a container in a file: header and labels; the inputs' bytes follow, in order."""
    if len(labels) != head.samples or str(labels.dtype) != head.labels.type:
        raise DatasetMismatch("the labels are not those that the header announces")
    sink.write(head.to_bytes())
    sink.write(np.ascontiguousarray(labels).tobytes())


def unpack(container: bytes | bytearray) -> Dataset:
    """Read a container; raises `DatasetMalformed`."""
    head = Head.parse(container)
    if head.total != len(container):
        raise DatasetMalformed(f"the test set has {len(container):,} bytes, its header announces {head.total:,}")
    view = memoryview(container)
    middle = head.size + head.labels.size
    return Dataset(head.name, head.inputs.array(view[middle:]), head.labels.array(view[head.size : middle]))


def seal_dataset(container: bytes) -> SealedDataset:
    """Encrypt a container under a fresh key."""
    key = stream.generate_key()
    ciphertext = stream.encrypt(key, container)
    found = DatasetDigests(
        ciphertext=digests.sha256(ciphertext), plaintext=digests.sha256(container), key=digests.sha256(key)
    )
    return SealedDataset(found, key, ciphertext)


def _checked(manifest: Json, labels: Part, inputs: Part) -> str:
    """Hold the manifest against the tensors; return the set's name."""
    name = manifest.get("name") if isinstance(manifest, dict) else None
    if not isinstance(name, str) or not 0 < len(name) <= MAX_NAME or manifest.get("format") != FORMAT:
        raise DatasetMalformed(f"the test set is no container of the format {FORMAT}")
    if labels.type not in _LABEL_TYPES or len(labels.shape) != 1 or not 2 <= len(inputs.shape) <= MAX_AXES:
        raise DatasetMalformed("a test set has one label for each of its samples, and samples of an axis or more")
    if not 0 < labels.shape[0] == inputs.shape[0] == manifest.get("samples") or 0 in inputs.shape:
        raise DatasetMalformed("the test set's inputs and labels differ in number")
    return name
