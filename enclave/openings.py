"""Checks 14 to 16 of section 8: open the envelopes, the test set and the model that a checked ticket names.

Every file comes from the host, by digest. One of another digest or size than the ledger's is the host's doing
(`HostBytesRefused`: nothing is signed). One of the right digest that is wrong inside is its author's: the developer's
(`ModelRefused`: `failed`) or the provider's (`DatasetRefused`: `unusable`).

Model and test set are read as they are needed, the one on its way to the process that runs it (`sealed_model`), the
other while the model runs (`test_set`). Where a job ends before that, they are read all the same: whether anything may
be signed is known only then.
"""

from __future__ import annotations

import hmac
from dataclasses import dataclass
from typing import BinaryIO

from goldengrain.chaincode.protocol import digests, sealing
from goldengrain.chaincode.protocol.errors import SealingError
from goldengrain.chaincode.protocol.offer import Order
from goldengrain.chaincode.protocol.sealing import PrivateKey
from goldengrain.chaincode.protocol.task import Task
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.enclave.errors import (
    DatasetEnvelopeWrong,
    DatasetRefused,
    HostBytesRefused,
    ModelEnvelopeWrong,
    ModelRefused,
)
from goldengrain.enclave.sealed_model import SealedModel
from goldengrain.enclave.test_set import TestSet


@dataclass(frozen=True, repr=False)
class JobFiles:
    """What the host brings for a job: two envelopes, and the ciphertexts of model and test set, or files with them."""

    model_envelope: bytes
    dataset_envelope: bytes
    model: bytes | BinaryIO
    dataset: bytes | BinaryIO

    def require_envelopes(self, payload: JobTicketPayload) -> None:
        """Raise `HostBytesRefused` for the first envelope that is not the ledger's."""
        wanted = (
            ("the model's envelope", self.model_envelope, payload.ticket.model_envelope),
            ("the test set's envelope", self.dataset_envelope, payload.ticket.dataset_envelope),
        )
        for name, data, digest in wanted:
            if not hmac.compare_digest(digests.sha256(data), digest):
                raise HostBytesRefused(f"{name} has another digest than the ledger says: fetch it anew")


@dataclass(frozen=True, repr=False)
class OpenedJob:
    """A job's secrets: r, and model and test set, to be read with their keys."""

    secret: bytes
    model: SealedModel
    test_set: TestSet


def open_job(private: PrivateKey, payload: JobTicketPayload, files: JobFiles) -> OpenedJob:
    """Carry out checks 14 to 16 but for what the reading of model and test set finds; it may block.

    See the module's docstring for what is raised.
    """
    files.require_envelopes(payload)
    model = SealedModel(files.model, payload.order, payload.task.spec.limits.model_bytes)
    test_set = TestSet(files.dataset, payload.task)
    try:
        model.key, secret = _open_envelope(private, files.model_envelope, payload.order)  # 14
        test_set.key = _open_dataset_key(private, files, payload.task)  # 15
    except (ModelRefused, DatasetRefused):
        model.require_ciphertext()
        test_set.require_ciphertext()
        raise
    return OpenedJob(secret, model, test_set)


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
