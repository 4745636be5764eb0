# pragma version ==0.4.3
"""
@title Settlement: how a swap ends; no policy is read here
"""
import book
import digests
import pricing
import records
import refusals

uses: book

event Revealed:
    offer: indexed(bytes32)
    secret: bytes32


@external
def expire(task: digests.Task, order: digests.Order, enclaves: DynArray[bytes32, book.MAX_ENCLAVES]):
    """
    @notice End an offer that B overtook undecided; anyone, after B + G and every open lease's end + G.
    @param enclaves All that hold a claim, open or reported, ascending.
    """
    id: bytes32 = digests.offer(digests.order(order))
    offer: records.Offer = book.open_offer(id)
    refusals.require(offer.state <= book.CLAIMED, refusals.OFFER_STATE_REFUSES)
    task_id: bytes32 = book.task_of(task, offer)
    book.after(task.conditions.last_report, task.terms.guard)
    refusals.require(len(enclaves) == offer.open + offer.reported, refusals.CLAIM_NOT_FOUND)
    last: uint256 = 0
    for enclave: bytes32 in enclaves:
        claim: records.Claim = records.claim(book.claims[id][enclave])
        refusals.require(claim.state == book.OPEN or claim.state == book.REPORTED, refusals.CLAIM_NOT_FOUND)
        refusals.require(convert(enclave, uint256) > last, refusals.CLAIM_NOT_FOUND)
        last = convert(enclave, uint256)
        if claim.state == book.OPEN:
            book.after(claim.lease_end, task.terms.guard)
        else:
            book.credit(claim.operator, task.terms.deposit + task.terms.benchmark_fee)
    unreported: uint256 = task.conditions.enclaves - offer.reported
    back: uint256 = offer.bond + unreported * task.terms.benchmark_fee + offer.open * task.terms.deposit
    book.credit(order.developer, back)
    book.free_slot(task_id, offer.slot)
    book.free_seller(task_id, offer.organization, 0)
    offer.slot = 0
    offer.open = 0
    offer.reported = 0
    book.end(id, offer, book.EXPIRED)


@external
def award_offer(id: bytes32, task: digests.Task):
    """
    @notice Lock the price of an offer that leads a slot; anyone, after B + G.
    """
    offer: records.Offer = book.open_offer(id)
    refusals.require(offer.state == book.LEADING, refusals.OFFER_NOT_LEADING)
    book.task_of(task, offer)
    book.after(task.conditions.last_report, task.terms.guard)
    lock: records.Lock = records.lock(book.locks[id])
    lock.deadline = block.timestamp + task.conditions.reveal
    book.locks[id] = records.pack_lock(lock)
    offer.state = book.LOCKED
    book.offers[id] = records.pack_offer(offer)
    book.credit(task.conditions.provider, lock.top - lock.price)
    log book.Priced(offer=id, state=book.LOCKED, score=lock.score, price=lock.price, deadline=lock.deadline)


@external
def reveal(order: digests.Order, secret: bytes32):
    """
    @notice Publish r and pay the payout owner; anyone who knows r, until D.
    """
    id: bytes32 = digests.offer(digests.order(order))
    offer: records.Offer = book.open_offer(id)
    refusals.require(offer.state == book.LOCKED, refusals.OFFER_NOT_LOCKED)
    lock: records.Lock = records.lock(book.locks[id])
    book.until(lock.deadline)
    refusals.require(sha256(secret) == order.secret_hash, refusals.SECRET_MISMATCH)
    fee: uint256 = pricing.share_down(lock.price, lock.market_fee)
    book.credit(order.payout, lock.price - fee)
    book.credit(order.developer, offer.bond)
    book.treasury += fee
    offer.state = book.SETTLED
    offer.bond = 0
    book.offers[id] = records.pack_offer(offer)
    log Revealed(offer=id, secret=secret)


@external
def forfeit(id: bytes32, task: digests.Task):
    """
    @notice End a lock that was not revealed; anyone, after D + G. Price and half the bond are the provider's.
    """
    offer: records.Offer = book.open_offer(id)
    refusals.require(offer.state == book.LOCKED, refusals.OFFER_NOT_LOCKED)
    book.task_of(task, offer)
    lock: records.Lock = records.lock(book.locks[id])
    book.after(lock.deadline, task.terms.guard)
    half: uint256 = offer.bond // 2
    book.credit(task.conditions.provider, lock.price + half)
    book.treasury += offer.bond - half
    book.end(id, offer, book.FORFEITED)


@external
def acknowledge(id: bytes32, task: digests.Task):
    """
    @notice Confirm that the key could be read; the provider. r and `locked` are logs, so nothing is deleted.
    """
    offer: records.Offer = book.open_offer(id)
    refusals.require(offer.state == book.SETTLED, refusals.OFFER_NOT_SETTLED)
    book.task_of(task, offer)
    refusals.require(book.account(msg.sender) == task.conditions.provider, refusals.PROVIDER_REQUIRED)
    refusals.require(offer.acknowledged == 0, refusals.OFFER_CLOSED)
    offer.acknowledged = 1
    book.offers[id] = records.pack_offer(offer)
    log book.Moved(offer=id, state=book.SETTLED)
