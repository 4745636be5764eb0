"""What may happen to a report between enclave and ledger (`ledger.TAMPERINGS`), done to the chaincode's reports.

Offer, claim and ticket are changed in what is signed; result and signature in what is sent.
"""

from __future__ import annotations

from dataclasses import dataclass, replace

from goldengrain.chaincode.protocol.report import Outcome, Report, Result
from goldengrain.chaincode.protocol.ticket import Ticket
from tests.parity import objects

N = 0xFFFFFFFF_FFFFFFFF_FFFFFFFF_FFFFFFFE_BAAEDCE6_AF48A03B_BFD25E8C_D0364141
"""Order of secp256k1."""


def tampered_signature(tamper: str | None, signature: bytes) -> bytes:
    """Change the 65 bytes r, s, v as a tampering says; the same on every ledger."""
    r, s, v = signature[:32], signature[32:64], signature[64]
    if tamper == "bit":
        r = bytes((*r[:31], r[31] ^ 1))
    elif tamper == "high-s":
        s, v = (N - int.from_bytes(s, "big")).to_bytes(32, "big"), 55 - v
    elif tamper == "recovery":
        v -= 27
    elif tamper == "parity":
        v = 55 - v
    elif tamper == "zero":
        r, s, v = bytes(32), bytes(32), 27
    return r + s + bytes((v,))


def tampered_result(tamper: str | None, result: Result, eta: int) -> Result:
    """Change what is sent after it was signed; the same on every ledger. Score, `locked` and model are of a pass."""
    passed = result.outcome is Outcome.PASS
    if tamper == "outcome":
        return Result(Outcome.FAILED if result.outcome is Outcome.DECLINED else Outcome.DECLINED)
    if tamper == "score" and passed:
        return replace(result, score=result.score + eta)
    if tamper == "locked" and passed:
        return replace(result, locked=result.locked[:-1] + bytes((result.locked[-1] ^ 1,)))
    if tamper == "model" and passed:
        return replace(result, model=objects.word("another model"))
    return result


def signer(tamper: str | None, enclave: str) -> str:
    """Return whose key signs."""
    if tamper != "signer":
        return enclave
    return "E2a" if enclave == "E1a" else "E1a"


@dataclass(frozen=True)
class Signing:
    """A report as it is sent: the result, the enclave that claims to have made it, and the signature."""

    result: Result
    enclave: str
    signature: bytes

    @classmethod
    def of(cls, report: Report, ticket: Ticket, enclave: str, tamper: str | None, eta: int) -> Signing:
        """Sign a report as its enclave does, tampered with or not."""
        signed = report
        if tamper == "claim":
            signed = replace(report, claim=report.claim + 1)
        elif tamper == "offer":
            signed = replace(report, offer=objects.word("another offer"))
        elif tamper == "ticket":
            signed = replace(report, ticket=replace(ticket, threshold=ticket.threshold + eta).digest())
        elif tamper == "ledger":
            signed = replace(report, channel="another channel")
        elif tamper == "contract":
            signed = replace(report, contract="another contract")
        signature = signed.sign(objects.signing_key(signer(tamper, enclave)))
        return cls(tampered_result(tamper, report.result, eta), enclave, tampered_signature(tamper, signature))
