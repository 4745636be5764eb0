"""Where an enclave's quotes come from: one interface, chosen by configuration (`--quotes`).

=============  ===================================================================  ==================================
kind           what makes the quotes                                                needs
=============  ===================================================================  ==================================
simulated      the simulated quoting enclave, as of an SGX machine                  a development root's folder
simulated-tdx  the same, as of a TDX machine                                        a development root's folder
gramine        the quoting enclave of this SGX machine, through Gramine             `/dev/attestation`
tdx            the quoting enclave of this TDX machine, through the guest's kernel  `/sys/kernel/config/tsm/report`
=============  ===================================================================  ==================================

Whatever comes out is looked at before it is used: a quote that doesn't parse or binds other data than was asked for is
`QuotingUnavailable` here, not a refusal on the ledger an hour later.
"""

from __future__ import annotations

from enum import StrEnum
from pathlib import Path
from typing import Protocol

import dcap_qvl

from goldengrain.chaincode.protocol.evidence import QuoteClaims, Tee, claims_of
from goldengrain.enclave import ratls
from goldengrain.enclave.errors import QuotingUnavailable
from goldengrain.enclave.quoting.development_root import DevelopmentRoot
from goldengrain.enclave.quoting.gramine import ATTESTATION, Gramine
from goldengrain.enclave.quoting.simulated import SimulatedPlatform
from goldengrain.enclave.quoting.tdx_guest import REPORTS, TdxGuest

REPORT_DATA = 64


class SourceKind(StrEnum):
    """The kinds of sources, as configuration names them."""

    SIMULATED = "simulated"
    SIMULATED_TDX = "simulated-tdx"
    GRAMINE = "gramine"
    TDX = "tdx"

    @property
    def simulated(self) -> bool:
        """Whether its quotes prove nothing about hardware."""
        return self in (SourceKind.SIMULATED, SourceKind.SIMULATED_TDX)


class RawSource(Protocol):
    """What makes quotes: 64 bytes in, a quote out."""

    def quote(self, report_data: bytes) -> bytes:
        """Return a quote that binds the data; raises `QuotingUnavailable`."""


class QuoteSource:
    """A source of one kind, and what its quotes say of this enclave."""

    def __init__(self, kind: SourceKind, raw: RawSource) -> None:
        self.kind, self._raw = kind, raw
        claims = self._claims(bytes(REPORT_DATA))[1]
        self.tee, self.measurement = claims.tee, claims.measurement

    @property
    def attestation(self) -> str:
        """How this enclave is attested, for people: `simulated`, or the TEE."""
        return "simulated" if self.kind.simulated else self.tee

    def quote(self, report_data: bytes) -> bytes:
        """Return a quote that binds 64 bytes; raises `QuotingUnavailable` where none can be had."""
        return self._claims(report_data)[0]

    def certified(self) -> ratls.Certified:
        """Return a new RA-TLS key and certificate: Gramine's own, or one of the same shape."""
        return self._raw.certified() if isinstance(self._raw, Gramine) else ratls.certify(self.quote)

    def collateral(self, at: int) -> str | None:
        """Return what goes with its quotes (JSON); None where that has to come from a caching service (PCCS)."""
        return self._raw.collateral(at) if isinstance(self._raw, Simulated) else None

    def _claims(self, report_data: bytes) -> tuple[bytes, QuoteClaims]:
        quote = self._raw.quote(report_data)
        try:
            claims = claims_of(dcap_qvl.parse_quote(quote).report)
        except ValueError as error:
            raise QuotingUnavailable("what the source of quotes gave is no quote; look at its log") from error
        if claims.report_data != report_data:
            raise QuotingUnavailable("the source's quote binds other data than it was asked to; ask again")
        return quote, claims


class Simulated:
    """A simulated machine on which one program runs."""

    def __init__(self, platform: SimulatedPlatform, code: bytes) -> None:
        self._platform, self._code = platform, code

    def quote(self, report_data: bytes) -> bytes:
        """Return a quote of the simulated quoting enclave."""
        return self._platform.quote(report_data, self._code)

    def collateral(self, at: int) -> str:
        """Issue the platform's collateral at a time in seconds."""
        return self._platform.collateral(at=at)


def simulated_source(root: DevelopmentRoot, name: str, code: bytes, tee: Tee = Tee.SGX) -> QuoteSource:
    """Return the source of a simulated machine of this name that runs a program of this digest (32 bytes)."""
    kind = SourceKind.SIMULATED if tee is Tee.SGX else SourceKind.SIMULATED_TDX
    return QuoteSource(kind, Simulated(SimulatedPlatform(root, name=name, tee=tee), code))


def open_source(
    kind: SourceKind, *, root: Path | None, name: str, code: bytes, folder: Path | None = None
) -> QuoteSource:
    """Open a source of quotes; raises `QuotingUnavailable` where this machine has none of that kind.

    `root`, `name` and `code` serve the simulated kinds; `folder` stands in for the kernel's, or Gramine's.
    """
    if kind is SourceKind.GRAMINE:
        return QuoteSource(kind, Gramine(folder or ATTESTATION))
    if kind is SourceKind.TDX:
        return QuoteSource(kind, TdxGuest(folder or REPORTS))
    if root is None:
        raise QuotingUnavailable("simulated quotes need the folder of a development root: name it with --root-dir")
    tee = Tee.SGX if kind is SourceKind.SIMULATED else Tee.TDX
    return simulated_source(DevelopmentRoot.load(root), name, code, tee)
