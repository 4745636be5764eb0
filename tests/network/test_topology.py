from __future__ import annotations

import json
from dataclasses import replace
from pathlib import Path

import jsonschema
import pytest
import yaml

from goldengrain.network.errors import PortTaken, TopologyInvalid
from goldengrain.network.ports import assign_ports, check_ports_free
from goldengrain.network.topology import (
    BatchSettings,
    Chaincode,
    Channel,
    Collection,
    Consensus,
    CouchDb,
    Docker,
    Gossip,
    OrdererOrganization,
    Organization,
    Peer,
    Topology,
    User,
    default_topology,
)
from goldengrain.network.topology_file import SCHEMA, dump_topology, load_topology, parse_topology, schema
from goldengrain.network.topology_template import commented


def test_the_default_is_three_organisations_and_one_orderer() -> None:
    topology = default_topology()
    assert [organization.domain for organization in topology.organizations] == [
        "org1.example.com",
        "org2.example.com",
        "org3.example.com",
    ]
    assert topology.orderer.msp_id == "OrdererMSP"
    assert topology.channel.name == "market"


def test_what_is_dumped_is_read_back_equal() -> None:
    topology = Topology(
        organizations=(
            Organization("A", "AMSP", "a.test", (Peer("p0", 7051), Peer("p1")), (User("x", "admin", {"k": "v"}),)),
        ),
        channel=Channel("other", BatchSettings(timeout_ms=7)),
    )
    assert parse_topology(dump_topology(topology)) == topology


def test_a_topology_with_everything_is_read_back_equal() -> None:
    topology = default_topology(3, peers=2, orderers=4, consensus="smartbft")
    first, *others = topology.organizations
    peers = (Peer("p0", listen="10.0.0.1", couchdb=CouchDb("127.0.0.1:5984"), config={"chaincode": {"mode": "dev"}}),)
    topology = replace(
        topology,
        organizations=(replace(first, peers=peers), *others),
        further_orderers=(OrdererOrganization("Second", "SecondMSP", "second.test"),),
        further_channels=(Channel("pair", members=("Org1", "Org2"), policies={"Endorsement": "ANY Endorsement"}),),
        gossip=Gossip(alive_ms=100),
        chaincodes=(Chaincode("cc", "1", "h:1", collections=(Collection("secret", "OR('Org1MSP.member')"),)),),
        docker=Docker("3.1.5"),
    )
    assert parse_topology(dump_topology(topology)) == topology


@pytest.mark.parametrize("consensus", ["raft", "smartbft"])
def test_the_commented_file_is_the_topology_that_it_was_made_of(consensus: Consensus) -> None:
    topology = default_topology(3, peers=2, channel="trade", orderers=4, consensus=consensus)
    assert parse_topology(commented(topology)) == topology


def test_the_published_schema_is_the_readers_own() -> None:
    assert json.loads(SCHEMA.read_text()) == schema()


def test_the_schema_accepts_what_is_written_and_refuses_what_the_reader_refuses() -> None:
    validator = jsonschema.Draft202012Validator(schema())
    for topology in (default_topology(), default_topology(2, peers=3, orderers=4, consensus="smartbft")):
        validator.validate(yaml.safe_load(commented(topology)))
        validator.validate(yaml.safe_load(dump_topology(topology)))
    for text in (
        "{}",
        "organizations: [{name: 5}]",
        "organizations: [{name: Org1, colour: red}]",
        "{organizations: [{name: Org1}], channel: {consensus: kafka}}",
        "{organizations: [{name: Org1}], chaincodes: [{name: cc}]}",
    ):
        assert not validator.is_valid(yaml.safe_load(text))
        with pytest.raises(TopologyInvalid):
            parse_topology(text)


def test_a_short_file_takes_the_rest_from_the_names() -> None:
    topology = parse_topology("organizations: [{name: Org1}, {name: Org2, peers: [{name: peer0}, {name: peer1}]}]")
    assert topology.organizations[1].msp_id == "Org2MSP"
    assert topology.organizations[1].domain == "org2.example.com"
    assert [peer.name for peer in topology.organizations[1].peers] == ["peer0", "peer1"]
    assert topology.orderer.orderers[0].name == "orderer"


@pytest.mark.parametrize(
    ("text", "place"),
    [
        ("[", "is not YAML"),
        ("[]", "a mapping is expected"),
        ("{}", "organizations: missing"),
        ("organizations: []", "organizations: a network needs at least one"),
        ("organizations: {}", "organizations: a list is expected"),
        ("organizations: [{}]", "organizations[0].name: missing"),
        ("organizations: [{name: 5}]", "organizations[0].name: 5 is not text"),
        ("organizations: [{name: Org1, colour: red}]", "organizations[0]: unknown key 'colour'"),
        ("organizations: [{name: Org1, peers: []}]", "organizations[0].peers: at least one"),
        ("organizations: [{name: Org1, peers: [{port: 70000}]}]", "organizations[0].peers[0]: 70000 is not a TCP port"),
        ("organizations: [{name: Org1, peers: [{port: yes}]}]", "organizations[0].peers[0].port"),
        ("organizations: [{name: Org1, peers: [{name: ../x}]}]", "organizations[0].peers[0].name"),
        ("organizations: [{name: Org1, domain: ../../x}]", "organizations[0].domain"),
        ("organizations: [{name: Org1}, {name: Org1}]", "Org1 given more than once"),
        ("organizations: [{name: Org1, users: [{name: Admin}]}]", "Admin given more than once"),
        ("organizations: [{name: Org1, users: [{name: u, role: king}]}]", "users[0].role"),
        ("organizations: [{name: Org1, users: [{name: u, attributes: {a: 1}}]}]", "users[0].attributes.a"),
        ("organizations: [{name: Org1}]\nchannel: {name: Market}", "channel.name"),
        ("organizations: [{name: Org1}]\nchannel: {batch: {timeout_ms: 0}}", "channel.batch.timeout_ms"),
        ("organizations: [{name: Org1}]\nchannel: {batch: {preferred_max_bytes: 99999999}}", "preferred_max_bytes"),
        ("organizations: [{name: Org1}]\nversion: 9", "version"),
        ("organizations: [{name: Org1, peers: [{listen: /x}]}]", "organizations[0].peers[0].listen: '/x' is not"),
        ("organizations: [{name: Org1}]\nchannel: {consensus: kafka}", "channel.consensus: 'kafka' is not raft or"),
        ("organizations: [{name: Org1}]\nchannel: {consensus: smartbft}", "smartbft needs at least 4 orderers"),
        ("organizations: [{name: Org1}]\nchannel: {members: [Org2]}", "channel.members: there is no organisation"),
        ("organizations: [{name: Org1}]\nfurther_channels: [{name: market}]", "market given more than once"),
        ("organizations: [{name: Org1}]\ngossip: {alive_ms: 0}", "gossip.alive_ms: 0 is not between"),
        ("organizations: [{name: Org1}]\nchaincodes: [{name: cc, version: '1'}]", "chaincodes[0].address: missing"),
        (
            "organizations: [{name: A, peers: [{name: a, couchdb: {address: h}}, {name: b, couchdb: {address: h}}]}]",
            "each peer needs its own",
        ),
        ("organizations: [{name: Org1, peers: [{couchdb: 5}]}]", "organizations[0].peers[0].couchdb: a mapping"),
        (
            "organizations: [{name: Org1, peers: [{port: 7051}]}, {name: Org2, peers: [{port: 7051}]}]",
            "ports: 7051 given more than once",
        ),
    ],
)
def test_a_topology_that_cannot_be_built_is_refused_with_its_place(text: str, place: str) -> None:
    with pytest.raises(TopologyInvalid) as caught:
        parse_topology(text, source="file.yaml")
    assert place in str(caught.value)
    assert "file.yaml" in str(caught.value)


def test_a_file_that_is_missing_or_not_text_is_refused(tmp_path: Path) -> None:
    with pytest.raises(TopologyInvalid, match="cannot read"):
        load_topology(tmp_path / "none.yaml")
    (tmp_path / "bad.yaml").write_bytes(b"\xff\xfe\x00")
    with pytest.raises(TopologyInvalid):
        load_topology(tmp_path / "bad.yaml")


def test_ports_are_assigned_once_and_distinct() -> None:
    topology = assign_ports(default_topology(4), administration=True)
    ports = [port for _, peer in topology.peers() for port in (peer.port, peer.operations_port, peer.chaincode_port)]
    assert all(ports)
    assert len(set(ports)) == 12
    assert assign_ports(topology, administration=True) == topology


def test_a_given_port_is_kept() -> None:
    topology = parse_topology("organizations: [{name: Org1, peers: [{port: 7051}]}]")
    assert assign_ports(topology).organizations[0].peers[0].port == 7051


def test_a_port_in_use_is_named_with_its_node() -> None:
    import socket

    with socket.create_server(("127.0.0.1", 0)) as server:
        port = server.getsockname()[1]
        topology = default_topology(1)
        organization = replace(topology.organizations[0], peers=(Peer("peer0", port),))
        with pytest.raises(PortTaken, match=rf"port {port} .*peer0.org1.example.com"):
            check_ports_free(replace(topology, organizations=(organization,)))


def test_an_organisation_is_found_by_name_msp_id_or_domain() -> None:
    topology = default_topology()
    for name in ("Org2", "Org2MSP", "org2.example.com"):
        assert topology.organization(name).name == "Org2"
    with pytest.raises(TopologyInvalid, match="there are Org1, Org2, Org3"):
        topology.organization("Org9")
