"""A dataset container in a file, read where it is asked for: whatever its size, memory holds a piece of it.

with path.open("rb") as file:
    dataset = DatasetFile(file)               # raises DatasetMalformed
    dataset.require(spec)                     # raises DatasetMismatch
    for piece in dataset.pieces(): …          # the inputs' bytes, in order
    dataset.labels(0, 256)
"""

from __future__ import annotations

import os
import threading
from collections.abc import Iterator
from typing import BinaryIO

import numpy as np

from goldengrain.chaincode.protocol.task import BenchmarkSpec
from goldengrain.enclave.dataset import MAX_HEADER, Array, Head, require_labels
from goldengrain.enclave.errors import DatasetMalformed
from goldengrain.enclave.tensors import LENGTH

PIECE = 1024 * 1024
_LABELS = PIECE // 8


class DatasetFile:
    """A container in a file that stays open as long as this is used; threads may read at once."""

    def __init__(self, file: BinaryIO) -> None:
        self._file = file
        self._lock = threading.Lock()
        self.head = Head.parse(self._read(0, LENGTH + MAX_HEADER))
        size = file.seek(0, os.SEEK_END)
        if size != self.head.total:
            raise DatasetMalformed(f"the test set has {size:,} bytes, its header announces {self.head.total:,}")

    def labels(self, start: int, stop: int) -> Array:
        """Return labels by index."""
        head, width = self.head, self.head.labels.size // self.head.samples
        stop = min(stop, head.samples)
        return np.frombuffer(self._read(head.size + start * width, (stop - start) * width), head.labels.type)

    def pieces(self) -> Iterator[memoryview]:
        """Give the inputs' bytes in order."""
        start = self.head.size + self.head.labels.size
        for at in range(start, self.head.total, PIECE):
            yield memoryview(self._read(at, min(PIECE, self.head.total - at)))

    def extremes(self) -> Array:
        """Return the least and the greatest label; both are NaN where one is."""
        found = self.labels(0, 1)
        for start in range(0, self.head.samples, _LABELS):
            part = self.labels(start, start + _LABELS)
            found = np.array([min_max(np.append(found, part)) for min_max in (np.min, np.max)])
        return found

    def deviation(self) -> float:
        """Return the standard deviation of the labels, of the first 131,072 where there are more."""
        return float(self.labels(0, _LABELS).astype(np.float64).std())

    def require(self, spec: BenchmarkSpec) -> None:
        """Raise `DatasetMismatch` unless samples, shapes, types and labels are what a benchmark spec says."""
        self.head.require(spec)
        require_labels(spec, self.extremes())

    def _read(self, at: int, size: int) -> bytes:
        with self._lock:
            self._file.seek(at)
            return self._file.read(size)
