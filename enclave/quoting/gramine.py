"""Quotes of an SGX machine through Gramine's pseudo-files in `/dev/attestation` (Gramine manual, "Attestation").

`attestation_type` says how this enclave is attested; 64 bytes written to `user_report_data` go into the quote that is
then read from `quote`. There is one pair of files an enclave, so one quote is made at a time. RA-TLS certificates are
made by Gramine's own library, through `gramine_ratls`; its temporary folder is inside the enclave (a tmpfs).
"""

from __future__ import annotations

import tempfile
import threading
from pathlib import Path

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import load_der_private_key

from goldengrain.enclave.errors import QuotingUnavailable
from goldengrain.enclave.ratls import Certified

ATTESTATION = Path("/dev/attestation")
_DCAP = "dcap"
_MAX_QUOTE = 16_384


class Gramine:
    """The pseudo-files, in `folder`; raises `QuotingUnavailable` where they are not, or don't make DCAP quotes."""

    def __init__(self, folder: Path = ATTESTATION) -> None:
        self._folder = folder
        self._turn = threading.Lock()
        kind = self._read("attestation_type").rstrip(b"\0\n").decode("ascii", "replace")
        if kind != _DCAP:
            raise QuotingUnavailable(
                f"Gramine attests by {kind!r}, not by DCAP: build the manifest with `goldengrain enclave build`, and "
                "start it with gramine-sgx"
            )

    def quote(self, report_data: bytes) -> bytes:
        """Return a quote that binds 64 bytes; raises `QuotingUnavailable`."""
        with self._turn:
            try:
                (self._folder / "user_report_data").write_bytes(report_data)
            except OSError as error:
                raise QuotingUnavailable(f"Gramine takes no report data: {error.strerror}") from error
            return self._read("quote")

    def certified(self) -> Certified:
        """Have Gramine make an RA-TLS key and certificate (`gramine-ratls`); raises `QuotingUnavailable`."""
        with self._turn, tempfile.TemporaryDirectory() as folder:
            return _certified(Path(folder))

    def _read(self, name: str) -> bytes:
        try:
            with (self._folder / name).open("rb") as file:
                return file.read(_MAX_QUOTE)
        except OSError as error:
            raise QuotingUnavailable(
                f"{self._folder / name} can't be read ({error.strerror}): is this inside Gramine, on a machine with "
                "SGX, its AESM service running?"
            ) from error


def _certified(folder: Path) -> Certified:
    key_file, certificate_file = folder / "key.der", folder / "certificate.der"
    try:
        from gramine_ratls.attest import write_ra_tls_key_and_crt

        write_ra_tls_key_and_crt(str(key_file), str(certificate_file), format="der")
        key = load_der_private_key(key_file.read_bytes(), None)
        if not isinstance(key, ec.EllipticCurvePrivateKey):
            raise ValueError("its key is not on an elliptic curve")
        return Certified(certificate_file.read_bytes(), key)
    except Exception as error:  # the library raises `Exception` itself
        raise QuotingUnavailable(
            f"Gramine makes no RA-TLS certificate: {error}; are the extra `gramine` and Gramine's libra_tls_attest.so "
            "there?"
        ) from error
