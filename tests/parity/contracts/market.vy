# pragma version ==0.4.3
"""
@title The market of sealed models, its two state tables (protocol sections 6 and 7) on the EVM
@notice Tasks and offers are digests; whoever sends a command brings the struct, which is hashed and looked up. `locked`,
    ciphertexts' and envelopes' digests are logged. Refusals are reverts whose reason is the chaincode's code.

    Amounts are units of 10**9 wei. A command that costs something is paid with it, what is over is credited. What is
    due to somebody is credited, too, and pulled by `pull`: no other function sends ether, and it does so last.

    state       command                 next
    (none)      submit_offer            OFFERED
    OFFERED     withdraw_offer          WITHDRAWN
    OFFERED     rewrap                  OFFERED
    OFFERED     receipt                 STORED by the provider's organisation, else OFFERED
    STORED      rewrap, receipt         STORED
    STORED      claim                   CLAIMED
    CLAIMED     claim                   CLAIMED
    CLAIMED     lapse                   CLAIMED, STORED without a claim or report left
    CLAIMED     submit_report           CLAIMED; the last one: DECLINED, FAILED, VOID, LOCKED, LEADING, OUTBID
    OFFERED, STORED, CLAIMED  expire    EXPIRED
    LEADING     award_offer             LOCKED
    LEADING     a better offer's report DISPLACED
    LOCKED      reveal                  SETTLED
    LOCKED      forfeit                 FORFEITED
    SETTLED     acknowledge             SETTLED
"""
import digests
import policies
import pricing
import records
import refusals

UNIT: constant(uint256) = 10**9
MAX_AMOUNT: constant(uint256) = 2**63 - 1
MAX_TIME: constant(uint256) = 2**40 - 1
MAX_SCORE: constant(uint256) = 1_000_000
MAX_POINTS: constant(uint256) = 16
MAX_SLOTS: constant(uint256) = 256
MAX_SLOTS_BEST: constant(uint256) = 16
MAX_ENCLAVES: constant(uint256) = 16
MAX_ENVELOPES: constant(uint256) = 64
MIN_OPERATORS: constant(uint256) = 2
MIN_REVEAL: constant(uint256) = 600
LOCKED_SIZE: constant(uint256) = 1184
HALF_ORDER: constant(uint256) = 57896044618658097711785492504343953926418782139537452191302581570759080747168  # of secp256k1

EACH: constant(bytes32) = sha256("each")
BEST: constant(bytes32) = sha256("best")
ACCURACY: constant(bytes32) = sha256("accuracy")
RMSE: constant(bytes32) = sha256("rmse")
LOG_LOSS: constant(bytes32) = sha256("log-loss")

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

HIDDEN: constant(uint256) = 0
OPENED: constant(uint256) = 1
SLASHED: constant(uint256) = 2

OPEN: constant(uint256) = 1
REPORTED: constant(uint256) = 2
LAPSED: constant(uint256) = 3

PASSED: constant(uint256) = 1
DECLINE: constant(uint256) = 2
FAIL: constant(uint256) = 3
UNUSABLE: constant(uint256) = 4
OUTCOMES: constant(bytes32[4]) = [sha256("pass"), sha256("declined"), sha256("failed"), sha256("unusable")]

# an organisation in a task: 1 + the best score that passed, its live offer, its attempts
LIVE_AT: constant(uint256) = 24
ATTEMPTS_AT: constant(uint256) = 32
BEST_PASSED: constant(uint256) = 2**24 - 1


struct Envelope:
    enclave: bytes32
    digest: bytes32


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


struct Result:
    enclave: bytes32
    outcome: uint256
    score: uint256
    model: bytes32
    r: uint256
    s: uint256
    v: uint256


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


event TaskOpened:
    task: indexed(bytes32)
    provider: indexed(address)
    terms: digests.Task
    schedule: DynArray[uint256, MAX_POINTS]
    spec: digests.Spec
    envelopes: DynArray[Envelope, MAX_ENVELOPES]


event TaskShut:
    task: indexed(bytes32)
    last_offer: uint256


event SlotRefunded:
    task: indexed(bytes32)
    slot: uint256


event DatasetOpened:
    task: indexed(bytes32)
    key: bytes32


event AuditSlashed:
    task: indexed(bytes32)


event OfferSubmitted:
    offer: indexed(bytes32)
    task: indexed(bytes32)
    developer: indexed(address)
    order: bytes32
    ciphertext: bytes32
    envelopes: DynArray[Envelope, MAX_ENVELOPES]


event Rewrapped:
    offer: indexed(bytes32)
    envelopes: DynArray[Envelope, MAX_ENVELOPES]


event Stored:
    offer: indexed(bytes32)
    organization: uint256


event Claimed:
    offer: indexed(bytes32)
    enclave: indexed(bytes32)
    number: uint256
    lease_end: uint256


event Lapsed:
    offer: indexed(bytes32)
    enclave: indexed(bytes32)


event Reported:
    offer: indexed(bytes32)
    enclave: indexed(bytes32)
    outcome: uint256
    score: uint256
    model: bytes32
    locked: Bytes[LOCKED_SIZE]


event Moved:
    offer: indexed(bytes32)
    state: uint256


event Priced:
    offer: indexed(bytes32)
    state: uint256
    score: uint256
    price: uint256
    deadline: uint256


event Revealed:
    offer: indexed(bytes32)
    secret: bytes32


REGISTRY: immutable(Registry)

credits: public(HashMap[address, uint256])
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


# --- tasks ------------------------------------------------------------------------------------------------------------


@external
@payable
def open_task(
    task: digests.Task,
    schedule: DynArray[uint256, MAX_POINTS],
    spec: digests.Spec,
    envelopes: DynArray[Envelope, MAX_ENVELOPES],
) -> bytes32:
    """
    @notice Lock slots x top price and the audit bond; the sender is the provider.
    @param task Its provider, digests of spec and schedule and terms are filled in here, the terms from the policy.
    """
    self._check_schedule(schedule)
    self._check_spec(spec)
    chain_of: bytes32 = self._chain(empty(bytes32), envelopes)
    organization: uint256 = 0
    policy: policies.Policy = empty(policies.Policy)
    organization, policy = staticcall REGISTRY.opening(msg.sender)
    new: digests.Task = task
    new.conditions.provider = msg.sender
    new.conditions.spec = digests.spec(spec)
    new.conditions.schedule = digests.schedule(schedule)
    new.terms = digests.Terms(
        benchmark_fee=policy.benchmark_fee,
        market_fee=policy.market_fee,
        bond=policy.bond,
        audit_bond=policy.audit_bond,
        deposit=policy.deposit,
        required=policy.required,
        window=0,
        guard=policy.guard,
        test=policy.test,
    )
    self._check_conditions(new.conditions, policy)
    operators: uint256 = staticcall REGISTRY.sealable(envelopes)
    refusals.require(operators >= min(MIN_OPERATORS, policy.operators), refusals.OPERATORS_TOO_FEW)
    id: bytes32 = digests.task(new)
    refusals.require(self.tasks[id] == 0, refusals.TASK_EXISTS)
    budget: uint256 = new.conditions.slots * pricing.top(schedule)
    audit_bond: uint256 = pricing.share_up(budget, policy.audit_bond)
    self._take(budget + audit_bond)
    self.task_count += 1
    self.tasks[id] = records.pack_status(
        records.Status(
            number=self.task_count,
            organization=organization,
            last_offer=new.conditions.last_offer,
            shut=0,
            dataset=HIDDEN,
            audit_bond=audit_bond,
            samples=spec.samples,
            entries=0,
        )
    )
    if new.conditions.slots < MAX_SLOTS:
        self.taken[id] = max_value(uint256) << new.conditions.slots
    self.sealed[id] = chain_of
    log TaskOpened(
        task=id, provider=msg.sender, terms=new, schedule=schedule, spec=spec, envelopes=envelopes
    )
    return id


@external
def shut_task(task: digests.Task):
    """
    @notice Take no more offers: S moves to now. The provider, until S.
    """
    id: bytes32 = digests.task(task)
    status: records.Status = self._status(id)
    refusals.require(msg.sender == task.conditions.provider, refusals.PROVIDER_REQUIRED)
    refusals.require(status.shut == 0, refusals.TASK_SHUT)
    self._until(status.last_offer)
    status.last_offer = block.timestamp
    status.shut = 1
    self.tasks[id] = records.pack_status(status)
    log TaskShut(task=id, last_offer=block.timestamp)


@external
def refund_slot(task: digests.Task, schedule: DynArray[uint256, MAX_POINTS], slot: uint256):
    """
    @notice Return a free slot's amount to the provider; anyone, after B + G.
    """
    id: bytes32 = digests.task(task)
    self._status(id)
    refusals.require(slot < task.conditions.slots, refusals.SLOT_NOT_FOUND)
    self._after(task.conditions.last_report, task.terms.guard)
    taken: uint256 = self.taken[id]
    refusals.require(taken & (1 << slot) == 0, refusals.SLOT_NOT_FREE)
    self._require_schedule(task, schedule)
    self.taken[id] = taken | 1 << slot
    self._credit(task.conditions.provider, pricing.top(schedule))
    log SlotRefunded(task=id, slot=slot)


@external
def open_dataset(task: digests.Task, ciphertext: bytes32, plaintext: bytes32, key: bytes32):
    """
    @notice Publish the test set's key; the provider, after B + G and until A. The audit bond goes back.
    """
    id: bytes32 = digests.task(task)
    status: records.Status = self._status(id)
    refusals.require(msg.sender == task.conditions.provider, refusals.PROVIDER_REQUIRED)
    self._require_hidden(status)
    self._until(task.conditions.last_opening)
    self._after(task.conditions.last_report, task.terms.guard)
    refusals.require(digests.dataset(ciphertext, plaintext, sha256(key)) == task.conditions.dataset, refusals.DATASET_KEY_MISMATCH)
    self._credit(task.conditions.provider, status.audit_bond)
    status.audit_bond = 0
    status.dataset = OPENED
    self.tasks[id] = records.pack_status(status)
    log DatasetOpened(task=id, key=key)


@external
def slash_audit(task: digests.Task):
    """
    @notice Send the audit bond of a test set that was not opened to the treasury; anyone, after A + G.
    """
    id: bytes32 = digests.task(task)
    status: records.Status = self._status(id)
    self._require_hidden(status)
    self._after(task.conditions.last_opening, task.terms.guard)
    self.treasury += status.audit_bond
    status.audit_bond = 0
    status.dataset = SLASHED
    self.tasks[id] = records.pack_status(status)
    log AuditSlashed(task=id)


@internal
@pure
def _check_schedule(schedule: DynArray[uint256, MAX_POINTS]):
    refusals.require(len(schedule) > 0, refusals.MALFORMED_INPUT)
    for point: uint256 in schedule:
        refusals.require(point >> 64 <= MAX_SCORE and point & records.U64 <= MAX_AMOUNT, refusals.MALFORMED_INPUT)
    refusals.require(pricing.is_schedule(schedule), refusals.SCHEDULE_REFUSED)


@internal
@pure
def _check_spec(spec: digests.Spec):
    refusals.require(spec.samples >= 1 and spec.samples <= 2**32, refusals.MALFORMED_INPUT)
    if spec.metric == ACCURACY:
        refusals.require(spec.scale == 0, refusals.SPEC_REFUSED)
    else:
        refusals.require(spec.metric == RMSE or spec.metric == LOG_LOSS, refusals.MALFORMED_INPUT)
        refusals.require(not spec.wilson and spec.scale > 0, refusals.SPEC_REFUSED)


@internal
@view
def _check_conditions(new: digests.Conditions, policy: policies.Policy):
    refusals.require(new.award == EACH or new.award == BEST, refusals.MALFORMED_INPUT)
    refusals.require(new.slots >= 1 and new.slots <= MAX_SLOTS, refusals.MALFORMED_INPUT)
    refusals.require(new.eta >= 1 and new.eta <= MAX_SCORE, refusals.MALFORMED_INPUT)
    refusals.require(new.attempts >= 1 and new.attempts <= 2**31, refusals.MALFORMED_INPUT)
    refusals.require(new.enclaves >= 1 and new.enclaves <= MAX_ENCLAVES, refusals.MALFORMED_INPUT)
    refusals.require(max(new.last_offer, max(new.last_report, new.last_opening)) <= MAX_TIME, refusals.MALFORMED_INPUT)
    refusals.require(new.award == EACH or new.slots <= MAX_SLOTS_BEST, refusals.SLOTS_REFUSED)
    refusals.require(new.last_offer < new.last_report, refusals.DEADLINES_REFUSED)
    refusals.require(new.last_opening > new.last_report + 2 * policy.guard, refusals.DEADLINES_REFUSED)
    refusals.require(new.last_offer > block.timestamp, refusals.DEADLINES_REFUSED)
    # R > 2 G and R >= 600 s, unless it is a test, follow from the policy's own bounds
    refusals.require(new.reveal >= policy.reveal_min and new.reveal <= policy.reveal_max, refusals.DEADLINES_REFUSED)
    refusals.require(new.attempts <= policy.attempts_max, refusals.ATTEMPTS_REFUSED)
    refusals.require(new.enclaves <= policy.operators, refusals.ENCLAVE_COUNT_REFUSED)


# --- offers -----------------------------------------------------------------------------------------------------------


@external
@payable
def submit_offer(
    task: digests.Task,
    schedule: DynArray[uint256, MAX_POINTS],
    offering: Offering,
    envelopes: DynArray[Envelope, MAX_ENVELOPES],
) -> bytes32:
    """
    @notice Offer a sealed model until S; the sender is its developer, bond and benchmark fee are paid with it.
    """
    refusals.require(offering.attempt >= 1 and max(offering.reserve, offering.bond) <= MAX_AMOUNT, refusals.MALFORMED_INPUT)
    chain_of: bytes32 = self._chain(empty(bytes32), envelopes)
    organization: uint256 = staticcall REGISTRY.member(msg.sender)
    task_id: bytes32 = digests.task(task)
    status: records.Status = self._status(task_id)
    if block.timestamp > status.last_offer:
        refusals.require(status.shut == 0, refusals.TASK_SHUT)
        refusals.require(False, refusals.TOO_LATE)
    refusals.require(offering.attempt <= task.conditions.attempts, refusals.ATTEMPTS_EXHAUSTED)
    seller: uint256 = self.sellers[task_id][organization]
    attempt: uint256 = 1 << (ATTEMPTS_AT + offering.attempt)
    refusals.require(seller & attempt == 0, refusals.ATTEMPT_SPENT)
    refusals.require(seller & (1 << LIVE_AT) == 0, refusals.LIVE_OFFER_EXISTS)
    self._require_schedule(task, schedule)
    top: uint256 = pricing.top(schedule)
    refusals.require(offering.reserve <= top, refusals.RESERVE_TOO_HIGH)
    refusals.require(offering.bond >= pricing.share_up(top, task.terms.bond), refusals.BOND_TOO_SMALL)
    refusals.require(staticcall REGISTRY.fit(envelopes), refusals.ENCLAVE_UNFIT)
    self._take(offering.bond + self._fee(task))
    order: bytes32 = digests.order(
        digests.Order(
            task=task_id,
            provider_key=task.conditions.provider_key,
            spec=task.conditions.spec,
            developer=msg.sender,
            payout=offering.payout,
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
    self.sellers[task_id][organization] = seller | attempt | 1 << LIVE_AT
    self.sealed[id] = chain_of
    offer: records.Offer = empty(records.Offer)
    offer.state = OFFERED
    offer.task = status.number
    offer.organization = organization
    offer.provider_organization = status.organization
    offer.provider_may_operate = convert(offering.provider_may_operate, uint256)
    offer.bond = offering.bond
    self.offers[id] = records.pack_offer(offer)
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
    offer: records.Offer = self._offer(id)
    refusals.require(msg.sender == order.developer, refusals.DEVELOPER_REQUIRED)
    self._require_not_closed(offer)
    refusals.require(offer.state == OFFERED, refusals.OFFER_STATE_REFUSES)
    task_id: bytes32 = self._task_of(task, offer)
    self._credit(order.developer, offer.bond + self._fee(task))
    self._end(id, offer, WITHDRAWN)
    self._free_seller(task_id, offer.organization, 0)


@external
def rewrap(
    order: digests.Order,
    known: DynArray[Envelope, MAX_ENVELOPES],
    envelopes: DynArray[Envelope, MAX_ENVELOPES],
):
    """
    @notice Add envelopes for further enclaves; the developer, before a claim. `known` are all that there are.
    """
    chain_of: bytes32 = self._chain(empty(bytes32), envelopes)
    id: bytes32 = digests.offer(digests.order(order))
    offer: records.Offer = self._offer(id)
    refusals.require(msg.sender == order.developer, refusals.DEVELOPER_REQUIRED)
    self._require_not_closed(offer)
    refusals.require(offer.state <= STORED, refusals.OFFER_STATE_REFUSES)
    before: bytes32 = self._require_sealed(id, known)
    for one: Envelope in envelopes:
        refusals.require(self._find(known, one.enclave) == empty(bytes32), refusals.ENVELOPE_EXISTS)
    refusals.require(len(known) + len(envelopes) <= MAX_ENVELOPES, refusals.RULE_REFUSED)
    refusals.require(staticcall REGISTRY.fit(envelopes), refusals.ENCLAVE_UNFIT)
    self.sealed[id] = self._chain(before, envelopes)
    log Rewrapped(offer=id, envelopes=envelopes)


@external
def receipt(id: bytes32):
    """
    @notice State that one's organisation stores the ciphertext; the provider's makes the offer claimable.
    """
    offer: records.Offer = self._open_offer(id)
    refusals.require(offer.state <= STORED, refusals.OFFER_STATE_REFUSES)
    organization: uint256 = staticcall REGISTRY.organization(msg.sender)
    refusals.require(organization != 0, refusals.NOT_A_MEMBER)
    mine: uint256 = 1 << (organization - 1)
    refusals.require(offer.receipts & mine == 0, refusals.ALREADY_STORED)
    offer.receipts |= mine
    if organization == offer.provider_organization:
        offer.state = STORED
    self.offers[id] = records.pack_offer(offer)
    log Stored(offer=id, organization=organization)


# --- claims -----------------------------------------------------------------------------------------------------------


@external
@payable
def claim(
    id: bytes32,
    task: digests.Task,
    enclave: bytes32,
    lease: uint256,
    slot: uint256,
    model_envelopes: DynArray[Envelope, MAX_ENVELOPES],
    dataset_envelopes: DynArray[Envelope, MAX_ENVELOPES],
):
    """
    @notice Promise to run an offer on an enclave for `lease` seconds; its operator, with the deposit.
    @param slot 1 + the index of a free one where the award is `each`; 0 where none is named.
    """
    refusals.require(lease <= policies.MAX_SECONDS, refusals.MALFORMED_INPUT)
    refusals.require(staticcall REGISTRY.member(msg.sender) != 0, refusals.NOT_A_MEMBER)
    offer: records.Offer = self._offer(id)
    operator: uint256 = 0
    lease_min: uint256 = 0
    lease_max: uint256 = 0
    operator, lease_min, lease_max = staticcall REGISTRY.operable(msg.sender, enclave)
    self._require_not_closed(offer)
    refusals.require(offer.state != OFFERED, refusals.OFFER_NOT_STORED)
    refusals.require(offer.state <= CLAIMED, refusals.OFFER_STATE_REFUSES)
    task_id: bytes32 = self._task_of(task, offer)
    refusals.require(operator != offer.organization, refusals.DEVELOPER_ORGANIZATION)
    refusals.require(operator != offer.provider_organization or offer.provider_may_operate != 0, refusals.PROVIDER_ORGANIZATION)
    refusals.require(offer.open + offer.reported < task.conditions.enclaves, refusals.CLAIMS_FULL)
    refusals.require(self.claims[id][enclave] == 0, refusals.ALREADY_CLAIMED)
    refusals.require(lease >= lease_min and lease <= lease_max, refusals.LEASE_REFUSED)
    lease_end: uint256 = block.timestamp + lease
    refusals.require(lease_end <= task.conditions.last_report, refusals.LEASE_REFUSED)
    offer.slot = self._take_slot(task_id, task, offer.slot, slot)
    self._require_sealed(id, model_envelopes)
    self._require_sealed(task_id, dataset_envelopes)
    refusals.require(self._find(model_envelopes, enclave) != empty(bytes32), refusals.ENVELOPE_MISSING)
    refusals.require(self._find(dataset_envelopes, enclave) != empty(bytes32), refusals.ENVELOPE_MISSING)
    self._take(task.terms.deposit)
    offer.state = CLAIMED
    offer.claims += 1
    offer.open += 1
    refusals.require(offer.claims <= records.U16, refusals.CLAIMS_FULL)
    self.offers[id] = records.pack_offer(offer)
    self.claims[id][enclave] = records.pack_claim(
        records.Claim(
            operator=msg.sender, lease_end=lease_end, number=offer.claims, state=OPEN, outcome=0, score=0
        )
    )
    log Claimed(offer=id, enclave=enclave, number=offer.claims, lease_end=lease_end)


@internal
def _take_slot(task_id: bytes32, task: digests.Task, held: uint256, named: uint256) -> uint256:
    """
    @notice Reserve the slot that the first claim of an offer names, `each`; a further claim is for the same one.
    """
    if task.conditions.award == BEST:
        refusals.require(named == 0, refusals.SLOT_NOT_FREE)
        return 0
    if held != 0:
        refusals.require(named == 0 or named == held, refusals.SLOT_TAKEN)
        return held
    refusals.require(named >= 1 and named <= task.conditions.slots, refusals.SLOT_NOT_FOUND)
    taken: uint256 = self.taken[task_id]
    mine: uint256 = 1 << (named - 1)
    refusals.require(taken & mine == 0, refusals.SLOT_TAKEN)
    self.taken[task_id] = taken | mine
    return named


@external
def lapse(task: digests.Task, order: digests.Order, enclave: bytes32):
    """
    @notice End a claim whose lease went by; anyone, after its end + G. Its deposit is the developer's.
    """
    id: bytes32 = digests.offer(digests.order(order))
    offer: records.Offer = self._claimed_offer(id)
    claim: records.Claim = self._open_claim(id, enclave)
    task_id: bytes32 = self._task_of(task, offer)
    self._after(claim.lease_end, task.terms.guard)
    claim.state = LAPSED
    self.claims[id][enclave] = records.pack_claim(claim)
    offer.open -= 1
    if offer.open + offer.reported == 0:
        offer.state = STORED
        self._free_slot(task_id, offer.slot)
        offer.slot = 0
    self.offers[id] = records.pack_offer(offer)
    self._credit(order.developer, task.terms.deposit)
    log Lapsed(offer=id, enclave=enclave)


# --- reports ----------------------------------------------------------------------------------------------------------


@external
def submit_report(
    task: digests.Task,
    schedule: DynArray[uint256, MAX_POINTS],
    order: digests.Order,
    model_envelopes: DynArray[Envelope, MAX_ENVELOPES],
    dataset_envelopes: DynArray[Envelope, MAX_ENVELOPES],
    result: Result,
    locked: Bytes[LOCKED_SIZE],
    earlier: DynArray[bytes32, MAX_ENCLAVES],
):
    """
    @notice Report a job until the lease's end; the claim's operator. The last report wanted decides the offer.
    @param earlier The enclaves whose reports are held, ascending; needed with the last one.
    """
    self._check_result(result, len(locked))
    order_digest: bytes32 = digests.order(order)
    id: bytes32 = digests.offer(order_digest)
    offer: records.Offer = self._claimed_offer(id)
    claim: records.Claim = self._open_claim(id, result.enclave)
    refusals.require(msg.sender == claim.operator, refusals.OPERATOR_REQUIRED)
    task_id: bytes32 = self._task_of(task, offer)
    self._until(claim.lease_end)
    signer: address = empty(address)
    bundle: bytes32 = empty(bytes32)
    signer, bundle = staticcall REGISTRY.signer(result.enclave)
    self._require_schedule(task, schedule)
    self._require_sealed(id, model_envelopes)
    self._require_sealed(task_id, dataset_envelopes)
    seller: uint256 = self.sellers[task_id][offer.organization]
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
            model_envelope=self._find(model_envelopes, result.enclave),
            dataset_envelope=self._find(dataset_envelopes, result.enclave),
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
            samples=records.status(self.tasks[task_id]).samples,
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
        claim.state = REPORTED
        claim.outcome = result.outcome
        claim.score = result.score
        self.claims[id][result.enclave] = records.pack_claim(claim)
        offer.open -= 1
        offer.reported += 1
        self.offers[id] = records.pack_offer(offer)
        return
    agreed: bool = False
    score: uint256 = 0
    agreed, score = self._settle_claims(id, task, order.developer, offer, claim.operator, result, earlier)
    self._decide(id, task, schedule, order.developer, offer, result.outcome if agreed else 0, score)


@internal
@pure
def _check_result(result: Result, locked: uint256):
    refusals.require(result.outcome >= PASSED and result.outcome <= UNUSABLE and result.score <= MAX_SCORE, refusals.MALFORMED_INPUT)
    if result.outcome == PASSED:
        refusals.require(locked == LOCKED_SIZE and result.model != empty(bytes32), refusals.REPORT_MALFORMED)
    else:
        refusals.require(locked == 0 and result.model == empty(bytes32) and result.score == 0, refusals.REPORT_MALFORMED)


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
    schedule: DynArray[uint256, MAX_POINTS], eta: uint256, seller: uint256, reserve: uint256
) -> uint256:
    passed: uint256 = seller & BEST_PASSED
    return pricing.threshold(schedule, eta, passed - 1 + eta if passed > 0 else 0, reserve)


@internal
def _settle_claims(
    id: bytes32,
    task: digests.Task,
    developer: address,
    offer: records.Offer,
    operator: address,
    result: Result,
    earlier: DynArray[bytes32, MAX_ENCLAVES],
) -> (bool, uint256):
    """
    @notice Give deposits back and the fee to whom it is due; whether the enclaves agree, and the lowest score.
    """
    refusals.require(len(earlier) == offer.reported, refusals.CLAIM_NOT_FOUND)
    operators: DynArray[address, MAX_ENCLAVES] = [operator]
    lowest: uint256 = result.score
    highest: uint256 = result.score
    agreed: bool = True
    last: uint256 = 0
    for enclave: bytes32 in earlier:
        claim: records.Claim = records.claim(self.claims[id][enclave])
        refusals.require(claim.state == REPORTED and convert(enclave, uint256) > last, refusals.CLAIM_NOT_FOUND)
        last = convert(enclave, uint256)
        operators.append(claim.operator)
        agreed = agreed and claim.outcome == result.outcome
        lowest = min(lowest, claim.score)
        highest = max(highest, claim.score)
    agreed = agreed and highest - lowest <= task.conditions.eta
    share: uint256 = task.terms.benchmark_fee
    if not agreed:
        self.treasury += self._fee(task)
        share = 0
    elif result.outcome == UNUSABLE:
        self._credit(developer, self._fee(task))
        share = 0
    for one: address in operators:
        self._credit(one, task.terms.deposit + share)
    return agreed, lowest


@internal
def _decide(
    id: bytes32,
    task: digests.Task,
    schedule: DynArray[uint256, MAX_POINTS],
    developer: address,
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
        self._free_seller(task_id, offer.organization, 0)
        self._free_slot(task_id, offer.slot)
        self._credit(developer, offer.bond)
        decided.slot = 0
        state: uint256 = VOID
        if outcome == DECLINE:
            state = DECLINED
        elif outcome == FAIL:
            state = FAILED
        self._end(id, decided, state)
        return
    self._free_seller(task_id, offer.organization, score + 1)
    lock: records.Lock = records.Lock(
        price=pricing.price(schedule, score),
        top=pricing.top(schedule),
        score=score,
        market_fee=task.terms.market_fee,
        deadline=0,
    )
    if task.conditions.award == BEST:
        decided.slot = self._compete(task_id, task.conditions.slots, id, developer, score)
        decided.state = LEADING if decided.slot != 0 else OUTBID
    else:
        decided.state = LOCKED
        lock.deadline = block.timestamp + task.conditions.reveal
        self._credit(task.conditions.provider, lock.top - lock.price)
    if decided.state == OUTBID:
        self._credit(developer, offer.bond)
        decided.bond = 0
    else:
        self.locks[id] = records.pack_lock(lock)
    self.offers[id] = records.pack_offer(decided)
    log Priced(offer=id, state=decided.state, score=score, price=lock.price, deadline=lock.deadline)


@internal
def _compete(task_id: bytes32, slots: uint256, id: bytes32, developer: address, score: uint256) -> uint256:
    """
    @notice Take a free slot, or the lowest leading offer's if that is strictly lower; 1 + its index, 0 if outbid.
    @dev Ranks order by score, and the earlier entry of equals is the higher; nothing is awarded or refunded while
        reports can come, so a slot that is taken is led.
    """
    status: records.Status = records.status(self.tasks[task_id])
    taken: uint256 = self.taken[task_id]
    place: uint256 = 0
    lowest: uint256 = max_value(uint256)
    for i: uint256 in range(slots, bound=MAX_SLOTS_BEST):
        if taken & (1 << i) == 0:
            place = i
            lowest = 0
            break
        rank: uint256 = self.leaders[task_id][i].rank
        if rank < lowest:
            place = i
            lowest = rank
    if lowest != 0:
        if score <= lowest >> 200:
            return 0
        self._displace(self.leaders[task_id][place].offer, convert(lowest & records.U160, address))
    status.entries += 1
    self.tasks[task_id] = records.pack_status(status)
    self.taken[task_id] = taken | 1 << place
    entry: uint256 = 2**40 - 1 - status.entries
    self.leaders[task_id][place] = Leader(
        offer=id, rank=score << 200 | entry << 160 | convert(developer, uint256)
    )
    return place + 1


@internal
def _displace(id: bytes32, developer: address):
    offer: records.Offer = records.offer(self.offers[id])
    self._credit(developer, offer.bond)
    offer.slot = 0
    self._end(id, offer, DISPLACED)


# --- settlement -------------------------------------------------------------------------------------------------------


@external
def expire(task: digests.Task, order: digests.Order, enclaves: DynArray[bytes32, MAX_ENCLAVES]):
    """
    @notice End an offer that B overtook undecided; anyone, after B + G and every open lease's end + G.
    @param enclaves All that hold a claim, open or reported, ascending.
    """
    id: bytes32 = digests.offer(digests.order(order))
    offer: records.Offer = self._open_offer(id)
    refusals.require(offer.state <= CLAIMED, refusals.OFFER_STATE_REFUSES)
    task_id: bytes32 = self._task_of(task, offer)
    self._after(task.conditions.last_report, task.terms.guard)
    refusals.require(len(enclaves) == offer.open + offer.reported, refusals.CLAIM_NOT_FOUND)
    last: uint256 = 0
    for enclave: bytes32 in enclaves:
        claim: records.Claim = records.claim(self.claims[id][enclave])
        refusals.require((claim.state == OPEN or claim.state == REPORTED) and convert(enclave, uint256) > last, refusals.CLAIM_NOT_FOUND)
        last = convert(enclave, uint256)
        if claim.state == OPEN:
            self._after(claim.lease_end, task.terms.guard)
        else:
            self._credit(claim.operator, task.terms.deposit + task.terms.benchmark_fee)
    unreported: uint256 = task.conditions.enclaves - offer.reported
    back: uint256 = offer.bond + unreported * task.terms.benchmark_fee + offer.open * task.terms.deposit
    self._credit(order.developer, back)
    self._free_slot(task_id, offer.slot)
    self._free_seller(task_id, offer.organization, 0)
    offer.slot = 0
    offer.open = 0
    offer.reported = 0
    self._end(id, offer, EXPIRED)


@external
def award_offer(id: bytes32, task: digests.Task):
    """
    @notice Lock the price of an offer that leads a slot; anyone, after B + G.
    """
    offer: records.Offer = self._open_offer(id)
    refusals.require(offer.state == LEADING, refusals.OFFER_NOT_LEADING)
    self._task_of(task, offer)
    self._after(task.conditions.last_report, task.terms.guard)
    lock: records.Lock = records.lock(self.locks[id])
    lock.deadline = block.timestamp + task.conditions.reveal
    self.locks[id] = records.pack_lock(lock)
    offer.state = LOCKED
    self.offers[id] = records.pack_offer(offer)
    self._credit(task.conditions.provider, lock.top - lock.price)
    log Priced(offer=id, state=LOCKED, score=lock.score, price=lock.price, deadline=lock.deadline)


@external
def reveal(order: digests.Order, secret: bytes32):
    """
    @notice Publish r and pay the payout owner; anyone who knows r, until D.
    """
    id: bytes32 = digests.offer(digests.order(order))
    offer: records.Offer = self._open_offer(id)
    refusals.require(offer.state == LOCKED, refusals.OFFER_NOT_LOCKED)
    lock: records.Lock = records.lock(self.locks[id])
    self._until(lock.deadline)
    refusals.require(sha256(secret) == order.secret_hash, refusals.SECRET_MISMATCH)
    fee: uint256 = pricing.share_down(lock.price, lock.market_fee)
    self._credit(order.payout, lock.price - fee)
    self._credit(order.developer, offer.bond)
    self.treasury += fee
    offer.state = SETTLED
    offer.bond = 0
    self.offers[id] = records.pack_offer(offer)
    log Revealed(offer=id, secret=secret)


@external
def forfeit(id: bytes32, task: digests.Task):
    """
    @notice End a lock that was not revealed; anyone, after D + G. Price and half the bond are the provider's.
    """
    offer: records.Offer = self._open_offer(id)
    refusals.require(offer.state == LOCKED, refusals.OFFER_NOT_LOCKED)
    self._task_of(task, offer)
    lock: records.Lock = records.lock(self.locks[id])
    self._after(lock.deadline, task.terms.guard)
    half: uint256 = offer.bond // 2
    self._credit(task.conditions.provider, lock.price + half)
    self.treasury += offer.bond - half
    self._end(id, offer, FORFEITED)


@external
def acknowledge(id: bytes32, task: digests.Task):
    """
    @notice Confirm that the key could be read; the provider. r and `locked` are logs, so nothing is deleted.
    """
    offer: records.Offer = self._open_offer(id)
    refusals.require(offer.state == SETTLED, refusals.OFFER_NOT_SETTLED)
    self._task_of(task, offer)
    refusals.require(msg.sender == task.conditions.provider, refusals.PROVIDER_REQUIRED)
    refusals.require(offer.acknowledged == 0, refusals.OFFER_CLOSED)
    offer.acknowledged = 1
    self.offers[id] = records.pack_offer(offer)
    log Moved(offer=id, state=SETTLED)


# --- money ------------------------------------------------------------------------------------------------------------


@external
def pull():
    """
    @notice Send the caller what is due to it.
    """
    amount: uint256 = self.credits[msg.sender]
    self.credits[msg.sender] = 0
    raw_call(msg.sender, b"", value=amount * UNIT)


@external
def spend(to: address, amount: uint256):
    """
    @notice Credit somebody an amount of the treasury's; by vote.
    """
    refusals.require(msg.sender == REGISTRY.address, refusals.ADMIN_REQUIRED)
    refusals.require(amount <= self.treasury, refusals.PAYMENT_SHORT)
    self.treasury -= amount
    self._credit(to, amount)


@internal
@payable
def _take(due: uint256):
    refusals.require(msg.value % UNIT == 0, refusals.COINS_REFUSED)
    paid: uint256 = msg.value // UNIT
    refusals.require(paid >= due, refusals.PAYMENT_SHORT)
    self._credit(msg.sender, paid - due)


@internal
def _credit(to: address, amount: uint256):
    if amount > 0:
        self.credits[to] += amount


@internal
@pure
def _fee(task: digests.Task) -> uint256:
    """
    @notice The benchmark fee of an offer: the policy's amount per enclave, so that shares come out even.
    """
    return task.conditions.enclaves * task.terms.benchmark_fee


# --- looking up -------------------------------------------------------------------------------------------------------


@internal
@view
def _status(task_id: bytes32) -> records.Status:
    word: uint256 = self.tasks[task_id]
    refusals.require(word != 0, refusals.TASK_NOT_FOUND)
    return records.status(word)


@internal
@view
def _task_of(task: digests.Task, offer: records.Offer) -> bytes32:
    id: bytes32 = digests.task(task)
    refusals.require(self.tasks[id] & records.U32 == offer.task, refusals.TASK_NOT_FOUND)
    return id


@internal
@view
def _offer(id: bytes32) -> records.Offer:
    word: uint256 = self.offers[id]
    refusals.require(word != 0, refusals.OFFER_NOT_FOUND)
    return records.offer(word)


@internal
@view
def _open_offer(id: bytes32) -> records.Offer:
    offer: records.Offer = self._offer(id)
    self._require_not_closed(offer)
    return offer


@internal
@view
def _claimed_offer(id: bytes32) -> records.Offer:
    offer: records.Offer = self._open_offer(id)
    refusals.require(offer.state == CLAIMED, refusals.OFFER_NOT_CLAIMED)
    return offer


@internal
@view
def _open_claim(id: bytes32, enclave: bytes32) -> records.Claim:
    claim: records.Claim = records.claim(self.claims[id][enclave])
    refusals.require(claim.state != REPORTED, refusals.ALREADY_REPORTED)
    refusals.require(claim.state == OPEN, refusals.CLAIM_NOT_FOUND)
    return claim


@internal
@pure
def _require_not_closed(offer: records.Offer):
    refusals.require(offer.state <= SETTLED, refusals.OFFER_CLOSED)


@internal
@pure
def _require_hidden(status: records.Status):
    refusals.require(status.dataset != OPENED, refusals.DATASET_OPENED)
    refusals.require(status.dataset != SLASHED, refusals.AUDIT_SLASHED)


@internal
@view
def _require_schedule(task: digests.Task, schedule: DynArray[uint256, MAX_POINTS]):
    refusals.require(digests.schedule(schedule) == task.conditions.schedule, refusals.TASK_NOT_FOUND)


@internal
@view
def _until(deadline: uint256):
    refusals.require(block.timestamp <= deadline, refusals.TOO_LATE)


@internal
@view
def _after(deadline: uint256, guard: uint256):
    refusals.require(block.timestamp > deadline + guard, refusals.TOO_EARLY)


@internal
@pure
def _chain(before: bytes32, envelopes: DynArray[Envelope, MAX_ENVELOPES]) -> bytes32:
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
def _require_sealed(id: bytes32, envelopes: DynArray[Envelope, MAX_ENVELOPES]) -> bytes32:
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
def _find(envelopes: DynArray[Envelope, MAX_ENVELOPES], enclave: bytes32) -> bytes32:
    for one: Envelope in envelopes:
        if one.enclave == enclave:
            return one.digest
    return empty(bytes32)


@internal
def _end(id: bytes32, offer: records.Offer, state: uint256):
    """
    @notice Write an offer's last state; its bond has been paid out.
    """
    ended: records.Offer = offer
    ended.state = state
    ended.bond = 0
    self.offers[id] = records.pack_offer(ended)
    log Moved(offer=id, state=state)


@internal
def _free_slot(task_id: bytes32, slot: uint256):
    if slot != 0:
        self.taken[task_id] &= ~(1 << (slot - 1))


@internal
def _free_seller(task_id: bytes32, organization: uint256, passed: uint256):
    """
    @notice Let the developer's organisation offer again, and keep its best score that passed (1 + it).
    """
    seller: uint256 = self.sellers[task_id][organization]
    best: uint256 = max(seller & BEST_PASSED, passed)
    self.sellers[task_id][organization] = (seller >> ATTEMPTS_AT) << ATTEMPTS_AT | best
