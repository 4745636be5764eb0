from __future__ import annotations

import pytest
from fabric_protos.common import policies_pb2
from fabric_protos.msp import msp_principal_pb2

from goldengrain.network.errors import PolicyInvalid
from goldengrain.network.signature_policy import any_of, parse_signature_policy


def _say(policy: policies_pb2.SignaturePolicy, names: list[str]) -> str:
    if policy.HasField("n_out_of"):
        inner = ",".join(_say(rule, names) for rule in policy.n_out_of.rules)
        return f"{policy.n_out_of.n}({inner})"
    return names[policy.signed_by]


def _read(text: str) -> str:
    envelope = parse_signature_policy(text)
    names = []
    for principal in envelope.identities:
        role = msp_principal_pb2.MSPRole.FromString(principal.principal)
        names.append(f"{role.msp_identifier}.{msp_principal_pb2.MSPRole.MSPRoleType.Name(role.role).lower()}")
    return _say(envelope.rule, names)


@pytest.mark.parametrize(
    ("text", "meaning"),
    [
        ("OR('Org1MSP.peer','Org2MSP.peer')", "1(Org1MSP.peer,Org2MSP.peer)"),
        ("AND('Org1MSP.peer', 'Org2MSP.admin')", "2(Org1MSP.peer,Org2MSP.admin)"),
        ("OutOf(2, 'A.peer', 'B.client', 'C.member')", "2(A.peer,B.client,C.member)"),
        (
            "and('A.peer', outof(1, \"B.peer\", or('A.peer', 'C.orderer')))",
            "2(A.peer,1(B.peer,1(A.peer,C.orderer)))",
        ),
        ("'Org1MSP.peer'", "Org1MSP.peer"),
        (" OR( 'my.org-1.MSP.PEER' ) ", "1(my.org-1.MSP.peer)"),
    ],
)
def test_a_policy_is_read(text: str, meaning: str) -> None:
    assert _read(text) == meaning


def test_equal_principals_are_listed_once() -> None:
    envelope = parse_signature_policy("AND('A.peer', OR('A.peer', 'B.peer'))")
    assert len(envelope.identities) == 2


def test_any_of_is_one_of_them() -> None:
    assert any_of(["A.peer", "B.peer"]) == parse_signature_policy("OR('A.peer','B.peer')")


@pytest.mark.parametrize(
    "text",
    [
        "",
        "OR(",
        "OR()",
        "AND('A.peer'",
        "AND('A.peer',)",
        "XOR('A.peer')",
        "OR('A.king')",
        "OR('peer')",
        "OR(A.peer)",
        "OutOf('A.peer')",
        "OutOf(3, 'A.peer')",
        "OutOf(0, 'A.peer')",
        "OR('A.peer') OR('B.peer')",
        "OR('A.peer' 'B.peer')",
        "OR('A.peer",
        "AND(" * 40 + "'A.peer'" + ")" * 40,
    ],
)
def test_a_policy_that_cannot_hold_is_refused_with_an_example(text: str) -> None:
    with pytest.raises(PolicyInvalid, match="write for example"):
        parse_signature_policy(text)
