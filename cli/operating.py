"""The operator's part of a swap: register an enclave, claim jobs, have them run, hand in the reports.

::

    async with enclave_process(home, "org2", channel=…, contract=…) as host, host.client() as enclave:
        await register(market, challenger, home, enclave)
        claimed = await claim(market, home, host.id, offer)
        report = await run(market, stores, enclave, host.exchange, claimed)
        await submit(market, home, claimed, report)

Each function takes the market client of the operator; ``challenger`` is a client of another organisation. The steps of
``run`` are there by themselves: ``stage``, ``job_ticket``, ``EnclaveClient.run_job``.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from dataclasses import dataclass
from pathlib import Path

from goldengrain.chaincode.protocol.clock import LedgerClock
from goldengrain.chaincode.protocol.collateral import read_collateral
from goldengrain.chaincode.protocol.commands import RegisterEnclave, SubmitReport
from goldengrain.chaincode.protocol.errors import CollateralRollback, ContractError, EnclaveNotFound, QuoteRootUnknown
from goldengrain.chaincode.protocol.policy import AttestationRoot, Policy
from goldengrain.chaincode.protocol.sealing import DATASET_ENVELOPE, MODEL_ENVELOPE
from goldengrain.cli.stores import Stores
from goldengrain.cli.timing import require_time
from goldengrain.enclave.client import EnclaveClient, JobReport
from goldengrain.gateway.market import Committed, Market
from goldengrain.gateway.market.views import EnclaveView, OfferView, TaskView
from goldengrain.network.home import Home

LEASE_S = 600
"""Lease of a claim where nobody says otherwise and the policy admits it."""


@dataclass(frozen=True)
class Registered:
    """An enclave on the ledger, and the transactions that brought it there (collateral only where it was needed)."""

    enclave: bytes
    expires: int
    simulated: bool
    committed: tuple[Committed, ...]


@dataclass(frozen=True)
class Job:
    """A claim on the ledger: what is to be run until when."""

    offer: OfferView
    task: TaskView
    number: int
    enclave: bytes
    lease_end: int

    @classmethod
    def of(cls, offer: OfferView, task: TaskView, number: int) -> Job:
        """The job of an offer's claim, as the ledger has it."""
        claim = next(one.claim for one in offer.claims if one.claim.number == number)
        return cls(offer, task, number, claim.enclave, claim.lease_end)


@dataclass(frozen=True)
class Claimed(Job):
    """A job that was just claimed, and the transaction that did it."""

    committed: Committed


@dataclass(frozen=True)
class StagedJob:
    """A job's files: both envelopes, and the names of the ciphertexts in the exchange folder."""

    model_envelope: bytes
    dataset_envelope: bytes
    model: str
    dataset: str


async def register(
    market: Market,
    challenger: Market,
    home: Home,
    enclave: EnclaveClient,
    evidence: Callable[[bytes, Policy], Awaitable[str]] | None = None,
) -> Registered:
    """Register an enclave: the challenge of another organisation's client, its quote and collateral.

    ``evidence`` gives the collateral (JSON) of a quote; without it, the enclave or its host does.

    Raises:
        QuoteRootUnknown: where the collateral is of no root that the policy accepts.
        ContractError: the refusals of protocol section 4.

    """
    identity = await enclave.identity()
    policy = (await market.consortium.policy()).policy
    challenged = await challenger.enclaves.challenge(market.account)
    quoted = await enclave.quote(market.account, bytes.fromhex(challenged.transaction_id))
    own = quoted.collateral or enclave.collateral
    collateral = own if evidence is None else await evidence(quoted.quote, policy)
    root, fmspc = find_root(policy, collateral, LedgerClock(home.clock_file).now())
    stored = await put_collateral(market, root, collateral)
    registration = RegisterEnclave(
        challenge=challenged.transaction_id,
        quote=quoted.quote,
        root=root.id,
        fmspc=fmspc,
        signing_key=identity.signing_key,
        encryption_key=identity.encryption_key,
        bundle=identity.bundle,
    )
    committed = await market.enclaves.register(registration)
    done = (challenged, *([stored] if stored else []), committed)
    answer = committed.answer
    return Registered(bytes.fromhex(answer["enclave"]), answer["expires"], answer["simulated"], done)


def find_root(policy: Policy, collateral: str, at: int) -> tuple[AttestationRoot, bytes]:
    """The accepted root that signs some collateral, and the collateral's FMSPC.

    Raises:
        QuoteRootUnknown: where there is none.

    """
    refusal: ContractError | None = None
    for root in policy.roots:
        try:
            return root, read_collateral(collateral, root.certificate, at).fmspc
        except ContractError as error:
            refusal = error
    raise QuoteRootUnknown(
        "none of the attestation roots that the policy accepts has signed this enclave's collateral"
    ) from refusal


async def put_collateral(market: Market, root: AttestationRoot, collateral: str) -> Committed | None:
    """Store collateral; None where newer one is stored already."""
    try:
        return await market.enclaves.put_collateral(root.id, collateral)
    except CollateralRollback:
        return None


async def registration_of(market: Market, enclave: bytes) -> EnclaveView | None:
    """The enclave as registered, or None."""
    try:
        return await market.enclaves.get(enclave)
    except EnclaveNotFound:
        return None


async def claim(market: Market, home: Home, enclave: bytes, offer: bytes, lease: int | None = None) -> Claimed:
    """Claim an offer for an enclave: a free slot at random, a lease in seconds, the deposit from the caller's coins.

    ``lease`` None is ten minutes, within the policy's bounds and before B.

    Raises:
        DeadlineNear: where B is less than W away.

    """
    view = await market.offers.get(offer)
    task = await market.tasks.get(view.order.task)
    policy = (await market.consortium.policy()).policy
    now, last_report = LedgerClock(home.clock_file).now(), task.task.last_report
    require_time(now, last_report - policy.lease_min, task.task.terms.window, "B, the last reports,")
    if lease is None:
        room = last_report - now - task.task.terms.window
        lease = max(policy.lease_min, min(LEASE_S, policy.lease_max, room))
    committed = await market.offers.claim(offer, enclave, lease)
    answer = committed.answer
    return Claimed(await market.offers.get(offer), task, answer["claim"], enclave, answer["lease_end"], committed)


async def run(market: Market, stores: Stores, enclave: EnclaveClient, exchange: Path, claimed: Job) -> JobReport:
    """Have a claimed offer benchmarked: stage its files, get a nonce and a job ticket for it, run the job.

    Nothing is handed in; the staged files are gone afterwards.

    Raises:
        BlobNotFound, BlobCorrupt: where a file is nowhere to be had as the ledger names it.
        TicketRefused, HostFault: where the enclave signs nothing.

    """
    staged = await asyncio.to_thread(stage, stores, exchange, claimed)
    try:
        nonce = await enclave.nonce()
        ticket = await job_ticket(market, claimed, nonce)
        return await enclave.run_job(
            ticket, staged.model_envelope, staged.dataset_envelope, staged.model, staged.dataset
        )
    finally:
        unstage(exchange, staged)


def stage(stores: Stores, exchange: Path, claimed: Job) -> StagedJob:
    """Put a job's ciphertexts into the exchange folder, verified by digest, and read its envelopes."""
    offer, task = claimed.offer, claimed.task
    made = next(one.claim for one in offer.claims if one.claim.number == claimed.number)
    holders = [task.provider_msp, *offer.receipts, offer.developer_msp]
    job = f"{offer.id.hex()}-{claimed.number}"  # several jobs of one task may run at once: each has its own files
    model, dataset = f"{job}.model", f"{job}.dataset"
    stores.holding(offer.order.ciphertext, holders).fetch(offer.order.ciphertext, exchange / model)
    stores.holding(task.task.dataset.ciphertext, holders).fetch(task.task.dataset.ciphertext, exchange / dataset)
    return StagedJob(
        _envelope(stores, made.model_envelope, [offer.developer_msp, *holders], MODEL_ENVELOPE),
        _envelope(stores, made.dataset_envelope, holders, DATASET_ENVELOPE),
        model,
        dataset,
    )


def unstage(exchange: Path, staged: StagedJob) -> None:
    """Remove a job's files from the exchange folder."""
    for name in (staged.model, staged.dataset):
        (exchange / name).unlink(missing_ok=True)


def _envelope(stores: Stores, digest: bytes, holders: Sequence[str], size: int) -> bytes:
    return stores.holding(digest, holders).read(digest, size)


async def job_ticket(market: Market, claimed: Job, nonce: bytes, organizations: Sequence[str] | None = None) -> bytes:
    """The job ticket of a claim for an enclave's nonce: a prepared transaction, endorsed by peers of k organisations.

    With ``organizations``, by peers of exactly these.
    """
    prepared = await market.offers.job_ticket(claimed.offer.id, claimed.number, claimed.enclave, nonce, organizations)
    return prepared.envelope


async def submit(market: Market, home: Home, claimed: Job, report: JobReport) -> Committed:
    """Hand a report in; ``answer["state"]`` is the offer's new state.

    Raises:
        DeadlineNear: where the lease ends in less than W.
        ReportSignatureInvalid: where the report is not what the enclave has signed.

    """
    now = LedgerClock(home.clock_file).now()
    require_time(now, claimed.lease_end, claimed.task.task.terms.window, "the lease")
    result = report.result
    return await market.offers.report(
        SubmitReport(
            offer=report.offer,
            claim=report.claim,
            outcome=result.outcome,
            signature=report.signature,
            score=result.score,
            locked=result.locked,
            model=result.model,
        )
    )
