"""Queries: what stands on the ledger, by id or in pages.

Answers are canonical JSON of the records in `records`, bytes as lowercase hex. One thing is an object; it has its `id`
where its key has one. A list is `{"items": [...], "bookmark": "..."}`: ask again with the bookmark for the next page,
an empty one ends the list. A page costs the same whatever the ledger's size.

    GetPolicy, ListPolicies        PolicyRecord
    GetProposal, ListProposals     ProposalRecord and `id`
    GetCoin, ListCoins             `id`, `owner`, `amount`
    GetCollateral                  CollateralRecord
    GetChallenge                   ChallengeRecord and `id`
    GetEnclave, ListEnclaves       EnclaveRecord
    GetTask, ListTasks             TaskRecord, `id`, and `status`: TaskStatusRecord
    GetSlots                       a list of SlotRecord
    GetOffer                       OfferRecord and `claims`: all its ClaimRecords
    ListOffers, ListOpenJobs       OfferRecord and `claims`: the open ones
    Leaderboard                    the same, the highest scores first
"""

from __future__ import annotations

from collections.abc import Generator, Iterable
from typing import Any, cast

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.claims import require_offers_task
from goldengrain.chaincode.market.enclaves import require_enclave
from goldengrain.chaincode.market.guards import require, require_policy_record
from goldengrain.chaincode.market.offers import require_known
from goldengrain.chaincode.market.records import (
    ChallengeRecord,
    ClaimRecord,
    CoinRecord,
    CollateralRecord,
    EnclaveRecord,
    IndexRecord,
    OfferRecord,
    PolicyRecord,
    ProposalRecord,
    SlotRecord,
    TaskRecord,
    TaskStatusRecord,
)
from goldengrain.chaincode.market.rules import Context, Effects, Found, Get, Key, RecordT, Rule, Scan
from goldengrain.chaincode.market.tasks import require_task_records
from goldengrain.chaincode.protocol import queries as asked
from goldengrain.chaincode.protocol.canonical import Json
from goldengrain.chaincode.protocol.coins import coin_id
from goldengrain.chaincode.protocol.errors import (
    ChallengeNotFound,
    CoinNotFound,
    CollateralNotFound,
    EnclaveNotFound,
    MalformedInput,
    NotFound,
    PolicyNotFound,
    ProposalNotFound,
    TaskNotFound,
)
from goldengrain.chaincode.protocol.task import MAX_SLOTS

MAX_CLAIMS_SHOWN = 100

Document = dict[str, Json]


def get_policy(query: asked.GetPolicy, tx: Context) -> Rule:
    """Answer with the policy in force."""
    if query.number is None:
        found = yield Get([keys.POLICY])
        return _answer(tx, require_policy_record(found).to_json())
    key = keys.policy_version(query.number)
    record: PolicyRecord = yield from _one(key, PolicyNotFound, f"there was no policy number {query.number}")
    return _answer(tx, record.to_json())


def list_policies(query: asked.ListPolicies, tx: Context) -> Rule:
    """Answer with a page of the policy's versions."""
    prefix = "policy-history/"
    scan = keys.under(prefix, PolicyRecord, query.page_size, _bookmark(query.bookmark, prefix))
    found = yield scan
    return _page(tx, found, (record.to_json() for _, record in found.page(scan)))


def get_proposal(query: asked.GetProposal, tx: Context) -> Rule:
    """Answer with one proposal."""
    key = keys.proposal(query.proposal)
    record = yield from _one(key, ProposalNotFound, f"there is no proposal {query.proposal}")
    return _answer(tx, _proposal(key.name, record))


def list_proposals(query: asked.ListProposals, tx: Context) -> Rule:
    """Answer with a page of all proposals."""
    scan = keys.under("proposal/", ProposalRecord, query.page_size, _bookmark(query.bookmark, "proposal/"))
    found = yield scan
    return _page(tx, found, (_proposal(name, record) for name, record in found.page(scan)))


def get_coin(query: asked.GetCoin, tx: Context) -> Rule:
    """Answer with one unspent coin."""
    key = keys.coin(query.owner, query.coin)
    record = yield from _one(key, CoinNotFound, f"{query.owner.hex()} has no unspent coin {query.coin}")
    return _answer(tx, _coin(key.name, record))


def list_coins(query: asked.ListCoins, tx: Context) -> Rule:
    """Answer with a page of the unspent coins of an account, or of all."""
    prefix = "coin/" if query.owner is None else f"coin/{query.owner.hex()}/"
    scan = keys.under(prefix, CoinRecord, query.page_size, _bookmark(query.bookmark, prefix))
    found = yield scan
    return _page(tx, found, (_coin(name, record) for name, record in found.page(scan)))


def get_collateral(query: asked.GetCollateral, tx: Context) -> Rule:
    """Answer with the collateral of a root, FMSPC and TEE."""
    key = keys.collateral(query.root, query.fmspc, query.tee)
    record: CollateralRecord = yield from _one(key, CollateralNotFound, "no such collateral; send `PutCollateral`")
    return _answer(tx, record.to_json())


def get_challenge(query: asked.GetChallenge, tx: Context) -> Rule:
    """Answer with one challenge."""
    key = keys.challenge(query.challenge)
    record: ChallengeRecord = yield from _one(key, ChallengeNotFound, f"there is no challenge {query.challenge}")
    return _answer(tx, {"id": query.challenge, **record.to_json()})


def get_enclave(query: asked.GetEnclave, tx: Context) -> Rule:
    """Answer with one enclave."""
    key = keys.enclave(query.enclave)
    missing = f"no enclave {query.enclave.hex()} is registered"
    record: EnclaveRecord = yield from _one(key, EnclaveNotFound, missing)
    return _answer(tx, record.to_json())


def list_enclaves(query: asked.ListEnclaves, tx: Context) -> Rule:
    """Answer with a page of all enclaves."""
    scan = keys.under("enclave/", EnclaveRecord, query.page_size, _bookmark(query.bookmark, "enclave/"))
    found = yield scan
    rows = (record for _, record in found.page(scan))
    return _page(tx, found, (one.to_json() for one in rows if query.operator in (None, one.operator)))


def get_task(query: asked.GetTask, tx: Context) -> Rule:
    """Answer with one task."""
    found = yield Get([keys.task(query.task), keys.task_status(query.task)])
    return _answer(tx, _task(query.task, *require_task_records(found, query.task)))


def list_tasks(query: asked.ListTasks, tx: Context) -> Rule:
    """Answer with a page of all tasks, or of a provider's."""
    if query.provider is None:
        prefix = "task/"
        scan: Scan[Any] = keys.under(prefix, TaskRecord, query.page_size, _bookmark(query.bookmark, prefix))
    else:
        prefix = f"task-by/{query.provider.hex()}/"
        scan = keys.under(prefix, IndexRecord, query.page_size, _bookmark(query.bookmark, prefix))
    found = yield scan
    tasks = [bytes.fromhex(_last(name)) for name, _ in found.page(scan)]
    more = yield Get(key for task in tasks for key in (keys.task(task), keys.task_status(task)))
    records = ((task, *require_task_records(more, task)) for task in tasks)
    wanted = (
        _task(task, record, status)
        for task, record, status in records
        if not query.taking_offers or tx.timestamp <= status.last_offer
    )
    return _page(tx, found, wanted)


def get_slots(query: asked.GetSlots, tx: Context) -> Rule:
    """Answer with all slots of a task, at most 256."""
    scan = keys.under(f"slot/{query.task.hex()}/", SlotRecord, MAX_SLOTS)
    found = yield scan
    rows = found.page(scan)
    if not rows:
        raise TaskNotFound(f"there is no task {query.task.hex()}")
    return _page(tx, Found({}), (record.to_json() for _, record in rows))


def get_offer(query: asked.GetOffer, tx: Context) -> Rule:
    """Answer with one offer and its claims."""
    found = yield Get([keys.offer(query.offer)])
    offer = require_known(found, query.offer)
    scan = keys.under(f"claim/{query.offer.hex()}/", ClaimRecord, MAX_CLAIMS_SHOWN)
    claims = yield scan
    return _answer(tx, _offer(offer, [record for _, record in claims.page(scan)]))


def list_offers(query: asked.ListOffers, tx: Context) -> Rule:
    """Answer with a page of offers: all, a task's, a developer's; in any state or in one."""

    def fits(offer: OfferRecord) -> bool:
        return query.task in (None, offer.order.task) and query.state in (None, offer.state)

    if query.developer is not None:
        prefix = f"offer-by/{query.developer.hex()}/"
    elif query.task is not None:
        prefix = f"offer-of/{query.task.hex()}/"
    else:
        scan = keys.under("offer/", OfferRecord, query.page_size, _bookmark(query.bookmark, "offer/"))
        found = yield scan
        return (yield from _with_claims(tx, found, [record for _, record in found.page(scan) if fits(record)]))
    found, offers = yield from _indexed_offers(prefix, query.page_size, query.bookmark)
    return (yield from _with_claims(tx, found, [one for one in offers if fits(one)]))


def leaderboard(query: asked.Leaderboard, tx: Context) -> Rule:
    """Answer with a page of what passed in a task, the highest scores first."""
    prefix = f"passed/{query.task.hex()}/"
    found, offers = yield from _indexed_offers(prefix, query.page_size, query.bookmark)
    return (yield from _with_claims(tx, found, offers))


def list_open_jobs(query: asked.ListOpenJobs, tx: Context) -> Rule:
    """Answer with a page of the offers that wait for an enclave, or for this very one."""
    if query.enclave is None:
        found, offers = yield from _indexed_offers("job/", query.page_size, query.bookmark)
        return (yield from _with_claims(tx, found, offers))
    own = keys.enclave(query.enclave)
    scan = keys.under("job/", IndexRecord, query.page_size, _bookmark(query.bookmark, "job/"))
    found = yield scan
    ids = [entry.id for _, entry in found.page(scan)]
    more = yield Get([own, *(keys.offer(one) for one in ids)])
    enclave = require_enclave(more, query.enclave)
    offers = [require_known(more, one) for one in ids]
    claims = [keys.claim(offer.id, number) for offer in offers for number in offer.open_claims]
    tasks = yield Get([*(keys.task(offer.order.task) for offer in offers), *claims])
    items = (
        _offer(offer, _open_claims(tasks, offer))
        for offer in offers
        if may_run(enclave, offer, require_offers_task(tasks, offer))
    )
    return _page(tx, found, items)


def may_run(enclave: EnclaveRecord, offer: OfferRecord, task: TaskRecord) -> bool:
    """Tell whether a claim of the enclave would be refused neither for its organisation nor for an envelope."""
    organizations = enclave.operator_msp != offer.developer_msp and (
        offer.provider_may_operate or enclave.operator_msp != task.provider_msp
    )
    sealed = all(any(one.enclave == enclave.id for one in some) for some in (offer.envelopes, task.envelopes))
    return organizations and sealed and enclave.id not in offer.claimed_by


def _indexed_offers(
    prefix: str, size: int, bookmark: str
) -> Generator[Get | Scan[Any], Found, tuple[Found, list[OfferRecord]]]:
    scan = keys.under(prefix, IndexRecord, size, _bookmark(bookmark, prefix))
    found = yield scan
    ids = [entry.id for _, entry in found.page(scan)]
    offers = yield Get(keys.offer(one) for one in ids)
    return found, [require_known(offers, one) for one in ids]


def _with_claims(tx: Context, page: Found, offers: list[OfferRecord]) -> Rule:
    found = yield Get(keys.claim(offer.id, number) for offer in offers for number in offer.open_claims)
    return _page(tx, page, (_offer(offer, _open_claims(found, offer)) for offer in offers))


def _open_claims(found: Found, offer: OfferRecord) -> list[ClaimRecord]:
    claims = (found.get(keys.claim(offer.id, number)) for number in offer.open_claims)
    return [claim for claim in claims if claim is not None]


def _one(key: Key[RecordT], missing: type[NotFound], what: str) -> Generator[Get | Scan[Any], Found, RecordT]:
    found = yield Get([key])
    return require(found, key, missing, what)


def _bookmark(bookmark: str, prefix: str) -> str:
    if bookmark and not bookmark.startswith(prefix):
        raise MalformedInput("this bookmark is another list's; start without one")
    return bookmark


def _answer(tx: Context, document: Document) -> Effects:
    effects = Effects(tx, window=None)
    effects.result = document
    return effects


def _page(tx: Context, found: Found, items: Iterable[Document]) -> Effects:
    return _answer(tx, {"items": list(items), "bookmark": found.bookmark})


def _last(name: str) -> str:
    return name.rpartition("/")[2]


def _proposal(name: str, record: ProposalRecord) -> Document:
    return {"id": _last(name), **record.to_json()}


def _coin(name: str, record: CoinRecord) -> Document:
    transaction, _, index = _last(name).partition(":")
    return {"id": coin_id(transaction, int(index)), **record.to_json()}


def _task(task: bytes, record: TaskRecord, status: TaskStatusRecord) -> Document:
    return {"id": task.hex(), **record.to_json(), "status": status.to_json()}


def _offer(record: OfferRecord, claims: Iterable[ClaimRecord]) -> Document:
    return {**record.to_json(), "claims": [cast("Json", one.to_json()) for one in claims]}
