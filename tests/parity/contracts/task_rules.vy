# pragma version ==0.4.3
"""
@title Tasks: opening one, shutting it, its slots and its test set (protocol section 7)
"""
import book
import digests
import policies
import pricing
import records
import refusals

uses: book

MAX_SCORE: constant(uint256) = 1_000_000
MAX_TIME: constant(uint256) = 2**40 - 1
MAX_SLOTS: constant(uint256) = 256
MIN_OPERATORS: constant(uint256) = 2
ACCURACY: constant(bytes32) = sha256("accuracy")
TOP_5: constant(bytes32) = sha256("top-5")
MACRO_F1: constant(bytes32) = sha256("macro-f1")
AUROC: constant(bytes32) = sha256("auroc")
RMSE: constant(bytes32) = sha256("rmse")
LOG_LOSS: constant(bytes32) = sha256("log-loss")


event TaskOpened:
    task: indexed(bytes32)
    provider: indexed(address)
    terms: digests.Task
    schedule: DynArray[uint256, book.MAX_POINTS]
    spec: digests.Spec
    envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES]


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


@external
@payable
def open_task(
    task: digests.Task,
    schedule: DynArray[uint256, book.MAX_POINTS],
    spec: digests.Spec,
    envelopes: DynArray[book.Envelope, book.MAX_ENVELOPES],
) -> bytes32:
    """
    @notice Lock slots x top price and the audit bond; the sender is the provider.
    @param task Its provider, digests of spec and schedule and terms are filled in here, the terms from the policy.
    """
    self._check_schedule(schedule)
    self._check_spec(spec)
    chain_of: bytes32 = book.chain(empty(bytes32), envelopes)
    organization: uint256 = 0
    policy: policies.Policy = empty(policies.Policy)
    organization, policy = staticcall book.REGISTRY.opening(msg.sender)
    new: digests.Task = task
    new.conditions.provider = book.account(msg.sender)
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
        test=convert(policy.test, uint256),
    )
    self._check_conditions(new.conditions, policy)
    operators: uint256 = staticcall book.REGISTRY.sealable(envelopes)
    refusals.require(operators >= min(MIN_OPERATORS, policy.operators), refusals.OPERATORS_TOO_FEW)
    id: bytes32 = digests.task(new)
    refusals.require(book.tasks[id] == 0, refusals.TASK_EXISTS)
    budget: uint256 = new.conditions.slots * pricing.top(schedule)
    audit_bond: uint256 = pricing.share_up(budget, policy.audit_bond)
    book.take(budget + audit_bond)
    book.task_count += 1
    book.tasks[id] = records.pack_status(
        records.Status(
            number=book.task_count,
            organization=organization,
            last_offer=new.conditions.last_offer,
            shut=0,
            dataset=book.HIDDEN,
            audit_bond=audit_bond,
            samples=spec.samples,
            entries=0,
        )
    )
    if new.conditions.slots < MAX_SLOTS:
        book.taken[id] = max_value(uint256) << new.conditions.slots
    book.sealed[id] = chain_of
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
    status: records.Status = book.status(id)
    refusals.require(book.account(msg.sender) == task.conditions.provider, refusals.PROVIDER_REQUIRED)
    refusals.require(status.shut == 0, refusals.TASK_SHUT)
    book.until(status.last_offer)
    status.last_offer = block.timestamp
    status.shut = 1
    book.tasks[id] = records.pack_status(status)
    log TaskShut(task=id, last_offer=block.timestamp)


@external
def refund_slot(task: digests.Task, schedule: DynArray[uint256, book.MAX_POINTS], slot: uint256):
    """
    @notice Return a free slot's amount to the provider; anyone, after B + G.
    """
    id: bytes32 = digests.task(task)
    book.status(id)
    refusals.require(slot < task.conditions.slots, refusals.SLOT_NOT_FOUND)
    book.after(task.conditions.last_report, task.terms.guard)
    taken: uint256 = book.taken[id]
    refusals.require(taken & (1 << slot) == 0, refusals.SLOT_NOT_FREE)
    book.require_schedule(task, schedule)
    book.taken[id] = taken | 1 << slot
    book.credit(task.conditions.provider, pricing.top(schedule))
    log SlotRefunded(task=id, slot=slot)


@external
def open_dataset(task: digests.Task, ciphertext: bytes32, plaintext: bytes32, key: bytes32):
    """
    @notice Publish the test set's key; the provider, after B + G and until A. The audit bond goes back.
    """
    id: bytes32 = digests.task(task)
    status: records.Status = book.status(id)
    refusals.require(book.account(msg.sender) == task.conditions.provider, refusals.PROVIDER_REQUIRED)
    book.require_hidden(status)
    book.until(task.conditions.last_opening)
    book.after(task.conditions.last_report, task.terms.guard)
    opened: bytes32 = digests.dataset(ciphertext, plaintext, sha256(key))
    refusals.require(opened == task.conditions.dataset, refusals.DATASET_KEY_MISMATCH)
    book.credit(task.conditions.provider, status.audit_bond)
    status.audit_bond = 0
    status.dataset = book.OPENED
    book.tasks[id] = records.pack_status(status)
    log DatasetOpened(task=id, key=key)


@external
def slash_audit(task: digests.Task):
    """
    @notice Send the audit bond of a test set that was not opened to the treasury; anyone, after A + G.
    """
    id: bytes32 = digests.task(task)
    status: records.Status = book.status(id)
    book.require_hidden(status)
    book.after(task.conditions.last_opening, task.terms.guard)
    book.treasury += status.audit_bond
    status.audit_bond = 0
    status.dataset = book.SLASHED
    book.tasks[id] = records.pack_status(status)
    log AuditSlashed(task=id)


@internal
@pure
def _check_schedule(schedule: DynArray[uint256, book.MAX_POINTS]):
    refusals.require(len(schedule) > 0, refusals.MALFORMED_INPUT)
    for point: uint256 in schedule:
        refusals.require(point >> 64 <= MAX_SCORE and point & records.U64 <= book.MAX_AMOUNT, refusals.MALFORMED_INPUT)
    refusals.require(pricing.is_schedule(schedule), refusals.SCHEDULE_REFUSED)


@internal
@pure
def _check_spec(spec: digests.Spec):
    refusals.require(spec.samples >= 1 and spec.samples <= 2**32, refusals.MALFORMED_INPUT)
    if spec.metric == ACCURACY or spec.metric == TOP_5:
        refusals.require(spec.scale == 0, refusals.SPEC_REFUSED)
    elif spec.metric == MACRO_F1 or spec.metric == AUROC:
        refusals.require(not spec.wilson and spec.scale == 0, refusals.SPEC_REFUSED)
    else:
        refusals.require(spec.metric == RMSE or spec.metric == LOG_LOSS, refusals.MALFORMED_INPUT)
        refusals.require(not spec.wilson and spec.scale > 0, refusals.SPEC_REFUSED)


@internal
@view
def _check_conditions(new: digests.Conditions, policy: policies.Policy):
    refusals.require(new.award == book.EACH or new.award == book.BEST, refusals.MALFORMED_INPUT)
    refusals.require(new.slots >= 1 and new.slots <= MAX_SLOTS, refusals.MALFORMED_INPUT)
    refusals.require(new.eta >= 1 and new.eta <= MAX_SCORE, refusals.MALFORMED_INPUT)
    refusals.require(new.attempts >= 1 and new.attempts <= 2**31, refusals.MALFORMED_INPUT)
    refusals.require(new.enclaves >= 1 and new.enclaves <= book.MAX_ENCLAVES, refusals.MALFORMED_INPUT)
    refusals.require(max(new.last_offer, max(new.last_report, new.last_opening)) <= MAX_TIME, refusals.MALFORMED_INPUT)
    refusals.require(new.award == book.EACH or new.slots <= book.MAX_SLOTS_BEST, refusals.SLOTS_REFUSED)
    refusals.require(new.last_offer < new.last_report, refusals.DEADLINES_REFUSED)
    refusals.require(new.last_opening > new.last_report + 2 * policy.guard, refusals.DEADLINES_REFUSED)
    refusals.require(new.last_offer > block.timestamp, refusals.DEADLINES_REFUSED)
    # R > 2 G and R >= 600 s, unless it is a test, follow from the policy's own bounds
    refusals.require(new.reveal >= policy.reveal_min and new.reveal <= policy.reveal_max, refusals.DEADLINES_REFUSED)
    refusals.require(new.attempts <= policy.attempts_max, refusals.ATTEMPTS_REFUSED)
    refusals.require(new.enclaves <= policy.operators, refusals.ENCLAVE_COUNT_REFUSED)
