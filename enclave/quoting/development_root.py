"""A development root: what stands in for Intel's certificate authorities on a machine without SGX.

It issues what Intel's provisioning service issues, in the same formats: PCK certificates, TCB info, QE identity and the
revocation lists. Nothing under it is worth anything to a policy that names Intel's root; whatever rests on it is
`simulated`. The folder holds two files: ``root.key`` (PEM, mode 0600) and ``root.der``; the keys beneath the root are
derived from its own, so that every process that loads the folder issues under the same authorities.

Example::

    root = DevelopmentRoot.create(Path("root"))       # or DevelopmentRoot.load(Path("root"))
    collateral = root.collateral(at=clock.now())      # JSON, as dcap_qvl.QuoteCollateralV3 reads it
"""

from __future__ import annotations

import hashlib
import json
import os
from collections.abc import Sequence
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from pathlib import Path
from typing import Any

from cryptography import x509
from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives import hashes, serialization
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import decode_dss_signature
from cryptography.hazmat.primitives.kdf.hkdf import HKDF
from cryptography.x509.oid import NameOID

from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.chaincode.protocol.unreadable import UNREADABLE
from goldengrain.enclave.errors import QuotingUnavailable

ORGANIZATION = "SIMULATED - not Intel"
FMSPC = bytes.fromhex("5a1a00000000")
PCE_ID = bytes(2)
PCE_SVN = 13
EVALUATION = 17
DAY = 86_400
COLLATERAL_DAYS = 30
ISSUED_BEFORE = 3_600
"""Collateral is dated an hour back, so that clocks which differ by the ledger's window all accept it."""

QE_VENDOR = bytes.fromhex("939a7233f79c4ca9940a0db3957f0607")
QE_MEASUREMENT = hashlib.sha256(b"golden-grain simulated quoting enclave: code").digest()
QE_SVN = 8
QE_PRODUCTS = {Tee.SGX: 1, Tee.TDX: 2}
"""ISVPRODID of the quoting enclaves."""
MODULE_SIGNER = hashlib.sha384(b"golden-grain simulated TDX module: signer").digest()
MODULE_VERSION, MODULE_SVN = 1, 6

TCB_LEVELS = (
    ("UpToDate", 8, ()),
    ("SWHardeningNeeded", 7, ("SIM-SA-00003",)),
    ("ConfigurationNeeded", 6, ("SIM-SA-00002",)),
    ("ConfigurationAndSWHardeningNeeded", 5, ("SIM-SA-00002", "SIM-SA-00003")),
    ("OutOfDate", 4, ("SIM-SA-00001",)),
    ("OutOfDateConfigurationNeeded", 3, ("SIM-SA-00001", "SIM-SA-00002")),
    ("Revoked", 0, ("SIM-SA-00000",)),
)
"""TCB statuses from the best down: name, the least SVN of the first eight components, advisories."""

_YEARS = timedelta(days=3650)
_CURVE_ORDER = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551


def qe_signer(tee: Tee) -> bytes:
    """Return MRSIGNER of the quoting enclave that quotes for a TEE."""
    return hashlib.sha256(f"golden-grain simulated quoting enclave of {tee}: signer".encode()).digest()


def component_svns(status: str) -> bytes:
    """Return the CPUSVN (16 bytes) that the collateral rates as `status`; `ValueError` for an unknown status."""
    for name, svn, _ in TCB_LEVELS:
        if name == status:
            return bytes([svn] * 8 + [0] * 8)
    known = ", ".join(name for name, *_ in TCB_LEVELS)
    raise ValueError(f"no simulated TCB level is rated {status!r}; there are {known}")


def raw_signature(key: ec.EllipticCurvePrivateKey, message: bytes) -> bytes:
    """Sign with ECDSA P-256 and SHA-256 as quotes and collateral carry it: r ‖ s, 64 bytes."""
    r, s = decode_dss_signature(key.sign(message, ec.ECDSA(hashes.SHA256())))
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def pem(certificate: x509.Certificate) -> str:
    """Return the certificate as PEM text."""
    return certificate.public_bytes(serialization.Encoding.PEM).decode()


@dataclass(frozen=True)
class Authority:
    """A key and its certificate."""

    key: ec.EllipticCurvePrivateKey
    certificate: x509.Certificate


class DevelopmentRoot:
    """The root of trust of simulated quotes; see the module's docstring. Made by `create` or `load`."""

    def __init__(self, root: Authority) -> None:
        self._root = root
        self.pck_authority = self._beneath("pck platform ca", "SIMULATED SGX PCK Platform CA", authority=True)
        self._tcb_signer = self._beneath("tcb signing", "SIMULATED SGX TCB Signing", authority=False)

    @classmethod
    def create(cls, folder: Path, *, at: int | None = None) -> DevelopmentRoot:
        """Make a root in `folder`, certificates valid for ten years from a day before `at` (seconds; now by default).

        Raises `QuotingUnavailable` where the folder already holds one.
        """
        folder.mkdir(parents=True, exist_ok=True)
        if (folder / "root.key").exists():
            raise QuotingUnavailable(f"{folder} already holds a development root: load it, or choose another folder")
        key = ec.generate_private_key(ec.SECP256R1())
        start = (datetime.now(UTC) if at is None else _when(at)) - timedelta(days=1)
        name = _name("SIMULATED SGX Root CA")
        builder = _builder(name, name, key.public_key(), start.replace(microsecond=0), b"root")
        certificate = _certified(builder, key, key.public_key(), authority=True)
        text = key.private_bytes(
            serialization.Encoding.PEM, serialization.PrivateFormat.PKCS8, serialization.NoEncryption()
        )
        (folder / "root.der").write_bytes(certificate.public_bytes(serialization.Encoding.DER))
        with os.fdopen(os.open(folder / "root.key", os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
            file.write(text)
        return cls(Authority(key, certificate))

    @classmethod
    def load(cls, folder: Path) -> DevelopmentRoot:
        """Read a root that `create` wrote; raises `QuotingUnavailable` where there is none or it doesn't fit."""
        try:
            key = serialization.load_pem_private_key((folder / "root.key").read_bytes(), None)
            certificate = x509.load_der_x509_certificate((folder / "root.der").read_bytes())
            if not isinstance(key, ec.EllipticCurvePrivateKey) or certificate.public_key() != key.public_key():
                raise ValueError("root.key is not the key of root.der")
            certificate.verify_directly_issued_by(certificate)
        except (OSError, TypeError, InvalidSignature, *UNREADABLE) as error:
            raise QuotingUnavailable(
                f"no development root in {folder}: {error}; make one with DevelopmentRoot.create"
            ) from error
        return cls(Authority(key, certificate))

    @property
    def certificate(self) -> x509.Certificate:
        """The root's certificate."""
        return self._root.certificate

    @property
    def root_der(self) -> bytes:
        """The root's certificate in DER: what a policy names."""
        return self._root.certificate.public_bytes(serialization.Encoding.DER)

    def derived_key(self, purpose: str) -> ec.EllipticCurvePrivateKey:
        """Return the P-256 key that belongs to `purpose` under this root, the same on every call."""
        secret = self._root.key.private_numbers().private_value.to_bytes(32, "big")
        material = HKDF(hashes.SHA256(), 48, None, b"golden-grain simulated/" + purpose.encode()).derive(secret)
        return ec.derive_private_key(int.from_bytes(material, "big") % (_CURVE_ORDER - 1) + 1, ec.SECP256R1())

    def issue_pck(self, public: ec.EllipticCurvePublicKey, extension: bytes, extension_oid: str) -> x509.Certificate:
        """Issue a PCK certificate that carries the SGX extension."""
        authority = self.pck_authority
        serial = (
            public.public_bytes(serialization.Encoding.X962, serialization.PublicFormat.CompressedPoint) + extension
        )
        builder = _builder(
            _name("SIMULATED SGX PCK Certificate"), authority.certificate.subject, public, self._start, serial
        )
        oid = x509.ObjectIdentifier(extension_oid)
        builder = builder.add_extension(x509.UnrecognizedExtension(oid, extension), critical=False)
        return _certified(builder, authority.key, authority.key.public_key(), authority=False)

    def collateral(
        self,
        *,
        at: int,
        fmspc: bytes = FMSPC,
        tee: Tee = Tee.SGX,
        days: int = COLLATERAL_DAYS,
        evaluation: int = EVALUATION,
        crl_number: int | None = None,
        revoked_pck: Sequence[int] = (),
    ) -> str:
        """Issue collateral for one FMSPC and TEE at time `at` (seconds): JSON as dcap-qvl reads it.

        It is dated an hour before `at` and valid for `days` from `at`; `crl_number` is the day's number unless given,
        so that it only rises; `revoked_pck` are serial numbers of PCK certificates to revoke.
        """
        number = at // DAY if crl_number is None else crl_number
        signer_chain = pem(self._tcb_signer.certificate) + pem(self._root.certificate)
        tcb_info = _compact(_tcb_info(tee, fmspc, at, days, evaluation))
        identity = _compact(_qe_identity(tee, at, days, evaluation))
        document = {
            "pck_crl_issuer_chain": pem(self.pck_authority.certificate) + pem(self._root.certificate),
            "root_ca_crl": _crl(self._root, at, days, number).hex(),
            "pck_crl": _crl(self.pck_authority, at, days, number, revoked_pck).hex(),
            "tcb_info_issuer_chain": signer_chain,
            "tcb_info": tcb_info,
            "tcb_info_signature": raw_signature(self._tcb_signer.key, tcb_info.encode()).hex(),
            "qe_identity_issuer_chain": signer_chain,
            "qe_identity": identity,
            "qe_identity_signature": raw_signature(self._tcb_signer.key, identity.encode()).hex(),
        }
        return json.dumps(document)

    @property
    def _start(self) -> datetime:
        return self._root.certificate.not_valid_before_utc

    def _beneath(self, purpose: str, common_name: str, *, authority: bool) -> Authority:
        key, parent = self.derived_key(purpose), self._root
        builder = _builder(
            _name(common_name), parent.certificate.subject, key.public_key(), self._start, purpose.encode()
        )
        return Authority(key, _certified(builder, parent.key, parent.key.public_key(), authority=authority))


def _when(at: int) -> datetime:
    return datetime.fromtimestamp(at, UTC)


def _name(common_name: str) -> x509.Name:
    return x509.Name(
        [
            x509.NameAttribute(NameOID.COMMON_NAME, common_name),
            x509.NameAttribute(NameOID.ORGANIZATION_NAME, ORGANIZATION),
            x509.NameAttribute(NameOID.COUNTRY_NAME, "XX"),
        ]
    )


def _builder(
    subject: x509.Name, issuer: x509.Name, public: ec.EllipticCurvePublicKey, start: datetime, serial: bytes
) -> x509.CertificateBuilder:
    number = int.from_bytes(hashlib.sha256(serial).digest()[:19], "big") + 1
    return (
        x509.CertificateBuilder()
        .subject_name(subject)
        .issuer_name(issuer)
        .public_key(public)
        .serial_number(number)
        .not_valid_before(start)
        .not_valid_after(start + _YEARS)
        .add_extension(x509.SubjectKeyIdentifier.from_public_key(public), critical=False)
    )


def _certified(
    builder: x509.CertificateBuilder,
    signer: ec.EllipticCurvePrivateKey,
    issuer: ec.EllipticCurvePublicKey,
    *,
    authority: bool,
) -> x509.Certificate:
    usage = x509.KeyUsage(
        digital_signature=not authority,
        content_commitment=not authority,
        key_encipherment=False,
        data_encipherment=False,
        key_agreement=False,
        key_cert_sign=authority,
        crl_sign=authority,
        encipher_only=False,
        decipher_only=False,
    )
    return (
        builder.add_extension(x509.BasicConstraints(ca=authority, path_length=None), critical=True)
        .add_extension(usage, critical=True)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer), critical=False)
        .sign(signer, hashes.SHA256())
    )


def _crl(issuer: Authority, at: int, days: int, number: int, revoked: Sequence[int] = ()) -> bytes:
    issued = _when(at - ISSUED_BEFORE)
    builder = (
        x509.CertificateRevocationListBuilder()
        .issuer_name(issuer.certificate.subject)
        .last_update(issued)
        .next_update(_when(at + days * DAY))
        .add_extension(x509.CRLNumber(number), critical=False)
        .add_extension(x509.AuthorityKeyIdentifier.from_issuer_public_key(issuer.key.public_key()), critical=False)
    )
    for serial in revoked:
        entry = x509.RevokedCertificateBuilder().serial_number(serial).revocation_date(issued).build()
        builder = builder.add_revoked_certificate(entry)
    return builder.sign(issuer.key, hashes.SHA256()).public_bytes(serialization.Encoding.DER)


def _dates(at: int, days: int) -> dict[str, str]:
    return {"issueDate": _stamp(at - ISSUED_BEFORE), "nextUpdate": _stamp(at + days * DAY)}


def _tcb_info(tee: Tee, fmspc: bytes, at: int, days: int, evaluation: int) -> dict[str, Any]:
    return {
        "id": tee.value,
        "version": 3,
        **_dates(at, days),
        "fmspc": fmspc.hex().upper(),
        "pceId": PCE_ID.hex().upper(),
        "tcbType": 0,
        "tcbEvaluationDataNumber": evaluation,
        **(_tdx_module(at) if tee is Tee.TDX else {}),
        "tcbLevels": [_level(tee, at, status, advisories) for status, _, advisories in TCB_LEVELS],
    }


def _level(tee: Tee, at: int, status: str, advisories: Sequence[str]) -> dict[str, Any]:
    components = [{"svn": svn} for svn in component_svns(status)]
    tdx = {"tdxtcbcomponents": [{"svn": svn} for svn in tdx_svns(status)]} if tee is Tee.TDX else {}
    return {
        "tcb": {"sgxtcbcomponents": components, "pcesvn": PCE_SVN if status != "Revoked" else 0, **tdx},
        "tcbDate": _stamp(at - ISSUED_BEFORE),
        "tcbStatus": status,
        "advisoryIDs": list(advisories),
    }


def tdx_svns(status: str) -> bytes:
    """Return the SVNs of a TDX platform's TCB (16 bytes) at a status: the module's two first, then the firmware's."""
    return bytes([0, 0]) + component_svns(status)[:8] + bytes(6)


def _tdx_module(at: int) -> dict[str, Any]:
    module = {"mrsigner": MODULE_SIGNER.hex().upper(), "attributes": "00" * 8, "attributesMask": "FF" * 8}
    levels = [
        {"tcb": {"isvsvn": svn}, "tcbDate": _stamp(at - ISSUED_BEFORE), "tcbStatus": status, "advisoryIDs": advisories}
        for svn, status, advisories in ((MODULE_SVN, "UpToDate", []), (MODULE_SVN - 2, "OutOfDate", ["SIM-SA-00004"]))
    ]
    identity = {"id": f"TDX_{MODULE_VERSION:02X}", **module, "tcbLevels": levels}
    return {"tdxModule": module, "tdxModuleIdentities": [identity]}


def _qe_identity(tee: Tee, at: int, days: int, evaluation: int) -> dict[str, Any]:
    return {
        "id": "QE" if tee is Tee.SGX else "TD_QE",
        "version": 2,
        **_dates(at, days),
        "tcbEvaluationDataNumber": evaluation,
        "miscselect": "00000000",
        "miscselectMask": "FFFFFFFF",
        "attributes": "05" + "00" * 15,
        "attributesMask": "FBFFFFFFFFFFFFFF" + "00" * 8,
        "mrsigner": qe_signer(tee).hex().upper(),
        "isvprodid": QE_PRODUCTS[tee],
        "tcbLevels": [{"tcb": {"isvsvn": QE_SVN}, "tcbDate": _stamp(at - ISSUED_BEFORE), "tcbStatus": "UpToDate"}],
    }


def _stamp(at: int) -> str:
    return _when(at).strftime("%Y-%m-%dT%H:%M:%SZ")


def _compact(document: dict[str, Any]) -> str:
    return json.dumps(document, separators=(",", ":"))
