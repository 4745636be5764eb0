"""The provider's part of a swap: hide a test set, open a task, fetch and confirm ciphertexts, unlock what it bought.

::

    opened = await open_task(market, home, stores, load_test_set("digits"), TaskTerms())
    await receipt(market, stores, offer)         # a client of the provider's organisation
    …                                            # claim, report, reveal: others' work
    bought = await unlock(market, home, stores, offer, Path("bought.onnx"))
    await acknowledge(market, home, offer)

Each function takes the market client of the identity that acts. The provider's private key and the test set's key lie
in ``HOME/secrets/tasks/TASK.json`` before the task is opened.
"""

from __future__ import annotations

import asyncio
import hashlib
import os
import tempfile
from dataclasses import dataclass, replace
from pathlib import Path
from types import SimpleNamespace
from typing import BinaryIO, cast

from goldengrain.chaincode.protocol import digests, sealing, stream
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.commands import OpenTask
from goldengrain.chaincode.protocol.errors import GoldenGrainError, KeyCheckMismatch, OfferNotSettled
from goldengrain.chaincode.protocol.offer import EnvelopeDigest
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.chaincode.protocol.sealing import PrivateKey
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.chaincode.protocol.task import Award, DatasetDigests, PriceSchedule
from goldengrain.cli import secret_files
from goldengrain.cli.decrypting import Ciphertext, decrypt
from goldengrain.cli.decrypting import Progress as FetchProgress
from goldengrain.cli.errors import CheckFailed, NoEnclave, SecretMissing
from goldengrain.cli.roster import fit_enclaves
from goldengrain.cli.stores import Stores
from goldengrain.cli.testsets import Progress as TestSetProgress
from goldengrain.cli.testsets import TestSet
from goldengrain.cli.timing import require_time
from goldengrain.gateway.market import Committed, Market
from goldengrain.gateway.market.views import EnclaveView, OfferView
from goldengrain.gateway.store import Blob, ContentStore, Progress
from goldengrain.gateway.store.base import chunks_of, counted
from goldengrain.network.home import Home

TASKS, BOUGHT = "tasks", "bought"
NO_DIGESTS = DatasetDigests(bytes(32), bytes(32), bytes(32))
"""Of a test set that is not encrypted yet."""
SCHEDULE = PriceSchedule.of((800_000, 1_000), (950_000, 5_000))


@dataclass(frozen=True)
class TaskTerms:
    """What a provider chooses for a task; times in seconds from now (``reports`` after ``offers``, and so on).

    ``opening`` None is B + 2 G and a day more, ``reveal`` None the policy's shortest, ten minutes at least where the
    policy allows; ``attempts`` None the policy's greatest number.
    """

    schedule: PriceSchedule = SCHEDULE
    slots: int = 3
    offers: int = 3_600
    reports: int = 7_200
    opening: int | None = None
    reveal: int | None = None
    eta: int = 1_000
    attempts: int | None = None
    wilson: bool = False
    seed: int = 0
    award: Award = Award.EACH
    enclaves: int = 1


@dataclass(frozen=True)
class OpenedTask:
    """A task on the ledger: its id, the transaction, what was locked, the enclaves that hold the test set's key."""

    id: bytes
    committed: Committed
    budget: int
    audit_bond: int
    enclaves: tuple[bytes, ...]
    simulated: bool


@dataclass(frozen=True)
class Receipted:
    """A receipt on the ledger, and the ciphertext that it is for (size in bytes)."""

    committed: Committed
    ciphertext: bytes
    size: int


@dataclass(frozen=True)
class BoughtModel:
    """A model that was bought, decrypted and checked: ``digest`` is the one that the enclave attested."""

    offer: bytes
    path: Path
    digest: bytes
    size: int
    score: int
    price: int
    simulated: bool


async def open_task(
    market: Market,
    home: Home,
    stores: Stores,
    test_set: TestSet,
    terms: TaskTerms | None = None,
    progress: TestSetProgress | None = None,
) -> OpenedTask:
    """Encrypt a test set, seal its key to every enclave that may work, and open a task; budget and bond are paid.

    Memory holds pieces of the test set, whatever its size; ``progress`` is told bytes done, and of how many.

    Raises:
        NoEnclave: where no registered enclave may work.
        ContractError: where the policy does not admit the task (two operators' enclaves are needed, where there are
            two).

    """
    terms = terms or TaskTerms()
    now = LedgerClock(home.clock_file).now()
    policy = (await market.consortium.policy()).policy
    enclaves = await fit_enclaves(market, policy, now)
    if not enclaves:
        raise NoEnclave("no enclave is registered that may work; operators start one with `goldengrain enclave run`")
    store = stores.of(market.network.identity.msp_id)
    private, key = PrivateKey.generate(), stream.generate_key()
    draft = _opening(test_set, terms, policy, now, private.public, NO_DIGESTS)
    (await market.tasks.preview(draft)).validate(policy, now)  # before the work
    with tempfile.TemporaryFile(dir=secret_files.private_folder(home)) as sealed:
        dataset = await asyncio.to_thread(_encrypt, key, test_set.file, sealed, progress)
        draft = replace(draft, dataset=dataset)
        task = await market.tasks.preview(draft)
        blob = await asyncio.to_thread(_store, store, sealed, dataset.ciphertext, progress)
    opening = replace(draft, dataset_envelopes=_seal_to(store, enclaves, key, task.id))
    secret = {
        "task": task.id.hex(),
        "account": market.account.hex(),
        "private_key": private.secret.hex(),
        "dataset": test_set.name,
        "dataset_key": key.hex(),
    }
    path = secret_files.write(home, TASKS, task.id, secret)
    try:
        opened = await market.tasks.open(opening)
    except GoldenGrainError as error:
        if not getattr(error, "may_commit", False):
            path.unlink(missing_ok=True)
            for digest in (blob.digest, *(one.digest for one in opening.dataset_envelopes)):
                store.remove(digest)
        raise
    if opened.id != task.id:
        raise CheckFailed(f"the policy changed meanwhile, the test set is sealed to another task; keep {path}")
    simulated = policy.simulated
    return OpenedTask(
        task.id, opened.committed, task.budget, task.audit_bond, tuple(one.id for one in enclaves), simulated
    )


def _encrypt(key: bytes, container: BinaryIO, sealed: BinaryIO, progress: TestSetProgress | None) -> DatasetDigests:
    """Encrypt a container into a file, hashed as it is read."""
    size = container.seek(0, os.SEEK_END)
    container.seek(0)
    plain = hashlib.sha256()

    def read(limit: int) -> bytes:
        data = container.read(limit)
        plain.update(data)
        if progress is not None:
            progress(container.tell(), 2 * size)
        return data

    source = cast(BinaryIO, SimpleNamespace(read=read))
    written = stream.encrypt_file(key, source, sealed)
    return DatasetDigests(written.digest, plain.digest(), digests.sha256(key))


def _store(store: ContentStore, sealed: BinaryIO, digest: bytes, progress: TestSetProgress | None) -> Blob:
    """Put the ciphertext into a store; half of the work is done before."""
    size = sealed.seek(0, os.SEEK_END)
    sealed.seek(0)
    return store.put(counted(chunks_of(sealed), progress and (lambda done: progress(size + done, 2 * size))), digest)


def _opening(
    test_set: TestSet, terms: TaskTerms, policy: Policy, now: int, public: bytes, dataset: DatasetDigests
) -> OpenTask:
    last_report = now + terms.reports
    margin = 2 * policy.guard + 86_400 if terms.opening is None else terms.opening - terms.reports
    reveal = terms.reveal or min(max(policy.reveal_min, 600), policy.reveal_max)
    return OpenTask(
        provider_key=public,
        spec=test_set.spec(wilson=terms.wilson, seed=terms.seed),
        dataset=dataset,
        dataset_envelopes=(EnvelopeDigest(bytes(32), bytes(32)),),
        schedule=terms.schedule,
        award=terms.award,
        slots=terms.slots,
        last_offer=now + terms.offers,
        last_report=last_report,
        last_opening=last_report + margin,
        reveal=reveal,
        eta=terms.eta,
        attempts=terms.attempts or policy.attempts_max,
        enclaves=terms.enclaves,
        coins=(),
    )


def _seal_to(store: ContentStore, enclaves: list[EnclaveView], key: bytes, task: bytes) -> tuple[EnvelopeDigest, ...]:
    made = []
    for enclave in enclaves:
        envelope = sealing.seal_dataset_key(enclave.encryption_key, key, task)
        made.append(EnvelopeDigest(enclave.id, store.put_bytes(envelope).digest))
    return tuple(made)


async def shut(market: Market, home: Home, task: bytes) -> Committed:
    """Take no further offers. Raises DeadlineNear where S is that near anyway."""
    view = await market.tasks.get(task)
    if not view.status.shut:
        now = LedgerClock(home.clock_file).now()
        require_time(now, view.status.last_offer, view.task.terms.window, "S, the last offers,")
    return await market.tasks.shut(task)


async def open_dataset(market: Market, home: Home, task: bytes) -> Committed:
    """Publish the test set's key, between B + G and A: the audit bond comes back."""
    secret = task_secret(home, task)
    view = await market.tasks.get(task)
    now = LedgerClock(home.clock_file).now()
    require_time(now, view.task.last_opening, view.task.terms.window, "A, the last opening,")
    return await market.tasks.open_dataset(task, secret.dataset_key)


async def receipt(
    market: Market,
    stores: Stores,
    offer: bytes,
    source: ContentStore | None = None,
    progress: Progress | None = None,
) -> Receipted:
    """Fetch an offer's ciphertext into the caller's organisation's store, hash it, and confirm it on the ledger.

    It is fetched from ``source``, or the store of the developer's organisation.

    Raises:
        BlobNotFound, BlobCorrupt: where the developer's store has other bytes than those offered; nothing is confirmed.
        CheckFailed: where their size is not the one offered.

    """
    view = await market.offers.get(offer)
    source = source or stores.of(view.developer_msp)
    size = await asyncio.to_thread(_fetch, source, stores.of(market.network.identity.msp_id), view, progress)
    return Receipted(await market.offers.receipt(offer), view.order.ciphertext, size)


def _fetch(source: ContentStore, own: ContentStore, view: OfferView, progress: Progress | None) -> int:
    """Copy an offer's ciphertext and its envelopes, verified; returns the ciphertext's size."""
    order = view.order
    with source.open(order.ciphertext, order.size) as reader:
        blob = own.put(counted(reader, progress), order.ciphertext)
    if blob.size != order.size:
        raise CheckFailed(f"the ciphertext has {blob.size:,} bytes, the offer says {order.size:,}: no receipt")
    for envelope in view.envelopes:
        if source.has(envelope.digest):
            with source.open(envelope.digest, sealing.MODEL_ENVELOPE) as reader:
                own.put(reader, envelope.digest)
    return blob.size


async def unlock(
    market: Market, home: Home, stores: Stores, offer: bytes, out: Path, progress: FetchProgress | None = None
) -> BoughtModel:
    """Unlock a settled offer's K with the revealed r and the provider's private key, decrypt the model into a file.

    K is kept in ``HOME/secrets/bought/OFFER.json``, so the model can be opened again after ``acknowledge``. The file
    appears only when its digest is the one that the enclave attested.

    Raises:
        OfferNotSettled: before r is revealed.
        SecretMissing: where the task was not opened from this folder.
        LockNotOpened, EnvelopeNotOpened, KeyCheckMismatch, StreamNotAuthentic, CheckFailed: where something is not
            what the report says.

    """
    view = await market.offers.get(offer)
    lock = view.lock
    if lock is None or view.state is not OfferState.SETTLED:
        raise OfferNotSettled(f"the offer is {view.state}; its key can be read once r is revealed")
    key = _bought_key(home, view)
    secret_files.write(home, BOUGHT, offer, {"offer": offer.hex(), "key": key.hex()})
    store = stores.holding(view.order.ciphertext, [market.network.identity.msp_id, view.developer_msp])
    order = view.order
    sealed = Ciphertext("the model", order.ciphertext, lock.model, key, order.size, order.chunk_size)
    size = await asyncio.to_thread(decrypt, store, sealed, out, progress)
    return BoughtModel(offer, out, lock.model, size, lock.score, lock.price, lock.simulated)


def _bought_key(home: Home, view: OfferView) -> bytes:
    """K of a settled offer: unlocked, or kept from the first time."""
    lock, order = view.lock, view.order
    if lock is None or not lock.locked:
        stored = secret_files.read(home, BOUGHT, view.id, f"the key of the acknowledged offer {view.id.hex()}")
        key = bytes.fromhex(stored["key"])
    else:
        private = task_secret(home, order.task).private_key
        key = sealing.unlock_key(private, lock.locked, lock.secret, order.digest(), lock.enclave)
    if digests.key_check(key) != order.key_check:
        raise KeyCheckMismatch("the unlocked key is not the one that the offer commits to")
    return key


async def acknowledge(market: Market, home: Home, offer: bytes) -> Committed:
    """Confirm that the key could be read; r and ``locked`` leave the state, K is kept here.

    Raises:
        SecretMissing: where the model was not opened in this folder before.

    """
    secret_files.read(home, BOUGHT, offer, f"the unlocked key of the offer {offer.hex()}")
    return await market.offers.acknowledge(offer)


@dataclass(frozen=True, repr=False)
class TaskSecret:
    """A provider's: what models are sealed to, and the key of its test set."""

    private_key: PrivateKey
    dataset_key: bytes


def task_secret(home: Home, task: bytes) -> TaskSecret:
    """Read what a task was opened with. Raises SecretMissing where it was not opened from this folder."""
    value = secret_files.read(home, TASKS, task, f"the provider's key of the task {task.hex()}")
    try:
        return TaskSecret(PrivateKey(bytes.fromhex(value["private_key"])), bytes.fromhex(value["dataset_key"]))
    except (KeyError, TypeError, ValueError) as error:
        raise SecretMissing(f"{secret_files.path_of(home, TASKS, task)} is damaged: {error!r}") from error
