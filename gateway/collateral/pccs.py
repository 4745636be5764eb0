"""Fetch collateral from a provisioning certificate caching service: a PCCS, or Intel's own (PCS), version 4 of its API.

Four requests: TCB info and QE identity of the TEE, the revocation list of the platform's certificates, and the
root's. The issuers' chains come in headers, in PEM, percent-encoded. What is signed is the exact text of a JSON
value, so that it is cut out of the answer and never written anew. Nothing here is trusted: `read_collateral` verifies
all of it under a root. Source: Intel, "PCCS API" (SGX DCAP, `QuoteGeneration/pccs`).
"""

from __future__ import annotations

import json
import ssl
import urllib.error
import urllib.parse
import urllib.request
from dataclasses import dataclass
from http.client import HTTPException
from pathlib import Path

from goldengrain.chaincode.protocol.collateral import MAX_COLLATERAL
from goldengrain.chaincode.protocol.evidence import Tee
from goldengrain.gateway.errors import PccsMalformed, PccsRefused, PccsUnknownPlatform, PccsUnreachable

TIMEOUT_S = 20.0
_NOT_FOUND = 404
_DER = b"\x30"
_SPACE = " \t\r\n"


@dataclass(frozen=True)
class _Answer:
    body: bytes
    headers: dict[str, str]

    def chain(self, *names: str) -> str:
        """A chain of certificates from the first of these headers that is there."""
        for name in names:
            if name.lower() in self.headers:
                return urllib.parse.unquote(self.headers[name.lower()])
        raise PccsMalformed(f"the service's answer lacks the header {names[0]}")


@dataclass(frozen=True)
class Pccs:
    """A service at a URL (`http` only on this machine); ``roots`` is a PEM file for its own TLS certificate."""

    url: str
    roots: Path | None = None
    timeout: float = TIMEOUT_S

    def __post_init__(self) -> None:
        parts = urllib.parse.urlsplit(self.url)
        local = parts.hostname in ("127.0.0.1", "localhost", "::1")
        if parts.scheme not in ("https", "http") or not parts.hostname or (parts.scheme == "http" and not local):
            raise PccsRefused(f"{self.url!r} is no URL of a collateral service: it begins with https://")

    def fetch(self, fmspc: bytes, tee: Tee, authority: str = "platform") -> str:
        """Return the collateral (JSON as dcap-qvl has it) of a platform kind; `authority` is `platform` or `processor`.

        Raises:
            PccsUnreachable: no answer, or none within the timeout.
            PccsUnknownPlatform: the service knows nothing of this FMSPC.
            PccsRefused: it answers with another status than 200.
            PccsMalformed: its answer is not what the API says.

        """
        kind = tee.lower()
        tcb = self._get(kind, f"tcb?fmspc={fmspc.hex().upper()}")
        identity = self._get(kind, "qe/identity")
        pck_crl = self._get("sgx", f"pckcrl?ca={authority}&encoding=der")
        root_crl = self._get("sgx", "rootcacrl")
        tcb_info, tcb_signature = signed_part(tcb.body, "tcbInfo")
        qe_identity, qe_signature = signed_part(identity.body, "enclaveIdentity")
        return json.dumps(
            {
                "pck_crl_issuer_chain": pck_crl.chain("SGX-PCK-CRL-Issuer-Chain"),
                "root_ca_crl": revocation_list(root_crl.body).hex(),
                "pck_crl": revocation_list(pck_crl.body).hex(),
                "tcb_info_issuer_chain": tcb.chain("TCB-Info-Issuer-Chain", "SGX-TCB-Info-Issuer-Chain"),
                "tcb_info": tcb_info,
                "tcb_info_signature": tcb_signature,
                "qe_identity_issuer_chain": identity.chain("SGX-Enclave-Identity-Issuer-Chain"),
                "qe_identity": qe_identity,
                "qe_identity_signature": qe_signature,
            }
        )

    def _get(self, kind: str, path: str) -> _Answer:
        url = f"{_base(self.url)}/{kind}/certification/v4/{path}"
        try:
            with urllib.request.urlopen(url, timeout=self.timeout, context=self._context()) as reply:  # noqa: S310 - see above
                body = reply.read(MAX_COLLATERAL + 1)
                headers = {name.lower(): value for name, value in reply.headers.items()}
        except urllib.error.HTTPError as error:
            error.close()
            if error.code == _NOT_FOUND:
                raise PccsUnknownPlatform(
                    f"{url}: the service doesn't know this platform; is the FMSPC right?"
                ) from error
            raise PccsRefused(f"{url}: status {error.code}; ask whoever runs the service") from error
        except (OSError, HTTPException, ValueError) as error:
            raise PccsUnreachable(f"{url}: {error}; try again, or name another service") from error
        if len(body) > MAX_COLLATERAL:
            raise PccsMalformed(f"{url}: more than {MAX_COLLATERAL:,} bytes")
        return _Answer(body, headers)

    def _context(self) -> ssl.SSLContext | None:
        if self.url.startswith("http:"):
            return None
        return ssl.create_default_context(cafile=None if self.roots is None else str(self.roots))


def signed_part(body: bytes, name: str) -> tuple[str, str]:
    """Return the exact text of a member of a JSON object, and the object's `signature`; raises `PccsMalformed`."""
    try:
        text = body.decode()
        document = json.loads(text)
        signature = document["signature"]
        found = _member(text, name)
    except (ValueError, KeyError, TypeError, RecursionError) as error:
        raise PccsMalformed(f"the service's answer is no JSON of {name} and signature") from error
    if not isinstance(signature, str) or not isinstance(document[name], dict):
        raise PccsMalformed(f"the service's answer is no JSON of {name} and signature")
    return found, signature


def _member(text: str, name: str) -> str:
    """The text of an object's member, between its first character and its last. `ValueError` where there is none."""
    decoder, at = json.JSONDecoder(), _after(text, 0, "{")
    while True:
        key, at = decoder.raw_decode(text, _skip(text, at))
        start = _skip(text, _after(text, at, ":"))
        _, at = decoder.raw_decode(text, start)
        if key == name:
            return text[start:at]
        at = _after(text, at, ",")


def _after(text: str, at: int, mark: str) -> int:
    at = _skip(text, at)
    if text[at : at + 1] != mark:
        raise ValueError(f"{mark} expected at {at}")
    return at + 1


def _skip(text: str, at: int) -> int:
    while at < len(text) and text[at] in _SPACE:
        at += 1
    return at


def revocation_list(body: bytes) -> bytes:
    """Return a list in DER, which services give as it is or in hex; raises `PccsMalformed`."""
    if body.startswith(_DER):
        return body
    try:
        return bytes.fromhex(body.decode("ascii").strip())
    except ValueError as error:
        raise PccsMalformed("the service's revocation list is neither DER nor hex") from error


def _base(url: str) -> str:
    """The URL before the path of the API, which people give with or without it."""
    trimmed = url.rstrip("/")
    for kind in ("sgx", "tdx"):
        trimmed = trimmed.removesuffix(f"/{kind}/certification/v4")
    return trimmed
