"""The simulated quoting enclave: complete DCAP quotes, SGX's and TDX's, under a development root.

A quote of it passes through the very verification that a quote of real hardware passes through (`dcap-qvl`), check for
check; only the root differs, so a policy that names Intel's root refuses it. A platform is one machine with its own PCK
key and certificate, on which programs run as SGX enclaves or as TDX guests. Layouts: `bodies`.

Example::

    platform = SimulatedPlatform(root, name="org2-machine")               # or with tee=Tee.TDX
    quote = platform.quote(report_data, code)
    collateral = platform.collateral(at=clock.now())
    platform.measurement_of(code)                                         # what the quote will say runs there
"""

from __future__ import annotations

import hashlib
import struct

from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec

from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.enclave.quoting import bodies
from goldengrain.enclave.quoting.development_root import (
    COLLATERAL_DAYS,
    EVALUATION,
    FMSPC,
    MODULE_SVN,
    PCE_ID,
    PCE_SVN,
    QE_MEASUREMENT,
    QE_PRODUCTS,
    QE_SVN,
    QE_VENDOR,
    DevelopmentRoot,
    component_svns,
    pem,
    qe_signer,
    raw_signature,
)
from goldengrain.enclave.quoting.sgx_extension import OID, sgx_extension

REPORT_DATA = 64
MEASUREMENT = 32
_ECDSA_P256, _PCK_CHAIN, _QE_REPORT = 2, 5, 6


class SimulatedPlatform:
    """One simulated machine: its PCK certificate under `root`, and the quoting enclave that runs on it.

    `name` tells machines under one root apart and fixes their keys; `tcb` is the status that its collateral will
    report (`development_root.TCB_LEVELS`); `module_svn` is that of a TDX machine's TDX module.
    """

    def __init__(
        self,
        root: DevelopmentRoot,
        *,
        name: str = "simulated",
        fmspc: bytes = FMSPC,
        tcb: str = "UpToDate",
        tee: Tee = Tee.SGX,
        module_svn: int = MODULE_SVN,
    ) -> None:
        self._root = root
        self.name, self.fmspc, self.tcb, self.tee = name, fmspc, tcb, tee
        self._module_svn = module_svn
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
        return SimulatedPlatform(self._root, name=self.name, fmspc=self.fmspc, tcb=tcb, tee=self.tee)

    def measurement_of(self, code: bytes) -> bytes:
        """Return the measurement (32 bytes) that a quote for a program's digest will carry."""
        return bodies.measurement_of(self.tee, code)

    def quote(self, report_data: bytes, code: bytes, *, debug: bool = False, tcb: str | None = None) -> bytes:
        """Make a quote over 64 bytes of report data for a program of the given digest (32 bytes).

        On an SGX machine the digest is the MRENCLAVE; on a TDX machine MRTD is made of it. `debug` sets the debug
        attribute; `tcb` quotes as this machine would at that status. Raises `ValueError` for wrong sizes.
        """
        if len(report_data) != REPORT_DATA or len(code) != MEASUREMENT:
            raise ValueError("report data has 64 bytes, the program's digest 32")
        if tcb is not None and tcb != self.tcb:
            return self.at_tcb(tcb).quote(report_data, code, debug=debug)
        if self.tee is Tee.SGX:
            body = bodies.enclave(self._cpu_svn, code, report_data, debug=debug)
            signed = struct.pack("<HHIHH16s20s", 3, _ECDSA_P256, 0, QE_SVN, PCE_SVN, QE_VENDOR, bytes(20)) + body
        else:
            body = bodies.guest(self.tcb, self._module_svn, code, report_data, debug=debug)
            signed = struct.pack("<HHI4x16s20s", 4, _ECDSA_P256, bodies.TDX_TYPE, QE_VENDOR, bytes(20)) + body
        signature = self._signature(signed)
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
            tee=self.tee,
            days=days,
            evaluation=evaluation,
            crl_number=crl_number,
            revoked_pck=(self.pck_certificate.serial_number,) if revoked else (),
        )

    def _signature(self, signed: bytes) -> bytes:
        """Lay out the signature data: the attestation key's signature, and what certifies that key."""
        attestation_key = _raw_public(self._attestation)
        start = raw_signature(self._attestation, signed) + attestation_key
        certified = self._certified(attestation_key)
        if self.tee is Tee.SGX:
            return start + certified
        return start + struct.pack("<HI", _QE_REPORT, len(certified)) + certified

    def _certified(self, attestation_key: bytes) -> bytes:
        """The quoting enclave's report over the attestation key, signed by the PCK, with the PCK's certificates."""
        authentication = hashlib.sha256(b"qe authentication" + self.name.encode()).digest()
        data = hashlib.sha256(attestation_key + authentication).digest() + bytes(32)
        report = bodies.enclave(
            self._cpu_svn,
            QE_MEASUREMENT,
            data,
            signer=qe_signer(self.tee),
            product=QE_PRODUCTS[self.tee],
            svn=QE_SVN,
        )
        return b"".join(
            (
                report,
                raw_signature(self._pck, report),
                struct.pack("<H", len(authentication)) + authentication,
                struct.pack("<HI", _PCK_CHAIN, len(self._chain)) + self._chain,
            )
        )


def _raw_public(key: ec.EllipticCurvePrivateKey) -> bytes:
    point = key.public_key().public_bytes(serialization.Encoding.X962, serialization.PublicFormat.UncompressedPoint)
    return point[1:]
