"""docs/events.md names the facts of every event, no more and no less; docs/provenance.md the checks in their order."""

from __future__ import annotations

import re

from goldengrain.chaincode.protocol import commands
from goldengrain.enclave import errors, provenance
from tests.chaincode.market import determinism
from tests.chaincode.market.game import Game, Tally
from tests.docs.markdown import ROOT

ROW = re.compile(r"^\| (\w+) \| ([^|]+) \|$", re.MULTILINE)
SCARCE = {"revoked", "displaced", "coins"}
"""Facts of events that few games have."""


def documented() -> dict[str, tuple[set[str], set[str]]]:
    """Facts that each event always has, and those that it may have."""
    page = {}
    for name, facts in ROW.findall((ROOT / "docs/events.md").read_text("utf-8")):
        words = facts.strip().split(", ")
        page[name] = {one for one in words if one[-1] != "?"}, {one[:-1] for one in words if one[-1] == "?"}
    page.pop("event")
    return page


def emitted() -> dict[str, list[set[str]]]:
    """Facts of every event of a few games."""
    found: dict[str, list[set[str]]] = {}
    for seed in range(30):
        playing = Game(Tally())
        playing.step("open", seed)
        for number in range(40):
            playing.step(determinism.choice(seed, number), seed * 7919 + number)
        playing.end()
        for done in playing.world.ledger.transactions:
            assert done.event is not None
            name, payload = done.event
            found.setdefault(name, []).append(set(payload) - {"v", "changes"})
    return found


def test_the_page_names_the_facts_of_every_event() -> None:
    page, seen = documented(), emitted()
    assert set(page) == set(commands.COMMANDS)
    assert set(seen) == set(commands.COMMANDS)
    for name, (always, sometimes) in page.items():
        for facts in seen[name]:
            assert always <= facts <= always | sometimes, name
        told = set().union(*seen[name])
        assert always | sometimes == told | (sometimes & SCARCE), name


def test_the_page_of_provenance_has_the_checks_in_their_order() -> None:
    text = (ROOT / "docs/provenance.md").read_text("utf-8")
    listed = text.partition("<!-- checks -->")[2].partition("<!-- end of checks -->")[0]
    codes = re.findall(r"`(PROVENANCE_\w+)`", listed)
    named = re.findall(r"`(Provenance\w+)`", provenance.__doc__ or "")
    assert codes == [getattr(errors, name).code for name in named]
    assert re.findall(r"^(\d+)\.", listed, re.MULTILINE) == [str(number) for number in range(1, len(codes) + 1)]
