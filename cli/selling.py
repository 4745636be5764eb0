"""The developer's part of a swap: seal a model for a task, offer it, reveal r (protocol section 5).

::

    sealed = await seal_model(market, home, stores, task, Path("model.onnx"))
    await submit(market, home, sealed.id)
    …                                            # receipt, claim, report: others' work
    await reveal(market, home, sealed.id)

Each function takes the market client of the identity that acts. K and r are made in ``seal_model`` and lie in
``HOME/secrets/offers/OFFER.json`` before anything is sent, so that a reveal works after any interruption.
"""

from __future__ import annotations

import hashlib
import os
import tempfile
from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass, field, replace
from pathlib import Path
from typing import BinaryIO

from goldengrain.chaincode.protocol import digests, sealing, stream
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.commands import SubmitOffer
from goldengrain.chaincode.protocol.errors import (
    AttemptsExhausted,
    BondTooSmall,
    GoldenGrainError,
    OfferNotLocked,
    ReserveTooHigh,
)
from goldengrain.chaincode.protocol.offer import DEFAULT_CHUNK, EnvelopeDigest, Order
from goldengrain.chaincode.protocol.tables import require_offer
from goldengrain.chaincode.protocol.task import Task
from goldengrain.cli import secret_files
from goldengrain.cli.errors import FileRefused, NoEnclave, SecretMissing
from goldengrain.cli.roster import fit_enclaves
from goldengrain.cli.stores import Stores
from goldengrain.cli.timing import require_time
from goldengrain.gateway.market import Committed, Market
from goldengrain.gateway.market.views import EnclaveView, TaskView
from goldengrain.gateway.store import Progress
from goldengrain.network.home import Home

KIND = "offers"


@dataclass(frozen=True)
class SealTerms:
    """What a developer chooses for an offer.

    ``bond`` None is the least that the task asks, ``payout`` None the developer's own account, ``attempt`` None the
    organisation's next number. ``reserve`` and ``bond`` are amounts, ``chunk_size`` bytes.
    """

    reserve: int = 0
    bond: int | None = None
    payout: bytes | None = None
    attempt: int | None = None
    chunk_size: int = DEFAULT_CHUNK
    provider_may_operate: bool = False


@dataclass(frozen=True)
class SealedOffer:
    """A sealed model: the offer as it will be sent, and the secrets behind it.

    ``model`` is the SHA-256 of the plaintext; ``simulated`` tells whether an enclave that it is sealed to is.
    """

    id: bytes
    order: Order
    command: SubmitOffer
    model: bytes
    simulated: bool
    key: bytes = field(repr=False)
    secret: bytes = field(repr=False)

    def to_json(self) -> dict[str, Json]:
        """As its private file holds it."""
        return {
            "offer": self.id.hex(),
            "order": self.order.to_json(),
            "command": self.command.to_json(),
            "model": self.model.hex(),
            "simulated": self.simulated,
            "key": self.key.hex(),
            "secret": self.secret.hex(),
        }


async def seal_model(
    market: Market,
    home: Home,
    stores: Stores,
    task: bytes,
    model: Path,
    terms: SealTerms | None = None,
    progress: Progress | None = None,
) -> SealedOffer:
    """Encrypt a model for a task under a fresh K, store it, and seal K and a fresh r to the enclaves that may run it.

    The ciphertext and the envelopes go into the developer's organisation's store, the secrets into a private file.
    Nothing is sent.

    Raises:
        DeadlineNear: where the task takes no more offers.
        NoEnclave: where no registered enclave may run it.
        FileRefused: where the model cannot be read.
        AttemptsExhausted, ReserveTooHigh, BondTooSmall: what the contract would refuse the offer for.

    """
    terms = terms or SealTerms()
    view = await market.tasks.get(task)
    now = LedgerClock(home.clock_file).now()
    require_time(now, view.status.last_offer, view.task.terms.window, "S, the last offers,")
    msp_id = market.network.identity.msp_id
    enclaves = await enclaves_for(market, view, now, terms.provider_may_operate)
    attempt = terms.attempt or await next_attempt(market, task)
    _require_possible(view.task, terms, attempt)
    store = stores.of(msp_id)
    key, secret = stream.generate_key(), os.urandom(digests.WORD)
    with _opened(model) as source, tempfile.TemporaryFile(dir=secret_files.private_folder(home)) as sealed:
        plaintext = _digest(source)
        written = stream.encrypt_file(key, source, sealed, chunk_size=terms.chunk_size)
        sealed.seek(0)
        store.put(_chunks(sealed, progress), written.digest)
    draft = SubmitOffer(
        task=task,
        payout=terms.payout or market.account,
        attempt=attempt,
        ciphertext=written.digest,
        size=written.size,
        chunk_size=terms.chunk_size,
        key_check=digests.key_check(key),
        secret_hash=digests.secret_hash(secret),
        reserve=terms.reserve,
        bond=view.task.minimum_bond if terms.bond is None else terms.bond,
        envelopes=(EnvelopeDigest(bytes(32), bytes(32)),),
        coins=(),
        provider_may_operate=terms.provider_may_operate,
    )
    order = draft.order(view.task, market.account)
    envelopes = seal_to(stores, msp_id, enclaves, key, secret, order)
    command = replace(draft, envelopes=envelopes)
    simulated = view.simulated or any(one.simulated for one in enclaves)
    made = SealedOffer(order.offer_id, order, command, plaintext, simulated, key, secret)
    secret_files.write(home, KIND, made.id, made.to_json())
    return made


def _require_possible(task: Task, terms: SealTerms, attempt: int) -> None:
    if attempt > task.attempts:
        raise AttemptsExhausted(f"the task grants an organisation {task.attempts} attempts; this would be {attempt}")
    if terms.reserve > task.schedule.top_price:
        raise ReserveTooHigh(f"the reserve is above the task's top price {task.schedule.top_price:,}")
    if terms.bond is not None and terms.bond < task.minimum_bond:
        raise BondTooSmall(f"the bond must be at least {task.minimum_bond:,}")


async def enclaves_for(market: Market, task: TaskView, now: int, provider_may_operate: bool) -> list[EnclaveView]:
    """The enclaves that may run the caller's model: fit, holding the test set's key, of a third organisation.

    Raises:
        NoEnclave: where there is none.

    """
    own = market.network.identity.msp_id
    policy = (await market.consortium.policy()).policy
    fit = await fit_enclaves(market, policy, now)
    found = able_to_run(fit, task, own, provider_may_operate)
    if not found:
        raise NoEnclave(
            f"none of the {len(fit)} enclaves that may work holds this task's test set and may run a model of {own}: "
            "an enclave runs none of its own operator's organisation, and one of the provider's only with "
            "--provider-may-operate"
        )
    return found


def able_to_run(
    enclaves: Iterable[EnclaveView], task: TaskView, developer_msp: str, provider_may_operate: bool
) -> list[EnclaveView]:
    """Those of the enclaves that hold a task's test set and are of no organisation that keeps them out."""
    holders = {one.enclave for one in task.envelopes}
    barred = {developer_msp} if provider_may_operate else {developer_msp, task.provider_msp}
    return [one for one in enclaves if one.id in holders and one.operator_msp not in barred]


async def next_attempt(market: Market, task: bytes) -> int:
    """The next attempt number of the caller's organisation in a task; spent ones never come back."""
    own = market.network.identity.msp_id
    spent = [one.order.attempt async for one in market.offers.listing(task) if one.developer_msp == own]
    return max(spent, default=0) + 1


def seal_to(
    stores: Stores, msp_id: str, enclaves: Sequence[EnclaveView], key: bytes, secret: bytes, order: Order
) -> tuple[EnvelopeDigest, ...]:
    """Seal K and r of an order to enclaves and store the envelopes; returns what the ledger gets of them."""
    store = stores.of(msp_id)
    made = []
    for enclave in enclaves:
        envelope = sealing.seal_model(enclave.encryption_key, key, secret, order.digest())
        made.append(EnvelopeDigest(enclave.id, store.put_bytes(envelope).digest))
    return tuple(made)


async def submit(market: Market, home: Home, offer: bytes) -> Committed:
    """Send a sealed offer; bond and benchmark fee are paid from the caller's coins.

    Raises:
        SecretMissing: where it was not sealed in this folder, or by another account.
        DeadlineNear: where the task takes no more offers.

    """
    sealed = load(home, offer)
    if sealed.order.developer != market.account:
        raise SecretMissing(f"the offer was sealed by account {sealed.order.developer.hex()}; send it as that identity")
    view = await market.tasks.get(sealed.command.task)
    now = LedgerClock(home.clock_file).now()
    require_time(now, view.status.last_offer, view.task.terms.window, "S, the last offers,")
    return (await market.offers.submit(sealed.command)).committed


async def rewrap(market: Market, home: Home, stores: Stores, offer: bytes) -> Committed | None:
    """Seal an offer to the enclaves that were registered since; None where there is no further one."""
    sealed = load(home, offer)
    view = await market.offers.get(offer)
    task = await market.tasks.get(view.order.task)
    now = LedgerClock(home.clock_file).now()
    known = {one.enclave for one in view.envelopes}
    fit = await enclaves_for(market, task, now, view.provider_may_operate)
    fresh = [one for one in fit if one.id not in known]
    if not fresh:
        return None
    envelopes = seal_to(stores, view.developer_msp, fresh, sealed.key, sealed.secret, sealed.order)
    return await market.offers.rewrap(offer, envelopes)


async def reveal(market: Market, home: Home, offer: bytes) -> Committed:
    """Publish r of a locked offer: price and bond are paid in the same transaction.

    Nothing leaves this process unless a price is locked: who learns r before could read the key unpaid.

    Raises:
        SecretMissing: where r is not in this folder.
        OfferNotLocked, OfferClosed: where no price is locked.
        DeadlineNear: where D is less than W away: an r that comes too late is given away.

    """
    sealed = load(home, offer)
    view = await market.offers.get(offer)
    require_offer("Reveal", view.state)
    if view.lock is None or view.lock.deadline is None:
        raise OfferNotLocked("no price is locked; keep r until then")
    window = (await market.tasks.get(view.order.task)).task.terms.window
    require_time(LedgerClock(home.clock_file).now(), view.lock.deadline, window, "D, the time to reveal,")
    return await market.offers.reveal(offer, sealed.secret)


def load(home: Home, offer: bytes) -> SealedOffer:
    """Read a sealed offer's private file. Raises SecretMissing."""
    value = secret_files.read(home, KIND, offer, f"the sealed offer {offer.hex()}")
    try:
        order = Order.from_json(value["order"])
        command = SubmitOffer.from_json(value["command"])
        model, key, secret = (bytes.fromhex(value[name]) for name in ("model", "key", "secret"))
    except (KeyError, TypeError, ValueError, GoldenGrainError) as error:
        raise SecretMissing(f"{secret_files.path_of(home, KIND, offer)} is damaged: {error}") from error
    return SealedOffer(order.offer_id, order, command, model, bool(value.get("simulated")), key, secret)


def _opened(path: Path) -> BinaryIO:
    try:
        return path.open("rb")
    except OSError as error:
        raise FileRefused(f"{path} cannot be read: {error.strerror}") from error


def _digest(file: BinaryIO) -> bytes:
    found = hashlib.sha256()
    while chunk := file.read(1 << 20):
        found.update(chunk)
    file.seek(0)
    return found.digest()


def _chunks(file: BinaryIO, progress: Progress | None) -> Iterator[bytes]:
    done = 0
    while chunk := file.read(1 << 20):
        yield chunk
        done += len(chunk)
        if progress is not None:
            progress(done)
