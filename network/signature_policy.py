"""Fabric's signature policies, from text such as `AND('Org1MSP.peer', OR('Org2MSP.peer', 'Org3MSP.admin'))`.

The language is that of Fabric's own tools (`AND`, `OR`, `OutOf(n, …)` in any letter case, principals `'MSPID.role'`),
see https://hyperledger-fabric.readthedocs.io/en/latest/endorsement-policies.html.
"""

from __future__ import annotations

import re
from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import NoReturn

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2

from .errors import PolicyInvalid

_ROLES = {
    "member": msp_principal_pb2.MSPRole.MEMBER,
    "admin": msp_principal_pb2.MSPRole.ADMIN,
    "client": msp_principal_pb2.MSPRole.CLIENT,
    "peer": msp_principal_pb2.MSPRole.PEER,
    "orderer": msp_principal_pb2.MSPRole.ORDERER,
}
_TOKEN = re.compile(r"""\s*(?:(?P<word>[A-Za-z]+)|(?P<number>\d+)|(?P<sign>[(),])|(?P<text>'[^']*'|"[^"]*"))""")
_MAX_DEPTH = 16
_LONGEST_NUMBER = 4  # digits


def any_of(principals: Iterable[str]) -> policies_pb2.SignaturePolicyEnvelope:
    """One signature of any of these principals, each written `MSPID.role`.

    Raises:
        PolicyInvalid: if a principal is not of that form.

    """
    return parse_signature_policy(f"OR({', '.join(repr(principal) for principal in principals)})")


def parse_signature_policy(text: str) -> policies_pb2.SignaturePolicyEnvelope:
    """Translate a signature policy; equal principals are listed once.

    Raises:
        PolicyInvalid: if the text does not parse; the message says where.

    """
    parser = _Parser(text, _tokens(text))
    rule = parser.expression(0)
    parser.end()
    return policies_pb2.SignaturePolicyEnvelope(version=0, rule=rule, identities=parser.identities)


def _tokens(text: str) -> list[str]:
    tokens: list[str] = []
    position = 0
    stripped = text.rstrip()
    while position < len(stripped):
        match = _TOKEN.match(stripped, position)
        if match is None:
            raise PolicyInvalid(f"policy {text!r}: cannot read {stripped[position:].strip()[:20]!r}; {_HINT}")
        tokens.append(match.group().strip())
        position = match.end()
    return tokens


@dataclass
class _Parser:
    text: str
    tokens: list[str]
    position: int = 0
    identities: list[msp_principal_pb2.MSPPrincipal] = field(default_factory=list)

    def expression(self, depth: int) -> policies_pb2.SignaturePolicy:
        if depth > _MAX_DEPTH:
            self.fail(f"nested deeper than {_MAX_DEPTH}")
        token = self.take()
        if token[0] in "'\"":
            return policies_pb2.SignaturePolicy(signed_by=self.principal(token[1:-1]))
        gate = token.lower()
        if gate not in ("and", "or", "outof"):
            self.fail(f"{token!r} is not AND, OR, OutOf or a quoted principal")
        self.expect("(")
        wanted = self.number() if gate == "outof" else None
        rules = self.rules(depth)
        if wanted is None:
            wanted = len(rules) if gate == "and" else 1
        if not 1 <= wanted <= len(rules):
            self.fail(f"{wanted} of {len(rules)} can never be right")
        return policies_pb2.SignaturePolicy(n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=wanted, rules=rules))

    def rules(self, depth: int) -> list[policies_pb2.SignaturePolicy]:
        rules = [self.expression(depth + 1)]
        while (sign := self.take()) == ",":
            rules.append(self.expression(depth + 1))
        if sign != ")":
            self.fail(f"',' or ')' expected before {sign!r}")
        return rules

    def number(self) -> int:
        token = self.take()
        if not token.isdecimal() or len(token) > _LONGEST_NUMBER:
            self.fail(f"OutOf begins with a number, not {token!r}")
        self.expect(",")
        return int(token)

    def principal(self, name: str) -> int:
        msp_id, _, role = name.rpartition(".")
        if not msp_id or role.lower() not in _ROLES:
            self.fail(f"{name!r} is not MSPID.role with a role of {', '.join(_ROLES)}")
        principal = msp_principal_pb2.MSPPrincipal(
            principal_classification=msp_principal_pb2.MSPPrincipal.ROLE,
            principal=msp_principal_pb2.MSPRole(msp_identifier=msp_id, role=_ROLES[role.lower()]).SerializeToString(),
        )
        if principal not in self.identities:
            self.identities.append(principal)
        return self.identities.index(principal)

    def take(self) -> str:
        if self.position >= len(self.tokens):
            self.fail("it ends too early")
        self.position += 1
        return self.tokens[self.position - 1]

    def expect(self, wanted: str) -> None:
        token = self.take()
        if token != wanted:
            self.fail(f"{wanted!r} expected, not {token!r}")

    def end(self) -> None:
        if self.position < len(self.tokens):
            self.fail(f"{self.tokens[self.position]!r} is left over")

    def fail(self, reason: str) -> NoReturn:
        raise PolicyInvalid(f"policy {self.text!r}: {reason}; {_HINT}")


_HINT = "write for example AND('Org1MSP.peer','Org2MSP.peer') or OutOf(2,'Org1MSP.peer','Org2MSP.peer','Org3MSP.peer')"
