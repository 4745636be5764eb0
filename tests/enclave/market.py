"""One job as the market would hand it to an enclave: task, order, claim, envelopes, ciphertexts, and a tiny model."""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Any

import numpy as np
import onnx
from onnx import TensorProto, helper, numpy_helper

from goldengrain.chaincode.protocol import digests, sealing, stream
from goldengrain.chaincode.protocol.offer import Order
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.sealing import PrivateKey
from goldengrain.chaincode.protocol.task import (
    Award,
    BenchmarkSpec,
    Metric,
    ModelInterface,
    ModelLimits,
    PriceSchedule,
    Task,
    Tensor,
    TensorType,
    Terms,
)
from goldengrain.chaincode.protocol.ticket import Claim, JobTicketPayload, Ticket
from goldengrain.enclave.dataset import SealedDataset, pack, seal_dataset
from goldengrain.enclave.keys import EnclaveKeys
from goldengrain.enclave.openings import JobFiles

from .fabric import CHANNEL, CONTRACT, NOW

FEATURES, CLASSES, SAMPLES = 4, 3, 40
INTERFACE = ModelInterface(
    Tensor("input", TensorType.FLOAT32, (0, FEATURES)), Tensor("probabilities", TensorType.FLOAT32, (0, CLASSES))
)
LIMITS = ModelLimits(model_bytes=100_000, nodes=50, operations=100_000, memory_bytes=10_000_000)
TERMS = Terms(10, 250, 1_000, 500, 20, required=2, window=120, guard=300, test=False)


def model_bytes(
    nodes: list[Any] | None = None,
    *,
    initializers: list[TensorProto] | None = None,
    inputs: list[Any] | None = None,
    outputs: list[Any] | None = None,
    opsets: dict[str, int] | None = None,
    **fields: Any,
) -> bytes:
    """A classifier `probabilities = softmax(input · weights)`, or whatever the test wants instead."""
    weights = numpy_helper.from_array(np.eye(FEATURES, CLASSES, dtype=np.float32), "weights")
    graph = helper.make_graph(
        nodes
        or [
            helper.make_node("MatMul", ["input", "weights"], ["logits"]),
            helper.make_node("Softmax", ["logits"], ["probabilities"], axis=-1),
        ],
        "tiny",
        inputs or [value("input", (None, FEATURES))],
        outputs or [value("probabilities", (None, CLASSES))],
        initializers if initializers is not None else [weights],
    )
    imports = [helper.make_opsetid(domain, version) for domain, version in (opsets or {"": 18}).items()]
    model = helper.make_model(graph, opset_imports=imports, ir_version=fields.pop("ir_version", 9), **fields)
    return model.SerializeToString()


def value(name: str, shape: tuple[int | None, ...], kind: int = TensorProto.FLOAT) -> onnx.ValueInfoProto:
    return helper.make_tensor_value_info(name, kind, shape)


def examples(correct: int = 36) -> tuple[np.ndarray, np.ndarray]:
    """Inputs whose greatest of the first three features is the prediction; `correct` labels agree with it."""
    inputs = np.random.default_rng(5).random((SAMPLES, FEATURES), dtype=np.float32)
    labels = inputs[:, :CLASSES].argmax(axis=1).astype(np.int64)
    labels[correct:] = (labels[correct:] + 1) % CLASSES
    return inputs, labels


@dataclass
class Deal:
    """A task and an order for it, and every secret of both sides."""

    bundle: TrustBundle
    keys: EnclaveKeys
    provider: PrivateKey
    dataset: SealedDataset
    task: Task
    order: Order
    key: bytes
    secret: bytes
    ciphertext: bytes
    model_envelope: bytes
    dataset_envelope: bytes
    threshold: int = 500_000

    @classmethod
    def make(
        cls,
        bundle: TrustBundle,
        keys: EnclaveKeys,
        *,
        model: bytes | None = None,
        container: bytes | None = None,
        spec: dict[str, Any] | None = None,
        chunk_size: int = 1024,
        **order: Any,
    ) -> Deal:
        provider = PrivateKey.generate()
        dataset = seal_dataset(pack(*examples(), name="tiny") if container is None else container)
        benchmark = BenchmarkSpec(Metric.ACCURACY, False, SAMPLES, INTERFACE, LIMITS)
        task = Task(
            channel=CHANNEL,
            contract=CONTRACT,
            provider=digests.sha256(b"provider"),
            provider_key=provider.public,
            spec=replace(benchmark, **(spec or {})),
            dataset=dataset.digests,
            schedule=PriceSchedule.of((500_000, 100), (900_000, 1_000)),
            award=Award.EACH,
            slots=3,
            last_offer=NOW + 1_000,
            last_report=NOW + 5_000,
            last_opening=NOW + 10_000,
            reveal=3_600,
            eta=1_000,
            attempts=5,
            enclaves=1,
            terms=TERMS,
        )
        key, secret = stream.generate_key(), digests.sha256(b"r")
        ciphertext = stream.encrypt(key, model_bytes() if model is None else model, chunk_size=chunk_size)
        fields = {
            "channel": CHANNEL,
            "contract": CONTRACT,
            "task": task.digest(),
            "provider_key": digests.sha256(provider.public),
            "spec": task.spec.digest(),
            "developer": digests.sha256(b"developer"),
            "payout": digests.sha256(b"developer"),
            "attempt": 1,
            "ciphertext": digests.sha256(ciphertext),
            "size": len(ciphertext),
            "chunk_size": chunk_size,
            "key_check": digests.key_check(key),
            "secret_hash": digests.secret_hash(secret),
            "reserve": 0,
        }
        made = Order(**(fields | order))
        public = keys.encryption.public
        return cls(
            bundle=bundle,
            keys=keys,
            provider=provider,
            dataset=dataset,
            task=task,
            order=made,
            key=key,
            secret=secret,
            ciphertext=ciphertext,
            model_envelope=sealing.seal_model(public, key, secret, made.digest()),
            dataset_envelope=sealing.seal_dataset_key(public, dataset.key, task.digest()),
        )

    def payload(self, **ticket: Any) -> JobTicketPayload:
        claim = Claim(
            number=1,
            enclave=self.keys.enclave,
            operator=digests.sha256(b"operator"),
            operator_msp="Org2MSP",
            lease_end=NOW + 600,
            slot=0,
            model_envelope=digests.sha256(self.model_envelope),
            dataset_envelope=digests.sha256(self.dataset_envelope),
        )
        made = Ticket.of(self.order, claim, self.bundle.digest(), self.threshold)
        return JobTicketPayload(self.task, self.order, replace(made, **ticket))

    def files(self, **changed: bytes) -> JobFiles:
        files = JobFiles(self.model_envelope, self.dataset_envelope, self.ciphertext, self.dataset.ciphertext)
        return replace(files, **changed)
