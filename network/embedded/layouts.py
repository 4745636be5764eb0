"""Which combinations of endorsers a policy accepts, as the discovery service tells them: sets of principals.

A policy is satisfied by any of several sets of principals (`2 of Org1.peer, Org2.peer, Org3.peer` by three sets of
two). Each distinct principal is a group; a layout says how many endorsers of which groups are enough. Policies of
several chaincodes and collections have to be satisfied together: their sets are merged, pair by pair, and what asks
for more than another set does is left out.
"""

from __future__ import annotations

import itertools
from collections import Counter
from collections.abc import Iterator, Sequence

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2

from goldengrain.network.embedded.policies import ImplicitMetaPolicy, Policy, SignaturePolicy

__all__ = ["MOST_SETS", "Principal", "PrincipalSet", "TooManySets", "merged", "principal_sets", "to_message"]

Principal = tuple[int, bytes]
"""Classification and content of an msp.MSPPrincipal."""
PrincipalSet = Counter[Principal]
MOST_SETS = 10_000


class TooManySets(Exception):
    """A policy allows for more combinations than are worth listing."""


def principal_sets(policy: Policy) -> list[PrincipalSet]:
    """List the smallest sets of principals that satisfy a policy, none for one that nothing satisfies.

    Raises:
        TooManySets: there are more than `MOST_SETS`.

    """
    if isinstance(policy, SignaturePolicy):
        return _reduced(_of_rule(policy.envelope, policy.envelope.rule))
    if isinstance(policy, ImplicitMetaPolicy):
        return _reduced(_any_of(policy.threshold, [principal_sets(part) for part in policy.parts]))
    return []


def merged(policies: Sequence[list[PrincipalSet]]) -> list[PrincipalSet]:
    """Sets that satisfy all policies at once, given the sets of each.

    Raises:
        TooManySets: there are more than `MOST_SETS`.

    """
    if not policies:
        return []
    found = policies[0]
    for further in policies[1:]:
        found = _reduced(_few(one | other for one, other in itertools.product(found, further)))
    return found


def to_message(principal: Principal) -> msp_principal_pb2.MSPPrincipal:
    """The principal as Fabric's message."""
    return msp_principal_pb2.MSPPrincipal(
        principal_classification=msp_principal_pb2.MSPPrincipal.Classification.ValueType(principal[0]),
        principal=principal[1],
    )


def _of_rule(envelope: policies_pb2.SignaturePolicyEnvelope, rule: policies_pb2.SignaturePolicy) -> list[PrincipalSet]:
    if rule.WhichOneof("Type") == "signed_by":
        principal = envelope.identities[rule.signed_by]
        return [Counter([(int(principal.principal_classification), principal.principal)])]
    return _any_of(rule.n_out_of.n, [_of_rule(envelope, part) for part in rule.n_out_of.rules])


def _any_of(needed: int, parts: Sequence[list[PrincipalSet]]) -> list[PrincipalSet]:
    """Sets that satisfy `needed` of the parts; different parts need different signers."""

    def combinations() -> Iterator[PrincipalSet]:
        for chosen in itertools.combinations(parts, max(needed, 0)):
            for sets in itertools.product(*chosen):
                total: PrincipalSet = Counter()
                for one in sets:
                    total.update(one)
                yield total

    return _few(combinations())


def _few(sets: Iterator[PrincipalSet]) -> list[PrincipalSet]:
    found = list(itertools.islice(sets, MOST_SETS + 1))
    if len(found) > MOST_SETS:
        raise TooManySets(f"more than {MOST_SETS} combinations of principals")
    return found


def _reduced(sets: list[PrincipalSet]) -> list[PrincipalSet]:
    """Without repetitions, and without sets that hold another one."""
    found: list[PrincipalSet] = []
    for one in sorted(sets, key=lambda counted: counted.total()):
        if not any(smaller <= one for smaller in found):
            found.append(one)
    return found
