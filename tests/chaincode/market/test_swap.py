"""A whole swap, and where the money is after each of its ends."""

from __future__ import annotations

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.digests import TREASURY
from goldengrain.chaincode.protocol.tables import OfferState
from tests.chaincode.market.world import DEVELOPER, FUNDS, OPERATOR3, PROVIDER, World, enclave3


def test_a_swap_pays_everybody_what_the_tables_say(world: World, task: bytes) -> None:
    terms = world.terms_of(task)
    top, audit = terms.schedule.top_price, terms.audit_bond
    assert (top, audit) == (5_001, 501)
    assert world.balance(PROVIDER) == FUNDS - 2 * top - audit
    offer = world.offer(task)
    assert world.balance(DEVELOPER) == FUNDS - 501 - 11
    world.send(PROVIDER, c.Receipt(offer))
    assert world.state_of(offer) is OfferState.STORED
    world.claim(offer, slot=1)
    assert world.balance(OPERATOR3) == FUNDS - 70
    assert world.ticket(offer).ticket.threshold == 500_000
    world.reported(offer, score=700_000)
    price = 1_000 + 4_001 * 200_000 // 400_000
    assert world.slot(task, 1).amount == price
    assert world.balance(OPERATOR3) == FUNDS + 11
    assert world.balance(PROVIDER) == FUNDS - top - price - audit
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    fee = price * 250 // 10_000
    assert world.state_of(offer) is OfferState.SETTLED
    assert world.balance(DEVELOPER) == FUNDS - 11 + price - fee
    assert world.balance(TREASURY) == fee
    lock = world.offer_record(offer).lock
    assert lock is not None
    assert (lock.secret, lock.enclave, lock.simulated) == (world.secret(DEVELOPER), enclave3().id, True)
    world.send(PROVIDER, c.Acknowledge(offer))
    done = world.offer_record(offer).lock
    assert done is not None
    assert (done.secret, done.locked, done.acknowledged) == (b"", b"", True)
