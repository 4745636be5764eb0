"""Signature policies, implicit policies, and the policies of a real channel configuration."""

from collections.abc import Sequence

import pytest
from fabric_protos.common import policies_pb2
from fabric_protos.msp import identities_pb2
from fabric_protos.peer import policy_pb2

from goldengrain.network.embedded.config import ChannelConfig, parse_duration
from goldengrain.network.embedded.errors import ConfigError, PolicyError, PolicySyntaxError
from goldengrain.network.embedded.policies import SignaturePolicy, SignedData, valid_identities
from goldengrain.network.signature_policy import parse_signature_policy
from tests.network.embedded.core.kit import Consortium, Signer

DATA = b"data"


@pytest.fixture(scope="module")
def config(consortium: Consortium) -> ChannelConfig:
    return ChannelConfig.from_block(consortium.genesis)


def signed(*signers: Signer, data: bytes = DATA) -> list[SignedData]:
    return [SignedData(DATA, signer.identity, signer.sign(data)) for signer in signers]


def satisfied(config: ChannelConfig, policy: str, signatures: Sequence[SignedData]) -> bool:
    if policy.startswith("/"):
        check = config.policies.get(policy)
    else:
        check = SignaturePolicy(parse_signature_policy(policy), config.msps)
    try:
        check.check(valid_identities(signatures, config.msps))
    except PolicyError:
        return False
    return True


def cast(consortium: Consortium, names: str) -> list[Signer]:
    """Signers from a line such as `p1 p2 c1 a3 o`: peers, clients, admins of organisations, the orderer."""
    found = []
    for name in names.split():
        if name == "o":
            found.append(consortium.orderer)
        elif name == "oa":
            found.append(consortium.orderer_admin)
        else:
            number = int(name[1])
            kind = {"p": consortium.peer, "c": consortium.user, "a": lambda n: consortium.user(n, "Admin")}[name[0]]
            found.append(kind(number))
    return found


MAJORITY = "/Channel/Application/Endorsement"
CASES = [
    ("OR('Org1MSP.peer', 'Org2MSP.peer')", "p2", True),
    ("OR('Org1MSP.peer', 'Org2MSP.peer')", "p3 c1", False),
    ("AND('Org1MSP.peer', 'Org2MSP.peer')", "p1", False),
    ("AND('Org1MSP.peer', 'Org2MSP.peer')", "p2 p1", True),
    ("AND('Org1MSP.member', 'Org1MSP.member')", "p1", False),
    ("AND('Org1MSP.member', 'Org1MSP.member')", "p1 p1", False),
    ("AND('Org1MSP.member', 'Org1MSP.member')", "p1 c1", True),
    ("AND('Org1MSP.peer', 'Org1MSP.member')", "c1 p1", True),
    ("OutOf(2, 'Org1MSP.peer', 'Org2MSP.peer', 'Org3MSP.peer')", "p1 p3", True),
    ("OutOf(2, 'Org1MSP.peer', 'Org2MSP.peer', 'Org3MSP.peer')", "p1 p1 p1", False),
    ("OR(AND('Org1MSP.peer', 'Org2MSP.peer'), 'Org3MSP.admin')", "a3", True),
    ("OR(AND('Org1MSP.peer', 'Org2MSP.peer'), 'Org3MSP.admin')", "p3 p2", False),
    (MAJORITY, "p1 p2", True),
    (MAJORITY, "p1", False),
    (MAJORITY, "p1 c2 a3", False),
    ("/Channel/Application/Writers", "c3", True),
    ("/Channel/Application/Writers", "p3", False),
    ("/Channel/Application/Writers", "o", False),
    ("/Channel/Application/Readers", "p3", True),
    ("/Channel/Application/Admins", "a1", False),
    ("/Channel/Application/Admins", "a1 a2", True),
    ("/Channel/Orderer/BlockValidation", "o", True),
    ("/Channel/Orderer/BlockValidation", "p1", False),
    ("/Channel/Orderer/Admins", "oa", True),
    ("/Channel/Writers", "o", True),
    ("/Channel/NoSuch", "a1 a2 a3 oa", False),
]


@pytest.mark.parametrize(("policy", "signers", "expected"), CASES)
def test_policies(consortium: Consortium, config: ChannelConfig, policy: str, signers: str, expected: bool) -> None:
    assert satisfied(config, policy, signed(*cast(consortium, signers))) is expected


def test_bad_signatures_and_strangers_do_not_count(consortium: Consortium, config: ChannelConfig) -> None:
    one, two = consortium.peers[:2]
    bad = signed(two, data=b"other data")
    stranger = [SignedData(DATA, b"\xff", b"x"), SignedData(DATA, b"", b"")]
    assert not satisfied(config, MAJORITY, signed(one) + bad + stranger)
    assert satisfied(config, MAJORITY, signed(one) + stranger + bad + signed(two))


def test_an_identity_counts_once_however_it_is_written(consortium: Consortium, config: ChannelConfig) -> None:
    """The same certificate with other line ends is the same identity."""
    one = consortium.peer(1)
    message = identities_pb2.SerializedIdentity.FromString(one.identity)
    message.id_bytes = b"\n" + message.id_bytes.replace(b"\n", b"\r\n")
    again = SignedData(DATA, message.SerializeToString(), one.sign(DATA))
    assert len(valid_identities([*signed(one), again, *signed(one)], config.msps)) == 1


@pytest.mark.parametrize(
    "envelope",
    [
        policies_pb2.SignaturePolicyEnvelope(version=1),
        policies_pb2.SignaturePolicyEnvelope(),
        policies_pb2.SignaturePolicyEnvelope(rule=policies_pb2.SignaturePolicy(signed_by=0)),
        policies_pb2.SignaturePolicyEnvelope(rule=policies_pb2.SignaturePolicy(signed_by=-1)),
    ],
)
def test_malformed_policies_are_refused(config: ChannelConfig, envelope: policies_pb2.SignaturePolicyEnvelope) -> None:
    with pytest.raises(PolicySyntaxError):
        SignaturePolicy(envelope, config.msps)


def test_a_policy_cannot_be_nested_without_end(config: ChannelConfig) -> None:
    rule = policies_pb2.SignaturePolicy(signed_by=0)
    for _ in range(40):
        rule = policies_pb2.SignaturePolicy(n_out_of=policies_pb2.SignaturePolicy.NOutOf(n=1, rules=[rule]))
    with pytest.raises(PolicySyntaxError, match="nested"):
        SignaturePolicy(policies_pb2.SignaturePolicyEnvelope(rule=rule), config.msps)


def test_application_policies(consortium: Consortium, config: ChannelConfig) -> None:
    reference = policy_pb2.ApplicationPolicy(channel_config_policy_reference=MAJORITY).SerializeToString()
    parsed = parse_signature_policy("OR('Org3MSP.peer')")
    direct = policy_pb2.ApplicationPolicy(signature_policy=parsed).SerializeToString()
    three = valid_identities(signed(consortium.peer(3)), config.msps)
    config.policies.application(direct).check(three)
    with pytest.raises(PolicyError, match="requires 2 of the 'Endorsement' sub-policies"):
        config.policies.application(reference).check(three)
    unknown = policy_pb2.ApplicationPolicy(channel_config_policy_reference="/Channel/NoSuch").SerializeToString()
    for bad in (b"", b"\xff", unknown):
        with pytest.raises(PolicySyntaxError):
            config.policies.application(bad)
    with pytest.raises(PolicySyntaxError):
        config.policies.signature(b"not a policy")


# -- the configuration itself


def test_a_configuration_is_read(consortium: Consortium, config: ChannelConfig) -> None:
    assert config.channel_id == "market"
    assert config.application_msp_ids == ["Org1MSP", "Org2MSP", "Org3MSP"]
    assert sorted(config.msps.msps) == ["OrdererMSP", "Org1MSP", "Org2MSP", "Org3MSP"]
    assert config.consensus_type == "etcdraft"
    assert len(config.orderer_addresses) == 1
    assert config.capabilities["Channel"] == {"V3_0"}
    assert config.sequence == config.block_number == 0
    organization = config.application_organization("Org2MSP")
    assert organization is not None
    assert organization.anchor_peers
    assert config.application_organization("NoMSP") is None
    assert "/Channel/Application/LifecycleEndorsement" in config.policies.paths()


@pytest.mark.parametrize(("text", "seconds"), [("300ms", 0.3), ("2s", 2.0), ("1m30s", 90.0), ("1.5s", 1.5)])
def test_durations(text: str, seconds: float) -> None:
    assert parse_duration(text) == pytest.approx(seconds)


@pytest.mark.parametrize("text", ["", "2", "soon", "2s later", "-1s"])
def test_bad_durations(text: str) -> None:
    with pytest.raises(ConfigError, match="is not a duration"):
        parse_duration(text)


def test_incomplete_configurations_are_refused(config: ChannelConfig) -> None:
    for missing in ("BatchSize", "BatchTimeout", "ConsensusType"):
        changed = type(config.config)()
        changed.CopyFrom(config.config)
        del changed.channel_group.groups["Orderer"].values[missing]
        with pytest.raises(ConfigError):
            ChannelConfig("market", changed)
    changed.CopyFrom(config.config)
    members = changed.channel_group.groups["Application"].groups
    del members[min(members)].values["MSP"]
    with pytest.raises(ConfigError):
        ChannelConfig("market", changed)
