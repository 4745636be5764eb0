# pragma version ==0.4.3
"""
@title The book of the market: what is stored, what is due to whom, and who is asked
@notice What is due is credited and pulled: `pull` alone sends ether, to its caller, after the credit is gone. So
    nobody's refusal to take money stops a swap, and whoever calls back finds the books in order.
"""
import digests
import policies
import records
import refusals

UNIT: constant(uint256) = 10**9
MAX_AMOUNT: constant(uint256) = 2**63 - 1
MAX_POINTS: constant(uint256) = 16
MAX_SLOTS_BEST: constant(uint256) = 16
MAX_ENCLAVES: constant(uint256) = 16
MAX_ENVELOPES: constant(uint256) = 64
MIN_REVEAL: constant(uint256) = 600
EACH: constant(bytes32) = sha256("each")
BEST: constant(bytes32) = sha256("best")

# states of an offer; from WITHDRAWN on nothing can be done with it
OFFERED: constant(uint256) = 1
STORED: constant(uint256) = 2
CLAIMED: constant(uint256) = 3
LEADING: constant(uint256) = 4
LOCKED: constant(uint256) = 5
SETTLED: constant(uint256) = 6
WITHDRAWN: constant(uint256) = 7
DECLINED: constant(uint256) = 8
FAILED: constant(uint256) = 9
OUTBID: constant(uint256) = 10
DISPLACED: constant(uint256) = 11
VOID: constant(uint256) = 12
EXPIRED: constant(uint256) = 13
FORFEITED: constant(uint256) = 14

# states of a test set
HIDDEN: constant(uint256) = 0
OPENED: constant(uint256) = 1
SLASHED: constant(uint256) = 2

# states of a claim
OPEN: constant(uint256) = 1
REPORTED: constant(uint256) = 2
LAPSED: constant(uint256) = 3

# an organisation in a task: 1 + the best score that passed, whether it has a live offer, its attempts' bits
LIVE_AT: constant(uint256) = 24
ATTEMPTS_AT: constant(uint256) = 32
BEST_PASSED: constant(uint256) = 2**24 - 1


struct Envelope:
    enclave: bytes32
    digest: bytes32


struct Leader:
    offer: bytes32
    rank: uint256  # score << 200 | (2**40 - 1 - entry) << 160 | developer


interface Registry:
    def organization(account: address) -> uint256: view
    def member(account: address) -> uint256: view
    def opening(account: address) -> (uint256, policies.Policy): view
    def sealable(envelopes: DynArray[Envelope, MAX_ENVELOPES]) -> uint256: view
    def fit(envelopes: DynArray[Envelope, MAX_ENVELOPES]) -> bool: view
    def operable(account: address, enclave: bytes32) -> (uint256, uint256, uint256): view
    def signer(enclave: bytes32) -> (address, bytes32): view


event Moved:
    offer: indexed(bytes32)
    state: uint256


event Priced:
    offer: indexed(bytes32)
    state: uint256
    score: uint256
    price: uint256
    deadline: uint256


REGISTRY: immutable(Registry)

credits: public(HashMap[uint256, uint256])
treasury: public(uint256)
task_count: uint256
tasks: public(HashMap[bytes32, uint256])
taken: public(HashMap[bytes32, uint256])  # a bit per slot that is not free; slots that there aren't are taken
sealed: HashMap[bytes32, bytes32]  # of a task or an offer: the chain of its envelopes
leaders: HashMap[bytes32, Leader[MAX_SLOTS_BEST]]
sellers: public(HashMap[bytes32, HashMap[uint256, uint256]])
offers: public(HashMap[bytes32, uint256])
claims: public(HashMap[bytes32, HashMap[bytes32, uint256]])
locks: public(HashMap[bytes32, uint256])


@deploy
def __init__(registry: address):
    REGISTRY = Registry(registry)


@external
def pull():
    """
    @notice Send the caller what is due to it.
    """
    mine: uint256 = self.account(msg.sender)
    amount: uint256 = self.credits[mine]
    self.credits[mine] = 0
    raw_call(msg.sender, b"", value=amount * UNIT)


@external
def spend(to: address, amount: uint256):
    """
    @notice Credit somebody an amount of the treasury's; by vote.
    """
    refusals.require(msg.sender == REGISTRY.address, refusals.ADMIN_REQUIRED)
    refusals.require(amount <= self.treasury, refusals.PAYMENT_SHORT)
    self.treasury -= amount
    self.credit(self.account(to), amount)


@internal
@payable
def take(due: uint256):
    refusals.require(msg.value % UNIT == 0, refusals.COINS_REFUSED)
    paid: uint256 = msg.value // UNIT
    refusals.require(paid >= due, refusals.PAYMENT_SHORT)
    self.credit(self.account(msg.sender), paid - due)


@internal
@pure
def account(of: address) -> uint256:
    """
    @notice An account's word: the address as a number.
    """
    return convert(of, uint256)


@internal
def credit(to: uint256, amount: uint256):
    if amount > 0:
        self.credits[to] += amount


@internal
@pure
def fee(task: digests.Task) -> uint256:
    """
    @notice The benchmark fee of an offer: the policy's amount per enclave, so that shares come out even.
    """
    return task.conditions.enclaves * task.terms.benchmark_fee


@internal
@view
def status(task_id: bytes32) -> records.Status:
    word: uint256 = self.tasks[task_id]
    refusals.require(word != 0, refusals.TASK_NOT_FOUND)
    return records.status(word)


@internal
@view
def task_of(task: digests.Task, offer: records.Offer) -> bytes32:
    id: bytes32 = digests.task(task)
    refusals.require(self.tasks[id] & records.U32 == offer.task, refusals.TASK_NOT_FOUND)
    return id


@internal
@view
def offer(id: bytes32) -> records.Offer:
    word: uint256 = self.offers[id]
    refusals.require(word != 0, refusals.OFFER_NOT_FOUND)
    return records.offer(word)


@internal
@view
def open_offer(id: bytes32) -> records.Offer:
    offer: records.Offer = self.offer(id)
    self.require_not_closed(offer)
    return offer


@internal
@view
def claimed_offer(id: bytes32) -> records.Offer:
    offer: records.Offer = self.open_offer(id)
    refusals.require(offer.state == CLAIMED, refusals.OFFER_NOT_CLAIMED)
    return offer


@internal
@view
def open_claim(id: bytes32, enclave: bytes32) -> records.Claim:
    claim: records.Claim = records.claim(self.claims[id][enclave])
    refusals.require(claim.state != REPORTED, refusals.ALREADY_REPORTED)
    refusals.require(claim.state == OPEN, refusals.CLAIM_NOT_FOUND)
    return claim


@internal
@pure
def require_not_closed(offer: records.Offer):
    refusals.require(offer.state <= SETTLED, refusals.OFFER_CLOSED)


@internal
@pure
def require_hidden(status: records.Status):
    refusals.require(status.dataset != OPENED, refusals.DATASET_OPENED)
    refusals.require(status.dataset != SLASHED, refusals.AUDIT_SLASHED)


@internal
@view
def require_schedule(task: digests.Task, schedule: DynArray[uint256, MAX_POINTS]):
    refusals.require(digests.schedule(schedule) == task.conditions.schedule, refusals.TASK_NOT_FOUND)


@internal
@view
def until(deadline: uint256):
    refusals.require(block.timestamp <= deadline, refusals.TOO_LATE)


@internal
@view
def after(deadline: uint256, guard: uint256):
    refusals.require(block.timestamp > deadline + guard, refusals.TOO_EARLY)


@internal
@pure
def chain(before: bytes32, envelopes: DynArray[Envelope, MAX_ENVELOPES]) -> bytes32:
    """
    @notice Hash envelopes one after the other onto a chain; of each enclave one, ids ascending.
    """
    refusals.require(len(envelopes) > 0, refusals.MALFORMED_INPUT)
    link: bytes32 = before
    last: uint256 = 0
    for one: Envelope in envelopes:
        refusals.require(convert(one.enclave, uint256) > last, refusals.MALFORMED_INPUT)
        last = convert(one.enclave, uint256)
        link = keccak256(concat(link, one.enclave, one.digest))
    return link


@internal
@view
def require_sealed(id: bytes32, envelopes: DynArray[Envelope, MAX_ENVELOPES]) -> bytes32:
    """
    @notice Refuse unless these are all envelopes of a task or an offer, in the order in which they were given.
    """
    link: bytes32 = empty(bytes32)
    for one: Envelope in envelopes:
        link = keccak256(concat(link, one.enclave, one.digest))
    refusals.require(link == self.sealed[id], refusals.ENVELOPE_MISSING)
    return link


@internal
@pure
def find(envelopes: DynArray[Envelope, MAX_ENVELOPES], enclave: bytes32) -> bytes32:
    for one: Envelope in envelopes:
        if one.enclave == enclave:
            return one.digest
    return empty(bytes32)


@internal
def end(id: bytes32, offer: records.Offer, state: uint256):
    """
    @notice Write an offer's last state; its bond has been paid out.
    """
    ended: records.Offer = offer
    ended.state = state
    ended.bond = 0
    self.offers[id] = records.pack_offer(ended)
    log Moved(offer=id, state=state)


@internal
def free_slot(task_id: bytes32, slot: uint256):
    if slot != 0:
        self.taken[task_id] &= ~(1 << (slot - 1))


@internal
def free_seller(task_id: bytes32, organization: uint256, passed: uint256):
    """
    @notice Let the developer's organisation offer again, and keep its best score that passed (1 + it).
    """
    seller: uint256 = self.sellers[task_id][organization]
    best: uint256 = max(seller & BEST_PASSED, passed)
    self.sellers[task_id][organization] = (seller >> ATTEMPTS_AT) << ATTEMPTS_AT | best
