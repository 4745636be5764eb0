import pytest

from goldengrain.chaincode.shim import InvalidArgument, organizations_of, signed_by
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
