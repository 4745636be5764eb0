"""What a developer, a provider or a host may do to a job around a good model and a good test set: one thing at a time.

A change takes a deal and returns another; `host` ones return the files that the host brings instead.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from typing import Any

from goldengrain.chaincode.protocol import digests, sealing, stream
from goldengrain.enclave.dataset import pack
from tests.enclave.market import Deal, examples, model_bytes

CHUNK = 1024
SEALED = CHUNK + stream.TAG


def flipped(data: bytes, position: int) -> bytes:
    changed = bytearray(data)
    changed[position] ^= 1
    return bytes(changed)


def with_ciphertext(deal: Deal, ciphertext: bytes, **order: Any) -> Deal:
    """Another ciphertext, under its own digest: the developer's doing."""
    made = replace(deal.order, ciphertext=digests.sha256(ciphertext), **({"size": len(ciphertext)} | order))
    envelope = sealing.seal_model(deal.keys.encryption.public, deal.key, deal.secret, made.digest())
    return replace(deal, order=made, ciphertext=ciphertext, model_envelope=envelope)


def with_dataset(deal: Deal, ciphertext: bytes) -> Deal:
    """Another test set's ciphertext, under its own digest: the provider's doing."""
    found = replace(deal.dataset.digests, ciphertext=digests.sha256(ciphertext))
    task = replace(deal.task, dataset=found)
    order = replace(deal.order, task=task.digest())
    public = deal.keys.encryption.public
    return replace(
        deal,
        task=task,
        order=order,
        dataset=replace(deal.dataset, digests=found, ciphertext=ciphertext),
        model_envelope=sealing.seal_model(public, deal.key, deal.secret, order.digest()),
        dataset_envelope=sealing.seal_dataset_key(public, deal.dataset.key, task.digest()),
    )


def in_chunks(deal: Deal) -> Deal:
    """The same test set in chunks of a kilobyte, so that there are several."""
    container = bytes(stream.decrypt(deal.dataset.key, deal.dataset.ciphertext))
    return with_dataset(deal, stream.encrypt(deal.dataset.key, container, chunk_size=CHUNK))


def _model_stream(deal: Deal) -> bytes:
    """A model's ciphertext of several chunks."""
    return stream.encrypt(deal.key, model_bytes(doc_string="x" * 3_000), chunk_size=CHUNK)


def _reordered(data: bytes) -> bytes:
    head, body = data[: stream.HEADER], data[stream.HEADER :]
    return head + body[SEALED : 2 * SEALED] + body[:SEALED] + body[2 * SEALED :]


def _without_chunk(data: bytes) -> bytes:
    return data[: stream.HEADER + SEALED] + data[stream.HEADER + 2 * SEALED :]


def _repeated_chunk(data: bytes) -> bytes:
    at = stream.HEADER + SEALED
    return data[:at] + data[stream.HEADER : at] + data[at:]


def _last_chunk_missing(data: bytes) -> bytes:
    whole = (len(data) - stream.HEADER - 1) // SEALED * SEALED
    return data[: stream.HEADER + whole]


def _model(change: Callable[[bytes], bytes]) -> Callable[[Deal], Deal]:
    return lambda deal: with_ciphertext(deal, change(_model_stream(deal)))


def _dataset(change: Callable[[bytes], bytes]) -> Callable[[Deal], Deal]:
    return lambda deal: with_dataset(deal, change(in_chunks(deal).dataset.ciphertext))


def _sealed_again(deal: Deal, content: bytes, info: bytes) -> Deal:
    return replace(deal, model_envelope=sealing.seal(deal.keys.encryption.public, content, info))


def _dataset_key(deal: Deal, key: bytes, task: bytes) -> Deal:
    envelope = sealing.seal_dataset_key(deal.keys.encryption.public, key, task)
    return replace(deal, dataset_envelope=envelope)


def _swapped_keys(deal: Deal) -> Deal:
    """Model and test set are each sealed with the other's key."""
    return _sealed_again(deal, deal.dataset.key + deal.secret, deal.order.digest())


def _another_plaintext(deal: Deal) -> Deal:
    return with_dataset(deal, stream.encrypt(deal.dataset.key, pack(examples()[0], examples(10)[1], name="other")))


def _provider_key(deal: Deal) -> Deal:
    """The provider's key is none: nothing can be sealed to it."""
    task = replace(deal.task, provider_key=b"\xff" * len(deal.task.provider_key))
    order = replace(deal.order, task=task.digest(), provider_key=digests.sha256(task.provider_key))
    public = deal.keys.encryption.public
    return replace(
        deal,
        task=task,
        order=order,
        model_envelope=sealing.seal_model(public, deal.key, deal.secret, order.digest()),
        dataset_envelope=sealing.seal_dataset_key(public, deal.dataset.key, task.digest()),
    )


E, C, H = "MODEL_ENVELOPE_WRONG", "MODEL_CIPHERTEXT_WRONG", "HOST_BYTES_REFUSED"
DE, DU = "DATASET_ENVELOPE_WRONG", "DATASET_UNDECRYPTABLE"

CHANGES: dict[str, tuple[Callable[[Deal], Deal], str]] = {
    "an envelope for another order": (lambda d: _sealed_again(d, d.key + d.secret, bytes(32)), E),
    "an envelope with another K": (lambda d: _sealed_again(d, bytes(32) + d.secret, d.order.digest()), E),
    "an envelope with another r": (lambda d: _sealed_again(d, d.key + bytes(32), d.order.digest()), E),
    "an envelope with too little inside": (lambda d: _sealed_again(d, d.key, d.order.digest()), E),
    "an envelope with too much inside": (lambda d: _sealed_again(d, d.key + d.secret + b"x", d.order.digest()), E),
    "an envelope with the test set's key for K": (_swapped_keys, E),
    "an envelope of noise": (lambda d: replace(d, model_envelope=bytes(1200)), E),
    "an envelope cut short": (lambda d: replace(d, model_envelope=d.model_envelope[:-1]), E),
    "a model with a changed bit": (_model(lambda data: flipped(data, 40)), C),
    "a model with a changed header": (_model(lambda data: flipped(data, 10)), C),
    "a model of another format": (_model(lambda data: b"GGS2" + data[4:]), C),
    "a model with chunks in another order": (_model(_reordered), C),
    "a model without its second chunk": (_model(_without_chunk), C),
    "a model with a chunk twice": (_model(_repeated_chunk), C),
    "a model that ends after a whole chunk": (_model(_last_chunk_missing), C),
    "a model cut short": (_model(lambda data: data[:-1]), C),
    "a model with a tail": (_model(lambda data: data + b"x"), C),
    "a model of another key": (lambda d: with_ciphertext(d, stream.encrypt(bytes(32), model_bytes())), C),
    "a model of another size than the offer's": (
        lambda d: with_ciphertext(d, d.ciphertext, size=len(d.ciphertext) + 1),
        C,
    ),
    "a model of another chunk size than the offer's": (lambda d: with_ciphertext(d, d.ciphertext, chunk_size=2048), C),
    "a test set's envelope for another task": (lambda d: _dataset_key(d, d.dataset.key, bytes(32)), DE),
    "a test set's envelope with another key": (lambda d: _dataset_key(d, bytes(32), d.task.digest()), DE),
    "a test set's envelope with the model's key": (lambda d: _dataset_key(d, d.key, d.task.digest()), DE),
    "a test set's envelope of noise": (lambda d: replace(d, dataset_envelope=bytes(1168)), DE),
    "a provider's key that is none": (_provider_key, DE),
    "a test set with a changed bit": (_dataset(lambda data: flipped(data, 40)), DU),
    "a test set with a changed header": (_dataset(lambda data: flipped(data, 10)), DU),
    "a test set with chunks of nothing": (_dataset(lambda data: data[:4] + bytes(4) + data[8:]), DU),
    "a test set with chunks in another order": (_dataset(_reordered), DU),
    "a test set without its second chunk": (_dataset(_without_chunk), DU),
    "a test set with a chunk twice": (_dataset(_repeated_chunk), DU),
    "a test set that ends after a whole chunk": (lambda d: with_dataset(d, _last_chunk_missing(_two_chunks(d))), DU),
    "a test set cut short": (_dataset(lambda data: data[:-1]), DU),
    "a test set with a tail": (_dataset(lambda data: data + b"x"), DU),
    "a test set of nothing": (lambda d: with_dataset(d, b""), DU),
    "a test set of another key": (lambda d: with_dataset(d, stream.encrypt(bytes(32), b"x" * 3_000)), DU),
    "a test set with another text than announced": (_another_plaintext, DU),
}
"""Change and code. A model's are signed as `failed`, a test set's as `unusable`."""


def _two_chunks(deal: Deal) -> bytes:
    container = bytes(stream.decrypt(deal.dataset.key, deal.dataset.ciphertext))
    return stream.encrypt(deal.dataset.key, container[:CHUNK] + bytes(CHUNK // 2), chunk_size=CHUNK)


HOST: dict[str, Callable[[Deal], dict[str, bytes]]] = {
    "another model's bytes": lambda d: {"model": _model_stream(d)},
    "a bit of the model changed": lambda d: {"model": flipped(d.ciphertext, 40)},
    "the model cut short": lambda d: {"model": d.ciphertext[:-1]},
    "no model": lambda d: {"model": b""},
    "another model envelope": lambda d: {"model_envelope": flipped(d.model_envelope, 5)},
    "another test set envelope": lambda d: {"dataset_envelope": flipped(d.dataset_envelope, 5)},
    "another test set": lambda d: {"dataset": stream.encrypt(d.dataset.key, pack(*examples(10), name="easy"))},
    "a bit of the test set changed": lambda d: {"dataset": flipped(d.dataset.ciphertext, 40)},
    "the last bit of the test set changed": lambda d: {"dataset": flipped(d.dataset.ciphertext, -1)},
    "the test set cut short": lambda d: {"dataset": d.dataset.ciphertext[:-1]},
    "the test set cut after its header": lambda d: {"dataset": d.dataset.ciphertext[:15]},
    "the test set with a tail": lambda d: {"dataset": d.dataset.ciphertext + b"x"},
    "no test set": lambda d: {"dataset": b""},
    "model and test set exchanged": lambda d: {"model": d.dataset.ciphertext, "dataset": d.ciphertext},
}
"""Files that the host brings in place of the ledger's: nothing is signed."""

READY = "import os, signal, sys, time\nos.write(1, bytes(4))\n"
WORKERS: dict[str, tuple[str, str]] = {
    "a model that crashes the engine, twice": (
        READY + "sys.stdin.buffer.read(9); os.kill(os.getpid(), signal.SIGSEGV)",
        "MODEL_CRASHES",
    ),
    "an engine that fails": (READY + "sys.stdin.buffer.read(9); sys.exit(1)", "MODEL_NOT_RUNNABLE"),
    "a worker killed from outside": (
        READY + "sys.stdin.buffer.read(9); os.kill(os.getpid(), signal.SIGKILL)",
        "WORKER_LOST",
    ),
    "a worker that never starts": ("", "WORKER_LOST"),
    "a machine that is too slow": (READY + "time.sleep(60)", "OUT_OF_TIME"),
    "a processor that is too slow": (
        READY + "sys.stdin.buffer.read(9); os.kill(os.getpid(), signal.SIGXCPU)",
        "OUT_OF_TIME",
    ),
    "a machine without memory": (
        "import goldengrain.enclave.worker as w, sys\nw.open_model = lambda *a: bytearray(8 << 30)\nsys.exit(w.main())",
        "OUT_OF_MEMORY",
    ),
    "an enclave without the engine": (
        (
            "import goldengrain.enclave.worker as w, sys\nfrom goldengrain.enclave.errors import EngineMissing\n"
            "def none(*a):\n    raise EngineMissing('none here')\nw.open_model = none\nsys.exit(w.main())"
        ),
        "ENGINE_MISSING",
    ),
    "a worker that answers noise": (READY + "os.write(1, b'\\0\\0\\0\\2e{'); time.sleep(1)", "WORKER_LOST"),
    "a worker that ends before all is done": (READY + "os.write(1, b'\\0\\0\\0\\1d'); time.sleep(1)", "WORKER_LOST"),
    "a worker with outputs too many": (
        READY + "os.write(1, b'\\0\\0\\x02\\x59o' + bytes(600)); time.sleep(1)",
        "MODEL_INTERFACE_WRONG",
    ),
}
"""Programs in place of the worker, and the code that a job with a good model ends with."""
