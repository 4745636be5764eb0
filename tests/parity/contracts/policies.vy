# pragma version ==0.4.3
"""
@title What the organisations vote: the policy (protocol sections 1 to 5)
@notice Times are seconds, amounts units, shares basis points. `organizations` has bit i - 1 set for organisation i.
    What concerns quotes (roots, measurements, statuses, ages of challenges) is not here: governors vote on enclaves.
"""
import refusals

MAX_ORGANIZATIONS: constant(uint256) = 64
MAX_AMOUNT: constant(uint256) = 2**63 - 1
MAX_SECONDS: constant(uint256) = 100 * 365 * 86_400
BASIS: constant(uint256) = 10_000
MAX_EPOCH: constant(uint256) = 7 * 86_400
MIN_GUARD: constant(uint256) = 60
MIN_REVEAL: constant(uint256) = 600
MAX_ATTEMPTS: constant(uint256) = 200


struct Policy:
    number: uint256
    organizations: uint256
    required: uint256
    colluding: uint256
    guard: uint256
    reveal_min: uint256
    reveal_max: uint256
    enclave_age: uint256
    proposal_age: uint256
    bundle: bytes32
    previous_bundle: bytes32
    previous_sunset: uint256
    benchmark_fee: uint256
    market_fee: uint256
    bond: uint256
    audit_bond: uint256
    deposit: uint256
    lease_min: uint256
    lease_max: uint256
    attempts_max: uint256
    operators: uint256
    paused: bool
    test: bool


@internal
@pure
def count(organizations: uint256) -> uint256:
    """
    @notice How many organisations a set has.
    """
    found: uint256 = 0
    rest: uint256 = organizations
    for i: uint256 in range(MAX_ORGANIZATIONS):
        if rest == 0:
            break
        found += rest & 1
        rest >>= 1
    return found


@internal
@pure
def votes_needed(policy: Policy) -> uint256:
    """
    @notice A majority of the policy's organisations, and never fewer than k.
    """
    return max(self.count(policy.organizations) // 2 + 1, policy.required)


@internal
@pure
def check(policy: Policy):
    """
    @notice Refuse what sections 1 and 2 refuse.
    """
    self._check_ranges(policy)
    self._check_organizations(policy)
    self._check_times(policy)
    refusals.require(policy.attempts_max >= 1 and policy.attempts_max <= MAX_ATTEMPTS, refusals.POLICY_LIMITS)
    named: bool = policy.previous_bundle != empty(bytes32)
    refusals.require(named == (policy.previous_sunset != 0), refusals.POLICY_BUNDLE)
    refusals.require(policy.previous_bundle != policy.bundle, refusals.POLICY_BUNDLE)


@internal
@pure
def _check_ranges(policy: Policy):
    refusals.require(policy.organizations != 0, refusals.MALFORMED_INPUT)
    refusals.require(policy.organizations < 2**MAX_ORGANIZATIONS, refusals.MALFORMED_INPUT)
    refusals.require(max(policy.benchmark_fee, policy.deposit) <= MAX_AMOUNT, refusals.MALFORMED_INPUT)
    refusals.require(max(policy.market_fee, max(policy.bond, policy.audit_bond)) <= BASIS, refusals.MALFORMED_INPUT)
    refusals.require(max(policy.guard, policy.reveal_max) <= MAX_SECONDS, refusals.MALFORMED_INPUT)
    refusals.require(policy.lease_max <= MAX_SECONDS, refusals.MALFORMED_INPUT)
    refusals.require(max(policy.enclave_age, policy.proposal_age) <= MAX_SECONDS, refusals.MALFORMED_INPUT)


@internal
@pure
def _check_organizations(policy: Policy):
    organizations: uint256 = self.count(policy.organizations)
    refusals.require(policy.required >= 2, refusals.POLICY_SATISFIABLE_ALONE)
    refusals.require(policy.required > policy.colluding, refusals.POLICY_COLLUSION)
    refusals.require(policy.required < organizations, refusals.POLICY_BLOCKABLE)
    refusals.require(policy.required + policy.colluding <= organizations, refusals.POLICY_BLOCKABLE)


@internal
@pure
def _check_times(policy: Policy):
    refusals.require(policy.reveal_min > 2 * policy.guard, refusals.POLICY_TIMING)
    refusals.require(policy.reveal_max >= policy.reveal_min, refusals.POLICY_TIMING)
    refusals.require(policy.lease_min >= 1 and policy.lease_min <= policy.lease_max, refusals.POLICY_TIMING)
    refusals.require(min(policy.enclave_age, policy.proposal_age) >= 1, refusals.POLICY_TIMING)
    refusals.require(policy.enclave_age <= MAX_EPOCH, refusals.POLICY_TIMING)
    whole: bool = policy.guard >= MIN_GUARD and policy.reveal_min >= MIN_REVEAL
    refusals.require(policy.test or whole, refusals.POLICY_UNMARKED_TEST)
