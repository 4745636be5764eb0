# pragma version ==0.4.3
"""
@title Offers: making one, taking it back, sealing it to further enclaves, the receipt for its ciphertext
"""
import book
import digests
import pricing
import records
import refusals

uses: book

struct Offering:
    payout: address
    attempt: uint256
    ciphertext: bytes32
    size: uint256
    chunk_size: uint256
    key_check: bytes32
    secret_hash: bytes32
    reserve: uint256
    bond: uint256
    provider_may_operate: bool


event OfferSubmitted:
    offer: indexed(bytes32)
    task: indexed(bytes32)
    developer: indexed(address)
    order: bytes32
    ciphertext: bytes32
    envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES]


event Rewrapped:
    offer: indexed(bytes32)
    envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES]


event Stored:
    offer: indexed(bytes32)
    organization: uint256


@external
@payable
def submit_offer(
    task: digests.Task,
    schedule: DynArray[uint256, book.MAX_POINTS],
    offering: Offering,
    envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES],
) -> bytes32:
    """
    @notice Offer a sealed model until S; the sender is its developer, bond and benchmark fee are paid with it.
    """
    refusals.require(offering.attempt >= 1, refusals.MALFORMED_INPUT)
    refusals.require(max(offering.reserve, offering.bond) <= book.MAX_AMOUNT, refusals.MALFORMED_INPUT)
    chain_of: bytes32 = book.chain(empty(bytes32), envelopes)
    organization: uint256 = staticcall book.REGISTRY.member(msg.sender)
    task_id: bytes32 = digests.task(task)
    status: records.Status = book.status(task_id)
    if block.timestamp > status.last_offer:
        refusals.require(status.shut == 0, refusals.TASK_SHUT)
        refusals.require(False, refusals.TOO_LATE)
    refusals.require(offering.attempt <= task.conditions.attempts, refusals.ATTEMPTS_EXHAUSTED)
    seller: uint256 = book.sellers[task_id][organization]
    attempt: uint256 = 1 << (book.ATTEMPTS_AT + offering.attempt)
    refusals.require(seller & attempt == 0, refusals.ATTEMPT_SPENT)
    refusals.require(seller & (1 << book.LIVE_AT) == 0, refusals.LIVE_OFFER_EXISTS)
    book.require_schedule(task, schedule)
    top: uint256 = pricing.top(schedule)
    refusals.require(offering.reserve <= top, refusals.RESERVE_TOO_HIGH)
    refusals.require(offering.bond >= pricing.share_up(top, task.terms.bond), refusals.BOND_TOO_SMALL)
    refusals.require(staticcall book.REGISTRY.fit(envelopes), refusals.ENCLAVE_UNFIT)
    book.take(offering.bond + book.fee(task))
    order: bytes32 = digests.order(
        digests.Order(
            task=task_id,
            provider_key=task.conditions.provider_key,
            spec=task.conditions.spec,
            developer=book.account(msg.sender),
            payout=book.account(offering.payout),
            attempt=offering.attempt,
            ciphertext=offering.ciphertext,
            size=offering.size,
            chunk_size=offering.chunk_size,
            key_check=offering.key_check,
            secret_hash=offering.secret_hash,
            reserve=offering.reserve,
        )
    )
    id: bytes32 = digests.offer(order)
    book.sellers[task_id][organization] = seller | attempt | 1 << book.LIVE_AT
    book.sealed[id] = chain_of
    offer: records.Offer = empty(records.Offer)
    offer.state = book.OFFERED
    offer.task = status.number
    offer.organization = organization
    offer.provider_organization = status.organization
    offer.provider_may_operate = convert(offering.provider_may_operate, uint256)
    offer.bond = offering.bond
    book.offers[id] = records.pack_offer(offer)
    log OfferSubmitted(
        offer=id,
        task=task_id,
        developer=msg.sender,
        order=order,
        ciphertext=offering.ciphertext,
        envelopes=envelopes,
    )
    return id


@external
def withdraw_offer(task: digests.Task, order: digests.Order):
    """
    @notice Take an offer back before a receipt; the developer. The attempt stays spent.
    """
    id: bytes32 = digests.offer(digests.order(order))
    offer: records.Offer = book.offer(id)
    refusals.require(book.account(msg.sender) == order.developer, refusals.DEVELOPER_REQUIRED)
    book.require_not_closed(offer)
    refusals.require(offer.state == book.OFFERED, refusals.OFFER_STATE_REFUSES)
    task_id: bytes32 = book.task_of(task, offer)
    book.credit(order.developer, offer.bond + book.fee(task))
    book.end(id, offer, book.WITHDRAWN)
    book.free_seller(task_id, offer.organization, 0)


@external
def rewrap(
    order: digests.Order,
    known: DynArray[book.Envelope, book.MAX_ENVELOPES],
    envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES],
):
    """
    @notice Add envelopes for further enclaves; the developer, before a claim. `known` are all that there are.
    """
    chain_of: bytes32 = book.chain(empty(bytes32), envelopes)
    id: bytes32 = digests.offer(digests.order(order))
    offer: records.Offer = book.offer(id)
    refusals.require(book.account(msg.sender) == order.developer, refusals.DEVELOPER_REQUIRED)
    book.require_not_closed(offer)
    refusals.require(offer.state <= book.STORED, refusals.OFFER_STATE_REFUSES)
    before: bytes32 = book.require_sealed(id, known)
    for one: book.Envelope in envelopes:
        refusals.require(book.find(known, one.enclave) == empty(bytes32), refusals.ENVELOPE_EXISTS)
    refusals.require(len(known) + len(envelopes) <= book.MAX_ENVELOPES, refusals.RULE_REFUSED)
    refusals.require(staticcall book.REGISTRY.fit(envelopes), refusals.ENCLAVE_UNFIT)
    book.sealed[id] = book.chain(before, envelopes)
    log Rewrapped(offer=id, envelopes=envelopes)


@external
def receipt(id: bytes32):
    """
    @notice State that one's organisation stores the ciphertext; the provider's makes the offer claimable.
    """
    offer: records.Offer = book.open_offer(id)
    refusals.require(offer.state <= book.STORED, refusals.OFFER_STATE_REFUSES)
    organization: uint256 = staticcall book.REGISTRY.organization(msg.sender)
    refusals.require(organization != 0, refusals.NOT_A_MEMBER)
    mine: uint256 = 1 << (organization - 1)
    refusals.require(offer.receipts & mine == 0, refusals.ALREADY_STORED)
    offer.receipts |= mine
    if organization == offer.provider_organization:
        offer.state = book.STORED
    book.offers[id] = records.pack_offer(offer)
    log Stored(offer=id, organization=organization)
