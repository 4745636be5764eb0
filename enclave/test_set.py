"""A sealed test set as it is read: decrypted and hashed chunk by chunk, inputs handed on, labels kept for scoring.

Whose fault a wrong test set is (protocol section 5) is known only at its end: bytes of another digest than the ledger's
are the host's, whatever they contain, and nothing is signed; under the right digest whatever is wrong inside is the
provider's. So what goes wrong on the way waits until the ciphertext has been hashed to its end. What is handed on
before has been authenticated under the test set's key, chunk by chunk and in order; it decides nothing until then.

Memory: three chunks, the labels, and what a metric keeps of outputs.
"""

from __future__ import annotations

import hmac
from typing import BinaryIO, cast

import numpy as np

from goldengrain.chaincode.protocol import stream
from goldengrain.chaincode.protocol.errors import SealingError
from goldengrain.chaincode.protocol.task import Task
from goldengrain.enclave.dataset import MAX_HEADER, Head, require_labels
from goldengrain.enclave.errors import (
    DatasetMalformed,
    DatasetRefused,
    DatasetUndecryptable,
)
from goldengrain.enclave.host_file import HostFile
from goldengrain.enclave.metrics import Array, Tally
from goldengrain.enclave.runner import Feed, Forward
from goldengrain.enclave.tensors import LENGTH, HeaderWrong, header_size


class TestSet(Feed):
    """A test set's ciphertext, bound to a task; the key is set once its envelope is open."""

    __test__ = False  # no test case, whatever pytest makes of its name

    def __init__(self, ciphertext: bytes | BinaryIO, task: Task) -> None:
        self.samples = task.spec.samples
        self.key = b""
        self.tally = Tally.of(task.spec)
        self._ciphertext, self._task = ciphertext, task
        self._container: _Container | None = None

    def read(self, forward: Forward) -> None:
        """Hand on the inputs, from the start, with a new tally.

        Raises `HostBytesRefused` before all else, then `DatasetRefused`.
        """
        self.tally = Tally.of(self._task.spec)
        source = self._file()
        fault: Exception | None = None
        try:
            self._open(source, forward)
        except (SealingError, DatasetRefused) as error:
            fault = error
        source.require(self._task.dataset.ciphertext)
        if isinstance(fault, SealingError):
            raise DatasetUndecryptable(f"the test set: {fault}") from fault
        if fault is not None:
            raise fault

    def take(self, outputs: Array) -> None:
        """Count the outputs of the next samples against their labels."""
        done, labels = self.tally.samples, self._container.labels if self._container else np.empty(0, np.int64)
        self.tally.add(outputs, labels[done : done + len(outputs)])

    def require_ciphertext(self) -> None:
        """Raise `HostBytesRefused` unless the ciphertext is the ledger's; nothing is decrypted."""
        self._file().require(self._task.dataset.ciphertext)

    def _file(self) -> HostFile:
        return HostFile("the test set", self._ciphertext)

    def _open(self, source: HostFile, forward: Forward) -> None:
        self._container = container = _Container(self._task, forward)
        written = stream.decrypt_file(self.key, cast(BinaryIO, source), cast(BinaryIO, container))
        if not hmac.compare_digest(written.digest, self._task.dataset.plaintext):
            raise DatasetUndecryptable("the test set decrypts to another text than the task's")
        container.finish()


class _Container:
    """Takes a container's bytes in order: header, labels, then inputs, which it hands on."""

    def __init__(self, task: Task, forward: Forward) -> None:
        self.labels: Array = np.empty(0, np.int64)
        self._spec = task.spec
        self._forward = forward
        self._start = bytearray()
        self._head: Head | None = None
        self._at = 0

    def write(self, chunk: memoryview) -> int:
        rest = chunk if self._head else self._begin(chunk)
        if self._head and rest:
            rest = self._take_labels(self._head, rest)
            self._at += len(rest)
            if self._at > self._head.total:
                raise DatasetMalformed("the test set goes on after its inputs")
            if rest:
                self._forward(rest)
        return len(chunk)

    def finish(self) -> None:
        """Raise `DatasetMalformed` unless all that the header announced has come."""
        if self._head is None or self._at != self._head.total:
            raise DatasetMalformed("the test set ends before its inputs do")

    def _begin(self, chunk: memoryview) -> memoryview:
        """Collect the header; return what follows it."""
        self._start += chunk
        try:
            if len(self._start) < LENGTH or len(self._start) < header_size(self._start, MAX_HEADER):
                return chunk[:0]
        except HeaderWrong as error:
            raise DatasetMalformed(f"the test set is no dataset container: {error}") from error
        self._head = head = Head.parse(self._start)
        head.require(self._spec)
        self._at = head.size
        self.labels = np.empty(head.samples, head.labels.type)
        return memoryview(bytes(self._start[head.size :]))

    def _take_labels(self, head: Head, rest: memoryview) -> memoryview:
        """Fill up the labels; return what follows them."""
        end = head.size + head.labels.size
        if self._at >= end:
            return rest
        taken = rest[: end - self._at]
        room = self.labels.view(np.uint8).data
        room[self._at - head.size : self._at - head.size + len(taken)] = taken
        self._at += len(taken)
        if self._at == end:
            require_labels(self._spec, self.labels)
        return rest[len(taken) :]
