"""What a quote says: which TEE made it, what runs there, what it binds; and the one measurement of a TDX guest.

An SGX enclave is named by its MRENCLAVE. A TDX guest has no single value: its measurement is D(td; attributes, XFAM,
MRTD, MRCONFIGID, MROWNER, MROWNERCONFIG, RTMR0 to RTMR3), so that one list of 32-byte measurements in the policy serves
both, and no TDX measurement can be taken for an MRENCLAVE. The TDX module is not in it: the TCB status judges that.
Layouts: Intel's "SGX ECDSA Quote Library Reference", appendix A; "TDX DCAP Quoting Library API", appendix A.3.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from goldengrain.chaincode.protocol import digests
from goldengrain.chaincode.protocol.policy import RootKind

_TEE_TYPE = slice(4, 8)
_SGX_TYPE, _TDX_TYPE = 0x00, 0x81
_VERSIONS_WITH_TYPE = (4, 5)
_SGX_DEBUG, _TDX_DEBUG = 0x02, 0x01
_TD_FIELDS = (
    "td_attributes",
    "xfam",
    "mr_td",
    "mr_config_id",
    "mr_owner",
    "mr_owner_config",
    "rt_mr0",
    "rt_mr1",
    "rt_mr2",
    "rt_mr3",
)


class Tee(StrEnum):
    """What made a quote."""

    SGX = "SGX"
    TDX = "TDX"


def tee_of(quote: bytes) -> Tee:
    """Return whose quote these bytes claim to be, by their header alone: TDX where it says so, else SGX."""
    return Tee.TDX if _known_type(quote) == _TDX_TYPE else Tee.SGX


def names_unknown_tee(quote: bytes) -> bool:
    """Tell whether the header is one of a quote, but of another TEE."""
    return _known_type(quote) not in (None, _SGX_TYPE, _TDX_TYPE)


def _known_type(quote: bytes) -> int | None:
    """The TEE type in the header; the versions before the fourth have none."""
    version = int.from_bytes(quote[:2], "little")
    return int.from_bytes(quote[_TEE_TYPE], "little") if version in _VERSIONS_WITH_TYPE else None


@dataclass(frozen=True)
class QuoteClaims:
    """What a quote's body says, verified or not."""

    tee: Tee
    measurement: bytes
    debug: bool
    report_data: bytes


@dataclass(frozen=True)
class QuoteVerdict:
    """What a verified quote says; `expires` is the last second in which its collateral is good."""

    tee: Tee
    root: bytes
    kind: RootKind
    fmspc: bytes
    measurement: bytes
    status: str
    advisories: tuple[str, ...]
    debug: bool
    report_data: bytes
    expires: int

    @property
    def simulated(self) -> bool:
        """Whether it rests on a root other than Intel's."""
        return self.kind is RootKind.SIMULATED


def claims_of(report: Any) -> QuoteClaims:
    """Return what a report body of dcap-qvl's says, of an SGX enclave or a TDX guest (versions 1.0 and 1.5)."""
    if hasattr(report, "mr_enclave"):
        debug = bool(report.attributes[0] & _SGX_DEBUG)
        return QuoteClaims(Tee.SGX, bytes(report.mr_enclave), debug, bytes(report.report_data))
    debug = bool(report.td_attributes[0] & _TDX_DEBUG)
    return QuoteClaims(Tee.TDX, td_measurement(report), debug, bytes(report.report_data))


def td_measurement(report: Any) -> bytes:
    """Return the measurement of a TDX guest, 32 bytes, from the fields of its report."""
    return digests.digest("td", *(digests.hashed(bytes(getattr(report, name))) for name in _TD_FIELDS))
