# pragma version ==0.4.3
"""
@title Claims: an operator promises to run an offer on an enclave until its lease ends
"""
import book
import digests
import policies
import records
import refusals

uses: book

event Claimed:
    offer: indexed(bytes32)
    enclave: indexed(bytes32)
    number: uint256
    lease_end: uint256


event Lapsed:
    offer: indexed(bytes32)
    enclave: indexed(bytes32)


@external
@payable
def claim(
    id: bytes32,
    task: digests.Task,
    enclave: bytes32,
    lease: uint256,
    slot: uint256,
    model_envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES],
    dataset_envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES],
):
    """
    @notice Promise to run an offer on an enclave for `lease` seconds; its operator, with the deposit.
    @param slot 1 + the index of a free one where the award is `each`; 0 where none is named.
    """
    refusals.require(lease <= policies.MAX_SECONDS, refusals.MALFORMED_INPUT)
    refusals.require(staticcall book.REGISTRY.member(msg.sender) != 0, refusals.NOT_A_MEMBER)
    offer: records.Offer = book.offer(id)
    operator: uint256 = 0
    lease_min: uint256 = 0
    lease_max: uint256 = 0
    operator, lease_min, lease_max = staticcall book.REGISTRY.operable(msg.sender, enclave)
    book.require_not_closed(offer)
    refusals.require(offer.state != book.OFFERED, refusals.OFFER_NOT_STORED)
    refusals.require(offer.state <= book.CLAIMED, refusals.OFFER_STATE_REFUSES)
    task_id: bytes32 = book.task_of(task, offer)
    refusals.require(operator != offer.organization, refusals.DEVELOPER_ORGANIZATION)
    foreign: bool = operator != offer.provider_organization
    refusals.require(foreign or offer.provider_may_operate != 0, refusals.PROVIDER_ORGANIZATION)
    refusals.require(offer.open + offer.reported < task.conditions.enclaves, refusals.CLAIMS_FULL)
    refusals.require(book.claims[id][enclave] == 0, refusals.ALREADY_CLAIMED)
    refusals.require(lease >= lease_min and lease <= lease_max, refusals.LEASE_REFUSED)
    lease_end: uint256 = block.timestamp + lease
    refusals.require(lease_end <= task.conditions.last_report, refusals.LEASE_REFUSED)
    offer.slot = self._take_slot(task_id, task, offer.slot, slot)
    book.require_sealed(id, model_envelopes)
    book.require_sealed(task_id, dataset_envelopes)
    refusals.require(book.find(model_envelopes, enclave) != empty(bytes32), refusals.ENVELOPE_MISSING)
    refusals.require(book.find(dataset_envelopes, enclave) != empty(bytes32), refusals.ENVELOPE_MISSING)
    book.take(task.terms.deposit)
    offer.state = book.CLAIMED
    offer.claims += 1
    offer.open += 1
    refusals.require(offer.claims <= records.U16, refusals.CLAIMS_FULL)
    book.offers[id] = records.pack_offer(offer)
    book.claims[id][enclave] = records.pack_claim(
        records.Claim(
            operator=book.account(msg.sender), lease_end=lease_end, number=offer.claims, state=book.OPEN, outcome=0, score=0
        )
    )
    log Claimed(offer=id, enclave=enclave, number=offer.claims, lease_end=lease_end)


@internal
def _take_slot(task_id: bytes32, task: digests.Task, held: uint256, named: uint256) -> uint256:
    """
    @notice Reserve the slot that the first claim of an offer names, `each`; a further claim is for the same one.
    """
    if task.conditions.award == book.BEST:
        refusals.require(named == 0, refusals.SLOT_NOT_FREE)
        return 0
    if held != 0:
        refusals.require(named == 0 or named == held, refusals.SLOT_TAKEN)
        return held
    refusals.require(named >= 1 and named <= task.conditions.slots, refusals.SLOT_NOT_FOUND)
    taken: uint256 = book.taken[task_id]
    mine: uint256 = 1 << (named - 1)
    refusals.require(taken & mine == 0, refusals.SLOT_TAKEN)
    book.taken[task_id] = taken | mine
    return named


@external
def lapse(task: digests.Task, order: digests.Order, enclave: bytes32):
    """
    @notice End a claim whose lease went by; anyone, after its end + G. Its deposit is the developer's.
    """
    id: bytes32 = digests.offer(digests.order(order))
    offer: records.Offer = book.claimed_offer(id)
    claim: records.Claim = book.open_claim(id, enclave)
    task_id: bytes32 = book.task_of(task, offer)
    book.after(claim.lease_end, task.terms.guard)
    claim.state = book.LAPSED
    book.claims[id][enclave] = records.pack_claim(claim)
    offer.open -= 1
    if offer.open + offer.reported == 0:
        offer.state = book.STORED
        book.free_slot(task_id, offer.slot)
        offer.slot = 0
    book.offers[id] = records.pack_offer(offer)
    book.credit(order.developer, task.terms.deposit)
    log Lapsed(offer=id, enclave=enclave)
