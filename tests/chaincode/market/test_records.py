"""What stands on the ledger is versioned, and read back as it was written."""

from __future__ import annotations

import json

import pytest

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.records import CoinRecord
from goldengrain.chaincode.market.state import StateRecord, StateUnreadable
from goldengrain.chaincode.protocol import commands as c
from tests.chaincode.market.world import DEVELOPER, PROVIDER, World, word


def test_every_record_has_a_version_and_a_kind_by_its_key(world: World, task: bytes) -> None:
    offer = world.locked(task)
    world.send(DEVELOPER, c.Reveal(offer, world.secret(DEVELOPER)))
    kinds = set()
    for name, value in world.ledger.state.items():
        kinds.add(name.partition("/")[0])
        assert json.loads(value)["v"] == keys.KINDS[name.partition("/")[0]].VERSION
        record: StateRecord = keys.KINDS[name.partition("/")[0]].decode(value)
        assert record.encode() == value
    assert kinds == set(keys.KINDS) - {"job"}
    assert world.balance(PROVIDER)


def test_a_record_of_a_later_version_is_refused_by_name() -> None:
    value = CoinRecord(word("owner"), 5).encode().replace(b'"v":1', b'"v":2')
    with pytest.raises(StateUnreadable):
        CoinRecord.decode(value)


def test_a_coins_key_names_its_owner_and_sorts_by_index() -> None:
    names = [keys.coin(word("owner"), f"{'ab' * 32}:{index}").name for index in range(12)]
    assert names == sorted(names)
    assert all(name.startswith(f"coin/{word('owner').hex()}/") for name in names)
