"""Bodies of quotes as the simulated quoting enclave writes them: an SGX enclave's report and a TDX guest's (1.0).

Layouts: Intel's "SGX ECDSA Quote Library Reference", appendix A.4; "TDX DCAP Quoting Library API", appendix A.3.2.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass

from goldengrain.chaincode.protocol import evidence
from goldengrain.enclave.quoting.development_root import MODULE_SIGNER, MODULE_VERSION, tdx_svns

SIGNER = hashlib.sha256(b"golden-grain simulated enclave: signer").digest()
"""MRSIGNER of the simulated enclaves."""
TDX_TYPE = 0x81
_INITIALISED_64_BIT, _DEBUG = 0x05, 0x02
_XFRM = 0xE7
_TD_DEBUG, _SEPT_VE_DISABLE = 0x01, 1 << 28
_XFAM = struct.pack("<Q", _XFRM)
_MODULE = hashlib.sha384(b"golden-grain simulated TDX module: code").digest()
_SHA384 = 48


def enclave(
    cpu_svn: bytes,
    measurement: bytes,
    report_data: bytes,
    *,
    debug: bool = False,
    signer: bytes = SIGNER,
    product: int = 0,
    svn: int = 1,
) -> bytes:
    """Lay out an SGX report body: 384 bytes."""
    flags = _INITIALISED_64_BIT | (_DEBUG if debug else 0)
    return struct.pack(
        "<16s4x28xQQ32s32x32s96xHH60x64s", cpu_svn, flags, _XFRM, measurement, signer, product, svn, report_data
    )


def guest(tcb: str, module_svn: int, code: bytes, report_data: bytes, *, debug: bool = False) -> bytes:
    """Lay out a TDX report body: 584 bytes. Registers that the guest's boot would extend are zero."""
    svns = bytes([module_svn, MODULE_VERSION]) + tdx_svns(tcb)[2:]
    own = _fields(code, debug=debug)
    head = struct.pack("<16s48s48s8x", svns, _MODULE, MODULE_SIGNER)
    return head + own.td_attributes + own.xfam + own.mr_td + bytes(7 * _SHA384) + report_data


def measurement_of(tee: evidence.Tee, code: bytes) -> bytes:
    """Return the measurement (32 bytes) of a program of this digest on a simulated machine."""
    return code if tee is evidence.Tee.SGX else td_measurement(code)


def td_measurement(code: bytes) -> bytes:
    """Return the measurement of a simulated guest that runs a program of this digest."""
    return evidence.td_measurement(_fields(code))


@dataclass(frozen=True)
class _Guest:
    """The fields of a guest's report that its measurement is made of."""

    td_attributes: bytes
    mr_td: bytes
    xfam: bytes = _XFAM
    mr_config_id: bytes = bytes(_SHA384)
    mr_owner: bytes = bytes(_SHA384)
    mr_owner_config: bytes = bytes(_SHA384)
    rt_mr0: bytes = bytes(_SHA384)
    rt_mr1: bytes = bytes(_SHA384)
    rt_mr2: bytes = bytes(_SHA384)
    rt_mr3: bytes = bytes(_SHA384)


def _fields(code: bytes, *, debug: bool = False) -> _Guest:
    attributes = struct.pack("<Q", _SEPT_VE_DISABLE | (_TD_DEBUG if debug else 0))
    return _Guest(attributes, hashlib.sha384(code).digest())
