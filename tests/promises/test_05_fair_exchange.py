"""Promise 5: the key is not readable before the money is locked; the developer isn't paid without it being readable."""

from __future__ import annotations

import pytest

from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol import sealing
from goldengrain.chaincode.protocol.errors import ContractError, LockNotOpened
from goldengrain.chaincode.protocol.report import Outcome, Report, Result
from goldengrain.chaincode.protocol.sealing import PrivateKey
from goldengrain.chaincode.protocol.tables import OfferState
from tests.chaincode.market.world import DEVELOPER, OPERATOR3, World, enclave3, word

KEY = word("the model's key")


def locked(world: World, private: PrivateKey) -> bytes:
    """An offer whose report holds what an enclave makes of the key: sealed to the provider, locked by r."""
    task = world.open_task(provider_key=private.public)
    offer = world.claimed(task)
    payload = world.ticket(offer)
    sealed = sealing.lock_key(private.public, KEY, world.secret(DEVELOPER), payload.order.digest(), enclave3().id)
    result = Result(Outcome.PASS, 700_000, sealed, word("model"))
    signature = Report.of(payload.task, payload.order, payload.ticket, result).sign(enclave3().signing)
    world.send(OPERATOR3, c.SubmitReport(offer, 1, Outcome.PASS, signature, 700_000, sealed, word("model")))
    return offer


def test_before_the_reveal_nothing_on_the_ledger_opens_the_key(world: World) -> None:
    private = PrivateKey.generate()
    offer = locked(world, private)
    record = world.offer_record(offer)
    assert record.lock is not None
    secret = world.secret(DEVELOPER)
    everything = b"".join(world.ledger.state.values())
    assert secret.hex().encode() not in everything
    assert KEY.hex().encode() not in everything
    with pytest.raises(LockNotOpened):
        sealing.unlock_key(private, record.lock.locked, word("a guess"), record.order.digest(), record.lock.enclave)


def test_whoever_is_paid_has_made_the_key_readable_in_the_same_transaction(world: World) -> None:
    private = PrivateKey.generate()
    offer = locked(world, private)
    before = world.balance(DEVELOPER)
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    assert world.balance(DEVELOPER) > before
    record = world.offer_record(offer)
    assert record.lock is not None
    order, lock = record.order, record.lock
    assert sealing.unlock_key(private, lock.locked, lock.secret, order.digest(), lock.enclave) == KEY


@pytest.mark.parametrize("state", [OfferState.OFFERED, OfferState.STORED, OfferState.CLAIMED])
def test_nothing_is_revealed_before_the_money_is_locked(world: World, task: bytes, state: OfferState) -> None:
    makers = {OfferState.OFFERED: world.offer, OfferState.STORED: world.stored, OfferState.CLAIMED: world.claimed}
    offer = makers[state](task)
    with pytest.raises(ContractError):
        world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    assert world.state_of(offer) is state
