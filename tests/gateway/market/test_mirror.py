"""The market rebuilt from events."""

from __future__ import annotations

import pytest

from goldengrain.chaincode.protocol import canonical
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.canonical import dumps
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.market.announcements import EventUnreadable
from goldengrain.gateway.market.mirror import Mirror, MirrorGap
from tests.chaincode.market.world import DEVELOPER, PROVIDER, World


def payloads(world: World) -> list[bytes]:
    """The events' payloads as a peer has them."""
    return [dumps(one.event[1]) for one in world.ledger.transactions if one.event is not None]


def test_events_rebuild_the_ledger_byte_for_byte_and_what_clients_see_of_it() -> None:
    world = World.founded()
    task = world.open_task()
    offer = world.locked(task)
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    mirror = Mirror()
    for payload in payloads(world):
        mirror.apply(payload)
    assert dict(mirror.state()) == world.ledger.state
    assert [one.id for one in mirror.tasks()] == [task]
    assert [one.state for one in mirror.offers(task)] == [OfferState.SETTLED]
    assert len(mirror.slots(task)) == 2
    assert len(mirror.enclaves()) == 2
    assert sum(one.amount for one in mirror.coins(PROVIDER.account)) == world.balance(PROVIDER)
    policy = mirror.policy()
    assert policy is not None
    assert policy.policy == world.policy


def test_a_missing_event_is_noticed_and_nothing_is_applied() -> None:
    world = World.founded()
    world.locked(world.open_task())
    mirror = Mirror()
    *earlier, last = payloads(world)
    for payload in earlier[:-3]:
        mirror.apply(payload)
    before = dict(mirror.state())
    with pytest.raises(MirrorGap):
        mirror.apply(last)
    assert dict(mirror.state()) == before


@pytest.mark.parametrize("payload", [b"[]", b"{}", dumps({"v": 1}), dumps({"v": 2, "changes": {}})])
def test_other_events_are_refused_by_name(payload: bytes) -> None:
    with pytest.raises(EventUnreadable):
        Mirror().apply(payload)


def test_an_event_holds_of_an_overwritten_record_only_what_changed() -> None:
    world = World.founded()
    offer = world.stored(world.open_task())
    event = world.ledger.transactions[-1].event
    assert event is not None
    assert event[1]["changes"][f"offer/{offer.hex()}"] == {"receipts": ["Org1MSP"], "state": "stored"}
    assert canonical.loads(world.ledger.state[f"job/{offer.hex()}"], 1000) == event[1]["changes"][f"job/{offer.hex()}"]
