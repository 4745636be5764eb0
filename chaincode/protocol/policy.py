"""What the consortium votes: the policy, and the trust bundle that enclaves hold (protocol sections 1 to 5).

A policy is refused, with a named error, when a single organisation could block or satisfy it alone, when f that collude
could, or when its times contradict each other. One whose W, G or R is below the protocol's minimum must be marked
`test`, and so is whatever rests on it.
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from enum import StrEnum
from typing import Annotated, Self

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.codecs import Bytes, Integer, Size, Text
from goldengrain.chaincode.protocol.errors import (
    PolicyBlockable,
    PolicyBundle,
    PolicyCollusion,
    PolicyLimits,
    PolicyOrganizations,
    PolicySatisfiableAlone,
    PolicyTiming,
    PolicyUnmarkedTest,
)
from goldengrain.chaincode.protocol.records import (
    Amount,
    BasisPoints,
    Count,
    Digest,
    Name,
    Record,
    Seconds,
    Time,
    Version,
)

STANDARD_WINDOW = 120
"""W in seconds: greatest difference between a transaction's time and a peer's clock."""
STANDARD_GUARD = 2 * STANDARD_WINDOW + 60
"""G in seconds: the guard between opposing actions."""
MINIMUM_REVEAL = 600
"""R in seconds: shortest time to reveal after a lock."""
MAX_EPOCH = 7 * 86_400
"""Longest life of an enclave's encryption key in seconds."""

INTEL_ROOT = bytes.fromhex("44a0196b2b99f889b8e149e95b807a350e7424964399e885a7cbb8ccfab674d3")
"""SHA-256 of the DER of Intel's SGX Root CA, the certificate that `dcap_qvl.verify` has built in."""

Certificate = Annotated[bytes, Bytes(64, 8192)]
"""An X.509 certificate in DER."""
RevocationList = Annotated[bytes, Bytes(32, 65_536)]
"""A certificate revocation list in DER."""
TcbStatus = Annotated[str, Text(1, 48, "[A-Za-z]+")]


class RootKind(StrEnum):
    """What stands behind an attestation root."""

    INTEL = "intel"
    SIMULATED = "simulated"


def root_kind(certificate: bytes) -> RootKind:
    """Return what a root is by comparing it with Intel's: any other is `simulated`, whatever it says of itself."""
    return RootKind.INTEL if digests.sha256(certificate) == INTEL_ROOT else RootKind.SIMULATED


@dataclass(frozen=True)
class AttestationRoot(Record):
    """A root certificate under which quotes are accepted; `id` names it in commands."""

    certificate: Certificate

    @property
    def id(self) -> bytes:
        """SHA-256 of the certificate."""
        return digests.sha256(self.certificate)

    @property
    def kind(self) -> RootKind:
        """Whether it is Intel's."""
        return root_kind(self.certificate)


@dataclass(frozen=True)
class Policy(Record):
    """The market's rules in force; `number` rises by one with each vote.

    Times are seconds, amounts smallest units, shares basis points. `test` says that W, G or R is below the protocol's
    minimum (`marked` sets it). `previous_bundle` is accepted from enclaves while ts <= `previous_bundle_sunset`.
    `operators` are accounts. `measurements` are MRENCLAVE values. An empty list of what is accepted accepts nothing and
    is refused.
    """

    number: Version
    organizations: Annotated[tuple[Name, ...], Size(1, 64, unique=True)]
    required: Count
    """k: organisations that a ticket, a vote and an endorsement need."""
    colluding: Count
    """f: organisations that may collude."""
    window: Seconds
    """W."""
    guard: Seconds
    """G."""
    reveal_min: Seconds
    reveal_max: Seconds
    challenge_age: Seconds
    enclave_age: Seconds
    proposal_age: Seconds
    roots: Annotated[tuple[AttestationRoot, ...], Size(0, 8, unique=True)]
    measurements: Annotated[tuple[Digest, ...], Size(0, 64, unique=True)]
    statuses: Annotated[tuple[TcbStatus, ...], Size(0, 16, unique=True)]
    operators: Annotated[tuple[Digest, ...], Size(0, 256, unique=True)]
    bundle: Digest
    previous_bundle: Digest | None
    previous_bundle_sunset: Time | None
    benchmark_fee: Amount
    market_fee: BasisPoints
    bond: BasisPoints
    audit_bond: BasisPoints
    deposit: Amount
    lease_min: Seconds
    lease_max: Seconds
    attempts_max: Count
    verifier: Version
    """Version of the quote verification that endorsers must run."""
    paused: bool = False
    test: bool = False

    @property
    def below_minimum(self) -> bool:
        """Whether W, G or R is smaller than the protocol's section 2 asks of a real network."""
        return self.window < STANDARD_WINDOW or self.guard < 2 * self.window + 60 or self.reveal_min < MINIMUM_REVEAL

    @property
    def simulated(self) -> bool:
        """Whether an attestation root is not Intel's."""
        return any(root.kind is RootKind.SIMULATED for root in self.roots)

    def marked(self) -> Self:
        """Return the policy with `test` set as its times demand."""
        return replace(self, test=self.below_minimum)

    def root(self, root: bytes) -> AttestationRoot | None:
        """Return the accepted root of this id, or None."""
        return next((one for one in self.roots if one.id == root), None)

    def accepts_bundle(self, bundle: bytes, at: int) -> bool:
        """Tell whether enclaves with this trust bundle may work at a time."""
        if bundle == self.bundle:
            return True
        sunset = self.previous_bundle_sunset
        return bundle == self.previous_bundle and sunset is not None and at <= sunset

    def validate(self) -> None:
        """Refuse what section 1 and 2 refuse, each with its own error under `PolicyRefused`."""
        self._validate_organizations()
        self._validate_times()
        self._validate_limits()
        self._validate_bundles()

    def _validate_organizations(self) -> None:
        n, k, f = len(self.organizations), self.required, self.colluding
        if list(self.organizations) != sorted(self.organizations):
            raise PolicyOrganizations("name the organisations' MSP ids in sorted order")
        if k < 2:
            raise PolicySatisfiableAlone(f"one organisation alone would satisfy k = {k}; take at least 2")
        if k <= f:
            raise PolicyCollusion(f"{f} colluding organisations would satisfy k = {k}; take k > f")
        if n - 1 < k:
            raise PolicyBlockable(f"one organisation of {n} could block k = {k}; take at most {n - 1}")
        if n - f < k:
            raise PolicyBlockable(f"{f} colluding organisations of {n} could block k = {k}; take at most {n - f}")

    def _validate_times(self) -> None:
        if self.window < 1:
            raise PolicyTiming("W must be at least one second")
        if self.guard < 2 * self.window:
            raise PolicyTiming(f"G = {self.guard} s must be at least 2 W = {2 * self.window} s")
        if self.reveal_min <= 2 * self.guard:
            raise PolicyTiming(f"the shortest R = {self.reveal_min} s must be over 2 G = {2 * self.guard} s")
        if self.reveal_max < self.reveal_min:
            raise PolicyTiming("the longest R is shorter than the shortest")
        if not 1 <= self.lease_min <= self.lease_max:
            raise PolicyTiming("the bounds of a lease must be 1 s <= lease_min <= lease_max")
        if min(self.challenge_age, self.enclave_age, self.proposal_age) < 1:
            raise PolicyTiming("the ages of challenge, enclave and proposal must be at least one second")
        if self.enclave_age > MAX_EPOCH:
            raise PolicyTiming(f"an enclave's keys live {MAX_EPOCH // 86_400} days at most; lower enclave_age")
        if self.below_minimum and not self.test:
            raise PolicyUnmarkedTest(
                f"W >= {STANDARD_WINDOW} s, G >= 2 W + 60 s and R >= {MINIMUM_REVEAL} s, or the policy is marked `test`"
            )

    def _validate_limits(self) -> None:
        if self.attempts_max < 1:
            raise PolicyLimits("attempts_max must be at least 1")
        for name in ("roots", "measurements", "statuses"):
            if not getattr(self, name):
                raise PolicyLimits(f"an empty list of {name} accepts no enclave")
        if "Revoked" in self.statuses:
            raise PolicyLimits("a revoked TCB is never accepted")

    def _validate_bundles(self) -> None:
        if (self.previous_bundle is None) != (self.previous_bundle_sunset is None):
            raise PolicyBundle("a previous trust bundle goes with its sunset")
        if self.previous_bundle == self.bundle:
            raise PolicyBundle("the previous trust bundle is the current one")


@dataclass(frozen=True)
class BundleOrganization(Record):
    """What an enclave believes of one organisation: its certificates, the OUs of its NodeOUs, its revocation lists."""

    msp_id: Name
    roots: Annotated[tuple[Certificate, ...], Size(1, 8)]
    intermediates: Annotated[tuple[Certificate, ...], Size(0, 8)] = ()
    peer_ou: Name = "peer"
    client_ou: Name = "client"
    admin_ou: Name = "admin"
    orderer_ou: Name = "orderer"
    revocation_lists: Annotated[tuple[RevocationList, ...], Size(0, 8)] = ()

    def words(self) -> digests.Field:
        """Return what the bundle's digest holds of it."""
        return [
            self.msp_id,
            [digests.hashed(certificate) for certificate in self.roots],
            [digests.hashed(certificate) for certificate in self.intermediates],
            [self.peer_ou, self.client_ou, self.admin_ou, self.orderer_ou],
            [digests.hashed(one) for one in self.revocation_lists],
        ]


@dataclass(frozen=True)
class TrustBundle(Record):
    """Whose signatures an enclave believes; its digest is in quotes, tickets and the policy."""

    channel: Name
    contract: Name
    required: Annotated[int, Integer(1, 64)]
    """k: different organisations that must endorse a ticket."""
    window: Seconds
    """W."""
    organizations: Annotated[tuple[BundleOrganization, ...], Size(1, 64)]

    def check(self) -> None:
        """Refuse repeated or unsorted organisations, and a k that they can't reach."""
        msp_ids = [one.msp_id for one in self.organizations]
        if msp_ids != sorted(set(msp_ids)):
            raise PolicyOrganizations("a trust bundle names each organisation once, sorted by MSP id")
        if self.required > len(msp_ids):
            raise PolicyBlockable(f"{len(msp_ids)} organisations can't give {self.required} endorsements")

    def organization(self, msp_id: str) -> BundleOrganization | None:
        """Return the organisation of this MSP id, or None."""
        return next((one for one in self.organizations if one.msp_id == msp_id), None)

    def digest(self) -> bytes:
        """Return D(bundle; channel, contract, k, W, organisations)."""
        words = [one.words() for one in self.organizations]
        return digests.digest("bundle", self.channel, self.contract, self.required, self.window, words)
