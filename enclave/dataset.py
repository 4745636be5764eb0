"""The dataset container: a test set as one plain file, encrypted as a whole.

It is a safetensors file with two tensors, `inputs` (samples first, of the task's element type and shape) and `labels`
(one integer per sample for accuracy and log loss, one float64 for RMSE), and a manifest in its metadata. Nothing in it
is code; nothing is unpickled.

    container = pack(inputs, labels, name="digits")
    sealed = seal_dataset(container)            # the digests for the task, the key for the enclaves, the ciphertext
    dataset = unpack(container)
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Any

import numpy as np
import numpy.typing as npt
import safetensors
import safetensors.numpy

from goldengrain.chaincode.protocol import canonical, digests, stream
from goldengrain.chaincode.protocol.errors import MalformedInput
from goldengrain.chaincode.protocol.task import BenchmarkSpec, DatasetDigests, Metric
from goldengrain.enclave.errors import DatasetMalformed, DatasetMismatch

FORMAT = "golden-grain/dataset/v1"
MAX_NAME = 128
INPUT_TYPES = ("float32", "float64", "int64", "int32", "uint8")
_LABEL_TYPES = ("int64", "float64")
_DTYPES = {"F32": "float32", "F64": "float64", "I64": "int64", "I32": "int32", "U8": "uint8"}

Array = npt.NDArray[Any]
_deserialize: Any = safetensors.deserialize


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
        wanted = spec.interface.input
        if self.samples != spec.samples:
            raise DatasetMismatch(f"the test set has {self.samples:,} samples, the task says {spec.samples:,}")
        if str(self.inputs.dtype) != wanted.type.value or self.inputs.shape[1:] != tuple(wanted.shape[1:]):
            raise DatasetMismatch(f"inputs are {self.inputs.dtype} {self.inputs.shape[1:]}, not as the task says")
        if spec.metric is Metric.RMSE:
            if self.labels.dtype != np.float64 or not np.isfinite(self.labels).all():
                raise DatasetMismatch("RMSE takes one finite float64 per sample")
        elif self.labels.dtype != np.int64 or (self.labels < 0).any():
            raise DatasetMismatch("labels are int64, none negative")


@dataclass(frozen=True, repr=False)
class SealedDataset:
    """An encrypted test set: what the task names, the key, and the ciphertext for the content store."""

    digests: DatasetDigests
    key: bytes
    ciphertext: bytes


def pack(inputs: Array, labels: Array, *, name: str) -> bytes:
    """Write a container; raises `DatasetMismatch` for arrays that can't be in one."""
    if len(inputs) != len(labels) or not len(inputs) or labels.ndim != 1 or inputs.ndim < 2 or len(name) > MAX_NAME:
        raise DatasetMismatch("inputs have samples first and one more axis at least; one label each; a short name")
    if str(inputs.dtype) not in INPUT_TYPES or str(labels.dtype) not in _LABEL_TYPES:
        raise DatasetMismatch(f"inputs are of {', '.join(INPUT_TYPES)}; labels of {', '.join(_LABEL_TYPES)}")
    manifest = canonical.dumps({"format": FORMAT, "name": name, "samples": len(inputs)}).decode()
    tensors = {"inputs": np.ascontiguousarray(inputs), "labels": np.ascontiguousarray(labels)}
    return safetensors.numpy.save(tensors, metadata={"manifest": manifest})


def unpack(container: bytes | bytearray) -> Dataset:
    """Read a container; raises `DatasetMalformed`."""
    try:
        tensors = dict(_deserialize(bytes(container)))
        manifest = _manifest(container)
        inputs, labels = _array(tensors.pop("inputs")), _array(tensors.pop("labels"))
    except (safetensors.SafetensorError, MalformedInput, KeyError, ValueError, TypeError, AttributeError) as error:
        raise DatasetMalformed("the test set is no dataset container") from error
    if tensors or manifest.get("format") != FORMAT or not isinstance(manifest.get("name"), str):
        raise DatasetMalformed(f"the test set is no container of the format {FORMAT}")
    if inputs.ndim < 2 or labels.ndim != 1 or not 0 < len(inputs) == len(labels) == manifest.get("samples"):
        raise DatasetMalformed("the test set's inputs and labels differ in number")
    return Dataset(manifest["name"], inputs, labels)


def seal_dataset(container: bytes) -> SealedDataset:
    """Encrypt a container under a fresh key."""
    key = stream.generate_key()
    ciphertext = stream.encrypt(key, container)
    found = DatasetDigests(
        ciphertext=digests.sha256(ciphertext), plaintext=digests.sha256(container), key=digests.sha256(key)
    )
    return SealedDataset(found, key, ciphertext)


def _manifest(container: bytes | bytearray) -> dict[str, Any]:
    """Read the manifest from the header, whose length safetensors has checked by now."""
    length = int.from_bytes(container[:8], "little")
    header = canonical.loads(bytes(container[8 : 8 + length]))
    manifest = canonical.loads(header["__metadata__"]["manifest"].encode())
    if not isinstance(manifest, dict):
        raise MalformedInput("a manifest is an object")
    return manifest


def _array(tensor: dict[str, Any]) -> Array:
    return np.frombuffer(tensor["data"], dtype=_DTYPES[tensor["dtype"]]).reshape(tensor["shape"])
