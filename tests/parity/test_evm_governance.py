"""What governors vote on the EVM: who may, when a vote counts, and which policies are refused."""

from __future__ import annotations

from random import Random
from typing import Any

import pytest

from goldengrain.chaincode.protocol.errors import ContractError
from tests.chaincode.market import world
from tests.parity import abi, objects
from tests.parity.chain import Refused
from tests.parity.evm import ADOPT, REGISTER, EvmLedger, _policy_struct, address
from tests.parity.evm_objects import number
from tests.parity.ledger import ORGANIZATIONS, START_OF_ALL, TREASURY
from tests.parity.test_evm import play, swap

ENROL, SPEND = 2, 5
NEWCOMER = "0x" + "ab" * 20


def propose(ledger: EvmLedger, kind: int, body: bytes, who: str = "admin1") -> int:
    return ledger.registry.send(address(who), "propose", kind, body).words[0]


def vote(ledger: EvmLedger, proposal: int, kind: int, body: bytes, who: str = "admin2") -> bool:
    return bool(ledger.registry.send(address(who), "vote", proposal, kind, body).words[0])


def enrolment(account: str, organization: int, governor: bool = False) -> bytes:
    return b"".join(abi.word(one) for one in (number(account), organization, int(governor)))


def refusal(call: Any, *arguments: Any, **named: Any) -> str:
    with pytest.raises(Refused) as error:
        call(*arguments, **named)
    return error.value.code


def test_an_account_is_enrolled_by_a_majority(evm: EvmLedger) -> None:
    body = enrolment(NEWCOMER, 2)
    proposal = propose(evm, ENROL, body)
    assert evm.registry.ask("organization", NEWCOMER) == 0
    assert vote(evm, proposal, ENROL, body)
    assert evm.registry.ask("organization", NEWCOMER) == 2


def test_nobody_but_governors_proposes_or_votes(evm: EvmLedger) -> None:
    body = enrolment(NEWCOMER, 2)
    assert refusal(propose, evm, ENROL, body, who="developer") == "ADMIN_REQUIRED"
    proposal = propose(evm, ENROL, body)
    assert refusal(vote, evm, proposal, ENROL, body, who="developer") == "ADMIN_REQUIRED"


def test_a_vote_is_for_what_was_proposed(evm: EvmLedger) -> None:
    proposal = propose(evm, ENROL, enrolment(NEWCOMER, 2))
    assert refusal(vote, evm, proposal, ENROL, enrolment(NEWCOMER, 3)) == "PROPOSAL_NOT_FOUND"
    assert refusal(vote, evm, proposal, REGISTER, enrolment(NEWCOMER, 2)) == "PROPOSAL_NOT_FOUND"
    assert evm.registry.ask("organization", NEWCOMER) == 0


def test_an_organisation_votes_once_and_in_time(evm: EvmLedger) -> None:
    body = enrolment(NEWCOMER, 2)
    proposal = propose(evm, ENROL, body)
    assert refusal(vote, evm, proposal, ENROL, body, who="admin1") == "ALREADY_VOTED"
    evm.chain.at(START_OF_ALL + 3_601)
    assert refusal(vote, evm, proposal, ENROL, body) == "PROPOSAL_CLOSED"
    evm.chain.at(START_OF_ALL + 3_600)
    assert vote(evm, proposal, ENROL, body)
    assert refusal(vote, evm, proposal, ENROL, body, who="admin3") == "PROPOSAL_CLOSED"


def test_the_treasury_is_spent_by_vote_and_no_more_than_it_has(evm: EvmLedger) -> None:
    play(evm, swap())
    words = (number(evm.market.address), number(address("stranger")))
    too_much = b"".join(abi.word(one) for one in (*words, 76))
    proposal = propose(evm, SPEND, too_much)
    assert refusal(vote, evm, proposal, SPEND, too_much) == "PAYMENT_SHORT"
    body = b"".join(abi.word(one) for one in (*words, 75))
    assert vote(evm, propose(evm, SPEND, body), SPEND, body)
    assert (evm.total(TREASURY), evm.total("stranger")) == (0, 75)


def test_an_enclave_of_somebody_who_is_no_operator_is_refused(evm: EvmLedger) -> None:
    body = b"".join((abi.word(1), abi.word(2), abi.word(number(address("developer"))), objects.BUNDLE))
    proposal = propose(evm, REGISTER, body)
    assert refusal(vote, evm, proposal, REGISTER, body) == "OPERATOR_NOT_VOTED_IN"


def random_policy(dice: Random) -> dict[str, Any]:
    """Changes of the setting's policy, most of them at an edge."""
    guard = dice.choice((300, 301, 400))
    reveal = dice.choice((599, 600, 2 * guard, 2 * guard + 1, 7_000))
    lease = dice.choice((0, 1, 60))
    changes = {
        "organizations": tuple(f"Org{one}MSP" for one in range(1, dice.randint(2, 6))),
        "required": dice.randint(1, 4),
        "colluding": dice.randint(0, 3),
        "guard": guard,
        "reveal_min": reveal,
        "reveal_max": reveal + dice.choice((-1, 0, 9)),
        "lease_min": lease,
        "lease_max": lease + dice.choice((-1, 0, 9)) if lease else 9,
        "enclave_age": dice.choice((0, 1, 7 * 86_400, 7 * 86_400 + 1)),
        "proposal_age": dice.choice((0, 1, 60)),
        "attempts_max": dice.choice((0, 1, 5)),
        "test": dice.choice((False, True)),
    }
    kept = dice.sample(sorted(changes), dice.randint(1, len(changes)))
    return {name: changes[name] for name in kept}


def test_the_same_policies_are_refused_for_the_same_reasons(evm: EvmLedger) -> None:
    dice, codes = Random(5), set()
    for _ in range(400):
        changes = random_policy(dice)
        setting = {"organizations": ORGANIZATIONS, "reveal_max": 7_000, **changes}
        try:
            world.policy(number=2, **setting).validate()
            expected = None
        except ContractError as error:
            expected = error.code
        found: str | None = None
        body = evm._policy_body({**evm.policy, **setting, "number": 2})
        try:
            propose(evm, ADOPT, body)
        except Refused as error:
            found = error.code
        assert found == expected, changes
        codes.add(found)
    assert codes >= {None, "POLICY_TIMING", "POLICY_BLOCKABLE", "POLICY_COLLUSION", "POLICY_SATISFIABLE_ALONE"}
    assert codes >= {"POLICY_LIMITS"}


def test_a_market_is_founded_once(evm: EvmLedger) -> None:
    policy = _policy_struct(evm.policy)
    assert refusal(evm.registry.send, address("admin1"), "bootstrap", policy, []) == "ALREADY_BOOTSTRAPPED"
