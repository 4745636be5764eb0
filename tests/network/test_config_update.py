"""Updates of a channel's configuration: worked out and signed here, judged by the rules that recorded peers are held
against, and, on running networks, by the orderers."""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import replace
from pathlib import Path

import pytest
from fabric_protos.common import common_pb2, configtx_pb2, configuration_pb2
from fabric_protos.orderer import configuration_pb2 as orderer_pb2
from fabric_protos.orderer.etcdraft import configuration_pb2 as raft_pb2

from goldengrain.gateway.identity import Credentials, credentials_from_msp
from goldengrain.network.config_changes import (
    consensus_type,
    members_of,
    with_anchor_peers,
    with_batch,
    with_capability,
    with_consenter_certificate,
    with_member,
    with_msp,
    with_orderer,
    without_member,
    without_orderer,
)
from goldengrain.network.config_update import changes, compute_update, merge, read, sign, signers, unsigned
from goldengrain.network.embedded.config import ChannelConfig
from goldengrain.network.embedded.config_update import next_config
from goldengrain.network.embedded.errors import ConfigError
from goldengrain.network.errors import UpdateInvalid
from goldengrain.network.genesis import bft_consenter, genesis_block, member_group, msp_config, raft_consenter
from goldengrain.network.home import Home
from goldengrain.network.pki import create_pki
from goldengrain.network.ports import assign_ports
from goldengrain.network.topology import BatchSettings, Peer, Topology, default_topology

Group = configtx_pb2.ConfigGroup
Change = Callable[[Group], Group]


@pytest.fixture
def everyone(tmp_path: Path) -> tuple[Home, Topology]:
    """Certificates of four organisations and five orderers, of whom three and four are in the channel."""
    home = Home(tmp_path / "home")
    topology = assign_ports(default_topology(4, orderers=5))
    create_pki(home, topology)
    return home, topology


def _fewer(topology: Topology, consensus: str = "raft") -> Topology:
    orderer = replace(topology.orderer, orderers=topology.orderer.orderers[:4])
    channel = replace(topology.channel, consensus=consensus)  # type: ignore[arg-type]
    return replace(topology, organizations=topology.organizations[:3], orderer=orderer, channel=channel)


def _admin(home: Home, organization: object) -> Credentials:
    return credentials_from_msp(home.user(organization, "Admin") / "msp", organization.msp_id)  # type: ignore


def _judge(home: Home, topology: Topology, change: Change, consensus: str = "raft") -> ChannelConfig:
    """The configuration after an update that every Admin has signed."""
    current = ChannelConfig.from_block(genesis_block(home, _fewer(topology, consensus)))
    proposal = unsigned(compute_update("market", current.config, change(current.config.channel_group)))
    for organization in (*topology.organizations[:3], topology.orderer):
        proposal = sign(proposal, _admin(home, organization))
    return ChannelConfig("market", next_config(current, proposal).config)


def test_a_member_is_added_and_removed_again(everyone: tuple[Home, Topology]) -> None:
    home, topology = everyone
    fourth = topology.organizations[3]
    added = _judge(home, topology, lambda group: with_member(group, fourth.msp_id, member_group(home, fourth)))
    assert added.application_msp_ids == ["Org1MSP", "Org2MSP", "Org3MSP", "Org4MSP"]
    assert added.sequence == 1
    removed = without_member(added.config.channel_group, "Org4MSP")
    assert members_of(removed) == ["Org1MSP", "Org2MSP", "Org3MSP"]
    update = compute_update("market", added.config, removed)
    assert changes(update) == ["/Channel/Application"]
    assert update.write_set.groups["Application"].version == 2
    with pytest.raises(UpdateInvalid, match=r"Org9MSP is not .* there are Org1MSP, Org2MSP, Org3MSP, Org4MSP"):
        without_member(added.config.channel_group, "Org9MSP")


def test_batch_settings_anchor_peers_and_capabilities_are_changed(everyone: tuple[Home, Topology]) -> None:
    home, topology = everyone
    batch = _judge(home, topology, lambda group: with_batch(group, BatchSettings(timeout_ms=70, max_messages=7))).batch
    assert (batch.timeout, batch.max_message_count) == (0.07, 7)
    anchors = _judge(home, topology, lambda group: with_anchor_peers(group, "Org2MSP", [Peer("p", 1), Peer("q", 2)]))
    organization = anchors.application_organization("Org2MSP")
    assert organization is not None
    assert organization.anchor_peers == (("127.0.0.1", 1), ("127.0.0.1", 2))
    for part, where in (("channel", "Channel"), ("orderer", "Orderer"), ("application", "Application")):
        config = _judge(home, topology, lambda group, part=part: with_capability(group, part, "V9_9"))  # type: ignore
        assert config.capabilities[where] == {"V9_9"}
    with pytest.raises(UpdateInvalid, match="no capabilities"):
        with_capability(anchors.config.channel_group, "peer", "V2_0")


@pytest.mark.parametrize("consensus", ["raft", "smartbft"])
def test_an_orderer_is_added_replaced_renewed_and_removed(everyone: tuple[Home, Topology], consensus: str) -> None:
    home, topology = everyone
    organization, (first, *_, last) = topology.orderer, topology.orderer.orderers

    def consenter() -> raft_pb2.Consenter | configuration_pb2.Consenter:
        if consensus == "raft":
            return raft_consenter(home, organization, last)
        return bft_consenter(home, organization, last, 1)

    def cluster(config: ChannelConfig) -> list[int]:
        group = config.config.channel_group.groups["Orderer"]
        if consensus == "raft":
            metadata = orderer_pb2.ConsensusType.FromString(group.values["ConsensusType"].value).metadata
            return [one.port for one in raft_pb2.ConfigMetadata.FromString(metadata).consenters]
        mapping = configuration_pb2.Orderers.FromString(group.values["Orderers"].value).consenter_mapping
        assert len({one.id for one in mapping}) == len(mapping)
        return [one.port for one in mapping]

    def judge(change: Change) -> ChannelConfig:
        return _judge(home, topology, change, consensus)

    ports = [one.port for one in topology.orderer.orderers]
    name = organization.name
    added = judge(lambda group: with_orderer(group, name, last.address, consenter()))
    assert cluster(added) == ports
    assert consensus_type(added.config.channel_group) == ("etcdraft" if consensus == "raft" else "BFT")
    assert added.orderer_addresses == tuple(one.address for one in topology.orderer.orderers)
    replaced = judge(lambda group: with_orderer(group, name, last.address, consenter(), instead_of=first.address))
    assert cluster(replaced) == ports[1:]
    assert cluster(judge(lambda group: without_orderer(group, name, first.address))) == ports[1:4]
    renewed = judge(lambda group: with_consenter_certificate(group, first.address, b"new", b"identity"))
    assert cluster(renewed) == ports[:4]
    for change in (
        lambda group: without_orderer(group, name, "127.0.0.1:1"),
        lambda group: with_consenter_certificate(group, "127.0.0.1:1", b"", b""),
    ):
        with pytest.raises(UpdateInvalid, match=r"no orderer of the channel is at 127\.0\.0\.1:1"):
            judge(change)


def test_an_msp_is_replaced_wherever_it_stands(everyone: tuple[Home, Topology]) -> None:
    home, topology = everyone
    crl = home.organization(topology.organizations[0]) / "msp" / "crls" / "crl.pem"
    config = ChannelConfig.from_block(genesis_block(home, _fewer(topology)))
    crl.parent.mkdir()
    crl.write_text("a list")
    changed = with_msp(config.config.channel_group, msp_config(home, topology.organizations[0]))
    update = compute_update("market", config.config, changed)
    assert changes(update) == ["/Channel/Application/Org1MSP/MSP"]
    with pytest.raises(UpdateInvalid, match="no organisation of the channel has the MSP id Org4MSP"):
        with_msp(config.config.channel_group, msp_config(home, topology.organizations[3]))


def test_signatures_are_collected_one_after_the_other_or_apart(everyone: tuple[Home, Topology]) -> None:
    home, topology = everyone
    fourth = topology.organizations[3]
    current = ChannelConfig.from_block(genesis_block(home, _fewer(topology)))
    wanted = with_member(current.config.channel_group, fourth.msp_id, member_group(home, fourth))
    proposal = unsigned(compute_update("market", current.config, wanted))
    with pytest.raises(ConfigError, match=r"policy for .*Application not satisfied"):
        next_config(current, proposal)
    one = sign(proposal, _admin(home, topology.organizations[0]))
    with pytest.raises(ConfigError, match="not satisfied"):
        next_config(current, sign(one, _admin(home, topology.organizations[0])))
    assert [signed.msp_id for signed in signers(sign(one, _admin(home, topology.organizations[0])))] == ["Org1MSP"]
    other = sign(proposal, _admin(home, topology.organizations[2]))
    together = merge([one, other, one])
    assert [signed.msp_id for signed in signers(together)] == ["Org1MSP", "Org3MSP"]
    assert "Admin@org3" in signers(together)[1].subject
    assert next_config(current, together).config.sequence == 1
    assert read(together) == read(proposal)


def test_what_is_no_update_is_refused(everyone: tuple[Home, Topology]) -> None:
    home, topology = everyone
    config = ChannelConfig.from_block(genesis_block(home, _fewer(topology))).config
    with pytest.raises(UpdateInvalid, match="nothing changes"):
        compute_update("market", config, config.channel_group)
    for junk in (b"\xff\xff", b"", common_pb2.Envelope(payload=b"\xff").SerializeToString()):
        with pytest.raises(UpdateInvalid, match="holds no update"):
            read(junk)
    one, two = (
        unsigned(compute_update("market", config, with_batch(config.channel_group, BatchSettings(timeout_ms=ms))))
        for ms in (61, 62)
    )
    with pytest.raises(UpdateInvalid, match="different updates"):
        merge([one, two])
    with pytest.raises(UpdateInvalid, match="no update to submit"):
        merge([])


def test_a_group_that_gains_a_member_lists_all_of_them_and_nothing_else(everyone: tuple[Home, Topology]) -> None:
    home, topology = everyone
    current = ChannelConfig.from_block(genesis_block(home, _fewer(topology))).config
    fourth = topology.organizations[3]
    wanted = with_member(current.channel_group, fourth.msp_id, member_group(home, fourth))
    update = compute_update("market", current, wanted)
    assert set(update.read_set.groups) == set(update.write_set.groups) == {"Application"}
    reads, writes = update.read_set.groups["Application"], update.write_set.groups["Application"]
    assert set(reads.groups) == {"Org1MSP", "Org2MSP", "Org3MSP"}
    assert set(writes.groups) == {*reads.groups, "Org4MSP"}
    assert not reads.groups["Org1MSP"].values
    assert set(reads.policies) == set(writes.policies) == set(current.channel_group.groups["Application"].policies)
    assert changes(update) == ["/Channel/Application", "/Channel/Application/Org4MSP"]
