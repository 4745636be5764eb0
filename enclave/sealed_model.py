"""A sealed model as it is read: hashed, decrypted chunk by chunk and handed on, never held as a whole (check 16).

Whose fault a wrong model is follows the order of protocol section 8: bytes of another digest than the ledger's are the
host's, whatever they contain; under the right digest size, limits and chunks are the developer's. Who takes the
plaintext may parse it once `read` has returned, not before.
"""

from __future__ import annotations

from typing import BinaryIO, cast

from goldengrain.chaincode.protocol import stream
from goldengrain.chaincode.protocol.errors import SealingError
from goldengrain.chaincode.protocol.offer import Order
from goldengrain.enclave.errors import ModelCiphertextWrong, ModelRefused, ModelTooLarge
from goldengrain.enclave.frames import announced
from goldengrain.enclave.host_file import HostFile, Sha256Aside
from goldengrain.enclave.runner import Forward, Source


class SealedModel(Source):
    """A model's ciphertext, bound to an order; the key is set once its envelope is open."""

    def __init__(self, ciphertext: bytes | BinaryIO, order: Order, limit: int) -> None:
        self.key = b""
        self.digest = b""
        """SHA-256 of the plaintext, once it has been read."""
        self._ciphertext, self._order, self._limit = ciphertext, order, limit

    def read(self, forward: Forward) -> None:
        """Hand on the plaintext, its size first; raises `HostBytesRefused` before all else, then `ModelRefused`."""
        source, order = self._open(), self._order
        fault: ModelRefused | None = None
        try:
            self.digest = self._decrypt(source, forward)
        except SealingError as error:
            fault = ModelCiphertextWrong(f"the model: {error}")
        except ModelRefused as error:
            fault = error
        source.require(order.ciphertext)
        if source.size != order.size:
            raise ModelCiphertextWrong(f"the ciphertext has {source.size:,} bytes, the offer says {order.size:,}")
        if fault is not None:
            raise fault

    def require_ciphertext(self) -> None:
        """Raise `HostBytesRefused` unless the ciphertext is the ledger's; nothing is decrypted."""
        self._open().require(self._order.ciphertext)

    def _open(self) -> HostFile:
        return HostFile("the model", self._ciphertext, Sha256Aside())

    def _decrypt(self, source: HostFile, forward: Forward) -> bytes:
        chunk_size = self._order.chunk_size
        size = stream.plaintext_size(self._order.size, chunk_size)
        if size > self._limit:
            raise ModelTooLarge(f"the model has more than the {self._limit:,} bytes that the task admits")
        forward(memoryview(announced(size)))
        sink = cast(BinaryIO, _NoMore(forward, size))
        return stream.decrypt_file(self.key, cast(BinaryIO, source), sink, chunk_size=chunk_size).digest


class _NoMore:
    """Hands on the announced number of bytes: what follows is read as something else."""

    def __init__(self, forward: Forward, size: int) -> None:
        self._forward, self._left = forward, size

    def write(self, chunk: memoryview) -> int:
        self._left -= len(chunk)
        if self._left < 0:
            raise ModelCiphertextWrong("the ciphertext goes on after the offer's size")
        self._forward(chunk)
        return len(chunk)
