"""The parsers of attestation and tickets: quotes, collateral, policies, certificates, services' answers, transactions.

The first two bytes choose a parser, the rest is its input. A named refusal is what is expected; anything else is a
find.
"""

from __future__ import annotations

import json
import ssl
import tempfile
from collections.abc import Callable
from functools import cache
from pathlib import Path

from goldengrain.chaincode.protocol import collateral, quotes
from goldengrain.chaincode.protocol.errors import GoldenGrainError
from goldengrain.chaincode.protocol.policy import TrustBundle
from goldengrain.chaincode.protocol.quote_rules import read_rules
from goldengrain.chaincode.protocol.ticket import JobTicketPayload
from goldengrain.enclave import ratls, service
from goldengrain.enclave.msp import Endorsers
from goldengrain.enclave.quoting import DevelopmentRoot
from goldengrain.enclave.quoting.development_root import FMSPC
from goldengrain.enclave.transaction import parse_transaction
from goldengrain.enclave.verify import parse_time, verify
from goldengrain.gateway.collateral.pccs import revocation_list, signed_part
from tests.enclave.fabric import Consortium

AT = 1_900_000_000


@cache
def _root() -> DevelopmentRoot:
    return DevelopmentRoot.create(Path(tempfile.mkdtemp()), at=AT)


@cache
def _collateral() -> str:
    return _root().collateral(at=AT, fmspc=FMSPC)


def _quote(data: bytes) -> None:
    verdict = verify(data, _collateral(), at=AT, root=_root().root_der)
    json.dumps(verdict.to_json())
    if verdict.accepted:
        raise AssertionError("a quote that nobody made is accepted")


def _text(data: bytes) -> str:
    return data.decode("utf-8", "surrogateescape")


def _rules(data: bytes) -> None:
    try:
        document = json.loads(data)
    except (ValueError, RecursionError):
        return
    read_rules(document).describe()


def _bundle(data: bytes) -> None:
    bundle = TrustBundle.from_bytes(data)
    bundle.check()
    Endorsers(bundle)


@cache
def _endorsers() -> tuple[Endorsers, Consortium]:
    consortium = Consortium()
    return Endorsers(consortium.bundle()), consortium


def _endorser(data: bytes) -> None:
    """A certificate in DER that somebody gives for a peer's; the signature is never right."""
    endorsers, _ = _endorsers()
    endorsers.check("Org1MSP", ssl.DER_cert_to_PEM_cert(data).encode(), AT, b"message", b"signature")


def _signed(data: bytes) -> None:
    found, _ = signed_part(data, "tcbInfo")
    if not isinstance(json.loads(found), dict) or found.encode() not in data:
        raise AssertionError("the signed part is not the text that was there")


PARSERS: tuple[Callable[[bytes], object], ...] = (
    _quote,
    lambda data: quotes.inspect_quote(data, _collateral(), _root().root_der, AT),
    lambda data: collateral.read_collateral(_text(data), _root().root_der, AT),
    _rules,
    lambda data: ratls.check(data, ratls.Trust((), read_rules({})), "{}", AT),
    ratls._claimed_hash,
    parse_transaction,
    JobTicketPayload.from_bytes,
    _bundle,
    lambda data: service._parse(data, {"nonce": None}),
    _signed,
    revocation_list,
    lambda data: parse_time(_text(data)),
    _endorser,
)


def attestation(data: bytes) -> None:
    """Give a parser, which the first two bytes choose, the rest."""
    parser = PARSERS[int.from_bytes(data[:2], "big") % len(PARSERS)]
    try:
        parser(data[2:])
    except GoldenGrainError:
        return
