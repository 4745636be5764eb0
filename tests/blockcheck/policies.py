"""Signature policies: n of rules, where each signer counts once."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2

from tests.blockcheck.identities import Identity, Organizations


@dataclass(frozen=True)
class Signed:
    """Somebody's signature over data; `identity` is serialised."""

    identity: bytes
    data: bytes
    signature: bytes


def satisfied(
    policy: policies_pb2.SignaturePolicyEnvelope, organizations: Organizations, signed: Sequence[Signed]
) -> bool:
    """Whether the valid ones of the signatures, each signer counted once, satisfy a policy."""
    signers: dict[bytes, Identity] = {}
    for one in signed:
        identity = organizations.identity(one.identity)
        if identity is not None and one.identity not in signers and identity.signed(one.data, one.signature):
            signers[one.identity] = identity
    return _holds(policy.rule, policy.identities, list(signers.values()), set())


def _holds(
    rule: policies_pb2.SignaturePolicy,
    principals: Sequence[msp_principal_pb2.MSPPrincipal],
    signers: Sequence[Identity],
    used: set[int],
) -> bool:
    """Whether a rule holds with signers that aren't used yet; those it uses are added to `used`."""
    if rule.WhichOneof("Type") == "signed_by":
        if rule.signed_by >= len(principals):
            return False
        for place, signer in enumerate(signers):
            if place not in used and signer.satisfies(principals[rule.signed_by]):
                used.add(place)
                return True
        return False
    held = 0
    attempt = set(used)
    for part in rule.n_out_of.rules:
        mine = set(attempt)
        if _holds(part, principals, signers, mine):
            held += 1
            attempt = mine
    if held < rule.n_out_of.n:
        return False
    used |= attempt
    return True
