"""Consortia whose members keep their own keys: cards, bundles, and such a network on real peers."""

from __future__ import annotations

import asyncio
import json
from functools import partial
from pathlib import Path
from typing import Any

import pytest

from goldengrain.network import runtime
from goldengrain.network.cards import (
    accept_card,
    card_file,
    found_network,
    init_organization,
    join_network,
    make_bundle,
    make_card,
    read_card,
)
from goldengrain.network.channel_admin import admins, propose, submit
from goldengrain.network.config_changes import with_batch
from goldengrain.network.config_update import sign
from goldengrain.network.errors import CardInvalid, IdentityExists, TopologyInvalid, UpdateRefused
from goldengrain.network.home import Home
from goldengrain.network.lifecycle import committed, deploy
from goldengrain.network.nodes import own_nodes
from goldengrain.network.programs import find_programs
from goldengrain.network.renewal import renew_authorities
from goldengrain.network.topology import BatchSettings, Capabilities, Channel, OrdererOrganization, Organization


@pytest.fixture
def homes(tmp_path: Path) -> dict[str, Home]:
    """Two members and an organisation that orders, each with a folder of its own."""
    made = {name: Home(tmp_path / name) for name in ("Org1", "Org2", "Orderers")}
    init_organization(made["Org1"], Organization("Org1", "Org1MSP", "org1.example.com"))
    init_organization(made["Org2"], Organization("Org2", "Org2MSP", "org2.example.com"))
    init_organization(made["Orderers"], OrdererOrganization("Orderers", "OrderersMSP", "orderers.example.com"))
    return made


def cards(homes: dict[str, Home]) -> list[dict[str, Any]]:
    return [read_card(home.path / "cards" / f"{name}.json") for name, home in homes.items()]


def consortium(homes: dict[str, Home], capabilities: Capabilities | None = None) -> None:
    found_network(homes["Org1"], cards(homes), Channel("market", capabilities=capabilities or Capabilities()))
    bundle = json.loads(json.dumps(make_bundle(homes["Org1"])))
    for name in ("Org2", "Orderers"):
        join_network(homes[name], bundle)


def test_a_card_holds_no_key(homes: dict[str, Home]) -> None:
    for card in cards(homes):
        assert "PRIVATE" not in json.dumps(card)
        assert card["files"]
    with pytest.raises(IdentityExists):
        init_organization(homes["Org1"], Organization("Org1", "Org1MSP", "org1.example.com"))


def test_everybody_has_the_same_network_and_only_the_own_keys(homes: dict[str, Home]) -> None:
    consortium(homes)
    topologies = [home.load_topology() for home in homes.values()]
    assert topologies[0] == topologies[1] == topologies[2]
    blocks = {home.genesis_file("market").read_bytes() for home in homes.values()}
    assert len(blocks) == 1
    nodes = {name: [node.name for node in own_nodes(home, home.load_topology())] for name, home in homes.items()}
    assert nodes == {
        "Org1": ["peer0.org1.example.com"],
        "Org2": ["peer0.org2.example.com"],
        "Orderers": ["orderer.orderers.example.com"],
    }
    assert runtime.runtime_of(homes["Org2"]) == "native"
    assert sorted(path.name for path in homes["Org2"].wallet.iterdir()) == [
        "Admin@org2.example.com.id",
        "User1@org2.example.com.id",
    ]


@pytest.mark.parametrize(
    ("change", "error"),
    [
        (lambda card: card.update(card=2), CardInvalid),
        (lambda card: card.update(files=5), CardInvalid),
        (lambda card: card["files"].update({"../../x": "y"}), CardInvalid),
        (lambda card: card["files"].update({"msp/keystore/priv_sk": "y"}), CardInvalid),
        (lambda card: card["files"].update({"msp/cacerts/x": "y" * 100_000}), CardInvalid),
        (lambda card: card["organization"].update(domain="../x"), TopologyInvalid),
        (lambda card: card["organization"].update(colour="red"), TopologyInvalid),
    ],
)
def test_what_is_no_card_is_refused(homes: dict[str, Home], change: Any, error: type[Exception]) -> None:
    path = card_file(homes["Org1"], Organization("Org1", "Org1MSP", "org1.example.com"))
    card = json.loads(path.read_text())
    change(card)
    path.write_text(json.dumps(card))
    with pytest.raises(error):
        read_card(path)


def test_what_is_no_network_is_refused(homes: dict[str, Home], tmp_path: Path) -> None:
    with pytest.raises(CardInvalid, match="no card is of an organisation that runs orderers"):
        found_network(Home(tmp_path / "new"), cards(homes)[:2], Channel())
    with pytest.raises(CardInvalid, match="no organisation's card"):
        read_card(tmp_path / "none")
    consortium(homes)
    whole = make_bundle(homes["Org1"])
    for damage in ({"topology": "[]"}, {"genesis": {}}, {"genesis": {"market": "!"}}, {"cards": 5}):
        with pytest.raises(CardInvalid):
            join_network(Home(tmp_path / "other"), whole | damage)
    assert make_card(homes["Org2"], homes["Org2"].load_topology().organizations[1])["kind"] == "member"


def test_a_card_with_renewed_authorities_is_taken_over_and_one_with_another_key_is_not(homes: dict[str, Home]) -> None:
    consortium(homes)
    second = homes["Org2"].load_topology().organization("Org2")
    old = {path.name: path.read_bytes() for path in (homes["Org1"].organization(second) / "msp").rglob("*.pem")}
    renew_authorities(homes["Org2"], homes["Org2"].load_topology(), second)
    card = make_card(homes["Org2"], second)
    assert accept_card(homes["Org1"], card).name == "Org2"
    for kind in ("cacerts", "tlscacerts"):
        (new,) = (homes["Org1"].organization(second) / "msp" / kind).iterdir()
        (theirs,) = (homes["Org2"].organization(second) / "msp" / kind).iterdir()
        assert new.read_bytes() == theirs.read_bytes() != old[new.name]
    profile = homes["Org1"].connection_profile(homes["Org1"].load_topology().organization("Org1")).read_text()
    assert json.loads(profile)["peers"]["peer0.org2.example.com"]["tlsCACerts"]["pem"].encode() == new.read_bytes()
    other = make_card(homes["Org1"], homes["Org1"].load_topology().organization("Org1"))
    forged = {name: text for name, text in other["files"].items() if name.startswith("msp/cacerts")}
    for damage in (forged.values(), ["junk"]):
        files = {f"msp/cacerts/ca.{second.domain}-cert.pem": next(iter(damage))}
        with pytest.raises(CardInvalid, match="another key than before"):
            accept_card(homes["Orderers"], card | {"files": card["files"] | files})
    with pytest.raises(CardInvalid, match="Org9MSP is not in this network"):
        accept_card(homes["Org1"], card | {"organization": card["organization"] | {"msp_id": "Org9MSP"}})


@pytest.mark.check
@pytest.mark.fabric
@pytest.mark.timeout(180)
async def test_a_consortium_runs_with_each_organisations_keys_in_its_own_folder(
    homes: dict[str, Home], fabric_bin: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("FABRIC_BIN", str(fabric_bin))
    consortium(homes, Capabilities() if (await find_programs(fabric_bin)).knows_fabric_3 else Capabilities("V2_0"))
    try:
        for name in ("Orderers", "Org1", "Org2"):
            await asyncio.to_thread(runtime.up, homes[name])
        first = await deploy(homes["Org1"], "cc", "1", "127.0.0.1:9999")
        assert first.waiting_for == ("Org2MSP",)
        assert (await deploy(homes["Org2"], "cc", "1", "127.0.0.1:9999")).waiting_for == ()
        assert (await deploy(homes["Org1"], "cc", "1", "127.0.0.1:9999")).sequence == 1
        definition = await committed(homes["Org2"], "cc")
        assert definition is not None
        assert definition.approvals == {"Org1MSP": True, "Org2MSP": True}
        proposal = await propose(homes["Org1"], "market", partial(with_batch, batch=BatchSettings(timeout_ms=88)))
        with pytest.raises(UpdateRefused):
            await submit(homes["Org1"], "market", proposal)
        signed = sign(proposal, admins(homes["Orderers"], homes["Orderers"].load_topology())[0])
        assert await submit(homes["Org1"], "market", signed) == 1
    finally:
        for home in homes.values():
            await asyncio.to_thread(runtime.down, home)
