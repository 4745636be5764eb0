"""A model on a task's test set, as the enclave evaluates it: for who has both.

The provider has the test set's key in the folder from which it opened the task; everybody has it once the test set is
open. The ciphertext comes from a content store, verified, and is decrypted as it is read, whatever its size.
"""

from __future__ import annotations

import asyncio
import tempfile
from collections.abc import Callable
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

from goldengrain.chaincode.protocol.task import Task
from goldengrain.cli import secret_files
from goldengrain.cli.buying import TASKS, task_secret
from goldengrain.cli.decrypting import Ciphertext, decrypt
from goldengrain.cli.errors import DatasetHidden, ExtraMissing, SecretMissing
from goldengrain.cli.stores import Stores
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import TaskView
from goldengrain.network.home import Home

if TYPE_CHECKING:
    from goldengrain.enclave.metrics import ClassResult, Tally

Progress = Callable[[int, int], None]
"""Told how many bytes are fetched, then how many samples are evaluated; and of how many."""


@dataclass(frozen=True)
class Evaluated:
    """What a model gives on a task's test set: scores in ppm, the loss behind them if any, results by class."""

    task: Task
    score: int
    """Floored to multiples of the task's eta, as in a report."""
    exact: int
    loss: float | None
    classes: list[ClassResult]

    @property
    def price(self) -> int:
        """What the task's schedule pays for it."""
        return self.task.schedule.price(self.score)


async def evaluate(
    market: Market, home: Home, stores: Stores, task: bytes, model: bytes, progress: Progress | None = None
) -> Evaluated:
    """Evaluate a model's plaintext on a task's test set.

    Raises:
        DatasetHidden: where neither this folder nor the ledger has the test set's key.
        ExtraMissing: without the extra ``enclave``.
        BlobNotFound: where no store has the test set's ciphertext.
        ModelRefused: where the enclave would refuse the model.

    """
    view = await market.tasks.get(task)
    key = _dataset_key(home, view)
    holders = [market.network.identity.msp_id, view.provider_msp]
    tally = await asyncio.to_thread(
        _run, stores, holders, secret_files.private_folder(home), view.task, key, model, progress
    )
    return Evaluated(view.task, tally.score(view.task.eta), tally.score(1), tally.loss(), tally.classes())


async def open_test_set(
    market: Market, home: Home, stores: Stores, task: bytes, out: Path, progress: Progress | None = None
) -> int:
    """Decrypt a task's test set into a container; returns its size in bytes. Raises as `evaluate` and `decrypt` do."""
    view = await market.tasks.get(task)
    wanted = view.task.dataset
    sealed = Ciphertext("the test set", wanted.ciphertext, wanted.plaintext, _dataset_key(home, view))
    store = stores.holding(wanted.ciphertext, [market.network.identity.msp_id, view.provider_msp])
    return await asyncio.to_thread(decrypt, store, sealed, out, progress)


def _run(
    stores: Stores, holders: list[str], folder: Path, task: Task, key: bytes, model: bytes, progress: Progress | None
) -> Tally:
    try:
        from goldengrain.enclave.evaluate import tallied_sealed
    except ImportError as error:
        raise ExtraMissing(f"evaluating needs {error.name}: pip install 'goldengrain[enclave]'") from error
    digest, samples = task.dataset.ciphertext, task.spec.samples
    store = stores.holding(digest, holders)
    size = store.size(digest)
    with tempfile.TemporaryDirectory(dir=folder) as fetched:
        path = Path(fetched) / "ciphertext"
        store.fetch(digest, path, progress=progress and (lambda done: progress(done, size)))
        with path.open("rb") as file:
            return tallied_sealed(model, file, key, task, progress and (lambda done: progress(done, samples)))


def _dataset_key(home: Home, view: TaskView) -> bytes:
    if view.status.dataset_key is not None:
        return view.status.dataset_key
    try:
        return task_secret(home, view.id).dataset_key
    except SecretMissing as error:
        path = secret_files.path_of(home, TASKS, view.id)
        raise DatasetHidden(
            f"the test set of task {view.id.hex()} is hidden: its provider needs {path}, everybody else waits until it "
            "is open (`goldengrain task show` says until when)"
        ) from error
