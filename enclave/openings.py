"""Checks 14 to 16 of section 8: open the envelopes, the test set and the model that a checked ticket names.

Every file comes from the host, by digest. One of another digest or size than the ledger's is the host's doing
(`HostBytesRefused`: nothing is signed). One of the right digest that is wrong inside is its author's: the developer's
(`ModelRefused`: `failed`) or the provider's (`DatasetRefused`: `unusable`).

The test set may be larger than memory and is read once, while the model runs on it (`test_set`). Where a job ends
before that, it is read all the same: whether anything may be signed is known only then.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import BinaryIO

from goldengrain.chaincode.protocol import digests, sealing, stream
from goldengrain.chaincode.protocol.errors import SealingError
from goldengrain.chaincode.protocol.offer import Order
from goldengrain.chaincode.protocol.sealing import PrivateKey
from goldengrain.chaincode.protocol.task import Task
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.enclave.errors import (
    DatasetEnvelopeWrong,
    DatasetRefused,
    HostBytesRefused,
    ModelCiphertextWrong,
    ModelEnvelopeWrong,
    ModelRefused,
    ModelTooLarge,
)
from goldengrain.enclave.test_set import TestSet


@dataclass(frozen=True, repr=False)
class JobFiles:
    """What the host brings for a job: two envelopes, the model's ciphertext and the test set's (or a file with it)."""

    model_envelope: bytes
    dataset_envelope: bytes
    model: bytes
    dataset: bytes | BinaryIO

    def require(self, payload: JobTicketPayload) -> None:
        """Raise `HostBytesRefused` for the first file in memory that is not the ledger's."""
        wanted = (
            ("the model's envelope", self.model_envelope, payload.ticket.model_envelope),
            ("the test set's envelope", self.dataset_envelope, payload.ticket.dataset_envelope),
            ("the model", self.model, payload.order.ciphertext),
        )
        for name, data, digest in wanted:
            if not hmac.compare_digest(digests.sha256(data), digest):
                raise HostBytesRefused(f"{name} has another digest than the ledger says: fetch it anew")


@dataclass(frozen=True, repr=False)
class OpenedJob:
    """A job's secrets, in memory: K and r, the model's plaintext, and the test set, to be read."""

    key: bytes
    secret: bytes
    model: bytes
    test_set: TestSet


def open_job(private: PrivateKey, payload: JobTicketPayload, files: JobFiles) -> OpenedJob:
    """Carry out checks 14 to 16 but for the test set itself, which `test_set.read` opens; it may block.

    See the module's docstring for what is raised.
    """
    files.require(payload)
    test_set = TestSet(files.dataset, payload.task)
    try:
        key, secret = _open_envelope(private, files.model_envelope, payload.order)  # 14
        test_set.key = _open_dataset_key(private, files, payload.task)  # 15
    except (ModelRefused, DatasetRefused):
        test_set.require_ciphertext()
        raise
    try:
        model = _open_model(key, files.model, payload)  # 16
    except ModelRefused:
        test_set.read(lambda _: None)  # 15 comes first
        raise
    return OpenedJob(key, secret, model, test_set)


def _open_envelope(private: PrivateKey, envelope: bytes, order: Order) -> tuple[bytes, bytes]:
    try:
        return sealing.open_model(private, envelope, order)
    except SealingError as error:
        raise ModelEnvelopeWrong(f"the model's envelope: {error}") from error


def _open_dataset_key(private: PrivateKey, files: JobFiles, task: Task) -> bytes:
    try:
        key = sealing.open_dataset_key(private, files.dataset_envelope, task.digest())
    except SealingError as error:
        raise DatasetEnvelopeWrong(f"the test set's envelope: {error}") from error
    if digests.sha256(key) != task.dataset.key:
        raise DatasetEnvelopeWrong("the test set's envelope holds another key than the task's")
    return key


def _open_model(key: bytes, ciphertext: bytes, payload: JobTicketPayload) -> bytes:
    order, limit = payload.order, payload.task.spec.limits.model_bytes
    if len(ciphertext) != order.size:
        raise ModelCiphertextWrong(f"the ciphertext has {len(ciphertext):,} bytes, the offer says {order.size:,}")
    try:
        if stream.plaintext_size(len(ciphertext), order.chunk_size) > limit:
            raise ModelTooLarge(f"the model has more than the {limit:,} bytes that the task admits")
        return bytes(stream.decrypt(key, ciphertext, chunk_size=order.chunk_size))
    except SealingError as error:
        raise ModelCiphertextWrong(f"the model: {error}") from error
