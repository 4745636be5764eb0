# pragma version ==0.4.3
"""
@title Reports: an enclave's signed result, and what the last one wanted decides
"""
import book
import digests
import pricing
import records
import refusals

uses: book

LOCKED_SIZE: constant(uint256) = 1184
# half of the order of secp256k1, rounded down
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168
OUTCOMES: constant(bytes32[4]) = [sha256("pass"), sha256("declined"), sha256("failed"), sha256("unusable")]
PASSED: constant(uint256) = 1
DECLINE: constant(uint256) = 2
FAIL: constant(uint256) = 3
UNUSABLE: constant(uint256) = 4
MAX_SCORE: constant(uint256) = 1_000_000


struct Result:
    enclave: bytes32
    outcome: uint256
    score: uint256
    model: bytes32
    r: uint256
    s: uint256
    v: uint256


event Reported:
    offer: indexed(bytes32)
    enclave: indexed(bytes32)
    outcome: uint256
    score: uint256
    model: bytes32
    locked: Bytes[LOCKED_SIZE]


@external
def submit_report(
    task: digests.Task,
    schedule: DynArray[uint256, book.MAX_POINTS],
    order: digests.Order,
    model_envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES],
    dataset_envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES],
    result: Result,
    locked: Bytes[LOCKED_SIZE],
    earlier: DynArray[bytes32, book.MAX_ENCLAVES],
):
    """
    @notice Report a job until the lease's end; the claim's operator. The last report wanted decides the offer.
    @param earlier The enclaves whose reports are held, ascending; needed with the last one.
    """
    self._check_result(result, len(locked))
    order_digest: bytes32 = digests.order(order)
    id: bytes32 = digests.offer(order_digest)
    offer: records.Offer = book.claimed_offer(id)
    claim: records.Claim = book.open_claim(id, result.enclave)
    refusals.require(book.account(msg.sender) == claim.operator, refusals.OPERATOR_REQUIRED)
    task_id: bytes32 = book.task_of(task, offer)
    book.until(claim.lease_end)
    signer: address = empty(address)
    bundle: bytes32 = empty(bytes32)
    signer, bundle = staticcall book.REGISTRY.signer(result.enclave)
    book.require_schedule(task, schedule)
    book.require_sealed(id, model_envelopes)
    book.require_sealed(task_id, dataset_envelopes)
    seller: uint256 = book.sellers[task_id][offer.organization]
    threshold: uint256 = self._threshold(schedule, task.conditions.eta, seller, order.reserve)
    ticket: bytes32 = digests.ticket(
        digests.Ticket(
            order=order_digest,
            offer=id,
            claim=claim.number,
            enclave=result.enclave,
            bundle=bundle,
            lease_end=claim.lease_end,
            threshold=threshold,
            model_envelope=book.find(model_envelopes, result.enclave),
            dataset_envelope=book.find(dataset_envelopes, result.enclave),
        )
    )
    locked_digest: bytes32 = empty(bytes32)
    if len(locked) > 0:
        locked_digest = sha256(locked)
    digest: bytes32 = digests.report(
        digests.Report(
            task=task_id,
            offer=id,
            order=order_digest,
            ciphertext=order.ciphertext,
            dataset=task.conditions.dataset,
            spec=task.conditions.spec,
            outcome=OUTCOMES[result.outcome - 1],
            score=result.score,
            samples=records.status(book.tasks[task_id]).samples,
            locked=locked_digest,
            model=result.model,
            ticket=ticket,
            claim=claim.number,
            enclave=result.enclave,
        )
    )
    self._require_signed(digest, result, signer)
    if result.outcome == PASSED:
        refusals.require(result.score % task.conditions.eta == 0, refusals.REPORT_SCORE_REFUSED)
        refusals.require(result.score >= threshold, refusals.REPORT_BELOW_THRESHOLD)
    log Reported(
        offer=id,
        enclave=result.enclave,
        outcome=result.outcome,
        score=result.score,
        model=result.model,
        locked=locked,
    )
    if offer.reported + 1 < task.conditions.enclaves:
        claim.state = book.REPORTED
        claim.outcome = result.outcome
        claim.score = result.score
        book.claims[id][result.enclave] = records.pack_claim(claim)
        offer.open -= 1
        offer.reported += 1
        book.offers[id] = records.pack_offer(offer)
        return
    agreed: bool = False
    score: uint256 = 0
    agreed, score = self._settle_claims(id, task, order.developer, offer, claim.operator, result, earlier)
    self._decide(id, task, schedule, order.developer, offer, result.outcome if agreed else 0, score)


@internal
@pure
def _check_result(result: Result, locked: uint256):
    refusals.require(result.outcome >= PASSED and result.outcome <= UNUSABLE, refusals.MALFORMED_INPUT)
    refusals.require(result.score <= MAX_SCORE, refusals.MALFORMED_INPUT)
    if result.outcome == PASSED:
        refusals.require(locked == LOCKED_SIZE and result.model != empty(bytes32), refusals.REPORT_MALFORMED)
    else:
        refusals.require(locked == 0 and result.model == empty(bytes32), refusals.REPORT_MALFORMED)
        refusals.require(result.score == 0, refusals.REPORT_MALFORMED)


@internal
@pure
def _require_signed(digest: bytes32, result: Result, signer: address):
    """
    @notice Low s, v 27 or 28, and a signer: `ecrecover` answers 0 where there is none.
    """
    refusals.require(result.s <= HALF_ORDER and (result.v == 27 or result.v == 28), refusals.REPORT_SIGNATURE_INVALID)
    recovered: address = ecrecover(digest, result.v, result.r, result.s)
    refusals.require(recovered != empty(address) and recovered == signer, refusals.REPORT_SIGNATURE_INVALID)


@internal
@pure
def _threshold(
    schedule: DynArray[uint256, book.MAX_POINTS], eta: uint256, seller: uint256, reserve: uint256
) -> uint256:
    passed: uint256 = seller & book.BEST_PASSED
    return pricing.threshold(schedule, eta, passed - 1 + eta if passed > 0 else 0, reserve)


@internal
def _settle_claims(
    id: bytes32,
    task: digests.Task,
    developer: uint256,
    offer: records.Offer,
    operator: uint256,
    result: Result,
    earlier: DynArray[bytes32, book.MAX_ENCLAVES],
) -> (bool, uint256):
    """
    @notice Give deposits back and the fee to whom it is due; whether the enclaves agree, and the lowest score.
    """
    refusals.require(len(earlier) == offer.reported, refusals.CLAIM_NOT_FOUND)
    operators: DynArray[uint256, book.MAX_ENCLAVES] = [operator]
    lowest: uint256 = result.score
    highest: uint256 = result.score
    agreed: bool = True
    last: uint256 = 0
    for enclave: bytes32 in earlier:
        claim: records.Claim = records.claim(book.claims[id][enclave])
        refusals.require(claim.state == book.REPORTED and convert(enclave, uint256) > last, refusals.CLAIM_NOT_FOUND)
        last = convert(enclave, uint256)
        operators.append(claim.operator)
        agreed = agreed and claim.outcome == result.outcome
        lowest = min(lowest, claim.score)
        highest = max(highest, claim.score)
    agreed = agreed and highest - lowest <= task.conditions.eta
    share: uint256 = task.terms.benchmark_fee
    if not agreed:
        book.treasury += book.fee(task)
        share = 0
    elif result.outcome == UNUSABLE:
        book.credit(developer, book.fee(task))
        share = 0
    for one: uint256 in operators:
        book.credit(one, task.terms.deposit + share)
    return agreed, lowest


@internal
def _decide(
    id: bytes32,
    task: digests.Task,
    schedule: DynArray[uint256, book.MAX_POINTS],
    developer: uint256,
    offer: records.Offer,
    outcome: uint256,
    score: uint256,
):
    """
    @notice What the reports make of an offer; outcome 0 where they disagree.
    """
    task_id: bytes32 = digests.task(task)
    decided: records.Offer = offer
    decided.open = 0
    decided.reported = 0
    if outcome != PASSED:
        book.free_seller(task_id, offer.organization, 0)
        book.free_slot(task_id, offer.slot)
        book.credit(developer, offer.bond)
        decided.slot = 0
        state: uint256 = book.VOID
        if outcome == DECLINE:
            state = book.DECLINED
        elif outcome == FAIL:
            state = book.FAILED
        book.end(id, decided, state)
        return
    book.free_seller(task_id, offer.organization, score + 1)
    lock: records.Lock = records.Lock(
        price=pricing.price(schedule, score),
        top=pricing.top(schedule),
        score=score,
        market_fee=task.terms.market_fee,
        deadline=0,
    )
    if task.conditions.award == book.BEST:
        decided.slot = self._compete(task_id, task.conditions.slots, id, developer, score)
        decided.state = book.LEADING if decided.slot != 0 else book.OUTBID
    else:
        decided.state = book.LOCKED
        lock.deadline = block.timestamp + task.conditions.reveal
        book.credit(task.conditions.provider, lock.top - lock.price)
    if decided.state == book.OUTBID:
        book.credit(developer, offer.bond)
        decided.bond = 0
    else:
        book.locks[id] = records.pack_lock(lock)
    book.offers[id] = records.pack_offer(decided)
    log book.Priced(offer=id, state=decided.state, score=score, price=lock.price, deadline=lock.deadline)


@internal
def _compete(task_id: bytes32, slots: uint256, id: bytes32, developer: uint256, score: uint256) -> uint256:
    """
    @notice Take a free slot, or the lowest leading offer's if that is strictly lower; 1 + its index, 0 if outbid.
    @dev Ranks order by score, and the earlier entry of equals is the higher; nothing is awarded or refunded while
        reports can come, so a slot that is taken is led.
    """
    status: records.Status = records.status(book.tasks[task_id])
    taken: uint256 = book.taken[task_id]
    place: uint256 = 0
    lowest: uint256 = max_value(uint256)
    for i: uint256 in range(slots, bound=book.MAX_SLOTS_BEST):
        if taken & (1 << i) == 0:
            place = i
            lowest = 0
            break
        rank: uint256 = book.leaders[task_id][i].rank
        if rank < lowest:
            place = i
            lowest = rank
    if lowest != 0:
        if score <= lowest >> 200:
            return 0
        self._displace(book.leaders[task_id][place].offer, lowest & records.U160)
    status.entries += 1
    book.tasks[task_id] = records.pack_status(status)
    book.taken[task_id] = taken | 1 << place
    entry: uint256 = 2**40 - 1 - status.entries
    book.leaders[task_id][place] = book.Leader(
        offer=id, rank=score << 200 | entry << 160 | developer
    )
    return place + 1


@internal
def _displace(id: bytes32, developer: uint256):
    offer: records.Offer = records.offer(book.offers[id])
    book.credit(developer, offer.bond)
    offer.slot = 0
    book.end(id, offer, book.DISPLACED)
