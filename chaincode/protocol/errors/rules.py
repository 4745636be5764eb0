"""Refusals of values that the rules don't admit."""

from __future__ import annotations

from goldengrain.chaincode.protocol.errors.base import ContractError


class RuleRefused(ContractError):
    """A value that the rules don't admit."""

    code = "RULE_REFUSED"
    status = 422


class PolicyRefused(RuleRefused):
    """A policy that the protocol doesn't admit."""

    code = "POLICY_REFUSED"


class PolicyBlockable(PolicyRefused):
    """A single organisation, or f that collude, could block everything: n - f >= k and k < n must hold."""

    code = "POLICY_BLOCKABLE"


class PolicySatisfiableAlone(PolicyRefused):
    """A single organisation could satisfy it alone: k >= 2 must hold."""

    code = "POLICY_SATISFIABLE_ALONE"


class PolicyCollusion(PolicyRefused):
    """f colluding organisations could satisfy it: k > f must hold."""

    code = "POLICY_COLLUSION"


class PolicyTiming(PolicyRefused):
    """W, G, R, ages or leases contradict each other."""

    code = "POLICY_TIMING"


class PolicyUnmarkedTest(PolicyRefused):
    """W, G or R is below the minimum and the policy isn't marked `test`."""

    code = "POLICY_UNMARKED_TEST"


class PolicyOrganizations(PolicyRefused):
    """Organisations missing, repeated or unsorted."""

    code = "POLICY_ORGANIZATIONS"


class PolicyLimits(PolicyRefused):
    """Fees, shares or limits out of range, or an empty list of what is accepted."""

    code = "POLICY_LIMITS"


class PolicyBundle(PolicyRefused):
    """Current and previous trust bundle or their sunset contradict each other."""

    code = "POLICY_BUNDLE"


class ScheduleRefused(RuleRefused):
    """Scores must rise strictly, prices weakly, and the top price be over 0."""

    code = "SCHEDULE_REFUSED"


class DeadlinesRefused(RuleRefused):
    """S < B, A > B + 2G and R > 2G must hold."""

    code = "DEADLINES_REFUSED"


class SlotsRefused(RuleRefused):
    """1 to 256 slots, 1 to 16 with award `best`."""

    code = "SLOTS_REFUSED"


class AttemptsRefused(RuleRefused):
    """More attempts than the policy grants."""

    code = "ATTEMPTS_REFUSED"


class EtaRefused(RuleRefused):
    """Scores are floored to multiples of eta, 1 to 1,000,000."""

    code = "ETA_REFUSED"


class SpecRefused(RuleRefused):
    """A benchmark spec that no enclave can run."""

    code = "SPEC_REFUSED"


class PaymentShort(RuleRefused):
    """The coins don't cover the amount."""

    code = "PAYMENT_SHORT"


class CoinsRefused(RuleRefused):
    """At most 16 coins in and 16 out, none repeated, none of 0."""

    code = "COINS_REFUSED"


class AmountTooLarge(RuleRefused):
    """A sum of 2**63 or more."""

    code = "AMOUNT_TOO_LARGE"


class BondTooSmall(RuleRefused):
    """The bond is below the policy's share of the top price."""

    code = "BOND_TOO_SMALL"


class ReserveTooHigh(RuleRefused):
    """The reserve price is above the schedule's top price."""

    code = "RESERVE_TOO_HIGH"


class OperatorsTooFew(RuleRefused):
    """Seal to enclaves of at least two operators where there are two."""

    code = "OPERATORS_TOO_FEW"


class EnclaveCountRefused(RuleRefused):
    """Another number of enclaves per offer than the market runs."""

    code = "ENCLAVE_COUNT_REFUSED"


class LeaseRefused(RuleRefused):
    """The lease is outside the policy's bounds, or ends after B."""

    code = "LEASE_REFUSED"


class SecretMismatch(RuleRefused):
    """H(r) is not the offer's h."""

    code = "SECRET_MISMATCH"


class DatasetKeyMismatch(RuleRefused):
    """The key's digest is not the task's."""

    code = "DATASET_KEY_MISMATCH"
