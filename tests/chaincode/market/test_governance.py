"""Founding the market and voting."""

from __future__ import annotations

from typing import Any

import pytest

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.records import PolicyRecord
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import queries as q
from goldengrain.chaincode.protocol.coins import Output
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.errors import (
    AdminRequired,
    AlreadyBootstrapped,
    AlreadyVoted,
    AmountTooLarge,
    CoinNotFound,
    EnclaveNotFound,
    EnclaveRevoked,
    MarketPaused,
    NotAMember,
    PolicyBlockable,
    PolicyCollusion,
    PolicyLimits,
    PolicyNotFound,
    PolicyNumberStale,
    PolicySatisfiableAlone,
    PolicyTiming,
    PolicyUnmarkedTest,
    ProposalClosed,
    ProposalNotFound,
)
from tests.chaincode.market.world import (
    ADMINS,
    DEVELOPER,
    FUNDS,
    OPERATOR3,
    OTHER_DEVELOPER,
    PROVIDER,
    STORE,
    STRANGER,
    World,
    caller,
    enclave2,
    enclave3,
    policy,
    word,
)

REFUSED_POLICIES: list[tuple[dict[str, Any], type[Exception]]] = [
    ({"required": 1, "colluding": 0}, PolicySatisfiableAlone),
    ({"required": 3}, PolicyBlockable),
    ({"required": 2, "colluding": 2}, PolicyCollusion),
    ({"organizations": ("Org1MSP", "Org2MSP")}, PolicyBlockable),
    ({"guard": 239}, PolicyTiming),
    ({"reveal_min": 600}, PolicyTiming),
    ({"window": 119}, PolicyUnmarkedTest),
    ({"measurements": ()}, PolicyLimits),
    ({"number": 2}, PolicyNumberStale),
]


@pytest.mark.parametrize(("changes", "error"), REFUSED_POLICIES, ids=range(len(REFUSED_POLICIES)))
def test_bootstrap_refuses_what_the_protocol_refuses(changes: dict[str, Any], error: type[Exception]) -> None:
    world = World()
    with pytest.raises(error):
        world.found(**changes)
    assert world.ledger.state == {}


def test_bootstrap_runs_once_and_by_an_admin_of_the_policy() -> None:
    world = World()
    with pytest.raises(AdminRequired):
        world.send(PROVIDER, c.Bootstrap(policy()))
    with pytest.raises(NotAMember):
        world.send(caller("admin", "Org9MSP", ADMINS["Org1MSP"].role), c.Bootstrap(policy()))
    world.found()
    with pytest.raises(AlreadyBootstrapped):
        world.send(ADMINS["Org2MSP"], c.Bootstrap(policy()))


def test_before_bootstrap_every_command_that_needs_a_policy_says_so() -> None:
    world = World()
    with pytest.raises(PolicyNotFound):
        world.send(ADMINS["Org1MSP"], c.Propose(c.Action.MINT, mint=(Output(PROVIDER.account, 1),)))
    with pytest.raises(PolicyNotFound):
        world.ask(q.GetPolicy())


def test_a_proposal_is_carried_out_by_the_vote_that_completes_the_majority() -> None:
    world = World().found()
    made = world.send(ADMINS["Org1MSP"], c.Propose(c.Action.MINT, mint=(Output(PROVIDER.account, 7),)))
    assert world.balance(PROVIDER) == 0
    with pytest.raises(AlreadyVoted):
        world.send(ADMINS["Org1MSP"], c.Vote(made.tx_id))
    with pytest.raises(AdminRequired):
        world.send(PROVIDER, c.Vote(made.tx_id))
    assert world.send(ADMINS["Org3MSP"], c.Vote(made.tx_id)).result["carried"] is True
    assert world.balance(PROVIDER) == 7
    with pytest.raises(ProposalClosed):
        world.send(ADMINS["Org2MSP"], c.Vote(made.tx_id))
    assert world.balance(PROVIDER) == 7


def test_five_organisations_need_three_votes_even_where_k_is_two() -> None:
    members = tuple(f"Org{number}MSP" for number in range(1, 6))
    world = World().found(organizations=members)
    admins = {msp: caller("admin", msp, ADMINS["Org1MSP"].role) for msp in members}
    made = world.send(admins["Org1MSP"], c.Propose(c.Action.MINT, mint=(Output(PROVIDER.account, 7),)))
    assert world.send(admins["Org4MSP"], c.Vote(made.tx_id)).result["carried"] is False
    assert world.send(admins["Org5MSP"], c.Vote(made.tx_id)).result["carried"] is True


def test_a_vote_ends_with_its_time() -> None:
    world = World().found()
    made = world.send(ADMINS["Org1MSP"], c.Propose(c.Action.MINT, mint=(Output(PROVIDER.account, 7),)))
    with pytest.raises(ProposalNotFound):
        world.send(ADMINS["Org2MSP"], c.Vote("0" * 64))
    late = world.fork().at(world.now + 3_601)
    with pytest.raises(ProposalClosed):
        late.send(ADMINS["Org2MSP"], c.Vote(made.tx_id))
    world.at(world.now + 3_600).send(ADMINS["Org2MSP"], c.Vote(made.tx_id))


def test_a_policy_follows_the_one_in_force_and_each_version_stays(world: World) -> None:
    first = world.policy
    stale = c.Propose(c.Action.POLICY, policy=policy(number=2, deposit=1))
    made = world.send(ADMINS["Org1MSP"], stale)
    world.change_policy(deposit=99)
    assert world.policy.deposit == 99
    with pytest.raises(PolicyNumberStale):
        world.send(ADMINS["Org3MSP"], c.Vote(made.tx_id))
    versions = [keys.policy_version(number).name for number in (1, 2)]
    assert [PolicyRecord.decode(world.ledger.state[name]).policy for name in versions] == [first, world.policy]


def test_a_running_task_keeps_what_it_fixed(world: World, task: bytes) -> None:
    before = world.terms_of(task)
    world.change_policy(deposit=99, benchmark_fee=1, bond=5_000, market_fee=9_999)
    assert world.terms_of(task) == before
    offer = world.locked(task)
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    assert world.balance(TREASURY) == 3_000 * 250 // 10_000


def test_pause_refuses_exactly_open_offer_and_claim(world: World, task: bytes) -> None:
    running = world.claimed(task)
    waiting = world.stored(task, OTHER_DEVELOPER)
    terms, offering = world.terms(spec=world.terms_of(task).spec), world.offering(task, OTHER_DEVELOPER, attempt=2)
    claiming = world.claiming(waiting, enclave2(), slot=1)
    world.change_policy(paused=True)
    for who, refused in ((PROVIDER, terms), (OTHER_DEVELOPER, offering), (enclave2().operator, claiming)):
        with pytest.raises(MarketPaused):
            world.send(who, refused)
    world.reported(running)
    world.send(DEVELOPER, c.Reveal(running, world.secret(DEVELOPER)))
    world.send(PROVIDER, c.ShutTask(task))
    end = world.terms_of(task).last_report + 301
    world.at(end).send(STRANGER, c.Expire(waiting))
    world.send(STRANGER, c.RefundSlot(task, 1))


def test_only_the_treasurys_and_the_proposers_coins_are_burned(world: World) -> None:
    (coin,) = world.coins(PROVIDER, FUNDS)
    with pytest.raises(CoinNotFound):
        world.vote_through(c.Propose(c.Action.BURN, burn=(coin,)))
    paid = world.send(PROVIDER, c.Transfer((coin,), (Output(TREASURY, 40), Output(ADMINS["Org1MSP"].account, 2))))
    minted = world.ledger.minted
    world.vote_through(c.Propose(c.Action.BURN, burn=(f"{paid.tx_id}:0", f"{paid.tx_id}:1")))
    assert (world.balance(TREASURY), world.balance(ADMINS["Org1MSP"])) == (0, 0)
    assert world.ledger.minted == minted - 42


def test_minting_more_than_an_amount_holds_is_refused(world: World) -> None:
    outputs = (Output(PROVIDER.account, 2**63 - 1), Output(STORE.account, 1))
    with pytest.raises(AmountTooLarge):
        world.vote_through(c.Propose(c.Action.MINT, mint=outputs))


def test_a_revoked_enclave_neither_works_nor_comes_back(world: World, task: bytes) -> None:
    offer = world.claimed(task)
    report = world.report(offer)
    again = world.registration(enclave3())
    world.vote_through(c.Propose(c.Action.REVOKE, revoke=enclave3().id))
    with pytest.raises(EnclaveRevoked):
        world.send(OPERATOR3, report)
    with pytest.raises(EnclaveRevoked):
        world.send(OPERATOR3, again)
    with pytest.raises(EnclaveRevoked):
        world.open_task(last_offer=world.now + 9_999)
    with pytest.raises(EnclaveNotFound):
        world.vote_through(c.Propose(c.Action.REVOKE, revoke=word("unknown")))


def test_an_outsider_neither_proposes_nor_opens_nor_offers(world: World, task: bytes) -> None:
    outside = caller("admin", "Org9MSP", ADMINS["Org1MSP"].role)
    with pytest.raises(NotAMember):
        world.send(outside, c.Propose(c.Action.REVOKE, revoke=enclave3().id))
    with pytest.raises(NotAMember):
        world.send(STRANGER, world.offering(task, STRANGER, coins=()))
    with pytest.raises(NotAMember):
        world.send(STRANGER, world.terms(coins=()))
    with pytest.raises(NotAMember):
        world.send(STRANGER, c.Challenge(OPERATOR3.account))
