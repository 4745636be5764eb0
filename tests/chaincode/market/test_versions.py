"""State that version 1 of the records wrote: read, gone on with, and written anew by today's contract.

`tests/data/state-version-1.json` holds a market of the first release with offers under way.
"""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest

from goldengrain.chaincode.market import keys
from goldengrain.chaincode.market.memory import MemoryLedger
from goldengrain.chaincode.market.records import ProposalRecord
from goldengrain.chaincode.protocol import commands as c
from goldengrain.chaincode.protocol.tables import OfferState
from goldengrain.gateway.market import Mirror
from tests.chaincode.market.world import (
    DEVELOPER,
    OTHER_DEVELOPER,
    PROVIDER,
    STORE,
    STRANGER,
    World,
    enclave2,
    enclave3,
)

FILE = Path(__file__).parents[2] / "data" / "state-version-1.json"


@pytest.fixture
def recorded() -> dict[str, Any]:
    found = json.loads(FILE.read_text("utf-8"))
    assert isinstance(found, dict)
    return found


@pytest.fixture
def old(recorded: dict[str, Any]) -> World:
    """The market as the first release left it."""
    state = {name: text.encode() for name, text in recorded["state"].items()}
    records = [keys.KINDS[name.partition("/")[0]].decode(value) for name, value in state.items()]
    votes = [one for one in records if isinstance(one, ProposalRecord)]
    held, minted = sum(one.held for one in records), sum(one.minted - one.burned for one in votes)
    assert held == minted
    ledger = MemoryLedger(recorded["now"], held, minted, state=state, _names=sorted(state), _sent=recorded["sent"])
    return World(ledger)


def test_every_swap_under_way_is_finished_by_todays_rules(old: World, recorded: dict[str, Any]) -> None:
    offers = {state: bytes.fromhex(one) for state, one in recorded["offers"].items()}
    assert {state: str(old.state_of(one)) for state, one in offers.items()} == {state: state for state in offers}
    old.send(STORE, c.Receipt(offers["offered"]))
    old.claim(offers["offered"], slot=0)
    old.claim(offers["stored"], enclave2(), slot=1)
    old.reported(offers["offered"])
    old.reported(offers["stored"], one=enclave2())
    old.reported(offers["claimed"])
    for name, who in (
        ("offered", DEVELOPER),
        ("stored", OTHER_DEVELOPER),
        ("claimed", DEVELOPER),
        ("locked", OTHER_DEVELOPER),
    ):
        old.send(who, c.Reveal(offers[name], old.secret(who)))
    for one in offers.values():
        old.send(PROVIDER, c.Acknowledge(one))
        assert old.state_of(one) is OfferState.SETTLED
    assert old.ledger.held == old.ledger.minted


def test_an_old_record_that_is_written_again_has_todays_version(old: World, recorded: dict[str, Any]) -> None:
    offer = bytes.fromhex(recorded["offers"]["offered"])
    name = keys.offer(offer).name
    assert json.loads(old.ledger.state[name])["v"] == 1
    old.send(STORE, c.Receipt(offer))
    assert json.loads(old.ledger.state[name])["v"] == 2
    event = old.ledger.transactions[-1].event
    assert event is not None
    # the event has the whole record, since a mirror's old one lacks what is new
    assert event[1]["changes"][name] == json.loads(old.ledger.state[name])
    Mirror().apply(json.dumps({"v": 1, "changes": {name: event[1]["changes"][name]}}, sort_keys=True).encode())


def test_what_the_first_release_held_comes_home(old: World, recorded: dict[str, Any]) -> None:
    old.at(old.now + 1_000_000)
    for state, one in recorded["offers"].items():
        if state in ("offered", "stored", "claimed"):
            old.send(STRANGER, c.Expire(bytes.fromhex(one)))
        elif state == "locked":
            old.send(STRANGER, c.Forfeit(bytes.fromhex(one)))
    for name, record in list(old.ledger.records()):
        if name.startswith("slot/") and record.held:
            _, task, index = name.split("/")
            old.send(STRANGER, c.RefundSlot(bytes.fromhex(task), int(index)))
        if name.startswith("task-status/") and record.held:
            old.send(STRANGER, c.SlashAudit(bytes.fromhex(name.partition("/")[2])))
    assert sum(old.ledger.balances().values()) == old.ledger.minted
    assert enclave3()
