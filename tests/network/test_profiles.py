from __future__ import annotations

import json

import pytest

from goldengrain.gateway.connection import ConnectionProfile
from goldengrain.gateway.wallet import Wallet
from goldengrain.network.errors import NetworkIncomplete
from goldengrain.network.home import Home
from goldengrain.network.pki import issue_identity, load_identity
from goldengrain.network.profiles import add_to_wallet, write_profiles, write_wallet
from goldengrain.network.topology import Topology


def test_a_profile_names_its_organisation_and_every_peer_with_its_root(home: Home, topology: Topology) -> None:
    write_profiles(home, topology)
    for organization in topology.organizations:
        document = json.loads(home.connection_profile(organization).read_text())
        assert document["client"]["organization"] == organization.name
        assert document["organizations"][organization.name]["mspid"] == organization.msp_id
        for member, peer in topology.peers():
            entry = document["peers"][peer.host(member)]
            assert entry["url"] == f"grpcs://127.0.0.1:{peer.port}"
            assert entry["tlsCACerts"]["pem"].encode() == (home.peer(member, peer) / "tls" / "ca.crt").read_bytes()


def test_the_gateway_client_reads_it(home: Home, topology: Topology) -> None:
    write_profiles(home, topology)
    second = topology.organizations[1]
    profile = ConnectionProfile.load(home.connection_profile(second))
    assert profile.gateway().address == second.peers[0].address
    assert profile.gateway("Org3MSP").address == topology.organizations[2].peers[0].address
    assert profile.orderers["orderer.example.com"].address == topology.orderer.orderers[0].address


def test_the_wallet_holds_every_user(home: Home, topology: Topology) -> None:
    write_wallet(home, topology)
    wallet = Wallet(home.wallet)
    assert wallet.labels() == [f"{name}@org{n}.example.com" for name in ("Admin", "User1") for n in (1, 2, 3)]
    stored = load_identity(home, topology.organizations[0], "User1")
    assert wallet.get("User1@org1.example.com").identity.certificate == stored.certificate
    entry = json.loads((home.wallet / "User1@org1.example.com.id").read_text())
    assert (entry["mspId"], entry["type"], entry["version"]) == ("Org1MSP", "X.509", 1)
    assert (home.wallet / "User1@org1.example.com.id").stat().st_mode & 0o777 == 0o600


def test_an_issued_identity_can_be_added(home: Home, topology: Topology) -> None:
    label = add_to_wallet(home, issue_identity(home, topology.organizations[0], "alice"))
    assert label == "alice@org1.example.com"
    assert Wallet(home.wallet).get(label).identity.msp_id == "Org1MSP"


def test_a_missing_root_is_named(home: Home, topology: Topology) -> None:
    (next((home.organization(topology.organizations[0]) / "msp" / "tlscacerts").iterdir())).unlink()
    with pytest.raises(NetworkIncomplete, match="tlscacerts"):
        write_profiles(home, topology)
