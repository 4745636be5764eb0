"""The small language for signature policies that Fabric's command line has.

    OR('Org1MSP.peer', 'Org2MSP.peer')
    AND('Org1MSP.member', OR('Org2MSP.admin', 'Org3MSP.client'))
    OutOf(2, 'Org1MSP.peer', 'Org2MSP.peer', 'Org3MSP.peer')

Names of the functions are case-insensitive; a principal is an MSP id, a dot, and one of member, admin, client, peer,
orderer. Each distinct principal gets one entry of the envelope's `identities`, in the order of first mention.
"""

import re
from collections.abc import Iterable

from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2
from fabric_protos.peer import policy_pb2

from goldengrain.network.embedded.errors import PolicySyntaxError

_TOKEN = re.compile(r"\s*(?:(?P<string>'[^']*'|\"[^\"]*\")|(?P<word>[A-Za-z]+)|(?P<number>\d+)|(?P<mark>[(),]))")
_PRINCIPAL = re.compile(r"(?P<msp>[A-Za-z0-9.\-]+)\.(?P<role>member|admin|client|peer|orderer)")
_MAX_DEPTH = 16
_ROLE = msp_principal_pb2.MSPRole


def signature_policy(text: str) -> policies_pb2.SignaturePolicyEnvelope:
    """Parse a policy; raises PolicySyntaxError with the place of the fault."""
    parser = _Parser(text)
    rule = parser.rule(0)
    parser.end()
    return policies_pb2.SignaturePolicyEnvelope(version=0, rule=rule, identities=parser.identities)


def n_of_roles(
    needed: int, msp_ids: Iterable[str], role: "_ROLE.MSPRoleType.ValueType"
) -> policies_pb2.SignaturePolicyEnvelope:
    """At least `needed` of the organisations, each by an identity in `role`."""
    identities = [_principal(msp_id, role) for msp_id in msp_ids]
    rules = [policies_pb2.SignaturePolicy(signed_by=index) for index in range(len(identities))]
    rule = policies_pb2.SignaturePolicy(n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=needed, rules=rules))
    return policies_pb2.SignaturePolicyEnvelope(version=0, rule=rule, identities=identities)


def application_policy(text: str) -> bytes:
    """Make a serialised peer.ApplicationPolicy of a path (`/Channel/Application/Endorsement`) or a signature policy."""
    if text.startswith("/"):
        return policy_pb2.ApplicationPolicy(channel_config_policy_reference=text).SerializeToString()
    return policy_pb2.ApplicationPolicy(signature_policy=signature_policy(text)).SerializeToString()


def _principal(msp_id: str, role: "_ROLE.MSPRoleType.ValueType") -> msp_principal_pb2.MSPPrincipal:
    return msp_principal_pb2.MSPPrincipal(
        principal_classification=msp_principal_pb2.MSPPrincipal.ROLE,
        principal=_ROLE(msp_identifier=msp_id, role=role).SerializeToString(),
    )


class _Parser:
    def __init__(self, text: str) -> None:
        self._text = text
        self._at = 0
        self.identities: list[msp_principal_pb2.MSPPrincipal] = []
        self._index: dict[str, int] = {}

    def rule(self, depth: int) -> policies_pb2.SignaturePolicy:
        if depth > _MAX_DEPTH:
            raise self._fault(f"nested deeper than {_MAX_DEPTH}")
        kind, word = self._next()
        if kind == "string":
            return policies_pb2.SignaturePolicy(signed_by=self._identity(word[1:-1]))
        name = word.lower()
        if kind != "word" or name not in ("and", "or", "outof"):
            raise self._fault(f"expected AND, OR, OutOf or a quoted principal, found {word!r}")
        self._expect("(")
        needed = self._number() if name == "outof" else None
        parts = [self.rule(depth + 1)]
        while self._comma_or_close():
            parts.append(self.rule(depth + 1))
        count = {"and": len(parts), "or": 1}.get(name, needed)
        if count is None or not 0 <= count <= len(parts):
            raise self._fault(f"{needed} out of {len(parts)} can never be satisfied")
        return policies_pb2.SignaturePolicy(n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=count, rules=parts))

    def end(self) -> None:
        if self._text[self._at :].strip():
            raise self._fault("unexpected text after the policy")

    def _identity(self, text: str) -> int:
        match = _PRINCIPAL.fullmatch(text)
        if match is None:
            raise self._fault(f"{text!r} is not a principal such as 'Org1MSP.peer'")
        if text not in self._index:
            self._index[text] = len(self.identities)
            self.identities.append(_principal(match["msp"], _ROLE.MSPRoleType.Value(match["role"].upper())))
        return self._index[text]

    def _number(self) -> int:
        kind, word = self._next()
        if kind != "number":
            raise self._fault(f"expected a number, found {word!r}")
        self._expect(",")
        return int(word)

    def _comma_or_close(self) -> bool:
        _, word = self._next()
        if word not in (",", ")"):
            raise self._fault(f"expected ',' or ')', found {word!r}")
        return word == ","

    def _expect(self, mark: str) -> None:
        _, word = self._next()
        if word != mark:
            raise self._fault(f"expected {mark!r}, found {word!r}")

    def _next(self) -> tuple[str, str]:
        match = _TOKEN.match(self._text, self._at)
        if match is None or match.lastgroup is None:
            raise self._fault("the policy ends early" if not self._text[self._at :].strip() else "unexpected character")
        self._at = match.end()
        return match.lastgroup, match[match.lastgroup]

    def _fault(self, what: str) -> PolicySyntaxError:
        return PolicySyntaxError(f"{what}, at character {self._at} of {self._text!r}")
