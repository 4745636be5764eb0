"""The simulated quoting enclave: complete SGX DCAP v3 quotes under a development root.

A quote of it passes through the very verification that a quote of real hardware passes through (`dcap-qvl`), check for
check; only the root differs, so a policy that names Intel's root refuses it. Layout: Intel's "SGX ECDSA Quote Library
Reference", appendix A. A platform is one machine with its own PCK key and certificate.

Example::

    platform = SimulatedPlatform(root, name="org2-machine")
    quote = platform.quote(report_data, measurement)
    collateral = platform.collateral(at=clock.now())
"""

from __future__ import annotations

import hashlib
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from goldengrain.enclave.quoting.development_root import (
    COLLATERAL_DAYS,
    EVALUATION,
    FMSPC,
    PCE_ID,
    PCE_SVN,
    QE_MEASUREMENT,
    QE_SIGNER,
    QE_SVN,
    QE_VENDOR,
    DevelopmentRoot,
    component_svns,
    pem,
    raw_signature,
)
from goldengrain.enclave.quoting.sgx_extension import OID, sgx_extension

SIGNER = hashlib.sha256(b"golden-grain simulated enclave: signer").digest()
"""MRSIGNER of the simulated enclaves."""

REPORT_DATA = 64
MEASUREMENT = 32
_INITIALISED_64_BIT, _DEBUG = 0x05, 0x02
_XFRM = 0xE7
_ECDSA_P256, _PCK_CHAIN = 2, 5
_QE_PRODUCT, _ENCLAVE_PRODUCT, _ENCLAVE_SVN = 1, 0, 1


class SimulatedPlatform:
    """One simulated machine: its PCK certificate under `root`, and the quoting enclave that runs on it.

    `name` tells machines under one root apart and fixes their keys; `tcb` is the status that its collateral will
    report: UpToDate, SWHardeningNeeded, ConfigurationNeeded, OutOfDate or Revoked.
    """

    def __init__(
        self, root: DevelopmentRoot, *, name: str = "simulated", fmspc: bytes = FMSPC, tcb: str = "UpToDate"
    ) -> None:
        self._root = root
        self.name, self.fmspc, self.tcb = name, fmspc, tcb
        self._cpu_svn = component_svns(tcb)
        self._pck = root.derived_key(f"platform/{name}/pck")
        self._attestation = root.derived_key(f"platform/{name}/attestation")
        identity = hashlib.sha256(f"golden-grain simulated platform {name}".encode()).digest()
        extension = sgx_extension(
            ppid=identity[:16],
            cpu_svn=self._cpu_svn,
            pce_svn=PCE_SVN,
            pce_id=PCE_ID,
            fmspc=fmspc,
            platform_instance=identity[16:],
        )
        self.pck_certificate = root.issue_pck(self._pck.public_key(), extension, OID)
        chain = (self.pck_certificate, root.pck_authority.certificate, root.certificate)
        self._chain = "".join(map(pem, chain)).encode()

    def at_tcb(self, tcb: str) -> SimulatedPlatform:
        """Return the same machine at another TCB status."""
        return SimulatedPlatform(self._root, name=self.name, fmspc=self.fmspc, tcb=tcb)

    def quote(
        self,
        report_data: bytes,
        measurement: bytes,
        *,
        debug: bool = False,
        tcb: str | None = None,
        signer: bytes = SIGNER,
    ) -> bytes:
        """Make a quote over 64 bytes of report data for an enclave of the given MRENCLAVE (32 bytes).

        `debug` sets the debug attribute; `tcb` quotes as this machine would at that status. Raises `ValueError` for
        wrong sizes.
        """
        if len(report_data) != REPORT_DATA or len(measurement) != MEASUREMENT or len(signer) != MEASUREMENT:
            raise ValueError("report data has 64 bytes, measurement and signer 32 each")
        if tcb is not None and tcb != self.tcb:
            return self.at_tcb(tcb).quote(report_data, measurement, debug=debug, signer=signer)
        header = struct.pack("<HHIHH16s20s", 3, _ECDSA_P256, 0, QE_SVN, PCE_SVN, QE_VENDOR, bytes(20))
        flags = _INITIALISED_64_BIT | (_DEBUG if debug else 0)
        body = self._report(flags, measurement, signer, _ENCLAVE_PRODUCT, _ENCLAVE_SVN, report_data)
        signed = header + body
        attestation_key = _raw_public(self._attestation)
        authentication = hashlib.sha256(b"qe authentication" + self.name.encode()).digest()
        qe_data = hashlib.sha256(attestation_key + authentication).digest() + bytes(32)
        qe_report = self._report(_INITIALISED_64_BIT, QE_MEASUREMENT, QE_SIGNER, _QE_PRODUCT, QE_SVN, qe_data)
        signature = b"".join(
            (
                raw_signature(self._attestation, signed),
                attestation_key,
                qe_report,
                raw_signature(self._pck, qe_report),
                struct.pack("<H", len(authentication)) + authentication,
                struct.pack("<HI", _PCK_CHAIN, len(self._chain)) + self._chain,
            )
        )
        return signed + struct.pack("<I", len(signature)) + signature

    def collateral(
        self,
        *,
        at: int,
        days: int = COLLATERAL_DAYS,
        evaluation: int = EVALUATION,
        crl_number: int | None = None,
        revoked: bool = False,
    ) -> str:
        """Issue this platform's collateral (JSON) at time `at`; `revoked` puts its PCK certificate on the list."""
        return self._root.collateral(
            at=at,
            fmspc=self.fmspc,
            days=days,
            evaluation=evaluation,
            crl_number=crl_number,
            revoked_pck=(self.pck_certificate.serial_number,) if revoked else (),
        )

    def _report(
        self, flags: int, measurement: bytes, signer: bytes, product: int, svn: int, report_data: bytes
    ) -> bytes:
        """Lay out an SGX report body: 384 bytes."""
        attributes = struct.pack("<QQ", flags, _XFRM)
        return struct.pack(
            "<16s4s12s16s16s32s32s32s32s64sHHH42s16s64s",
            self._cpu_svn,
            bytes(4),
            bytes(12),
            bytes(16),
            attributes,
            measurement,
            bytes(32),
            signer,
            bytes(32),
            bytes(64),
            product,
            svn,
            0,
            bytes(42),
            bytes(16),
            report_data,
        )


def _raw_public(key: ec.EllipticCurvePrivateKey) -> bytes:
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return point[1:]
