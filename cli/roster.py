"""Which enclaves something may be sealed to: those that the contract would let work now (protocol section 4)."""

from __future__ import annotations

from goldengrain.chaincode.protocol.commands import MAX_ENVELOPES
from goldengrain.chaincode.protocol.policy import Policy
from goldengrain.gateway.market import Market
from goldengrain.gateway.market.views import EnclaveView


def is_fit(enclave: EnclaveView, policy: Policy, at: int) -> bool:
    """Whether an enclave may work at a time: neither revoked nor expired, and what it is is still accepted."""
    return (
        not enclave.revoked
        and at <= enclave.expires
        and enclave.operator in policy.operators
        and enclave.measurement in policy.measurements
        and enclave.status in policy.statuses
        and policy.root(enclave.root) is not None
        and policy.accepts_bundle(enclave.bundle, at)
    )


async def fit_enclaves(market: Market, policy: Policy, at: int) -> list[EnclaveView]:
    """The registered enclaves that may work, the longest registered first; as many as one command seals to."""
    found = [one async for one in market.enclaves.listing() if is_fit(one, policy, at)]
    found.sort(key=lambda one: (-one.expires, one.id))
    return found[:MAX_ENVELOPES]
