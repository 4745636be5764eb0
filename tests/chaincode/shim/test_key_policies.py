import pytest

from goldengrain.chaincode.shim import InvalidArgument, KeyPolicy, organizations_of, signed_by
from goldengrain.chaincode.shim.key_policies import parse


def test_a_policy_has_the_bytes_that_a_real_peer_enforced() -> None:
    assert signed_by("Org1MSP").hex() == "120812060801120208001a0d120b0a074f7267314d53501003"
    assert signed_by("Org3MSP", "Org1MSP").hex() == (
        "120c120a080212020800120208011a0d120b0a074f7267314d535010031a0d120b0a074f7267334d53501003"
    )


def test_a_policy_names_its_organisations() -> None:
    assert organizations_of(signed_by("B", "A", "B", at_least=1, role="MEMBER")) == ["A", "B"]


def test_a_policy_can_ask_for_some_of_the_organisations() -> None:
    assert parse(signed_by("A", "B", "C", at_least=2)).rule.n_out_of.n == 2


@pytest.mark.parametrize(
    ("organizations", "options"),
    [((), {}), (("",), {}), (("A",), {"at_least": 0}), (("A",), {"at_least": 2}), (("A",), {"role": "KING"})],
)
def test_a_policy_that_nobody_can_meet_is_refused(organizations: tuple[str, ...], options: dict[str, object]) -> None:
    with pytest.raises(InvalidArgument):
        signed_by(*organizations, **options)  # type: ignore[arg-type]


@pytest.mark.parametrize("raw", [b"", b"not a policy", b"\x12\x00", b"\xff"])
def test_bytes_that_would_lock_a_key_for_good_are_refused(raw: bytes) -> None:
    with pytest.raises(InvalidArgument):
        parse(raw)


def test_a_policy_is_read_changed_and_written_again() -> None:
    policy = KeyPolicy.from_bytes(signed_by("Org1MSP", "Org2MSP"))
    policy.add("Org3MSP")
    policy.remove("Org2MSP", "Org9MSP")
    assert policy.organizations == ["Org1MSP", "Org3MSP"]
    assert policy.to_bytes() == signed_by("Org3MSP", "Org1MSP")


def test_a_policy_begins_with_nobody_and_knows_who_signs_as_what() -> None:
    policy = KeyPolicy.from_bytes(None)
    assert policy.organizations == []
    with pytest.raises(InvalidArgument):
        policy.to_bytes()
    policy.add("B", role="MEMBER")
    policy.add("A")
    assert policy.roles == {"A": "PEER", "B": "MEMBER"}
    assert KeyPolicy.from_bytes(policy.to_bytes()).roles == policy.roles
    assert KeyPolicy(policy.roles).to_bytes() == policy.to_bytes()


def test_a_policy_of_another_form_is_not_changed_into_something_else() -> None:
    with pytest.raises(InvalidArgument, match="does not ask all"):
        KeyPolicy.from_bytes(signed_by("A", "B", "C", at_least=2))
    other = parse(signed_by("A"))
    other.identities[0].principal_classification = 1
    with pytest.raises(InvalidArgument, match="more than roles"):
        KeyPolicy.from_bytes(other.SerializeToString())
