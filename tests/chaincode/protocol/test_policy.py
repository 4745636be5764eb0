from __future__ import annotations

import re
from dataclasses import replace
from pathlib import Path
from typing import Any

import dcap_qvl
import pytest
from cryptography import x509

from goldengrain.chaincode.protocol import errors
from goldengrain.chaincode.protocol.policy import BundleOrganization, RootKind, TrustBundle, root_kind

from . import samples


def test_the_standard_policy_is_admitted_and_no_test() -> None:
    policy = samples.policy()
    policy.validate()
    assert not policy.below_minimum
    assert policy.marked() == policy


REFUSED: list[tuple[type[errors.ContractError], dict[str, Any]]] = [
    (errors.PolicySatisfiableAlone, {"required": 1, "colluding": 0}),
    (errors.PolicyCollusion, {"required": 2, "colluding": 2}),
    (errors.PolicyBlockable, {"required": 3, "colluding": 1}),
    (errors.PolicyBlockable, {"organizations": ("A", "B"), "required": 2, "colluding": 0}),
    (errors.PolicyBlockable, {"organizations": ("A", "B", "C", "D", "E"), "required": 4, "colluding": 2}),
    (errors.PolicyOrganizations, {"organizations": ("B", "A", "C")}),
    (errors.PolicyTiming, {"window": 0}),
    (errors.PolicyTiming, {"guard": 239}),
    (errors.PolicyTiming, {"reveal_min": 600}),
    (errors.PolicyTiming, {"reveal_max": 600}),
    (errors.PolicyTiming, {"lease_min": 0}),
    (errors.PolicyTiming, {"lease_max": 59}),
    (errors.PolicyTiming, {"challenge_age": 0}),
    (errors.PolicyTiming, {"enclave_age": 8 * 86_400}),
    (errors.PolicyUnmarkedTest, {"window": 119}),
    (errors.PolicyUnmarkedTest, {"guard": 299}),
    (errors.PolicyUnmarkedTest, {"window": 1, "guard": 62, "reveal_min": 599}),
    (errors.PolicyLimits, {"attempts_max": 0}),
    (errors.PolicyLimits, {"roots": ()}),
    (errors.PolicyLimits, {"measurements": ()}),
    (errors.PolicyLimits, {"statuses": ()}),
    (errors.PolicyLimits, {"statuses": ("Revoked",)}),
    (errors.PolicyBundle, {"previous_bundle": samples.word("old")}),
    (errors.PolicyBundle, {"previous_bundle": samples.word("bundle"), "previous_bundle_sunset": 5}),
]


@pytest.mark.parametrize(("refusal", "changes"), REFUSED)
def test_each_refusal_is_reached(refusal: type[errors.ContractError], changes: dict[str, Any]) -> None:
    with pytest.raises(refusal) as caught:
        samples.policy(**changes).validate()
    assert caught.type is refusal
    assert isinstance(caught.value, errors.PolicyRefused)


def test_a_policy_below_the_minimum_is_marked() -> None:
    policy = samples.policy(window=2, guard=10, reveal_min=30).marked()
    policy.validate()
    assert policy.test


def test_a_previous_bundle_works_until_its_sunset() -> None:
    policy = samples.policy(previous_bundle=samples.word("old"), previous_bundle_sunset=100)
    policy.validate()
    assert policy.accepts_bundle(samples.word("bundle"), 10**9)
    assert policy.accepts_bundle(samples.word("old"), 100)
    assert not policy.accepts_bundle(samples.word("old"), 101)
    assert not policy.accepts_bundle(samples.word("other"), 0)


def test_a_root_is_simulated_unless_it_is_intels() -> None:
    assert root_kind(b"Intel SGX Root CA") is RootKind.SIMULATED
    policy = samples.policy()
    assert policy.simulated
    assert policy.root(policy.roots[0].id) == policy.roots[0]
    assert policy.root(samples.word("none")) is None


def test_intels_own_root_is_the_one_that_the_verifier_has_built_in() -> None:
    library = Path(dcap_qvl._dcap_qvl.__file__).read_bytes()
    starts = [match.start() for match in re.finditer(rb"\x30\x82..\x30\x82", library, re.DOTALL)]
    sizes = [4 + int.from_bytes(library[start + 2 : start + 4], "big") for start in starts]
    certificates = [library[start : start + size] for start, size in zip(starts, sizes, strict=True)]
    built_in = [one for one in certificates if b"Intel SGX Root CA" in one and root_kind(one) is RootKind.INTEL]
    assert len(set(built_in)) == 1
    name = x509.load_der_x509_certificate(built_in[0]).subject.rfc4514_string()
    assert "CN=Intel SGX Root CA" in name


def organization(msp_id: str) -> BundleOrganization:
    return BundleOrganization(msp_id, (msp_id.encode() * 20,))


def test_a_bundle_names_each_organisation_once_and_can_reach_k() -> None:
    bundle = TrustBundle("market", "golden-grain", 2, 120, (organization("Org1MSP"), organization("Org2MSP")))
    assert bundle.organization("Org2MSP") == organization("Org2MSP")
    assert bundle.organization("Org3MSP") is None
    assert TrustBundle.from_bytes(bundle.to_bytes()) == bundle
    with pytest.raises(errors.PolicyOrganizations):
        replace(bundle, organizations=(organization("Org1MSP"),) * 2)
    with pytest.raises(errors.PolicyBlockable):
        replace(bundle, required=3)
